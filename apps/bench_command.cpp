#include "apps/bench_command.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "apps/model_options.h"
#include "apps/progress.h"
#include "base/error.h"
#include "base/json.h"
#include "state/state_pool.h"

namespace strata {
namespace {

struct Options {
  ModelOptions model;
  std::vector<std::int64_t> prompts{512}, generated{128}, depths{0};
  std::int64_t chunk = 512;
  int repeats = 5;
  bool json = false;
};

/// Steps as the engine makes them, for one sequence: chunks of a prompt whose last position is sampled from, and single
/// tokens, each sampled from too. The tokens are random and not those sampled: an answer of a random model runs into a
/// loop that touches few experts.
class StepTimer {
 public:
  StepTimer(const Model& model, Backend& backend, std::int64_t chunk, std::int64_t context, DType kv_type)
      : model_(model),
        backend_(backend),
        chunk_(chunk),
        pool_(backend, {model.state_shape(), backend.state_types(kv_type)}, 1, StateLayout::pages_for(context)),
        workspace_(backend, model.workspace_bytes(chunk, 1)),
        logits_(backend.allocate(model.vocab_size() * size_of(DType::f32))),
        samples_(backend.allocate((2 + 2 * kMaxTopLogprobs) * size_of(DType::f32))) {
    WorkLimits work = model.work_limits();
    work.tokens = chunk;
    work.logit_rows = work.sequences = work.slots = 1;
    work.context = context;
    backend.reserve(work);
  }

  struct Seconds {
    double prompt = 0, generation = 0;
  };
  /// A new sequence of `depth` tokens, which aren't timed, then `prompt` and `generated` ones.
  Seconds measure(std::int64_t depth, std::int64_t prompt, std::int64_t generated) {
    auto state = pool_.acquire();
    CHECK(state && pool_.reserve(*state, depth + prompt + generated), "room for one sequence");
    feed(*state, depth);
    const auto start = Clock::now();
    feed(*state, prompt);
    const auto middle = Clock::now();
    for (std::int64_t i = 0; i < generated; ++i) step(*state, 1, true);
    const auto end = Clock::now();
    return {std::chrono::duration<double>(middle - start).count(), std::chrono::duration<double>(end - middle).count()};
  }

 private:
  using Clock = std::chrono::steady_clock;

  void feed(SequenceState& state, std::int64_t count) {
    for (std::int64_t left = count; left > 0;) {
      const std::int64_t rows = std::min(left, chunk_);
      left -= rows;
      step(state, rows, left == 0);
    }
  }

  void step(SequenceState& state, std::int64_t count, bool sampled) {
    std::vector<TokenId> tokens(static_cast<std::size_t>(count));
    for (TokenId& t : tokens) t = static_cast<TokenId>(random_() % static_cast<std::uint64_t>(model_.vocab_size()));
    const SequenceRows rows = state.rows(0, count);
    const auto last = static_cast<std::int32_t>(count - 1);
    const StagedBatch batch =
        backend_.stage({tokens, {&rows, 1}, std::span(&last, static_cast<std::size_t>(sampled ? 1 : 0))});
    const Matrix logits{logits_.get(), DType::f32, sampled ? 1 : 0, model_.vocab_size(), model_.vocab_size()};
    const auto body = [&] {
      Workspace::Scope scope(workspace_);
      model_.forward({backend_, workspace_, batch, pool_.layers()}, logits);
    };
    if (count == 1) {
      backend_.run(1, body);
    } else {
      body();
    }
    state.advance(count);
    if (sampled) sample(batch, logits, static_cast<std::uint64_t>(state.length()));
    backend_.wait(backend_.mark());
  }

  void sample(const StagedBatch& batch, Matrix logits, std::uint64_t position) {
    const SamplingRow row{.parameters = &greedy_, .position = position};
    std::byte* at = samples_.get();
    constexpr std::int64_t kTop = kMaxTopLogprobs;
    const Samples samples{{at, DType::i32, 1, 1, 1},
                          {at + 4, DType::f32, 1, 1, 1},
                          {at + 8, DType::i32, 1, kTop, kTop},
                          {at + 8 + 4 * kTop, DType::f32, 1, kTop, kTop}};
    backend_.sample(batch, logits, {&row, 1}, samples);
    backend_.wait(backend_.mark());
    TokenId token = 0;
    backend_.download(at, std::as_writable_bytes(std::span(&token, 1)));
  }

  const Model& model_;
  Backend& backend_;
  std::int64_t chunk_;
  StatePool pool_;
  Workspace workspace_;
  Buffer logits_, samples_;
  SamplingParameters greedy_;
  std::mt19937_64 random_{1};
};

/// One row of the table.
struct Test {
  std::int64_t prompt = 0, generated = 0, depth = 0;
  std::vector<double> speeds;  // tokens a second, one a repeat

  std::string name() const {
    return (prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generated)) +
           (depth > 0 ? " @ d" + std::to_string(depth) : "");
  }
  double mean() const {
    double sum = 0;
    for (const double v : speeds) sum += v;
    return sum / static_cast<double>(speeds.size());
  }
  double deviation() const {
    if (speeds.size() < 2) return 0;
    double sum = 0;
    for (const double v : speeds) sum += (v - mean()) * (v - mean());
    return std::sqrt(sum / static_cast<double>(speeds.size() - 1));
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
  for (const std::int64_t depth : options.depths) {
    for (const std::int64_t n : options.prompts) {
      if (n > 0) tests.push_back({n, 0, depth, {}});
    }
    for (const std::int64_t n : options.generated) {
      if (n > 0) tests.push_back({0, n, depth, {}});
    }
  }
  if (tests.empty()) throw Error(ErrorCode::usage, "-p and -n are both 0; nothing is left to measure");
  return tests;
}

void run_test(const Options& options, StepTimer& timer, Test& test) {
  timer.measure(test.depth, test.prompt, std::min<std::int64_t>(test.generated, 16));  // warm-up
  for (int i = 0; i < options.repeats; ++i) {
    const auto seconds = timer.measure(test.depth, test.prompt, test.generated);
    test.speeds.push_back(test.prompt > 0 ? static_cast<double>(test.prompt) / seconds.prompt
                                          : static_cast<double>(test.generated) / seconds.generation);
  }
}

void print_json(const std::vector<Test>& tests, const Checkpoint& checkpoint, const Backend& backend) {
  Json rows = Json::array();
  for (const Test& t : tests)
    rows.push_back({{"n_prompt", t.prompt},
                    {"n_gen", t.generated},
                    {"n_depth", t.depth},
                    {"avg_ts", t.mean()},
                    {"stddev_ts", t.deviation()},
                    {"samples_ts", t.speeds}});
  std::cout << Json{{"model", checkpoint.folder().string()},
                    {"model_size", checkpoint.file_bytes()},
                    {"backend", backend.name()},
                    {"backend_description", backend.description()},
                    {"cpu", cpu_name()},
                    {"tests", rows}}
                   .dump(2)
            << '\n';
}

void bench(const Options& options) {
  std::vector<Test> tests = tests_of(options);
  const Checkpoint checkpoint = Checkpoint::open(model_folder(options.model.model));
  const auto backend = make_backend(options.model.backend);
  const auto model = load_with_progress(checkpoint, *backend);
  std::int64_t context = 1;
  for (const Test& t : tests) context = std::max(context, t.depth + t.prompt + t.generated);
  if (context > model->max_context())
    throw Error(ErrorCode::usage, "a test needs a context of " + std::to_string(context) + " tokens; this model has " +
                                      std::to_string(model->max_context()));
  StepTimer timer(*model, *backend, std::min(options.chunk, context), context,
                  kv_cache_type(checkpoint, options.model.kv_cache));
  if (!options.json) {
    const std::filesystem::path folder = checkpoint.folder().lexically_normal();
    const std::string name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
    std::printf("%s, %s\n\n| model | size | backend | test | t/s |\n| --- | ---: | --- | ---: | ---: |\n",
                cpu_name().c_str(), backend->description().c_str());
    for (Test& t : tests) {
      run_test(options, timer, t);
      std::printf("| %s | %s | %s | %s | %.2f ± %.2f |\n", name.c_str(),
                  format_bytes(static_cast<double>(checkpoint.file_bytes())).c_str(),
                  std::string(backend->name()).c_str(), t.name().c_str(), t.mean(), t.deviation());
      std::fflush(stdout);
    }
    return;
  }
  for (Test& t : tests) run_test(options, timer, t);
  print_json(tests, checkpoint, *backend);
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
  command->add_option("-r,--repetitions", options->repeats, "Runs of each test, after one to warm up")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  command->add_option("-b,--chunk", options->chunk, "Most tokens of a step")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  command->add_flag("--json", options->json, "Print JSON");
  command->footer("Tokens are random and a step's input is not what the one before chose.");
  command->callback([options] { bench(*options); });
}

}  // namespace strata
