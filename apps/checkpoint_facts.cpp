#include "apps/checkpoint_facts.h"

#include <charconv>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "backend/registry/make_backend.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "model/nemotron_h_config.h"
#include "model/registry.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "validation/weight_survey.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLayers = "backbone.layers.";

/// The layer in a canonical name; -1 if it is in none.
std::int64_t layer_of(std::string_view name) {
  std::int64_t layer = -1;
  if (name.starts_with(kLayers)) std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer);
  return layer;
}

/// "backbone.layers.4.mixer.in_proj" as "mamba in_proj": what tensors of one role have in common.
std::string class_of(const WeightRequest& request, const NemotronHConfig& config) {
  std::string name = request.name;
  if (request.kind == WeightRequest::Kind::experts) name += "." + request.projection;
  const std::int64_t layer = layer_of(name);
  if (layer < 0) return name.starts_with("backbone.") ? name.substr(9) : name;
  name = name.substr(name.find('.', kLayers.size()) + 1);
  if (name.starts_with("mixer.")) name = name.substr(6);
  const auto index = static_cast<std::size_t>(layer);
  return (index < config.blocks.size() ? std::string(name_of(config.blocks[index].kind)) + " " : "") + name;
}

Json shape_of(const WeightRequest& r) {
  using Kind = WeightRequest::Kind;
  if (r.kind == Kind::experts) return {r.n, r.rows, r.cols};
  if (r.kind == Kind::vector) return Json::array({r.rows});
  if (r.kind == Kind::scalar) return Json::array();
  return {r.rows, r.cols};
}

bool is_linear(const WeightRequest& r) {
  return r.kind == WeightRequest::Kind::linear || r.kind == WeightRequest::Kind::experts;
}

/// One line of the table of tensor classes.
struct TensorClass {
  std::string name;
  Json shape;
  std::map<std::string, std::int64_t> formats;  // how many matrices have it
  std::int64_t stored_bytes = 0, packed_bytes = 0;
};

class Facts {
 public:
  explicit Facts(const fs::path& folder)
      : checkpoint_(Checkpoint::open(folder)),
        weights_(checkpoint_),
        survey_(checkpoint_, weights_),
        model_(bind_model(checkpoint_, survey_)),
        config_(NemotronHConfig::parse(checkpoint_.config(), (folder / "config.json").string())),
        backend_(make_backend({})) {}

  Json architecture() const {
    const Json& config = checkpoint_.config();
    const auto names = config.find("architectures");
    const bool named = names != config.end() && names->is_array() && !names->empty() && (*names)[0].is_string();
    return {{"name", named ? (*names)[0] : Json("NemotronHForCausalLM")},
            {"model_type", config.value("model_type", "")},
            {"hidden_size", config_.hidden_size},
            {"vocab_size", model_->vocab_size()},
            {"max_context", model_->max_context()},
            {"tied_embeddings", config_.tie_word_embeddings},
            {"parameters", parameters()}};
  }

  Json layers() const {
    std::string pattern;
    Json experts = nullptr;
    for (const BlockConfig& block : config_.blocks) {
      pattern += static_cast<char>(block.kind);
      if (block.kind == BlockKind::moe && experts.is_null())
        experts = {{"routed", block.moe.n_routed_experts},
                   {"per_token", block.moe.num_experts_per_tok},
                   {"intermediate_size", block.moe.moe_intermediate_size},
                   {"latent_size", block.moe.moe_latent_size},
                   {"shared_intermediate_size", block.moe.moe_shared_expert_intermediate_size}};
    }
    Json layers{{"total", std::ssize(config_.blocks)}, {"pattern", pattern}};
    for (const BlockKind kind : {BlockKind::mamba, BlockKind::moe, BlockKind::attention, BlockKind::mlp})
      layers[std::string(name_of(kind))] = config_.count(kind);
    layers["experts"] = experts;
    layers["attention_heads"] = {{"query", config_.num_attention_heads},
                                 {"key_value", config_.num_key_value_heads},
                                 {"head_dim", config_.head_dim}};
    layers["mamba_heads"] = {{"heads", config_.mamba_num_heads},
                             {"head_dim", config_.mamba_head_dim},
                             {"groups", config_.n_groups},
                             {"state_size", config_.ssm_state_size}};
    return layers;
  }

  Json files() const {
    return {{"shards", checkpoint_.shards()},
            {"tensors", std::ssize(checkpoint_.tensors())},
            {"bytes", checkpoint_.file_bytes()},
            {"unused_mtp_tensors", std::ssize(survey_.rest().mtp)}};
  }

  Json quantisation() const {
    const auto& declared = checkpoint_.quant_config();
    Json classes = Json::array();
    for (const TensorClass& c : tensor_classes())
      classes.push_back({{"class", c.name},
                         {"shape", c.shape},
                         {"formats", c.formats},
                         {"stored_bytes", c.stored_bytes},
                         {"packed_bytes", c.packed_bytes}});
    return {{"declared", declared ? Json(declared->description()) : Json(nullptr)},
            {"kv_cache", name_of(kv_type())},
            {"contradictions", weights_.contradictions()},
            {"classes", classes}};
  }

  Json memory() const {
    const StateLayout layout{model_->state_shape(), backend_->state_types(kv_type())};
    return {{"backend", backend_->name()},
            {"weight_bytes", packed_bytes()},
            {"conv_bytes_per_sequence", layout.conv_bytes()},
            {"ssm_bytes_per_sequence", layout.ssm_bytes()},
            {"kv_bytes_per_token", layout.kv_bytes_per_token()},
            {"kv_type", name_of(layout.types.kv)},
            {"bytes_per_sequence_at_max_context",
             layout.slot_bytes() + StateLayout::pages_for(model_->max_context()) * layout.page_bytes()}};
  }

  Json chat_template() const {
    std::error_code error;
    if (!fs::exists(checkpoint_.folder() / "chat_template.jinja", error) &&
        !fs::exists(checkpoint_.folder() / "tokenizer_config.json", error))
      return nullptr;
    try {
      const std::string source = ChatTemplate::load(checkpoint_.folder()).source();
      return {{"bytes", source.size()},
              {"thinking", source.find("enable_thinking") != std::string::npos},
              {"tools", source.find("tools") != std::string::npos}};
    } catch (const Error& e) {
      return {{"error", e.what()}};
    }
  }

  Json tokenizer() const {
    std::error_code error;
    if (!fs::exists(checkpoint_.folder() / "tokenizer.json", error)) return nullptr;
    try {
      const Tokenizer tokenizer = Tokenizer::load(checkpoint_.folder());
      const Tokenizer::Facts& facts = tokenizer.facts();
      return {{"vocab_size", tokenizer.vocab_size()}, {"merges", facts.merges},
              {"added_tokens", facts.added_tokens},   {"normalizer", facts.normalizer},
              {"pre_tokenizer", facts.pre_tokenizer}, {"adds_bos", facts.adds_bos}};
    } catch (const Error& e) {
      return {{"error", e.what()}};
    }
  }

  Json problems() const {
    Json problems = survey_.problems();
    for (const TensorEntry* entry : survey_.rest().useless)
      problems.push_back(entry->name + " (" + entry->description() + ") is of no use to the model of config.json");
    return problems;
  }
  Json warnings() const { return checkpoint_.warnings(); }

  /// A line a weight, in the order of the layers; a bank of experts is one.
  Json tensors() const {
    Json list = Json::array();
    for (const WeightSurvey::Found& f : survey_.found()) {
      if (f.request.kind == WeightRequest::Kind::scalar && !f.tensor) continue;
      std::string name = f.request.name;
      if (f.request.kind == WeightRequest::Kind::experts) name += ".*." + f.request.projection;
      list.push_back(
          {{"name", name}, {"shape", shape_of(f.request)}, {"format", format_of(f)}, {"bytes", stored_bytes_of(f)}});
    }
    for (const TensorEntry* entry : survey_.rest().mtp)
      list.push_back({{"name", entry->name},
                      {"shape", entry->shape},
                      {"format", std::string(name_of(entry->type)) + ", unused"},
                      {"bytes", entry->bytes.size()}});
    return list;
  }

 private:
  static std::string format_of(const WeightSurvey::Found& f) {
    if (f.tensor) return f.tensor->type == StoredType::BF16 ? "bf16" : "f32";
    std::string format;
    for (const LinearWeight& w : f.weights) {
      if (format.empty()) format = format_name(w);
      if (format != format_name(w)) return "mixed";
    }
    return format.empty() ? "missing" : format;
  }

  static std::int64_t stored_bytes_of(const WeightSurvey::Found& f) {
    std::int64_t bytes = f.tensor ? f.tensor->bytes.size() : 0;
    for (const LinearWeight& w : f.weights) bytes += stored_bytes(w);
    return bytes;
  }

  DType kv_type() const {
    const auto& declared = checkpoint_.quant_config();
    return declared && declared->fp8_kv_cache() ? DType::f8_e4m3 : DType::bf16;
  }

  std::vector<TensorClass> tensor_classes() const {
    std::vector<TensorClass> classes;
    TensorClass rest{"norms, routers, convolutions and other vectors", nullptr, {}, 0, 0};
    for (const WeightSurvey::Found& f : survey_.found()) {
      TensorClass* c = &rest;
      if (is_linear(f.request)) {
        const std::string name = class_of(f.request, config_);
        const Json shape = shape_of(f.request);
        c = nullptr;
        for (TensorClass& known : classes) {
          if (known.name == name && known.shape == shape) c = &known;
        }
        if (!c) c = &classes.emplace_back(TensorClass{name, shape, {}, 0, 0});
        for (const LinearWeight& w : f.weights) ++c->formats[std::string(format_name(w))];
      } else if (f.tensor) {
        ++c->formats[format_of(f)];
      }
      c->stored_bytes += stored_bytes_of(f);
      c->packed_bytes += packed_bytes_of(f);
    }
    classes.push_back(rest);
    return classes;
  }

  std::int64_t packed_bytes_of(const WeightSurvey::Found& f) const {
    const WeightRequest& r = f.request;
    if (!is_linear(r)) return r.kind == WeightRequest::Kind::scalar ? 0 : r.rows * r.cols * size_of(DType::f32);
    return f.weights.empty() ? 0 : backend_->packed_bytes(f.weights);
  }

  std::int64_t packed_bytes() const {
    std::int64_t bytes = 0;
    for (const WeightSurvey::Found& f : survey_.found()) bytes += packed_bytes_of(f);
    return bytes;
  }

  std::int64_t parameters() const {
    std::int64_t count = 0;
    for (const WeightRequest& r : survey_.requests()) {
      if (r.kind != WeightRequest::Kind::scalar) count += r.n * r.rows * r.cols;
    }
    return count;
  }

  Checkpoint checkpoint_;
  CheckpointWeights weights_;
  WeightSurvey survey_;
  std::unique_ptr<Model> model_;
  NemotronHConfig config_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace

Json checkpoint_facts(const fs::path& folder, bool tensors) {
  const Facts facts(folder);
  Json json{{"model", folder.string()},
            {"architecture", facts.architecture()},
            {"layers", facts.layers()},
            {"files", facts.files()},
            {"quantisation", facts.quantisation()},
            {"memory", facts.memory()},
            {"template", facts.chat_template()},
            {"tokenizer", facts.tokenizer()},
            {"warnings", facts.warnings()},
            {"problems", facts.problems()}};
  if (tensors) json["tensors"] = facts.tensors();
  return json;
}

}  // namespace strata
