// A model folder made ready to answer: its text side, what it takes of this machine, its weights, an engine.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/model_options.h"
#include "checkpoint/checkpoint.h"
#include "engine/engine.h"
#include "engine/memory_plan.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace strata {

/// How a model is run; the flags that `run` and `plan` share.
struct MachineOptions : DeviceOptions {
  std::int64_t chunk = 0;    // 0: the backend's prompt_chunk
  std::int64_t context = 0;  // 0: kDefaultContext or the model's longest, as far as it fits
};

inline constexpr std::int64_t kDefaultContext = 32768;

/// The device's flags, --chunk and --ctx, and what llama.cpp calls them.
void add_machine_options(CLI::App& command, MachineOptions& options);

/// Fits `options.context` in if it is 0, and the type of keys and values. Throws Error{usage} for what can't be asked
/// for, never for what doesn't fit.
MemoryPlan plan_engine(const Checkpoint& checkpoint, const Skeleton& skeleton, const Backend& backend,
                       const MachineOptions& machine, EngineOptions& options);

/// "weights 13.4 MB, state 288 kB, keys and values 8.4 MB (4,096 tokens, bf16), work 3.1 MB".
std::string describe(const MemoryPlan& plan, const EngineOptions& options);

/// Throws Error{out_of_memory} with the largest context that would fit and its flag.
void refuse_unless_fits(const MemoryPlan& plan, const EngineOptions& options);

/// What an engine is given beyond what the machine's flags say.
struct EngineShape {
  std::int64_t sequences = 1;  // that run at a time; 0: as many as fit with ease, 64 at most
  std::int64_t snapshots = 0;  // room for so many states that later requests start from; -1: one a sequence
  std::int64_t max_queue = 0, max_queued_tokens = 0;  // as EngineOptions
  /// Called with the loaded model before its engine is made.
  std::function<void(const Model&, Backend&, const EngineOptions&)> check = nullptr;
  /// Asked while weights are read; true ends loading with Error{failure}.
  std::function<bool()> give_up = nullptr;
};

class ChatModel {
 public:
  /// Says on stderr what is loaded and how; refuses what won't fit before it reads a weight. `resumable`: room for the
  /// states that a conversation is resumed from.
  ChatModel(const std::filesystem::path& folder, const MachineOptions& options, bool resumable)
      : ChatModel(folder, options, EngineShape{.snapshots = resumable ? 1 : 0}) {}
  ChatModel(const std::filesystem::path& folder, const MachineOptions& options, const EngineShape& shape);

  const Checkpoint& checkpoint() const { return checkpoint_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /// nullptr if the folder has none: then prompts are completed as they are.
  const ChatTemplate* chat_template() const { return template_ ? &*template_ : nullptr; }
  const Model& model() const { return *model_; }
  const Backend& backend() const { return *backend_; }
  Engine& engine() { return *engine_; }
  const EngineOptions& engine_options() const { return options_; }
  std::int64_t weight_bytes() const { return weight_bytes_; }
  /// The eos tokens of config.json and generation_config.json, and <|im_end|>.
  const std::vector<TokenId>& stop_tokens() const { return stop_tokens_; }
  double load_ms() const { return load_ms_; }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  Checkpoint checkpoint_;
  std::optional<Tokenizer> tokenizer_;  // always there once it is made
  std::optional<ChatTemplate> template_;
  std::vector<TokenId> stop_tokens_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  EngineOptions options_;
  std::int64_t weight_bytes_ = 0;
  std::unique_ptr<Engine> engine_;
  double load_ms_ = 0;
};

}  // namespace strata
