#include "tools/gpu_check/full_size_law.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "base/json.h"
#include "model/registry.h"
#include "state/state_pool.h"
#include "tools/gpu_check/device_weights.h"

namespace strata::gpu_check {
namespace {

constexpr std::int64_t kChunk = 2048;
using Row = std::vector<float>;

/// One sequence whose token at a position is always the same.
class Prompt {
 public:
  /// `most`: tokens of a step.
  Prompt(CudaBackend& backend, const Model& model, std::int64_t context, std::int64_t most = kChunk)
      : backend_(backend),
        model_(model),
        pool_(backend, {model.state_shape(), backend.state_types(DType::f8_e4m3)}, 1, StateLayout::pages_for(context)),
        workspace_(backend, model.workspace_bytes(most, 1)),
        logits_(backend.allocate(model.vocab_size() * 4)) {
    WorkLimits work = model.work_limits();
    work.tokens = most;
    work.logit_rows = work.sequences = work.slots = 1;
    work.context = context;
    backend.reserve(work);
    auto state = pool_.acquire();
    CHECK(state && pool_.reserve(*state, context), "a slot, and pages for the context");
    state_.emplace(std::move(*state));
  }

  /// Goes on up to `length` tokens, `chunk` a step, and gives the last one's logits.
  Row extend(std::int64_t length, std::int64_t chunk) {
    while (length_ < length) {
      const std::int64_t count = std::min(chunk, length - length_);
      std::vector<TokenId> tokens;
      for (std::int64_t i = 0; i < count; ++i)
        tokens.push_back(
            static_cast<TokenId>((static_cast<std::uint64_t>(length_ + i + 1) * 0x9e3779b97f4a7c15u >> 33) %
                                 static_cast<std::uint64_t>(model_.vocab_size())));
      const std::vector<SequenceRows> rows{state_->rows(0, count)};
      length_ += count;
      std::vector<std::int32_t> last;
      if (length_ == length || count == 1) last.push_back(static_cast<std::int32_t>(count) - 1);
      const StagedBatch batch = backend_.stage({tokens, rows, last});
      const Matrix logits{logits_.get(), DType::f32, std::ssize(last), model_.vocab_size(), model_.vocab_size()};
      const auto body = [&] { model_.forward({backend_, workspace_, batch, pool_.layers(), nullptr}, logits); };
      if (count == 1) {
        backend_.run(1, body);
      } else {
        body();
      }
      state_->advance(count);
      backend_.wait(backend_.mark());
    }
    Row row(static_cast<std::size_t>(model_.vocab_size()));
    backend_.download(logits_.get(), std::as_writable_bytes(std::span(row)));
    return row;
  }

 private:
  CudaBackend& backend_;
  const Model& model_;
  StatePool pool_;
  Workspace workspace_;
  Buffer logits_;
  std::optional<SequenceState> state_;
  std::int64_t length_ = 0;
};

class Checks {
 public:
  explicit Checks(bool fast) : fast_(fast) {}
  /// `alike`: cut alike, so that fast numerics give the same bits too.
  void compare(const std::string& what, const Row& a, const Row& b, bool alike) {
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
      size += double{a[i]} * a[i];
    }
    const double distance = std::sqrt(difference / size);
    const bool same = std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    const bool good = std::isfinite(size) && size > 0 && (same || (fast_ && !alike));
    std::printf("  %-58s %s, rel L2 %.1e%s\n", what.c_str(), same ? "same bits" : "other bits", distance,
                good ? "" : "  FAILED");
    std::fflush(stdout);
    failed_ += !good;
  }
  int failed() const { return failed_; }

 private:
  bool fast_;
  int failed_ = 0;
};

}  // namespace

int full_size_law(const std::vector<std::string>& what) {
  const auto named = [&](const char* name) { return std::find(what.begin(), what.end(), name) != what.end(); };
  CudaOptions options;
  options.fast = named("fast");
  const auto asked = [&](const char* name) { return what.size() == (options.fast ? 1 : 0) || named(name); };
  Checks checks(options.fast);
  const auto with_model = [&](const CudaOptions& for_backend, auto use) {
    CudaBackend backend(for_backend);
    std::printf("%s\n", backend.description().c_str());
    DeviceWeights weights(backend);
    const auto model = bind_model(read_json("bench/configs/nano-nvfp4/config.json"), "nano", weights);
    const auto run = [&](std::int64_t length, std::int64_t chunk, std::int64_t singles) {
      Prompt prompt(backend, *model, length, std::max(chunk, kChunk));
      if (length > singles) {
        Row row = prompt.extend(length - singles, chunk);
        if (singles == 0) return row;
      }
      return prompt.extend(length, 1);
    };
    use(backend, *model, run);
  };
  with_model(options, [&](CudaBackend& backend, const Model& model, auto run) {
    if (asked("prefix")) {
      Prompt single(backend, model, 4 * kChunk);
      std::vector<Row> rows;
      const std::int64_t lengths[] = {1, kChunk - 1, kChunk, kChunk + 1, 3 * kChunk, 4 * kChunk};
      for (const std::int64_t length : lengths) rows.push_back(single.extend(length, 1));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const std::string name = std::to_string(lengths[i]) + " tokens: ";
        const Row whole = run(lengths[i], kChunk, 0);
        checks.compare(name + "chunks of 2048 against one by one", whole, rows[i], false);
        checks.compare(name + "chunks of 2048 again", whole, run(lengths[i], kChunk, 0), true);
        checks.compare(name + "chunks of 777", whole, run(lengths[i], 777, 0), false);
        if (lengths[i] > kChunk) checks.compare(name + "one step", whole, run(lengths[i], lengths[i], 0), false);
      }
    }
    if (asked("long")) {
      const std::int64_t length = 64 * kChunk;
      const Row whole = run(length, kChunk, 0);
      checks.compare("131072 tokens: chunks of 2048 against 1777", whole, run(length, 1777, 0), false);
      checks.compare("131072 tokens: the last 512 one by one", whole, run(length, kChunk, 512), false);
    }
  });
  if (asked("kernels") && !options.fast) {
    Row with, without;
    const auto into = [](Row& row) {
      return [&row](CudaBackend&, const Model&, auto run) { row = run(2 * kChunk + 100, kChunk, 0); };
    };
    with_model(options, into(with));
    options.prompts = false;
    with_model(options, into(without));
    checks.compare("4196 tokens: kernels of prompts against the plain ones", with, without, true);
  }
  std::printf("%d checks failed\n", checks.failed());
  return checks.failed();
}

}  // namespace strata::gpu_check
