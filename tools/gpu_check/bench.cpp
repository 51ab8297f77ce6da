#include "tools/gpu_check/bench.h"

#include <cuda_profiler_api.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <set>

#include "base/json.h"
#include "model/registry.h"
#include "state/state_pool.h"
#include "tools/gpu_check/device_weights.h"

namespace strata::gpu_check {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Bytes read and written a second by a copy of 4 GiB, the best of 5.
double copy_rate(CudaBackend& backend) {
  constexpr std::int64_t kBytes = std::int64_t{4} << 30;
  const Buffer from = backend.allocate(kBytes), to = backend.allocate(kBytes);
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    backend.wait(backend.mark());
    const auto start = Clock::now();
    backend.copy(from.get(), to.get(), kBytes);
    backend.wait(backend.mark());
    if (i > 0) best = std::max(best, 2.0 * kBytes / seconds_since(start));
  }
  return best;
}

/// Counts the experts that a step's tokens go to, layer by layer.
class CountExperts : public Probe {
 public:
  explicit CountExperts(CudaBackend& backend) : backend_(backend) {}
  void routing(ConstMatrix, const Routing& chosen) override {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(chosen.ids.rows * chosen.ids.stride));
    backend_.download(chosen.ids.data, std::as_writable_bytes(std::span(ids)));
    distinct_ += static_cast<double>(std::set(ids.begin(), ids.end()).size());
    ++layers_;
  }
  double mean() const { return distinct_ / layers_; }

 private:
  CudaBackend& backend_;
  double distinct_ = 0, layers_ = 0;
};

/// What keys and values are kept as: fp8, as the release declares, or what KV_CACHE says.
DType kv_type() {
  const char* name = std::getenv("KV_CACHE");
  return name && std::string_view(name) == "bf16" ? DType::bf16 : DType::f8_e4m3;
}

/// Steps of a batch of sequences, enqueued as the engine does, with tokens from a random stream.
class Runner {
 public:
  Runner(CudaBackend& backend, const Model& model, std::int64_t sequences, std::int64_t context, std::int64_t chunk)
      : backend_(backend),
        model_(model),
        chunk_(chunk),
        pool_(backend, {model.state_shape(), backend.state_types(kv_type())}, sequences,
              sequences * StateLayout::pages_for(context)),
        workspace_(backend, model.workspace_bytes(chunk, sequences)),
        logits_(backend.allocate(sequences * model.vocab_size() * 4)),
        samples_(backend.allocate(sequences * (2 + 2 * kMaxTopLogprobs) * 4)) {
    WorkLimits work = model.work_limits();
    work.tokens = chunk;
    work.logit_rows = work.sequences = work.slots = sequences;
    work.context = context;
    backend.reserve(work);
    for (std::int64_t s = 0; s < sequences; ++s) {
      auto state = pool_.acquire();
      CHECK(state, "a slot for every sequence");
      states_.push_back(std::move(*state));
      CHECK(pool_.reserve(states_.back(), context), "pages for every sequence");
    }
  }

  /// `count` tokens for one sequence, sampled from at the end; waits.
  void prefill(std::size_t sequence, std::int64_t count) {
    for (std::int64_t left = count; left > 0;) {
      const std::int64_t n = std::min(left, chunk_);
      left -= n;
      step({&states_[sequence], 1}, n, left == 0, false, nullptr);
    }
    backend_.wait(backend_.mark());
  }
  /// Steps of one token for each sequence, two in flight.
  void decode(std::int64_t steps, bool replay = true) {
    std::uint64_t before = 0;
    for (std::int64_t i = 0; i < steps; ++i) {
      step(states_, 1, true, replay, nullptr);
      const std::uint64_t mark = backend_.mark();
      if (before) backend_.wait(before);
      before = mark;
    }
    backend_.wait(before);
  }
  double distinct_experts() {
    CountExperts count(backend_);
    step(states_, 1, true, false, &count);
    backend_.wait(backend_.mark());
    return count.mean();
  }
  bool logits_are_finite() {
    std::vector<float> logits(static_cast<std::size_t>(model_.vocab_size()));
    backend_.download(logits_.get(), std::as_writable_bytes(std::span(logits)));
    return std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); });
  }

 private:
  void step(std::span<SequenceState> states, std::int64_t count, bool sampled, bool replay, Probe* probe) {
    tokens_.clear();
    rows_.clear();
    logit_rows_.clear();
    sampling_.clear();
    for (SequenceState& s : states) {
      rows_.push_back(s.rows(std::ssize(tokens_), count));
      for (std::int64_t i = 0; i < count; ++i)
        tokens_.push_back(static_cast<TokenId>(random_() % static_cast<std::uint64_t>(model_.vocab_size())));
      if (sampled) logit_rows_.push_back(static_cast<std::int32_t>(tokens_.size()) - 1);
      if (sampled) sampling_.push_back({.parameters = &greedy_, .position = 0});
      s.advance(count);
    }
    const StagedBatch batch = backend_.stage({tokens_, rows_, logit_rows_});
    const std::int64_t vocab = model_.vocab_size(), n = std::ssize(logit_rows_);
    const Matrix logits{logits_.get(), DType::f32, n, vocab, vocab};
    const auto body = [&] { model_.forward({backend_, workspace_, batch, pool_.layers(), probe}, logits); };
    if (replay) {
      backend_.run(states.size(), body);
    } else {
      body();
    }
    if (!sampled) return;
    std::byte* at = samples_.get();
    constexpr std::int64_t kTop = kMaxTopLogprobs;
    backend_.sample(batch, logits, sampling_,
                    {{at, DType::i32, n, 1, 1},
                     {at + 4 * n, DType::f32, n, 1, 1},
                     {at + 8 * n, DType::i32, n, kTop, kTop},
                     {at + 8 * n + 4 * kTop * n, DType::f32, n, kTop, kTop}});
  }

  CudaBackend& backend_;
  const Model& model_;
  std::int64_t chunk_;
  StatePool pool_;
  Workspace workspace_;
  Buffer logits_, samples_;
  std::vector<SequenceState> states_;
  std::vector<TokenId> tokens_;
  std::vector<SequenceRows> rows_;
  std::vector<std::int32_t> logit_rows_;
  std::vector<SamplingRow> sampling_;
  SamplingParameters greedy_;
  std::mt19937_64 random_{1};
};

/// Operations of a prompt (design figures of the full-size Nano): linear layers, scan, attention.
double prompt_operations(double tokens) { return (5.749e9 + 0.078e9) * tokens + 49152.0 * tokens * tokens; }
/// Bytes of weights that a prompt reads at least once.
constexpr double kPromptBytes = 18.63e9;

/// MB that a step must move (design figures of the full-size Nano): weights but the experts', experts, SSM state read
/// and written, keys and values, the rest.
double step_megabytes(double batch, double context, double experts) {
  const double of_key = 0.003072 * static_cast<double>(size_of(kv_type()));
  return 2112 + 23 * experts * 5.6125 + 96.47 * batch + of_key * context * batch + 2.2 * batch;
}

std::vector<std::int64_t> numbers(const char* name, std::vector<std::int64_t> fallback) {
  const char* text = std::getenv(name);
  if (!text) return fallback;
  std::vector<std::int64_t> values;
  for (char* at = const_cast<char*>(text); *at;) {
    values.push_back(std::strtoll(at, &at, 10));
    if (*at == ',') ++at;
  }
  return values;
}

}  // namespace

void bench(const std::vector<std::string>& what) {
  const auto asked = [&](const char* name) {
    return what.empty() || std::find(what.begin(), what.end(), name) != what.end();
  };
  CudaOptions options;
  options.overlap = !(what.size() > 1 && asked("no-overlap"));
  options.fast = !what.empty() && asked("fast");
  CudaBackend backend(options);
  const double rate = copy_rate(backend);
  std::printf("%s; copy %.0f GB/s (read and written)\n", backend.description().c_str(), rate * 1e-9);
  const auto start = Clock::now();
  DeviceWeights weights(backend);
  const auto model = bind_model(read_json("bench/configs/nano-nvfp4/config.json"), "nano", weights);
  backend.wait(backend.mark());
  std::printf("weights: %.2f GB in %.2f s\n", static_cast<double>(weights.bytes()) * 1e-9, seconds_since(start));
  Json rows = Json::array();

  if (asked("decode")) {
    for (const std::int64_t context : numbers("CONTEXTS", {1024})) {
      for (const std::int64_t batch : numbers("BATCHES", {1, 2, 4, 8, 16, 32, 64})) {
        const std::int64_t steps = batch == 1 ? 200 : 100, fill = context;
        Runner runner(backend, *model, batch, context + 2 * steps + 16, std::max<std::int64_t>(1024, batch));
        for (std::int64_t s = 0; s < batch; ++s) runner.prefill(static_cast<std::size_t>(s), fill);
        runner.decode(8);
        double best = 1e9, sum = 0;
        for (int i = 0; i < 2; ++i) {
          const auto begin = Clock::now();
          runner.decode(steps / 2);
          const double each = seconds_since(begin) / static_cast<double>(steps / 2);
          best = std::min(best, each);
          sum += each / 2;
        }
        const double experts = runner.distinct_experts();
        const double megabytes = step_megabytes(static_cast<double>(batch), static_cast<double>(context), experts);
        const double floor = megabytes * 1e6 / rate;
        std::printf(
            "decode  batch %3ld  context %6ld  %8.1f tok/s  %7.1f us a step  %5.1f experts  %6.0f MB  %.3f of the "
            "floor  "
            "%ld kernels  %s  %s\n",
            long(batch), long(context), static_cast<double>(batch) / sum, sum * 1e6, experts, megabytes, floor / sum,
            long(backend.graph_kernels()), runner.logits_are_finite() ? "finite" : "NOT FINITE",
            std::string(name_of(kv_type())).c_str());
        std::fflush(stdout);
        rows.push_back({{"test", "decode"},
                        {"batch", batch},
                        {"context", context},
                        {"keys", std::string(name_of(kv_type()))},
                        {"tokens_per_s", static_cast<double>(batch) / sum},
                        {"distinct_experts", experts},
                        {"megabytes", megabytes},
                        {"of_floor", floor / sum},
                        {"kernels", backend.graph_kernels()}});
      }
    }
  }
  if (asked("prefill")) {
    const double operations = matrix_rate(backend);
    std::printf("matrix unit %.0f TFLOP/s of bf16\n", operations * 1e-12);
    for (const std::int64_t length : numbers("PROMPTS", {512, 2048, 8192})) {
      Runner runner(backend, *model, 4, length, numbers("CHUNK", {backend.prompt_chunk()})[0]);
      runner.prefill(0, length);
      std::vector<double> times;
      for (std::size_t i = 1; i < 4; ++i) {
        const auto begin = Clock::now();
        runner.prefill(i, length);
        times.push_back(seconds_since(begin));
      }
      std::sort(times.begin(), times.end());
      const auto tokens = static_cast<double>(length);
      const double floor = std::max(kPromptBytes / rate, operations > 0 ? prompt_operations(tokens) / operations : 0.0);
      std::printf("prefill %6ld tokens  %8.0f tok/s  %7.1f ms  %.3f of the floor  %s  %s\n", long(length),
                  tokens / times[1], times[1] * 1e3, floor / times[1], options.fast ? "fast" : "exact",
                  runner.logits_are_finite() ? "finite" : "NOT FINITE");
      std::fflush(stdout);
      rows.push_back({{"test", "prefill"},
                      {"tokens", length},
                      {"tokens_per_s", tokens / times[1]},
                      {"of_floor", floor / times[1]}});
    }
  }
  // For a profiler that starts with the program's word: one step, eagerly.
  if (!what.empty() && asked("profile")) {
    const std::int64_t batch = numbers("BATCHES", {1})[0], length = numbers("PROMPTS", {0})[0];
    Runner runner(backend, *model, batch, std::max<std::int64_t>(length * 2, 1024) + 64, 2048);
    runner.prefill(0, length > 0 ? length : 1024);
    if (length == 0) runner.decode(3, false);
    cudaProfilerStart();
    if (length > 0) {
      runner.prefill(0, length);
    } else {
      runner.decode(1, false);
    }
    cudaProfilerStop();
  }
  if (const char* out = std::getenv("OUT"); out && !rows.empty()) {
    std::ofstream(std::string(out) + (options.fast ? "/cuda-fast.json" : "/cuda.json"))
        << Json{{"gpu", backend.description()}, {"copy_gb_s", rate * 1e-9}, {"rows", rows}}.dump(2) << '\n';
  }
}

}  // namespace strata::gpu_check
