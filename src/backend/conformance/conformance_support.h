// What the conformance tests share: the backends under test, random inputs, placing and fetching, steps of sequences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backend/reference/reference_backend.h"
#include "backend/registry/make_backend.h"
#include "base/error.h"

namespace strata::conformance {

/// The largest relative error of one rounding to f32.
inline constexpr double kRounding = 0x1p-24;

struct Target {
  std::string backend, isa;
};
inline std::string name_of(const Target& t) { return t.isa.empty() ? t.backend : t.backend + "_" + t.isa; }
inline std::string name_of_instance(const testing::TestParamInfo<Target>& test) { return name_of(test.param); }
inline void PrintTo(const Target& t, std::ostream* os) { *os << name_of(t); }

/// Every backend but the reference, and the CPU once for each instruction set.
inline std::vector<Target> targets() {
  std::vector<Target> all;
  for (const std::string& name : known_backends()) {
    if (name == "cpu") {
      for (const std::string& isa : cpu_isas()) all.push_back({name, isa});
    } else if (name != "reference") {
      all.push_back({name, ""});
    }
  }
  return all;
}

/// Room for every case of these tests.
inline WorkLimits limits() {
  WorkLimits l;
  l.tokens = l.logit_rows = 300, l.sequences = l.slots = 8, l.context = 2112;
  l.features = 4160, l.experts = 512, l.experts_per_token = 22, l.expert_features = 128;
  return l;
}

inline std::unique_ptr<Backend> make_target(const Target& t, int threads) {
  auto backend = make_backend({.name = t.backend, .threads = threads, .isa = t.isa});
  backend->reserve(limits());
  return backend;
}

/// A test for each target; skips, by name, those that this machine lacks.
class Conformance : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    try {
      backend_ = make_target(GetParam(), 2);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::no_device) throw;
      GTEST_SKIP() << e.what();
    }
  }
  Backend& backend() { return *backend_; }
  static std::unique_ptr<Backend> with_threads(int threads) { return make_target(GetParam(), threads); }

  ReferenceBackend reference{Rounding::strata};

 private:
  std::unique_ptr<Backend> backend_;
};

/// A suite of tests that run once a target.
#define STRATA_CONFORMANCE(suite)      \
  class suite : public Conformance {}; \
  INSTANTIATE_TEST_SUITE_P(Backends, suite, testing::ValuesIn(targets()), name_of_instance)

/// A matrix on the host.
template <class T>
struct Array {
  std::int64_t rows = 0, cols = 0;
  std::vector<T> values;

  Array() = default;
  Array(std::int64_t r, std::int64_t c, T fill = T{}) : rows(r), cols(c), values(std::size_t(r * c), fill) {}
  T& at(std::int64_t r, std::int64_t c) { return values[std::size_t(r * cols + c)]; }
  const T& at(std::int64_t r, std::int64_t c) const { return values[std::size_t(r * cols + c)]; }
  Array slice(std::int64_t first, std::int64_t count) const {
    Array part(count, cols);
    std::copy_n(values.begin() + first * cols, count * cols, part.values.begin());
    return part;
  }
  void append(const Array& more) {
    rows += more.rows, cols = more.cols;
    values.insert(values.end(), more.values.begin(), more.values.end());
  }
};
using Floats = Array<float>;

/// Bell-shaped values of standard deviation `scale`.
inline Floats random(std::int64_t rows, std::int64_t cols, std::uint32_t seed, double scale = 1) {
  std::mt19937 bits(seed);
  Floats m(rows, cols);
  for (float& v : m.values) {
    double sum = -2;
    for (int i = 0; i < 4; ++i) sum += double(bits()) * 0x1p-32;
    v = float(sum * scale * 1.7320508);
  }
  return m;
}
inline Floats magnitudes(Floats m) {
  for (float& v : m.values) v = std::fabs(v);
  return m;
}

/// A matrix in a backend's memory, its rows further apart than they are long.
struct Placed {
  Buffer memory;
  Matrix matrix;
  operator Matrix() const { return matrix; }
  operator ConstMatrix() const { return matrix; }
};
inline constexpr std::int64_t kGap = 4;  // elements between rows, all bits 1: NaN for who reads on

template <class T>
Placed place(Backend& backend, const Array<T>& host) {
  const std::int64_t stride = host.cols + kGap;
  std::vector<std::byte> bytes(std::size_t(host.rows * stride) * sizeof(T), std::byte{0xff});
  for (std::int64_t r = 0; r < host.rows; ++r)
    std::memcpy(bytes.data() + std::size_t(r * stride) * sizeof(T), host.values.data() + r * host.cols,
                std::size_t(host.cols) * sizeof(T));
  Placed p{backend.allocate(std::int64_t(bytes.size()) + 256), {}};
  backend.upload(bytes, p.memory.get());
  p.matrix = {p.memory.get(), dtype_of<T>(), host.rows, host.cols, stride};
  return p;
}
template <class T = float>
Placed place_output(Backend& backend, std::int64_t rows, std::int64_t cols) {
  T unset;
  std::memset(&unset, 0xff, sizeof unset);
  return place(backend, Array<T>(rows, cols, unset));
}
inline std::vector<std::byte> fetch_bytes(Backend& backend, const Buffer& memory, std::int64_t bytes) {
  std::vector<std::byte> host(static_cast<std::size_t>(bytes));
  backend.wait(backend.mark());
  backend.download(memory.get(), host);
  return host;
}
/// Back on the host; nothing may have been written between the rows.
template <class T = float>
Array<T> fetch(Backend& backend, const Placed& p) {
  const auto bytes = fetch_bytes(backend, p.memory, p.matrix.rows * p.matrix.stride * std::int64_t(sizeof(T)));
  Array<T> host(p.matrix.rows, p.matrix.cols);
  for (std::int64_t r = 0; r < host.rows; ++r) {
    const std::byte* row = bytes.data() + std::size_t(r * p.matrix.stride) * sizeof(T);
    std::memcpy(host.values.data() + r * host.cols, row, std::size_t(host.cols) * sizeof(T));
    for (std::size_t i = std::size_t(host.cols) * sizeof(T); i < std::size_t(p.matrix.stride) * sizeof(T); ++i)
      EXPECT_EQ(row[i], std::byte{0xff}) << "written behind row " << r;
  }
  return host;
}

template <class T>
Buffer upload(Backend& backend, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  Buffer memory = backend.allocate(std::int64_t(bytes.size()));
  backend.upload(bytes, memory.get());
  return memory;
}
/// To be kept until the op's output has been fetched: a backend may launch an op later than it is called.
inline Vector vector_on(Backend& backend, const Floats& m) { return {upload(backend, m.values), m.rows * m.cols}; }
inline Table table_on(Backend& backend, const Floats& m) { return {upload(backend, m.values), m.rows, m.cols}; }

template <class T>
void expect_same_bits(const Array<T>& found, const Array<T>& expected) {
  ASSERT_EQ(found.values.size(), expected.values.size());
  for (std::int64_t r = 0; r < expected.rows; ++r)
    for (std::int64_t c = 0; c < expected.cols; ++c)
      ASSERT_EQ(std::memcmp(&found.at(r, c), &expected.at(r, c), sizeof(T)), 0)
          << "row " << r << " column " << c << ": " << found.at(r, c) << " and " << expected.at(r, c);
}
/// |found - expected| <= bound(row, column), a bound that no correct rounding exceeds.
template <class Bound>
void expect_close(const Floats& found, const Floats& expected, Bound&& bound) {
  ASSERT_EQ(found.values.size(), expected.values.size());
  for (std::int64_t r = 0; r < expected.rows; ++r)
    for (std::int64_t c = 0; c < expected.cols; ++c)
      ASSERT_NEAR(found.at(r, c), expected.at(r, c), bound(r, c) + 1e-35) << "row " << r << " column " << c;
}

/// The law, for an op without state: op(backend, first, count) gives rows [first, first + count) the same bits however
/// the `rows` rows are split over calls, and with 1, 2 or 3 threads.
template <class Op>
void expect_rows_stand_alone(const Target& target, std::int64_t rows, Op&& op) {
  const auto whole = op(*make_target(target, 1), 0, rows);
  for (const int threads : {1, 2, 3}) {
    const auto backend = make_target(target, threads);
    for (const std::int64_t chunk : {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, rows}) {
      SCOPED_TRACE(std::to_string(threads) + " threads, " + std::to_string(chunk) + " rows a call");
      auto parts = op(*backend, 0, 0);
      for (std::int64_t at = 0; at < rows; at += chunk) parts.append(op(*backend, at, std::min(chunk, rows - at)));
      expect_same_bits(parts, whole);
    }
  }
}

}  // namespace strata::conformance
