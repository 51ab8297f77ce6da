// A backend and a model for tests of the engine: logits are a function of all tokens so far, and every token is kept
// both in recurrent state and in pages, so that a slot or page that two sequences share by mistake is found out.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <new>
#include <vector>

#include "backend/philox.h"
#include "base/check.h"
#include "base/error.h"
#include "model/model.h"

namespace strata {

/// Host memory; samples reach it only when some step is waited for, and then all of them: as on a device that runs
/// behind the host, but not how far.
class FakeBackend final : public Backend {
 public:
  std::string_view name() const override { return "fake"; }
  std::string description() const override { return "fake"; }
  Buffer allocate(std::int64_t bytes) override {
    allocated += bytes;
    auto* data = static_cast<std::byte*>(std::calloc(1, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1))));
    return {data, [](std::byte* p) { std::free(p); }};
  }
  void upload(std::span<const std::byte> host, std::byte* to) override { std::memcpy(to, host.data(), host.size()); }
  void download(const std::byte* from, std::span<std::byte> host) override {
    std::memcpy(host.data(), from, host.size());
  }
  void copy(const std::byte* from, std::byte* to, std::int64_t bytes) override {
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
  void zero(std::byte* at, std::int64_t bytes) override { std::memset(at, 0, static_cast<std::size_t>(bytes)); }
  std::unique_ptr<Linear> load_linear(std::span<const LinearWeight>) override { unused(); }
  std::int64_t packed_bytes(std::span<const LinearWeight>) const override { unused(); }
  std::int64_t scratch_bytes(const WorkLimits&) const override { return 0; }
  void reserve(const WorkLimits& work) override { limits = work; }

  StagedBatch stage(const Batch& batch) override { return {batch, nullptr}; }
  std::uint64_t mark() override { return ++marks_; }
  void wait(std::uint64_t mark) override {
    if (fail_next_wait) {
      fail_next_wait = false;
      throw Error(ErrorCode::failure, "the device is gone");
    }
    waited_ = std::max(waited_, mark);
    // A device may be further than what is waited for.
    for (const Pending& p : pending_) std::memcpy(p.to, p.bytes.data(), p.bytes.size());
    pending_.clear();
  }
  void sample(const StagedBatch& batch, ConstMatrix logits, std::span<const SamplingRow> rows,
              const Samples& out) override {
    auto sequence = batch.host.sequences.begin();
    for (std::size_t r = 0; r < rows.size(); ++r) {
      while (sequence->first_row + sequence->count <= batch.host.logit_rows[r]) ++sequence;
      TokenId ids[kMaxTopLogprobs] = {};
      float logprobs[kMaxTopLogprobs] = {};
      const auto row = static_cast<std::int64_t>(r);
      const std::span x{logits.row<float>(row), static_cast<std::size_t>(logits.cols)};
      const SampledToken s = sample_row(x, rows[r], ids, logprobs);
      last_token[sequence->slot] = s.token;
      later(out.tokens.row<std::int32_t>(row), &s.token, sizeof s.token);
      later(out.logprobs.row<float>(row), &s.logprob, sizeof s.logprob);
      later(out.top_ids.row<std::int32_t>(row), ids, sizeof ids);
      later(out.top_logprobs.row<float>(row), logprobs, sizeof logprobs);
    }
    CHECK(rows.size() == batch.host.logit_rows.size(), "a logit row without its sampling");
  }

  void embed(const StagedBatch&, const Linear&, Matrix) override { unused(); }
  void rms_norm(ConstMatrix, const Vector&, float, Matrix) override { unused(); }
  void linear(ConstMatrix, const Linear&, Matrix) override { unused(); }
  void linear_f32(ConstMatrix, const Table&, Matrix) override { unused(); }
  void add(ConstMatrix, Matrix) override { unused(); }
  void relu_squared(ConstMatrix, Matrix) override { unused(); }
  void causal_conv1d_silu(const StagedBatch&, ConstMatrix, const Table&, const Vector&, ConvState&, Matrix) override {
    unused();
  }
  void ssd_scan(const StagedBatch&, ConstMatrix, ConstMatrix, const SsdParameters&, SsmState&, Matrix) override {
    unused();
  }
  void gated_rms_norm(ConstMatrix, ConstMatrix, const Vector&, std::int64_t, float, Matrix) override { unused(); }
  void append_kv(const StagedBatch&, ConstMatrix, ConstMatrix, KvPages&) override { unused(); }
  void attention(const StagedBatch&, ConstMatrix, const KvPages&, float, Matrix) override { unused(); }
  void route(ConstMatrix, const Vector&, const RouterParameters&, Routing) override { unused(); }
  void experts(ConstMatrix, const Routing&, const Linear&, const Linear&, Matrix) override { unused(); }
  void gather_logit_rows(const StagedBatch&, ConstMatrix, Matrix) override { unused(); }

  /// Whether everything that was enqueued has been waited for.
  bool idle() const { return waited_ == marks_; }

  WorkLimits limits;
  std::map<std::int32_t, TokenId> last_token;  // by slot
  bool fail_next_wait = false;
  std::int64_t allocated = 0;  // bytes, since it was made

 private:
  struct Pending {
    void* to;
    std::vector<std::byte> bytes;
  };
  [[noreturn]] static void unused() { std::abort(); }
  void later(void* to, const void* from, std::size_t bytes) {
    const auto* data = static_cast<const std::byte*>(from);
    pending_.push_back({to, {data, data + bytes}});
  }
  std::uint64_t marks_ = 0, waited_ = 0;
  std::vector<Pending> pending_;
};

inline constexpr std::int64_t kFakeVocab = 40;
inline constexpr TokenId kPoison = 39;  // a step that has it throws
inline constexpr TokenId kBroken = 38;  // the logits after it are NaN

inline std::uint64_t fake_hash(std::uint64_t hash, TokenId token) {
  return (hash + static_cast<std::uint64_t>(token) + 1) * 0x9E3779B97F4A7C15u ^ hash >> 29;
}

/// The logits after tokens whose hash is `hash`; those of kPoison and kBroken are so low that they are never chosen.
inline void fake_logits(std::uint64_t hash, float* out) {
  for (std::uint32_t v = 0; v < kFakeVocab; ++v) {
    const auto low = static_cast<std::uint32_t>(hash), high = static_cast<std::uint32_t>(hash >> 32);
    out[v] = v >= kBroken ? -1e9f : 5 * static_cast<float>(philox4x32_10({v, 0, 0, 0}, {low, high})[0] >> 8) * 0x1p-24f;
  }
}

/// What a step brought, for tests to look at.
struct FakeStep {
  std::size_t tokens, sequences, logit_rows;
  bool ran_ahead;  // some token wasn't known on the host
};

class FakeModel final : public Model {
 public:
  FakeModel() {
    shape_.mamba.push_back({.conv_channels = 1, .conv_width = 2, .heads = 1, .head_dim = 1, .state_size = 2});
    shape_.attention.push_back({.heads = 1, .head_dim = 1});
  }
  std::int64_t vocab_size() const override { return kFakeVocab; }
  std::int64_t max_context() const override { return 1000; }
  const StateShape& state_shape() const override { return shape_; }
  std::int64_t workspace_bytes(std::int64_t, std::int64_t) const override { return 64; }
  WorkLimits work_limits() const override { return {}; }

  void forward(const Step& step, Matrix logits) const override {
    const Batch& batch = step.batch.host;
    const auto ahead = std::find(batch.tokens.begin(), batch.tokens.end(), kTokenOfLastStep) != batch.tokens.end();
    steps.push_back({batch.tokens.size(), batch.sequences.size(), batch.logit_rows.size(), ahead});
    std::int64_t logit_row = 0;
    for (const SequenceRows& s : batch.sequences) {
      std::uint64_t hash;
      std::byte* recurrent = step.states.ssm[0].data.get() + s.slot * 8;
      std::memcpy(&hash, recurrent, 8);
      for (std::int64_t i = 0; i < s.count; ++i) {
        TokenId token = batch.tokens[static_cast<std::size_t>(s.first_row + i)];
        if (token == kPoison) throw Error(ErrorCode::failure, "the step was poisoned");
        if (token == kTokenOfLastStep) token = static_cast<FakeBackend&>(step.backend).last_token.at(s.slot);
        hash = fake_hash(hash, token);
        const auto stored = static_cast<std::uint16_t>(token);
        std::memcpy(place(step.states.kv[0], s, s.position + i), &stored, 2);
        if (logit_row == logits.rows || batch.logit_rows[static_cast<std::size_t>(logit_row)] != s.first_row + i)
          continue;
        CHECK(hash == hash_of_pages(step.states.kv[0], s, s.position + i + 1),
              "slot and pages tell of different pasts");
        fake_logits(hash, logits.row<float>(logit_row));
        if (token == kBroken) logits.row<float>(logit_row)[3] = std::numeric_limits<float>::quiet_NaN();
        ++logit_row;
      }
      std::memcpy(recurrent, &hash, 8);
    }
    CHECK(logit_row == logits.rows, "logit rows that are not in order");
  }

  mutable std::vector<FakeStep> steps;

 private:
  static std::byte* place(const KvPages& kv, const SequenceRows& s, std::int64_t position) {
    const std::int64_t page = s.pages[static_cast<std::size_t>(position / kPageSize)];
    return kv.data.get() + (page * 2 * kPageSize + position % kPageSize) * 2;
  }
  static std::uint64_t hash_of_pages(const KvPages& kv, const SequenceRows& s, std::int64_t length) {
    std::uint64_t hash = 0;
    for (std::int64_t p = 0; p < length; ++p) {
      std::uint16_t token;
      std::memcpy(&token, place(kv, s, p), 2);
      hash = fake_hash(hash, token);
    }
    return hash;
  }
  StateShape shape_;
};

}  // namespace strata
