// Whole models on the CUDA backend: the fixtures' logits, the demo's answers, the law, and what none of the backend's
// ways of launching may change. Skips, saying why, where there is no usable GPU.
#include <gtest/gtest.h>

#include <algorithm>

#include "backend/registry/make_backend.h"
#include "base/json.h"
#include "model/registry.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "validation/law.h"
#include "validation/reference_file.h"

#ifdef STRATA_CUDA
#include "backend/cuda/cuda_backend.h"

namespace strata {
namespace {

const std::filesystem::path kSource = STRATA_SOURCE_DIR;
const std::filesystem::path kTiny = kSource / "tests/fixtures/checkpoints";

class Cuda : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string why = why_no_cuda();
    if (!why.empty()) GTEST_SKIP() << why;
  }
};
class CudaModel : public Cuda {};

TEST_P(CudaModel, IsCloseToTheReference) {
  CudaBackend backend;
  const auto model = load_model(Checkpoint::open(kTiny / GetParam()), backend);
  ModelRunner runner(*model, backend, {});
  const ReferenceResult result = compare(runner, ReferenceFile::read(kTiny / GetParam() / "reference.safetensors"));
  std::printf("  %s, cuda: rel L2 %.2e, median %.2e, top-1 %.1f %%\n", GetParam().c_str(), result.logits.rel_l2,
              result.logits.median_rel_l2, 100 * result.logits.top1_agreement);
  EXPECT_LE(result.logits.rel_l2, 0.12);
  EXPECT_LE(result.logits.median_rel_l2, 1.2e-2);
  EXPECT_GE(result.logits.top1_agreement, 0.93);
}

TEST_P(CudaModel, FastIsAsCloseAndRepeatable) {
  const Checkpoint checkpoint = Checkpoint::open(kTiny / GetParam());
  CudaOptions options;
  options.fast = true;
  CudaBackend backend(options);
  const auto model = load_model(checkpoint, backend);
  ModelRunner runner(*model, backend, {});
  const auto reference = ReferenceFile::read(kTiny / GetParam() / "reference.safetensors");
  const Distance first = compare(runner, reference).logits, again = compare(runner, reference).logits;
  EXPECT_LE(first.rel_l2, 0.12);
  EXPECT_LE(first.median_rel_l2, 1.2e-2);
  EXPECT_GE(first.top1_agreement, 0.93);
  EXPECT_EQ(first.rel_l2, again.rel_l2);
  std::vector<TokenId> prompt;
  for (TokenId t = 0; t < 200; ++t) prompt.push_back(t * 7 % static_cast<TokenId>(model->vocab_size()));
  const auto whole = [&] {
    SequenceState state = runner.fresh();
    return runner.feed(state, prompt, 200);
  };
  EXPECT_TRUE(whole().same_bits(whole()));
}

TEST_P(CudaModel, TheSameTokensGiveTheSameBits) {
  for (const DType kv : {DType::bf16, DType::f8_e4m3}) {
    CudaBackend backend;
    const auto model = load_model(Checkpoint::open(kTiny / GetParam()), backend);
    ModelRunner runner(*model, backend, {.tokens = 256, .sequences = 4, .context = 260, .kv_type = kv});
    LawOptions options;
    options.prompt_length = 200;
    const LawReport report = check_law(runner, options);
    EXPECT_GT(report.checks, 40);
    EXPECT_TRUE(report.failures.empty()) << report.failures.size() << " of " << report.checks
                                         << " checks, such as: " << report.failures[0];
    std::printf("  %s, %s: %ld checks of the law\n", GetParam().c_str(), std::string(name_of(kv)).c_str(),
                long(report.checks));
  }
}

/// Prefill in two chunks, then `count` single tokens by `run`, as the engine does; logits of the last prompt token and
/// of all single ones.
std::vector<float> generate(const Checkpoint& checkpoint, const CudaOptions& options, std::int64_t prompt,
                            std::int64_t count) {
  CudaBackend backend(options);
  const auto model = load_model(checkpoint, backend);
  const std::int64_t vocab = model->vocab_size(), tokens = std::max<std::int64_t>(prompt, 2);
  StatePool pool(backend, {model->state_shape(), backend.state_types(DType::bf16)}, 1,
                 StateLayout::pages_for(prompt + count));
  WorkLimits work = model->work_limits();
  work.tokens = tokens;
  work.logit_rows = work.sequences = work.slots = 1;
  work.context = prompt + count;
  backend.reserve(work);
  Workspace workspace(backend, model->workspace_bytes(tokens, 1));
  const Buffer memory = backend.allocate(vocab * 4);
  auto state = pool.acquire();
  EXPECT_TRUE(pool.reserve(*state, prompt + count));
  std::vector<float> all;
  std::uint32_t random = 1;
  const auto step = [&](std::int64_t n, bool single) {
    std::vector<TokenId> ids(static_cast<std::size_t>(n));
    for (TokenId& id : ids) id = TokenId((random = random * 1664525 + 1013904223) % std::uint32_t(vocab));
    const SequenceRows rows = state->rows(0, n);
    const auto last = static_cast<std::int32_t>(n - 1);
    const StagedBatch batch = backend.stage({ids, {&rows, 1}, {&last, 1}});
    const Matrix logits{memory.get(), DType::f32, 1, vocab, vocab};
    const auto body = [&] { model->forward({backend, workspace, batch, pool.layers()}, logits); };
    if (single)
      backend.run(7, body);
    else
      body();
    state->advance(n);
    backend.wait(backend.mark());
    all.resize(all.size() + std::size_t(vocab));
    backend.download(memory.get(), std::as_writable_bytes(std::span(all).last(std::size_t(vocab))));
  };
  step(prompt / 2, false);
  step(prompt - prompt / 2, false);
  for (std::int64_t i = 0; i < count; ++i) step(1, true);
  return all;
}

TEST_P(CudaModel, GraphsFusionOverlapAndKernelsOfPromptsChangeNoBit) {
  const Checkpoint checkpoint = Checkpoint::open(kTiny / GetParam());
  const std::vector<float> plain =
      generate(checkpoint, {.graphs = false, .overlap = false, .fuse = false, .prompts = false}, 150, 24);
  for (const CudaOptions& options : {CudaOptions{}, CudaOptions{.graphs = false}, CudaOptions{.overlap = false},
                                     CudaOptions{.fuse = false}, CudaOptions{.prompts = false}})
    EXPECT_TRUE(generate(checkpoint, options, 150, 24) == plain)
        << options.graphs << options.overlap << options.fuse << options.prompts;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(generate(checkpoint, {}, 150, 24) == plain) << "run " << i;
}

TEST(CudaDemo, AnswersAreTheReferences) {
  const std::string why = why_no_cuda();
  if (!why.empty()) GTEST_SKIP() << why;
  CudaBackend backend;
  const auto model = load_model(Checkpoint::open(kSource / "models/demo"), backend);
  ModelRunner runner(*model, backend, {});
  for (const std::string prompt : {"0", "1", "2"}) {
    const auto reference =
        ReferenceFile::read(kSource / "tests/fixtures/demo_reference.safetensors", "ids." + prompt, "logits." + prompt);
    const Distance d = compare(runner, reference).logits;
    std::printf("  prompt %s: rel L2 %.2e, top-1 %.1f %%\n", prompt.c_str(), d.rel_l2, 100 * d.top1_agreement);
    EXPECT_LE(d.rel_l2, 3e-2) << "prompt " << prompt;
    EXPECT_GE(d.top1_agreement, 0.98) << "prompt " << prompt;
  }
  const Tokenizer tokenizer = Tokenizer::load(kSource / "models/demo");
  const ChatTemplate chat = ChatTemplate::load(kSource / "models/demo");
  const TokenId end = tokenizer.find("<|im_end|>").value();
  std::int64_t greedy = 0, total = 0;
  for (const Json& question : read_json(kSource / "tests/fixtures/demo_questions.json")) {
    const Json request{{"messages", Json::array({{{"role", "user"}, {"content", question["user"]}}})},
                       {"chat_template_kwargs", {{"enable_thinking", question["thinking"]}}},
                       {"add_generation_prompt", true}};
    const std::vector<TokenId> prompt = tokenizer.encode(chat.render(template_context(request)));
    SequenceState state = runner.fresh();
    Logits logits = runner.feed(state, prompt, 512);
    std::vector<TokenId> answer;
    while (answer.size() < 200 && (answer.empty() || answer.back() != end)) {
      answer.push_back(largest(logits.row(logits.rows - 1)));
      logits = runner.feed(state, {&answer.back(), 1}, 1);
    }
    if (answer.back() == end) answer.pop_back();
    ++total;
    greedy += tokenizer.decode(answer) == question["greedy"].get<std::string>();
  }
  std::printf("  %ld questions: %ld answers equal to the reference's\n", long(total), long(greedy));
  EXPECT_EQ(total, 170);
  EXPECT_GE(greedy, 166);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, CudaModel,
                         testing::Values("tiny-dense-bf16", "tiny-nano-bf16", "tiny-nano-fp8", "tiny-nano-nvfp4",
                                         "tiny-super-mixed"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace strata
#endif
