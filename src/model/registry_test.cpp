// From a folder to a model: architectures, bindings, loading, and the sizes that a model asks for.
#include "model/registry.h"

#include <gtest/gtest.h>

#include "backend/registry/make_backend.h"
#include "model/model_test_support.h"
#include "state/state_pool.h"

namespace strata {
namespace {

const std::filesystem::path kCheckpoints = STRATA_SOURCE_DIR "/tests/fixtures/checkpoints";
const char* const kFixtures[] = {"tiny-dense-bf16", "tiny-nano-bf16", "tiny-nano-fp8", "tiny-nano-nvfp4",
                                 "tiny-super-mixed"};

std::string load_refusal(const TestCheckpoint& c) {
  return message_of([&] {
    const auto backend = make_backend({.threads = 1});
    load_model(c.open(), *backend);
  });
}

TEST(Registry, AnUnknownArchitectureIsNamed) {
  WeightList list;
  const auto refusal = [&](const Json& config) { return message_of([&] { bind_model(config, "config.json", list); }); };
  expect_parts(refusal(parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})", "c")),
               {"config.json: architectures", "NemotronHForCausalLM", "\"LlamaForCausalLM\""});
  expect_parts(refusal(parse_json(R"({"model_type": "llama"})", "c")), {"architectures", "model_type \"llama\""});
  expect_parts(refusal(Json::object()), {"architectures", "NemotronHForCausalLM"});
  expect_parts(refusal(Json{{"architectures", {3}}, {"model_type", 7}}), {"model_type", "a string", "found 7"});
  EXPECT_TRUE(list.requests().empty());
}

TEST(Registry, AnArchitectureIsFoundByNameTypeOrInsideAWrapper) {
  Json config = tiny_config();
  WeightList list;
  EXPECT_EQ(bind_model(config, "c", list)->vocab_size(), 19);
  config.erase("architectures");
  EXPECT_EQ(bind_model(config, "c", list)->vocab_size(), 19);
  config["model_type"] = "nemotron_h_puzzle";
  EXPECT_EQ(bind_model(config, "c", list)->vocab_size(), 19);
  const Json outer{{"architectures", {"SomeVisionModel"}}, {"model_type", "some_vl"}, {"llm_config", config}};
  EXPECT_EQ(bind_model(outer, "c", list)->vocab_size(), 19);
}

TEST(Registry, NanoAsksForTheTensorsOfItsIndexAndHasItsStateSizes) {
  WeightList list;
  const auto model = bind_model(nano_config(), "nano", list);
  std::int64_t parameters = 0;
  for (const WeightRequest& r : list.requests())
    if (r.kind != WeightRequest::Kind::scalar) parameters += r.n * r.rows * r.cols;
  EXPECT_EQ(parameters, 31'577'940'288);
  const StateLayout layout{model->state_shape(), {DType::bf16, DType::bf16}};
  EXPECT_EQ(layout.ssm_bytes(), std::int64_t{46} << 20);
  EXPECT_EQ(layout.conv_bytes(), 36'864 * 23);
  EXPECT_EQ(layout.kv_bytes_per_token(), 6144);
}

TEST(Registry, AWholeModelLoadsUnderEverySpellingOfItsNames) {
  for (const std::string prefix : {"backbone.", "model.", "language_model.backbone.", "language_model.model."}) {
    SCOPED_TRACE(prefix);
    TestCheckpoint c;
    c.add_model();
    c.rename("backbone.", prefix);
    if (prefix.ends_with("model.")) {
      c.rename(prefix + "embeddings.", prefix + "embed_tokens.");
      c.rename(prefix + "norm_f.", prefix + "norm.");
    }
    const auto backend = make_backend({.threads = 1});
    std::int64_t loaded = 0;
    const auto model = load_model(c.open(), *backend, [&](std::int64_t bytes) {
      EXPECT_GT(bytes, loaded);
      loaded = bytes;
    });
    EXPECT_EQ(model->vocab_size(), 19);
    EXPECT_GT(loaded, 0);
  }
}

TEST(Registry, ATensorOfNoUseIsNamedAndMultiTokenPredictionIsLetBe) {
  TestCheckpoint c;
  c.add_model();
  c.add("mtp.layers.0.norm.weight", StoredType::F16, {3});
  const auto backend = make_backend({.threads = 1});
  load_model(c.open(), *backend);
  c.add("backbone.layers.4.norm.weight", StoredType::BF16, {32});
  expect_parts(load_refusal(c), {"no use for 1 tensors", "backbone.layers.4.norm.weight", "config.json"});
}

TEST(Registry, ATensorThatIsMissingOrMisshapenIsNamed) {
  TestCheckpoint c;
  c.add_model();
  TestCheckpoint::Tensor kept = c.tensors["backbone.layers.1.mixer.experts.3.down_proj.weight"];
  c.tensors.erase("backbone.layers.1.mixer.experts.3.down_proj.weight");
  expect_parts(load_refusal(c), {"backbone.layers.1.mixer.experts.3.down_proj.weight is missing"});
  c.tensors["backbone.layers.1.mixer.experts.3.down_proj.weight"] = kept;
  c.add("backbone.layers.0.mixer.in_proj.weight", StoredType::BF16, {99, 32});
  expect_parts(load_refusal(c), {"backbone.layers.0.mixer.in_proj.weight", "[100, 32]", "BF16 [99, 32]"});
}

TEST(Registry, TiedEmbeddingsMayBeThereTwice) {
  for (const bool nested : {false, true})
    for (const bool twice : {false, true}) {
      SCOPED_TRACE(std::string(nested ? "nested, " : "") + (twice ? "twice" : "once"));
      Json config = tiny_config();
      config["tie_word_embeddings"] = true;
      TestCheckpoint c(nested ? Json{{"architectures", {"SomeVisionModel"}}, {"llm_config", config}} : config);
      c.add_model();
      EXPECT_FALSE(c.tensors.contains("lm_head.weight"));
      if (twice) c.add("lm_head.weight", StoredType::BF16, {19, 32});
      const auto backend = make_backend({.threads = 1});
      EXPECT_EQ(load_model(c.open(), *backend)->vocab_size(), 19);
    }
  TestCheckpoint untied;
  untied.add_model();
  untied.tensors.erase("lm_head.weight");
  expect_parts(load_refusal(untied), {"lm_head.weight is missing"});
}

/// Passes on to a store and notes what it was asked for.
class NotedStore : public WeightSource {
 public:
  explicit NotedStore(WeightStore& store) : store_(store) {}
  std::unique_ptr<Linear> linear(const std::string& name, std::int64_t out, std::int64_t in) override {
    noted.linear(name, out, in);
    return store_.linear(name, out, in);
  }
  std::unique_ptr<Linear> experts(const std::string& container, const std::string& projection, std::int64_t n,
                                  std::int64_t out, std::int64_t in) override {
    noted.experts(container, projection, n, out, in);
    return store_.experts(container, projection, n, out, in);
  }
  Vector vector(const std::string& name, std::int64_t size) override {
    noted.vector(name, size);
    return store_.vector(name, size);
  }
  Table table(const std::string& name, std::int64_t rows, std::int64_t cols) override {
    noted.table(name, rows, cols);
    return store_.table(name, rows, cols);
  }
  std::optional<float> scalar(const std::string& name) override {
    noted.scalar(name);
    return store_.scalar(name);
  }
  WeightList noted;

 private:
  WeightStore& store_;
};

TEST(Registry, AListNotesWhatAStoreLoadsAndEveryTensorIsUsedOnce) {
  for (const std::string name : kFixtures) {
    SCOPED_TRACE(name);
    const Checkpoint checkpoint = Checkpoint::open(kCheckpoints / name);
    const auto backend = make_backend({.threads = 1});
    CheckpointWeights weights(checkpoint);
    WeightStore store(weights, *backend);
    NotedStore noted(store);
    WeightList list;
    const auto model = bind_model(checkpoint, noted), shape = bind_model(checkpoint, list);
    const auto &found = noted.noted.requests(), &expected = list.requests();
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].kind, expected[i].kind);
      EXPECT_EQ(found[i].name + "/" + found[i].projection, expected[i].name + "/" + expected[i].projection);
      EXPECT_EQ(std::tie(found[i].n, found[i].rows, found[i].cols),
                std::tie(expected[i].n, expected[i].rows, expected[i].cols));
    }
    EXPECT_EQ(weights.unused({"mtp."}).size(), 0u);
    EXPECT_EQ(weights.contradictions(), std::vector<std::string>{});
    EXPECT_EQ(model->workspace_bytes(7, 3), shape->workspace_bytes(7, 3)) << "a list is enough for a plan";
    EXPECT_EQ(model->work_limits().features, shape->work_limits().features);
  }
}

/// One step of `tokens` tokens, of which the last `logit_rows` are asked for, in exactly the workspace asked for.
void step(const Model& model, Backend& backend, std::int64_t tokens, std::int64_t logit_rows) {
  WorkLimits limits = model.work_limits();
  limits.tokens = tokens, limits.logit_rows = logit_rows, limits.sequences = limits.slots = 1, limits.context = tokens;
  backend.reserve(limits);
  StatePool pool(backend, {model.state_shape(), backend.state_types(DType::bf16)}, 1, StateLayout::pages_for(tokens));
  auto state = pool.acquire();
  ASSERT_TRUE(pool.reserve(*state, tokens));
  Workspace workspace(backend, model.workspace_bytes(tokens, logit_rows));
  std::vector<TokenId> ids;
  std::vector<std::int32_t> rows;
  for (std::int64_t t = 0; t < tokens; ++t) {
    ids.push_back(static_cast<TokenId>(t % model.vocab_size()));
    if (t >= tokens - logit_rows) rows.push_back(static_cast<std::int32_t>(t));
  }
  const SequenceRows sequence = state->rows(0, tokens);
  const StagedBatch batch = backend.stage({ids, {&sequence, 1}, rows});
  const Buffer logits = backend.allocate(std::max<std::int64_t>(1, logit_rows) * model.vocab_size() * 4);
  model.forward({backend, workspace, batch, pool.layers()},
                {logits.get(), DType::f32, logit_rows, model.vocab_size(), model.vocab_size()});
  backend.wait(backend.mark());
}

TEST(Workspace, AStepNeedsWhatItsModelAskedFor) {
  for (const std::string name : kFixtures)
    for (const std::string backend_name : {"cpu", "reference"}) {
      SCOPED_TRACE(name + " on " + backend_name);
      const auto backend = make_backend({.name = backend_name, .threads = 1});
      const auto model = load_model(Checkpoint::open(kCheckpoints / name), *backend);
      for (const auto& [tokens, rows] :
           std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 0}, {1, 1}, {7, 7}, {17, 1}, {65, 65}}) {
        if (backend_name == "reference" && tokens > 7) continue;
        step(*model, *backend, tokens, rows);
      }
    }
}

/// Loads a model of zeros, runs a step of it and ends the process.
void run_alone(const Json& config) {
  {
    TestCheckpoint c(config);
    c.add_model();
    const auto backend = make_backend({.threads = 1});
    const auto model = load_model(c.open(), *backend);
    step(*model, *backend, 3, 1);
  }
  std::exit(0);
}

TEST(Workspace, AModelWithoutConvBiasRuns) {
  Json config = tiny_config();
  config["use_conv_bias"] = false;
  EXPECT_EXIT(run_alone(config), testing::ExitedWithCode(0), "");
}

TEST(Workspace, WorkLimitsReachTheWidestLayer) {
  Json config = tiny_config();
  config["moe_latent_size"] = 1024;
  EXPECT_EXIT(run_alone(config), testing::ExitedWithCode(0), "");
  config = tiny_config();
  config["moe_shared_expert_intermediate_size"] = 1024, config["moe_intermediate_size"] = 512;
  EXPECT_EXIT(run_alone(config), testing::ExitedWithCode(0), "");
  config = tiny_config();
  config["intermediate_size"] = 1040, config["mamba_num_heads"] = 16, config["num_attention_heads"] = 64;
  EXPECT_EXIT(run_alone(config), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace strata
