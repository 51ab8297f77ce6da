#include "apps/chat_model.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "apps/progress.h"
#include "base/error.h"

namespace strata {
namespace {

std::optional<ChatTemplate> load_template(const std::filesystem::path& folder) {
  std::error_code error;
  bool there = std::filesystem::exists(folder / "chat_template.jinja", error);
  if (const auto path = folder / "tokenizer_config.json"; !there && std::filesystem::exists(path, error)) {
    const Json config = read_json(path);
    there = config.is_object() && config.contains("chat_template") && !config["chat_template"].is_null();
  }
  if (!there) return std::nullopt;
  return ChatTemplate::load(folder);
}

std::vector<TokenId> find_stop_tokens(const Checkpoint& checkpoint, const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens;
  const auto add = [&](const Json& id) {
    if (!id.is_number_integer() || id < 0 || id > 0x7fffffff) return;
    const auto token = id.get<TokenId>();
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
  };
  for (const Json* config : {&checkpoint.config(), &checkpoint.generation_config()}) {
    const auto eos = config->find("eos_token_id");
    if (eos == config->end()) continue;
    if (eos->is_array()) {
      for (const Json& id : *eos) add(id);
    } else {
      add(*eos);
    }
  }
  if (const auto id = tokenizer.find("<|im_end|>")) add(*id);
  return tokens;
}

std::string bytes_of(std::int64_t bytes) { return format_bytes(static_cast<double>(bytes)); }

/// Sequences that run at a time unless the flags say otherwise.
constexpr std::int64_t kMostSequences = 64;

/// Steps of a prompt are made no shorter than this for want of memory.
constexpr std::int64_t kLeastPromptChunk = 2048;

/// The context that fewer sequences are better than a shorter one of.
std::int64_t wanted_context(const Skeleton& skeleton, const MachineOptions& machine) {
  return machine.context > 0 ? machine.context : std::min(skeleton.model->max_context(), kDefaultContext);
}

}  // namespace

void add_machine_options(CLI::App& command, MachineOptions& options) {
  add_device_options(command, options);
  command
      .add_option(
          "--chunk,--ubatch-size", options.chunk,
          "Tokens of the prompt that are computed in one step (default: 512, on a GPU up to 8192, as memory allows)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20));
  command
      .add_option("-c,--ctx,--ctx-size,--max-model-len", options.context,
                  "Tokens that prompt and answer may have together (default: 32768 or the model's longest, as far as "
                  "memory allows)")
      ->check(CLI::PositiveNumber);
}

MemoryPlan plan_engine(const Checkpoint& checkpoint, const Skeleton& skeleton, const Backend& backend,
                       const MachineOptions& machine, EngineOptions& options) {
  options.chunk = std::max(machine.chunk > 0 ? machine.chunk : backend.prompt_chunk(), options.max_sequences);
  options.kv_type = kv_cache_type(checkpoint, machine.kv_cache);
  const std::int64_t longest = skeleton.model->max_context();
  if (machine.context > longest) {
    throw Error(ErrorCode::usage, "--ctx is " + std::to_string(machine.context) + "; this model's longest context is " +
                                      std::to_string(longest));
  }
  options.context = machine.context > 0 ? machine.context : std::min(longest, kDefaultContext);
  // Room for a copy of a partly filled page for each state that is set aside.
  const auto plan = [&] {
    options.kv_tokens =
        (options.max_sequences * StateLayout::pages_for(options.context) + options.spare_slots) * kPageSize;
    return plan_memory(skeleton.weight_bytes, *skeleton.model, backend, options, skeleton.available);
  };
  MemoryPlan result = plan();
  // Steps as long as a sixteenth of the memory has room for, if they cost no context.
  while (machine.chunk == 0 && options.chunk >= 2 * std::max(kLeastPromptChunk, options.max_sequences) &&
         (!result.fits() || result.workspace + result.scratch > result.available / 16)) {
    options.chunk /= 2;
    result = plan();
  }
  if (machine.context == 0 && !result.fits() && result.largest_context > 0) {
    // Whole pages, so that the figure is round, unless there is less than one.
    const std::int64_t pages = result.largest_context / kPageSize;
    options.context = pages > 0 ? pages * kPageSize : result.largest_context;
    result = plan();
  }
  return result;
}

std::string describe(const MemoryPlan& plan, const EngineOptions& options) {
  return "weights " + bytes_of(plan.weights) + ", state " + bytes_of(plan.state) + ", keys and values " +
         bytes_of(plan.kv) + " (" + format_count(options.context) + " tokens, " +
         std::string(name_of(options.kv_type)) + "), work " + bytes_of(plan.workspace + plan.scratch);
}

void refuse_unless_fits(const MemoryPlan& plan, const EngineOptions& options) {
  if (plan.fits()) return;
  const std::string needs = "the model needs " + bytes_of(plan.total()) + " for a context of " +
                            std::to_string(options.context) + " tokens and " + bytes_of(plan.available) +
                            " are available (" + describe(plan, options) + "); ";
  throw Error(ErrorCode::out_of_memory,
              needs + (plan.largest_context > 0
                           ? "the largest context that fits is --ctx " + std::to_string(plan.largest_context)
                           : "no context fits: free memory, or take a smaller model or a machine with more"));
}

ChatModel::ChatModel(const std::filesystem::path& folder, const MachineOptions& machine, const EngineShape& shape)
    : checkpoint_(Checkpoint::open(folder)) {
  backend_ = make_backend(machine.backend);
  std::fprintf(stderr, "model     %s, %s\n", folder.c_str(), describe(*backend_, machine).c_str());
  options_.max_queue = shape.max_queue;
  options_.max_queued_tokens = shape.max_queued_tokens;
  const Skeleton skeleton = bind_skeleton(checkpoint_, *backend_);
  const auto plan_for = [&](std::int64_t sequences) {
    options_.max_sequences = sequences;
    options_.spare_slots = shape.snapshots < 0 ? sequences : shape.snapshots;
    return plan_engine(checkpoint_, skeleton, *backend_, machine, options_);
  };
  MemoryPlan plan = plan_for(shape.sequences > 0 ? shape.sequences : kMostSequences);
  for (std::int64_t n = kMostSequences / 2; shape.sequences == 0 && n > 0; n /= 2) {
    if (plan.fits() && plan.total() <= plan.available / 4 * 3 && options_.context >= wanted_context(skeleton, machine))
      break;
    plan = plan_for(n);
  }
  refuse_unless_fits(plan, options_);
  std::fprintf(stderr, "plan      %s; %s available\n", describe(plan, options_).c_str(),
               bytes_of(plan.available).c_str());
  weight_bytes_ = plan.weights;

  tokenizer_ = Tokenizer::load(folder);
  template_ = load_template(folder);
  stop_tokens_ = find_stop_tokens(checkpoint_, *tokenizer_);
  model_ = load_with_progress(checkpoint_, *backend_, shape.give_up);
  if (shape.check) shape.check(*model_, *backend_, options_);
  engine_ = std::make_unique<Engine>(*model_, *backend_, options_);
  load_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
}

}  // namespace strata
