#include "tools/gpu_check/load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "backend/cuda/cuda_backend.h"
#include "model/registry.h"
#include "validation/model_runner.h"

namespace strata::gpu_check {

bool load(const std::string& folder, double bar) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  auto last = start;
  const auto lap = [&] {
    const auto now = Clock::now();
    return std::chrono::duration<double>(now - std::exchange(last, now)).count();
  };
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const double open = lap();
  CudaBackend backend;
  const double device = lap();
  const auto model = load_model(checkpoint, backend);
  const double weights = lap();
  ModelRunner runner(*model, backend, {.tokens = 16, .sequences = 1, .context = 64});
  SequenceState state = runner.fresh();
  std::vector<TokenId> prompt;
  for (TokenId t = 0; t < 16; ++t) prompt.push_back(1 + t * 257 % static_cast<TokenId>(model->vocab_size() - 1));
  const Logits logits = runner.feed(state, prompt, 16);
  const auto row = logits.row(logits.rows - 1);
  const bool finite = std::all_of(row.begin(), row.end(), [](float v) { return std::isfinite(v); });
  const TokenId token = largest(row);
  const double first = lap(), total = std::chrono::duration<double>(last - start).count();
  const double gigabytes = static_cast<double>(checkpoint.file_bytes()) * 1e-9;
  const bool good = finite && total <= bar;
  std::printf(
      "%s\n  load: %.2f GB; files opened in %.2f s, GPU in %.2f s, weights in %.2f s (%.2f GB/s), first token "
      "(%d%s) in %.2f s; %.2f s in all, at most %.1f: %s\n",
      backend.description().c_str(), gigabytes, open, device, weights, gigabytes / weights, token,
      finite ? "" : ", NOT FINITE", first, total, bar, good ? "ok" : "FAILED");
  return good;
}

}  // namespace strata::gpu_check
