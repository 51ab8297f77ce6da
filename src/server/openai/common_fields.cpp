#include "server/openai/common_fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "server/openai/message_reader.h"

namespace strata {
namespace {

std::optional<float> as_float(std::optional<double> value) {
  if (!value) return std::nullopt;
  return static_cast<float>(*value);
}

std::string read_model(FieldReader& request, const RequestOptions& options) {
  const auto asked = request.string("model");
  std::string served = options.model_names.empty() ? "" : options.model_names.front();
  if (!asked || asked->empty() || options.any_model) return served;
  const auto& names = options.model_names;
  if (std::find(names.begin(), names.end(), *asked) == names.end()) throw ApiError::model_not_found(*asked, served);
  return served;
}

std::optional<std::uint64_t> read_seed(FieldReader& request) {
  const Json* seed = request.find("seed");
  if (seed == nullptr) return std::nullopt;
  if (!seed->is_number_integer()) request.refuse("seed", "an integer of 64 bits", *seed);
  if (seed->is_number_unsigned()) return seed->get<std::uint64_t>();
  return static_cast<std::uint64_t>(seed->get<std::int64_t>());
}

std::vector<std::string> read_stop(FieldReader& request, const RequestLimits& limits) {
  const Json* stop = request.find("stop");
  std::vector<std::string> out;
  if (stop == nullptr) return out;
  const auto add = [&](const Json& text, const std::string& name) {
    if (!text.is_string()) request.refuse(name, "a string", text);
    const auto& value = text.get_ref<const std::string&>();
    if (value.empty() || value.size() > limits.stop_bytes)
      request.refuse(name, "1 to " + std::to_string(limits.stop_bytes) + " bytes", value.size());
    out.push_back(value);
  };
  if (!stop->is_array()) {
    if (!stop->is_string()) request.refuse("stop", "a string or an array of strings", *stop);
    add(*stop, "stop");
    return out;
  }
  if (stop->size() > limits.stop_strings)
    request.refuse("stop", "at most " + std::to_string(limits.stop_strings) + " strings", *stop);
  for (std::size_t i = 0; i < stop->size(); ++i) add((*stop)[i], "stop[" + std::to_string(i) + "]");
  return out;
}

using Bias = std::pair<std::variant<TokenId, std::string>, float>;

/// OpenAI's {"token id": bias}, where a key that is no number is the text of a token; or llama.cpp's [[id or text,
/// bias]].
std::vector<Bias> read_logit_bias(FieldReader& request, const RequestLimits& limits) {
  std::vector<Bias> out;
  const Json* bias = request.find("logit_bias");
  if (bias == nullptr) return out;
  if (!bias->is_object() && !bias->is_array()) request.refuse("logit_bias", "an object of biases by token", *bias);
  if (bias->size() > limits.logit_bias)
    request.refuse("logit_bias", "at most " + std::to_string(limits.logit_bias) + " tokens", *bias);
  const auto value_of = [&](const Json& value, const std::string& path) {
    return static_cast<float>(checked_number(value, kBias, path));
  };
  if (bias->is_array()) {
    for (std::size_t i = 0; i < bias->size(); ++i) {
      const Json& pair = (*bias)[i];
      const std::string path = "logit_bias[" + std::to_string(i) + "]";
      const bool fits = pair.is_array() && pair.size() == 2 &&
                        (pair[0].is_string() || (pair[0].is_number_integer() && pair[0] >= 0 && pair[0] <= kInt32Max));
      if (!fits) request.refuse(path, "a pair of a token and a bias", pair);
      if (pair[0].is_string()) {
        out.emplace_back(pair[0].get<std::string>(), value_of(pair[1], path));
      } else {
        out.emplace_back(pair[0].get<TokenId>(), value_of(pair[1], path));
      }
    }
    return out;
  }
  for (const auto& [key, value] : bias->items()) {
    TokenId token = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    const float weight = value_of(value, "logit_bias." + key);
    if (error == std::errc() && end == key.data() + key.size()) {
      out.emplace_back(token, weight);
    } else {
      out.emplace_back(key, weight);
    }
  }
  return out;
}

std::vector<TokenId> read_stop_tokens(FieldReader& request, const RequestLimits& limits) {
  std::vector<TokenId> out;
  const Json* tokens = request.array("stop_token_ids", limits.stop_strings);
  if (tokens == nullptr) return out;
  constexpr NumericField kToken{"stop_token_ids", 0, kInt32Max, true};
  for (std::size_t i = 0; i < tokens->size(); ++i)
    out.push_back(
        static_cast<TokenId>(checked_number((*tokens)[i], kToken, "stop_token_ids[" + std::to_string(i) + "]")));
  return out;
}

void read_sampling(FieldReader& request, GenerationRequest& out) {
  out.temperature = as_float(request.number(kTemperature));
  // The model's own ranges leave their ends out; what is as near does the same.
  if (const auto top_p = request.number(kTopP)) out.top_p = std::max(static_cast<float>(*top_p), 1e-6F);
  if (const auto min_p = request.number(kMinP)) out.min_p = std::min(static_cast<float>(*min_p), 1 - 1e-6F);
  if (const auto top_k = request.integer(kTopK))
    out.top_k = static_cast<std::int32_t>(std::max<std::int64_t>(0, *top_k));
  out.repetition_penalty = as_float(request.number(kRepetitionPenalty));
  const auto other = as_float(request.number(kRepeatPenalty));
  if (other && out.repetition_penalty && *other != *out.repetition_penalty)
    throw ApiError::invalid_value("repeat_penalty", "repetition_penalty is another name for it, with another value");
  if (other) out.repetition_penalty = other;
  out.presence_penalty = as_float(request.number(kPresencePenalty));
  out.frequency_penalty = as_float(request.number(kFrequencyPenalty));
  out.seed = read_seed(request);
}

void read_stream(FieldReader& request, ResponseRequest& out) {
  out.stream = request.boolean("stream").value_or(false);
  const Json* options = request.object("stream_options");
  if (options == nullptr) return;
  if (!out.stream) throw ApiError::invalid_value("stream_options", "it is for \"stream\": true only");
  FieldReader reader(*options, "stream_options");
  out.include_usage = reader.boolean("include_usage").value_or(false);
}

const Json& read_schema(FieldReader& holder, const char* name, const RequestLimits& limits) {
  const Json* schema = holder.find(name);
  if (schema == nullptr) throw ApiError::invalid_value(holder.path_of(name), "expected a JSON schema");
  if (!schema->is_object() && !schema->is_boolean()) holder.refuse(name, "a JSON schema", *schema);
  if (schema->dump().size() > limits.schema_bytes)
    throw ApiError::invalid_value(holder.path_of(name),
                                  "expected at most " + std::to_string(limits.schema_bytes) + " bytes");
  return *schema;
}

ResponseForm read_response_format(FieldReader format, const RequestLimits& limits) {
  const auto type = format.string("type");
  if (type && *type == "text") return FreeForm{};
  if (type && *type == "json_object") {
    if (format.find("schema") == nullptr) return JsonObjectForm{};
    JsonSchemaForm form;
    form.schema = read_schema(format, "schema", limits);
    return form;
  }
  if (!type || *type != "json_schema") {
    throw ApiError::invalid_value(format.path_of("type"), "expected \"text\", \"json_object\" or \"json_schema\"" +
                                                              (type ? ", found " + shown(*type) : std::string()));
  }
  const Json* body = format.object("json_schema");
  if (body == nullptr) throw ApiError::invalid_value(format.path_of("json_schema"), "expected an object");
  FieldReader reader(*body, format.path_of("json_schema"));
  reader.string("name", 64);
  reader.string("description");
  reader.boolean("strict");
  JsonSchemaForm form;
  form.schema = read_schema(reader, "schema", limits);
  return form;
}

ResponseForm read_structured_outputs(FieldReader outputs, const RequestLimits& limits) {
  for (const char* name : {"regex", "grammar", "structural_tag"}) {
    if (outputs.find(name) != nullptr)
      throw ApiError::invalid_value(outputs.path_of(name), "it is not supported; \"json\" and \"choice\" are");
  }
  const bool json = outputs.find("json") != nullptr;
  const Json* choice = outputs.array("choice", 1 << 16);
  if (json == (choice != nullptr))
    throw ApiError::invalid_value("structured_outputs", "expected one of json and choice");
  if (json) {
    JsonSchemaForm form;
    form.schema = read_schema(outputs, "json", limits);
    return form;
  }
  ChoiceForm form;
  for (const Json& text : *choice) {
    if (!text.is_string()) outputs.refuse("choice", "an array of strings", *choice);
    form.texts.push_back(text.get<std::string>());
  }
  return form;
}

}  // namespace

void read_common_fields(FieldReader& request, const RequestOptions& options, ApiRequest& out) {
  out.model = read_model(request, options);
  out.response.reasoning_field = options.reasoning_field;
  GenerationRequest& generation = out.generation;
  read_sampling(request, generation);
  const NumericField n{"n", 1, static_cast<double>(options.limits.n), true};
  generation.n = static_cast<int>(request.integer(n).value_or(1));
  out.response.n = generation.n;
  generation.stop = read_stop(request, options.limits);
  generation.include_stop_str_in_output = request.boolean("include_stop_str_in_output").value_or(false);
  generation.stop_token_ids = read_stop_tokens(request, options.limits);
  generation.logit_bias = read_logit_bias(request, options.limits);
  generation.ignore_eos = request.boolean("ignore_eos").value_or(false);
  generation.min_tokens = request.integer(kMinTokens).value_or(0);
  generation.priority = request.integer(kPriority).value_or(0);
  generation.cache_salt = request.string("cache_salt", 1024).value_or("");
  out.timeout_ms = request.integer(kTimeout);
  read_stream(request, out.response);
  generation.prompt_progress = request.boolean("return_progress").value_or(false) && out.response.stream;
  // What clients of other servers send and what would be silently without effect here.
  for (const char* name :
       {"guided_json", "guided_regex", "guided_choice", "guided_grammar", "grammar", "json_schema"}) {
    if (request.find(name) != nullptr)
      throw ApiError::invalid_value(name, "it is not supported; use response_format or structured_outputs");
  }
  request.ignore({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
                  "prompt_cache_retention", "prediction", "verbosity", "timings_per_token"});
}

std::optional<std::int64_t> read_max_tokens(FieldReader& request, std::int64_t least) {
  NumericField field = kMaxTokens;
  field.min = static_cast<double>(least);
  const auto one = request.integer(field);
  field.name = kMaxCompletionTokens.name;
  const auto other = request.integer(field);
  if (one && other) return std::min(*one, *other);
  return one ? one : other;
}

ResponseForm read_response_form(FieldReader& request, const RequestLimits& limits) {
  const Json* format = request.object("response_format");
  const Json* outputs = request.object("structured_outputs");
  if (format != nullptr && outputs != nullptr)
    throw ApiError::invalid_value("structured_outputs", "response_format says the form of the answer already");
  if (format != nullptr) return read_response_format(FieldReader(*format, "response_format"), limits);
  if (outputs != nullptr) return read_structured_outputs(FieldReader(*outputs, "structured_outputs"), limits);
  return FreeForm{};
}

}  // namespace strata
