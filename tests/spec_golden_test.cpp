// A model small enough to write down: weights by formula, outputs worked out in float64 from the equations alone
// (pattern ME*-, 16 wide). What these numbers hold: split order, direction of the convolution, grouping, gate before
// norm, selection by biased score with weights from the unbiased one, grouped queries, no positional encoding.
#include <gtest/gtest.h>

#include <map>

#include "backend/reference/reference_backend.h"
#include "model/nemotron_h.h"
#include "validation/model_runner.h"

namespace strata {
namespace {

/// How a tensor of the golden model is filled: fill(tag, i) = (hash(i, tag) / 2^32 - 0.5) * scale + offset.
struct Fill {
  std::uint32_t tag;
  double scale, offset = 0;
};

const std::map<std::string, Fill> kFills = {
    {"backbone.embeddings", {1, 2.0}},
    {"backbone.norm_f.weight", {2, 0.4, 1.0}},
    {"lm_head", {3, 1.0}},
    {"backbone.layers.0.norm.weight", {10, 0.4, 1.0}},
    {"backbone.layers.0.mixer.in_proj", {11, 0.8}},
    {"backbone.layers.0.mixer.conv1d.weight", {12, 1.2}},
    {"backbone.layers.0.mixer.conv1d.bias", {13, 0.4}},
    {"backbone.layers.0.mixer.A_log", {14, 2.0, 0.5}},
    {"backbone.layers.0.mixer.D", {15, 1.0, 1.0}},
    {"backbone.layers.0.mixer.dt_bias", {16, 2.0, -1.0}},
    {"backbone.layers.0.mixer.norm.weight", {17, 0.4, 1.0}},
    {"backbone.layers.0.mixer.out_proj", {18, 0.6}},
    {"backbone.layers.1.norm.weight", {20, 0.4, 1.0}},
    {"backbone.layers.1.mixer.gate.weight", {21, 1.0}},
    {"backbone.layers.1.mixer.gate.e_score_correction_bias", {22, 1.0}},
    {"backbone.layers.1.mixer.experts.up_proj", {23, 1.0}},
    {"backbone.layers.1.mixer.experts.down_proj", {24, 1.0}},
    {"backbone.layers.1.mixer.shared_experts.up_proj", {25, 0.8}},
    {"backbone.layers.1.mixer.shared_experts.down_proj", {26, 0.8}},
    {"backbone.layers.1.mixer.fc1_latent_proj", {27, 1.0}},
    {"backbone.layers.1.mixer.fc2_latent_proj", {28, 1.0}},
    {"backbone.layers.2.norm.weight", {30, 0.4, 1.0}},
    {"backbone.layers.2.mixer.q_proj", {31, 1.0}},
    {"backbone.layers.2.mixer.k_proj", {32, 1.0}},
    {"backbone.layers.2.mixer.v_proj", {33, 1.0}},
    {"backbone.layers.2.mixer.o_proj", {34, 0.6}},
    {"backbone.layers.3.norm.weight", {40, 0.4, 1.0}},
    {"backbone.layers.3.mixer.up_proj", {41, 0.8}},
    {"backbone.layers.3.mixer.down_proj", {42, 0.8}},
};

/// The golden model's weights on a backend.
class FormulaWeights : public WeightSource {
 public:
  explicit FormulaWeights(Backend& backend) : backend_(backend) {}

  std::unique_ptr<Linear> linear(const std::string& name, std::int64_t out, std::int64_t in) override {
    const LinearWeight weight = dense(values(name, out * in), out, in);
    return backend_.load_linear({&weight, 1});
  }
  std::unique_ptr<Linear> experts(const std::string& container, const std::string& projection, std::int64_t n,
                                  std::int64_t out, std::int64_t in) override {
    const std::vector<float> all = values(container + "." + projection, n * out * in);
    std::vector<LinearWeight> bank;
    for (std::int64_t e = 0; e < n; ++e) {
      bank.push_back(dense({all.begin() + e * out * in, all.begin() + (e + 1) * out * in}, out, in));
    }
    return backend_.load_linear(bank);
  }
  Vector vector(const std::string& name, std::int64_t size) override { return {upload(values(name, size)), size}; }
  Table table(const std::string& name, std::int64_t rows, std::int64_t cols) override {
    return {upload(values(name, rows * cols)), rows, cols};
  }
  std::optional<float> scalar(const std::string&) override { return std::nullopt; }

 private:
  static std::vector<float> values(const std::string& name, std::int64_t n) {
    const Fill fill = kFills.at(name);
    std::vector<float> result;
    for (std::int64_t i = 0; i < n; ++i) {
      const auto hash =
          static_cast<std::uint32_t>(static_cast<std::uint64_t>(i) * 2654435761u + fill.tag * 40503u + 12345u);
      result.push_back(static_cast<float>((hash / 4294967296.0 - 0.5) * fill.scale + fill.offset));
    }
    return result;
  }
  static LinearWeight dense(const std::vector<float>& values, std::int64_t out, std::int64_t in) {
    const auto bytes = std::as_bytes(std::span(values));
    return DenseWeight{{StoredBytes({bytes.begin(), bytes.end()}), DType::f32, out, in}};
  }
  Buffer upload(const std::vector<float>& values) {
    Buffer buffer = backend_.allocate(std::ssize(values) * 4);
    backend_.upload(std::as_bytes(std::span(values)), buffer.get());
    return buffer;
  }
  Backend& backend_;
};

NemotronHConfig golden_config(int latent) {
  const Json config{{"hybrid_override_pattern", "ME*-"},
                    {"vocab_size", 32},
                    {"hidden_size", 16},
                    {"mamba_num_heads", 4},
                    {"mamba_head_dim", 8},
                    {"n_groups", 2},
                    {"ssm_state_size", 8},
                    {"conv_kernel", 4},
                    {"num_attention_heads", 4},
                    {"num_key_value_heads", 2},
                    {"head_dim", 8},
                    {"intermediate_size", 24},
                    {"n_routed_experts", 8},
                    {"num_experts_per_tok", 3},
                    {"moe_intermediate_size", 12},
                    {"moe_shared_expert_intermediate_size", 20},
                    {"moe_latent_size", latent},
                    {"routed_scaling_factor", 2.5}};
  return NemotronHConfig::parse(config, "golden");
}

/// Keeps the residual of the last token after every block, and the router's choice for the first and the last token.
struct Seen : Probe {
  std::vector<std::vector<float>> residuals;
  std::vector<std::pair<std::int32_t, float>> first, last;
  void residual(std::size_t, Matrix x) override {
    const float* row = x.row<float>(x.rows - 1);
    residuals.emplace_back(row, row + x.cols);
  }
  void routing(ConstMatrix, const Routing& r) override {
    for (std::int64_t j = 0; j < r.ids.cols; ++j) {
      first.emplace_back(r.ids.row<std::int32_t>(0)[j], r.weights.row<float>(0)[j]);
      last.emplace_back(r.ids.row<std::int32_t>(r.ids.rows - 1)[j], r.weights.row<float>(r.ids.rows - 1)[j]);
    }
  }
};

void expect_near(std::span<const float> values, std::initializer_list<double> expected) {
  std::size_t i = 0;
  for (double e : expected) EXPECT_NEAR(values[i++], e, 2e-6);
}

struct GoldenRun {
  ReferenceBackend backend;
  FormulaWeights weights{backend};
  NemotronH model;
  ModelRunner runner;
  SequenceState state;
  Seen seen;
  Logits logits;

  explicit GoldenRun(int latent)
      : model(weights, golden_config(latent)), runner(model, backend, {}), state(runner.fresh()) {
    logits = runner.feed(state, std::vector<TokenId>{1, 5, 9, 2, 31, 17, 4}, 7, &seen);
  }
  double sum_of_last() const {
    double sum = 0;
    for (float v : logits.row(6)) sum += v;
    return sum;
  }
};

TEST(SpecGolden, EveryBlockOfTheBaseModel) {
  GoldenRun run(0);
  expect_near(run.seen.residuals[1], {1.776419, -0.590031, 1.106004, -0.335261});
  expect_near(run.seen.residuals[2], {1.321576, 0.836714, -1.882133, -3.222273});
  expect_near(run.seen.residuals[3], {0.842809, 0.302129, -1.496271, -0.888573});
  expect_near(run.seen.residuals[4], {-0.472040, 1.408016, -2.350165, -0.908388});
  expect_near(run.logits.row(6), {-1.662598, -0.609774, 0.042445, 1.159907});
  EXPECT_EQ(largest(run.logits.row(6)), 14);
  EXPECT_NEAR(run.sum_of_last(), 6.243746, 2e-5);
}

TEST(SpecGolden, TheMambaStateAndMixer) {
  GoldenRun run(0);
  std::vector<float> mixed(16);
  for (std::size_t i = 0; i < 16; ++i) mixed[i] = run.seen.residuals[1][i] - run.seen.residuals[0][i];
  expect_near(mixed, {1.668044, 0.065527, 0.525493, -0.151840});
  const LayerStates& layers = run.runner.pool().layers();
  const auto* ssm = reinterpret_cast<const float*>(layers.ssm[0].data.get()) + run.state.slot() * 4 * 8 * 8;
  expect_near({ssm, 4}, {-0.098312, 0.017530, 0.209482, -0.089279});
  expect_near({ssm + (3 * 8 + 7) * 8, 4}, {-0.440470, -0.134897, 0.195292, -0.160385});
  const auto* conv = reinterpret_cast<const float*>(layers.conv[0].data.get()) + run.state.slot() * 3 * 64;
  expect_near({conv + 2 * 64, 4}, {1.218290, -0.547329, -1.195906, -1.879192});
}

TEST(SpecGolden, TheRoutersChoice) {
  const GoldenRun run(0);
  const std::vector<std::pair<std::int32_t, double>> first{{1, 1.213546}, {2, 1.008050}, {3, 0.278404}};
  const std::vector<std::pair<std::int32_t, double>> last{{3, 0.896120}, {4, 0.947132}, {6, 0.656748}};
  for (std::size_t j = 0; j < 3; ++j) {
    EXPECT_EQ(run.seen.first[j].first, first[j].first);
    EXPECT_NEAR(run.seen.first[j].second, first[j].second, 2e-6);
    EXPECT_EQ(run.seen.last[j].first, last[j].first);
    EXPECT_NEAR(run.seen.last[j].second, last[j].second, 2e-6);
  }
}

TEST(SpecGolden, EveryBlockWithLatentExperts) {
  GoldenRun run(8);
  expect_near(run.seen.residuals[2], {-0.218759, -0.181504, 1.815219, 0.762034});
  expect_near(run.seen.residuals[3], {-0.849411, 0.855577, 1.636175, 1.764933});
  expect_near(run.seen.residuals[4], {-1.566683, 1.163859, 1.648050, 1.679206});
  expect_near(run.logits.row(6), {-0.644840, -0.755758, -1.249923, 1.209309});
  EXPECT_EQ(largest(run.logits.row(6)), 5);
  EXPECT_NEAR(run.sum_of_last(), 5.124023, 2e-5);
}

}  // namespace
}  // namespace strata
