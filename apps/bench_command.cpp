#include "apps/bench_command.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "apps/model_options.h"
#include "apps/progress.h"
#include "apps/step_timer.h"
#include "backend/cpu/machine_rates.h"
#include "base/error.h"
#include "base/json.h"
#include "base/process_memory.h"
#include "base/thread_pool.h"

namespace strata {
namespace {

struct Options {
  ModelOptions model;
  std::vector<std::int64_t> prompts{512}, generated{128}, depths{0}, sequences{1};
  std::int64_t chunk = 0;  // 0: the backend's prompt_chunk
  int repeats = 5;
  bool json = false;
};

/// One row of the table.
struct Test {
  std::int64_t prompt = 0, generated = 0, depth = 0, sequences = 1;
  std::vector<double> speeds;  // tokens a second, one a repeat
  StepCost cost;               // of all its steps
  MachineRates limits;         // the better of before and after it; 0 if they can't be measured
  double resident = 0;         // bytes of this process in memory after its last repeat

  std::string name() const {
    return (prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generated)) +
           (sequences > 1 ? " x" + std::to_string(sequences) : "") + (depth > 0 ? " @ d" + std::to_string(depth) : "");
  }
  double tokens() const { return static_cast<double>(sequences * (prompt + generated)); }
  double mean() const {
    double sum = 0;
    for (const double v : speeds) sum += v;
    return sum / static_cast<double>(speeds.size());
  }
  double median() const {
    std::vector<double> sorted = speeds;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t n = sorted.size();
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
  }
  double deviation() const {
    if (speeds.size() < 2) return 0;
    double sum = 0;
    for (const double v : speeds) sum += (v - mean()) * (v - mean());
    return std::sqrt(sum / static_cast<double>(speeds.size() - 1));
  }
  bool has_limits() const { return limits.read_bytes > 0; }
  /// The time that the machine's limits allow at the least, over the time taken.
  double of_floor() const {
    return std::max(cost.bytes / limits.read_bytes, cost.operations / limits.operations) * median() / tokens();
  }
};

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    return colon == std::string::npos ? line : line.substr(colon + 2);
  }
  return "unknown";
}

std::vector<Test> tests_of(const Options& options) {
  std::vector<Test> tests;
  const auto add = [&](std::int64_t prompt, std::int64_t generated, std::int64_t depth, std::int64_t sequences) {
    if (prompt + generated == 0) return;
    Test& test = tests.emplace_back();
    test.prompt = prompt;
    test.generated = generated;
    test.depth = depth;
    test.sequences = sequences;
  };
  for (const std::int64_t depth : options.depths) {
    for (const std::int64_t n : options.prompts) add(n, 0, depth, 1);
    for (const std::int64_t n : options.generated) {
      for (const std::int64_t sequences : options.sequences) add(0, n, depth, sequences);
    }
  }
  if (tests.empty()) throw Error(ErrorCode::usage, "-p and -n are both 0; nothing is left to measure");
  return tests;
}

/// What all steps of a test read and compute.
StepCost cost_of_test(const Test& test, std::int64_t chunk, const Skeleton& skeleton, const StateLayout& layout) {
  StepCost sum;
  const auto add = [&](const StepShape& shape) {
    const StepCost step = cost_of(skeleton.weights, *skeleton.model, layout, shape);
    sum.bytes += step.bytes;
    sum.operations += step.operations;
    sum.distinct_experts = std::max(sum.distinct_experts, step.distinct_experts);
  };
  for (std::int64_t done = 0; done < test.prompt; done += chunk) {
    const std::int64_t tokens = std::min(chunk, test.prompt - done);
    add({1, tokens, test.depth + done, done + tokens == test.prompt ? 1 : 0});
  }
  for (std::int64_t i = 0; i < test.generated; ++i) add({test.sequences, 1, test.depth + i, test.sequences});
  return sum;
}

void run_test(const Options& options, StepTimer& timer, MachineMeter* meter, Test& test) {
  const std::int64_t warm_up = std::min<std::int64_t>(test.generated, 16);
  timer.measure(test.sequences, test.depth, test.prompt, warm_up);
  const auto look = [&] {
    if (!meter) return;
    const MachineRates now = meter->measure();
    test.limits.read_bytes = std::max(test.limits.read_bytes, now.read_bytes);
    test.limits.operations = std::max(test.limits.operations, now.operations);
  };
  look();
  for (int i = 0; i < options.repeats; ++i) {
    const auto seconds = timer.measure(test.sequences, test.depth, test.prompt, test.generated);
    test.speeds.push_back(test.tokens() / (seconds.prompt + seconds.generation));
  }
  test.resident = static_cast<double>(process_memory().resident);
  look();
}

/// What measures the machine's limits; nothing for a backend that they can't be measured for.
std::unique_ptr<MachineMeter> make_meter(const Backend& made, const BackendOptions& backend) {
  if (made.name() != "cpu") return nullptr;
  return std::make_unique<MachineMeter>(backend.threads > 0 ? backend.threads : available_threads(),
                                        backend.isa.empty() ? best_isa() : isa_from_name(backend.isa));
}

Json as_json(const Test& t) {
  Json row{{"n_prompt", t.prompt},
           {"n_gen", t.generated},
           {"n_depth", t.depth},
           {"n_sequences", t.sequences},
           {"avg_ts", t.mean()},
           {"stddev_ts", t.deviation()},
           {"median_ts", t.median()},
           {"samples_ts", t.speeds},
           {"bytes_per_token", t.cost.bytes / t.tokens()},
           {"operations_per_token", t.cost.operations / t.tokens()},
           {"distinct_experts", t.cost.distinct_experts},
           {"resident_bytes", t.resident}};
  if (t.has_limits()) {
    row["limit_bytes"] = t.limits.read_bytes;
    row["limit_operations"] = t.limits.operations;
    row["of_floor"] = t.of_floor();
  }
  return row;
}

void print_head(const Backend& backend) {
  std::printf("%s, %s\n\n", cpu_name().c_str(), backend.description().c_str());
  std::printf("| model | size | backend | test | t/s | MB/token | GB/s | limit | GFLOP/s | limit | of floor |\n");
  std::printf("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
}

void print_row(const Test& t, const Checkpoint& checkpoint, const Backend& backend) {
  const std::filesystem::path folder = checkpoint.folder().lexically_normal();
  const std::string name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
  const std::string size = format_bytes(static_cast<double>(checkpoint.file_bytes()));
  const double seconds = t.tokens() / t.median();
  std::printf("| %s | %s | %s | %s | %.2f ± %.2f | %.2f ", name.c_str(), size.c_str(),
              std::string(backend.name()).c_str(), t.name().c_str(), t.mean(), t.deviation(),
              t.cost.bytes / t.tokens() / 1e6);
  if (t.has_limits()) {
    std::printf("| %.1f | %.1f | %.1f | %.0f | %.2f |\n", t.cost.bytes / seconds / 1e9, t.limits.read_bytes / 1e9,
                t.cost.operations / seconds / 1e9, t.limits.operations / 1e9, t.of_floor());
  } else {
    std::printf("| %.1f | - | %.1f | - | - |\n", t.cost.bytes / seconds / 1e9, t.cost.operations / seconds / 1e9);
  }
  std::fflush(stdout);
}

void bench(const Options& options) {
  std::vector<Test> tests = tests_of(options);
  const Checkpoint checkpoint = Checkpoint::open(model_folder(options.model.model));
  const auto backend = make_backend(options.model.backend);
  const Skeleton skeleton = bind_skeleton(checkpoint, *backend);
  StepTimer::Limits limits;
  limits.kv_type = kv_cache_type(checkpoint, options.model.kv_cache);
  limits.context = 1;
  for (const Test& t : tests) {
    limits.context = std::max(limits.context, t.depth + t.prompt + t.generated);
    limits.sequences = std::max(limits.sequences, t.sequences);
  }
  if (limits.context > skeleton.model->max_context())
    throw Error(ErrorCode::usage, "a test needs a context of " + std::to_string(limits.context) +
                                      " tokens; this model has " + std::to_string(skeleton.model->max_context()));
  limits.chunk = std::min(options.chunk > 0 ? options.chunk : backend->prompt_chunk(), limits.context);
  refuse_unless_weights_fit(checkpoint, skeleton);
  const auto start = std::chrono::steady_clock::now();
  const auto model = load_with_progress(checkpoint, *backend);
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  StepTimer timer(*model, *backend, limits);
  const auto meter = make_meter(*backend, options.model.backend);
  if (!options.json) print_head(*backend);
  Json rows = Json::array();
  for (Test& t : tests) {
    t.cost = cost_of_test(t, limits.chunk, skeleton, timer.layout());
    run_test(options, timer, meter.get(), t);
    if (options.json) {
      rows.push_back(as_json(t));
    } else {
      print_row(t, checkpoint, *backend);
    }
  }
  if (options.json)
    std::cout << Json{{"model", checkpoint.folder().string()},
                      {"model_size", checkpoint.file_bytes()},
                      {"backend", backend->name()},
                      {"backend_description", backend->description()},
                      {"cpu", cpu_name()},
                      {"load_seconds", load_seconds},
                      {"tests", rows}}
                     .dump(2)
              << '\n';
}

}  // namespace

void add_bench_command(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("bench", "Measure prompt and generation speed, in llama-bench's table.");
  add_model_options(*command, options->model);
  const auto add_list = [&](const char* flags, std::vector<std::int64_t>& list, const char* what) {
    command->add_option(flags, list, what)->delimiter(',')->capture_default_str()->check(CLI::Range(0, 1 << 30));
  };
  add_list("-p,--n-prompt", options->prompts, "Prompt lengths, as 512 or 128,512; 0: none");
  add_list("-n,--n-gen", options->generated, "Tokens to generate, a list too; 0: none");
  add_list("-d,--n-depth", options->depths, "Tokens that stand before, not timed, a list too");
  command->add_option("--sequences,--parallel", options->sequences, "Sequences that generate at a time, a list too")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("-r,--repetitions", options->repeats, "Runs of each test, after one to warm up")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  command->add_option("-b,--chunk,--batch-size", options->chunk, "Most tokens of a step (default: 512, on Hopper 8192)")
      ->check(CLI::Range(1, 65536));
  command->add_flag("--json", options->json, "Print JSON");
  command->footer(
      "Tokens are random and a step's input is not what the one before chose. The floor is the time that the "
      "machine's\n"
      "measured limits allow: bytes that must be read over its bandwidth, or operations over its rate, whichever is "
      "more.");
  command->callback([options] { bench(*options); });
}

}  // namespace strata
