#include "apps/plan_command.h"

#include <iostream>
#include <memory>

#include "apps/chat_model.h"
#include "apps/model_path.h"
#include "apps/progress.h"
#include "backend/registry/make_backend.h"

namespace strata {
namespace {

struct PlanOptions {
  std::string model;
  MachineOptions machine;
  std::int64_t sequences = 1;
  bool json = false;
};

Json as_json(const MemoryPlan& plan, const EngineOptions& options, const Model& model, const Backend& backend) {
  const StateLayout layout{model.state_shape(), backend.state_types(options.kv_type)};
  return {{"fits", plan.fits()},
          {"backend", backend.description()},
          {"context", options.context},
          {"sequences", options.max_sequences},
          {"chunk", options.chunk},
          {"kv_cache", name_of(options.kv_type)},
          {"bytes",
           {{"weights", plan.weights},
            {"state", plan.state},
            {"kv", plan.kv},
            {"workspace", plan.workspace},
            {"scratch", plan.scratch},
            {"program", plan.program},
            {"total", plan.total()},
            {"available", plan.available}}},
          {"bytes_per_sequence", layout.slot_bytes()},
          {"bytes_per_token", layout.kv_bytes_per_token()},
          {"max_context", model.max_context()},
          {"largest_context", plan.largest_context},
          {"largest_sequences", plan.largest_sequences}};
}

void print_row(const char* what, std::int64_t bytes, const std::string& remark) {
  std::printf("%-18s %9s  %s\n", what, format_bytes(static_cast<double>(bytes)).c_str(), remark.c_str());
}

void print(const MemoryPlan& plan, const EngineOptions& options, const Model& model, const Backend& backend,
           const MachineOptions& machine) {
  const StateLayout layout{model.state_shape(), backend.state_types(options.kv_type)};
  const auto each = [](std::int64_t bytes, const char* what) {
    return format_bytes(static_cast<double>(bytes)) + " a " + what;
  };
  const std::string sequences =
      format_count(options.max_sequences) + (options.max_sequences == 1 ? " sequence" : " sequences");
  const std::string asked = sequences + " of " + format_count(options.context) + " tokens";
  print_row("weights", plan.weights, describe(backend, machine));
  print_row("recurrent state", plan.state, sequences + ", " + each(layout.slot_bytes(), "sequence"));
  print_row("keys and values", plan.kv,
            asked + ", " + std::string(name_of(options.kv_type)) + ", " + each(layout.kv_bytes_per_token(), "token"));
  print_row("workspace", plan.workspace, "a step of " + format_count(options.chunk) + " tokens");
  print_row("backend's scratch", plan.scratch, "");
  print_row("program", plan.program, "an allowance for code, tokenizer and loading");
  print_row("in all", plan.total(), plan.fits() ? "fits" : "does not fit");
  print_row("available", plan.available, "");
  std::printf("\nlargest context for %s: %s tokens (the model's longest is %s)\n", sequences.c_str(),
              format_count(plan.largest_context).c_str(), format_count(model.max_context()).c_str());
  std::printf("most sequences of %s tokens: %s\n", format_count(options.context).c_str(),
              format_count(plan.largest_sequences).c_str());
  std::fflush(stdout);
}

void run(const PlanOptions& asked) {
  const Checkpoint checkpoint = Checkpoint::open(find_model(asked.model));
  const std::unique_ptr<Backend> backend = make_backend(asked.machine.backend);
  const Skeleton skeleton = bind_skeleton(checkpoint, *backend);
  EngineOptions options;
  options.max_sequences = asked.sequences;
  const MemoryPlan plan = plan_engine(checkpoint, skeleton, *backend, asked.machine, options);
  if (asked.json) {
    std::cout << as_json(plan, options, *skeleton.model, *backend).dump(2) << std::endl;
  } else {
    print(plan, options, *skeleton.model, *backend, asked.machine);
  }
  if (!plan.fits()) throw CLI::RuntimeError("does not fit", 4);
}

}  // namespace

void add_plan_command(CLI::App& program) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = program.add_subcommand("plan", "Show what of a model fits into this machine's memory.");
  command->add_option("MODEL", options->model, "A model folder, or org/name in the Hugging Face cache")->required();
  command->add_option("--sequences,-j,--parallel,--max-num-seqs", options->sequences, "Sequences that run at a time")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object");
  add_machine_options(*command, options->machine);
  command->footer("Reads no weights. Exit code 4 if it does not fit.");
  command->callback([options] { run(*options); });
}

}  // namespace strata
