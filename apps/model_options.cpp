#include "apps/model_options.h"

#include "apps/model_path.h"
#include "apps/progress.h"
#include "base/error.h"
#include "engine/memory_plan.h"
#include "model/registry.h"

namespace strata {

void add_device_options(CLI::App& command, DeviceOptions& options) {
  std::vector<std::string> backends = known_backends();
  backends.insert(backends.begin(), "auto");
  command.add_option("--backend", options.backend.name, "What computes; auto: cuda if there is a usable GPU, else cpu")
      ->capture_default_str()
      ->check(CLI::IsMember(backends));
  command
      .add_option("--numerics", options.backend.numerics,
                  "exact: the same tokens give the same bits; fast: prompts may differ from single tokens (cuda)")
      ->capture_default_str()
      ->check(CLI::IsMember({"exact", "fast"}));
  command.add_option("-t,--threads", options.backend.threads, "Threads; 0: all that this process may run on")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024));
  command.add_flag("--pin", options.backend.pin, "Keep each thread of the cpu backend on a core of its own");
  command.add_option("--isa", options.backend.isa, "Instruction set of the cpu backend; none: the best that is there")
      ->check(CLI::IsMember(cpu_isas()));
  command
      .add_option("--kv-cache", options.kv_cache,
                  "Type of keys and values; auto: fp8 if the checkpoint says so, else bf16")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "bf16", "fp8"}));
}

std::string describe(const Backend& backend, const DeviceOptions& options) {
  const std::string reason = choose_backend(options.backend).reason;
  return backend.description() + (backend.name() == "cuda" ? "" : ", exact numerics") +
         (reason.empty() ? "" : " (" + reason + ")");
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("MODEL,-m,--model", options.model,
                     "A model folder or org/name of the Hugging Face cache; none: the demo");
  add_device_options(command, options);
}

std::filesystem::path model_folder(const std::string& model) {
  return model.empty() ? demo_model() : find_model(model);
}

DType kv_cache_type(const Checkpoint& checkpoint, const std::string& asked) {
  if (asked == "fp8") return DType::f8_e4m3;
  const auto& declared = checkpoint.quant_config();
  return asked == "auto" && declared && declared->fp8_kv_cache() ? DType::f8_e4m3 : DType::bf16;
}

Skeleton bind_skeleton(const Checkpoint& checkpoint, const Backend& backend) {
  WeightList list;
  CheckpointWeights weights(checkpoint);
  Skeleton skeleton;
  skeleton.model = bind_model(checkpoint, list);
  skeleton.available = backend.available_memory().value_or(available_memory());
  for (const WeightRequest& request : list.requests()) {
    const std::int64_t bytes = weight_bytes({request}, weights, backend);
    skeleton.weights.push_back({request, bytes});
    skeleton.weight_bytes += bytes;
  }
  return skeleton;
}

void refuse_unless_weights_fit(const Checkpoint& checkpoint, const Skeleton& skeleton) {
  const std::int64_t needed = skeleton.weight_bytes + kProgramAllowance;
  if (const std::int64_t available = skeleton.available; needed > available)
    throw Error(ErrorCode::out_of_memory, checkpoint.folder().string() + ": the weights take " +
                                              format_bytes(static_cast<double>(needed)) + " and " +
                                              format_bytes(static_cast<double>(available)) +
                                              " are available; end other programs or use a machine with more memory");
}

std::unique_ptr<Model> load_with_progress(const Checkpoint& checkpoint, Backend& backend,
                                          const std::function<bool()>& give_up) {
  LoadProgress progress(checkpoint.file_bytes());
  auto model = load_model(checkpoint, backend, [&](std::int64_t bytes) {
    if (give_up && give_up()) throw Error(ErrorCode::failure, "loading was given up");
    progress.update(bytes);
  });
  progress.done();
  return model;
}

}  // namespace strata
