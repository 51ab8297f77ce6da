// Reads declarations of quantisation as ModelOpt and compressed-tensors write them.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/quote.h"
#include "checkpoint/quant_config.h"
#include "checkpoint/quant_rules.h"

namespace strata {
namespace {

constexpr std::int64_t kGroupSize = 16;
// Every module of a model is tried on every pattern; real declarations have up to some hundreds.
constexpr std::size_t kMaxPatterns = 4096, kMaxExpressions = 256;
constexpr std::string_view kMixed = "MIXED_PRECISION";

/// What a declaration adds up to besides its rules.
struct Parsed {
  QuantRules rules;
  bool fp8_kv_cache = false;
  std::string producer, algorithm;
};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

class Parser {
 public:
  Parser(const Json& declaration, std::string_view what) : what_(what) {
    require_object(declaration, what_);
    declaration_ = &declaration;
    if (const Json* inner = member(declaration, "quantization")) {
      what_ += ".quantization";
      require_object(*inner, what_);
      declaration_ = inner;
    }
    const Json* producer = member(declaration, "producer");
    if (!producer) producer = member(*declaration_, "producer");
    if (producer) read_producer(*producer);
  }

  Parsed parse() {
    std::string method = "modelopt";
    if (const Json* value = member(*declaration_, "quant_method"))
      method = lower(string_of(*value, what_ + ".quant_method"));
    if (method == "compressed-tensors") {
      parse_compressed_tensors();
    } else if (method == "modelopt" || method == "modelopt_fp4" || method == "modelopt_mixed") {
      parse_modelopt();
    } else {
      fail(what_ + ".quant_method", "expected modelopt or compressed-tensors, found " + in_quotes(method) +
                                        ", which Strata does not compute with; use another quantisation of the model");
    }
    if (parsed_.producer.empty()) parsed_.producer = method;
    read_exclusions("exclude_modules");
    read_exclusions("ignore");
    read_kv_cache();
    return std::move(parsed_);
  }

 private:
  [[noreturn]] static void fail(const std::string& where, const std::string& why) {
    throw Error(ErrorCode::bad_model, where + ": " + why);
  }
  /// nullptr if the key is missing or null.
  static const Json* member(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
  static void require_object(const Json& value, const std::string& where) {
    if (!value.is_object()) fail(where, std::string("expected an object, found ") + value.type_name());
  }
  static void require_array(const Json& value, const std::string& where) {
    if (!value.is_array()) fail(where, std::string("expected an array, found ") + value.type_name());
  }
  static std::string_view string_of(const Json& value, const std::string& where) {
    if (!value.is_string()) fail(where, std::string("expected a string, found ") + value.type_name());
    return value.get_ref<const std::string&>();
  }
  static std::string printed(const Json& value) {
    return value.is_number() || value.is_boolean() ? value.dump()
           : value.is_string()                     ? in_quotes(value.get_ref<const std::string&>())
                                                   : value.type_name();
  }

  void read_producer(const Json& producer) {
    const std::string where = what_ + ".producer";
    require_object(producer, where);
    const Json* name = member(producer, "name");
    const Json* version = member(producer, "version");
    parsed_.producer = name ? string_of(*name, where + ".name") : "modelopt";
    if (!version) return;
    const std::string_view text = string_of(*version, where + ".version");
    parsed_.producer += " " + std::string(text);
    int major = 0, minor = 0;
    const char* const end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, major);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return;
    const auto second = std::from_chars(first.ptr + 1, end, minor);
    bare_substrings_ = second.ec == std::errc() && major == 0 && minor < 39;
  }

  static QuantAlgorithm algorithm_of(const Json& value, const std::string& where) {
    const std::string name = upper(string_of(value, where));
    for (const auto algorithm : {QuantAlgorithm::fp8, QuantAlgorithm::nvfp4, QuantAlgorithm::w4a16_nvfp4})
      if (name == name_of(algorithm)) return algorithm;
    fail(where, "expected NVFP4, W4A16_NVFP4, FP8 or MIXED_PRECISION, found " + in_quotes(name) +
                    ", which Strata does not compute with; use another quantisation of the model");
  }

  static void check_group_size(const Json& object, QuantAlgorithm algorithm, const std::string& where) {
    const Json* size = member(object, "group_size");
    if (!size || algorithm == QuantAlgorithm::fp8 || algorithm == QuantAlgorithm::none) return;
    if (!size->is_number_integer() || *size != kGroupSize)
      fail(where + ".group_size", "expected " + std::to_string(kGroupSize) + " for " + std::string(name_of(algorithm)) +
                                      ", found " + printed(*size));
  }

  void parse_modelopt() {
    const Json* value = member(*declaration_, "quant_algo");
    const Json* layers = member(*declaration_, "quantized_layers");
    const Json* groups = member(*declaration_, "config_groups");
    const bool mixed = value && upper(string_of(*value, what_ + ".quant_algo")) == kMixed;
    if (value && !mixed) {
      parsed_.rules.otherwise = algorithm_of(*value, what_ + ".quant_algo");
      check_group_size(*declaration_, parsed_.rules.otherwise, what_);
      parsed_.algorithm = name_of(parsed_.rules.otherwise);
    }
    if (layers) read_layers(*layers);
    // Beside an algorithm or a list of layers the groups only repeat them.
    if (groups && !layers && (!value || mixed)) read_groups(*groups, false);
    if (mixed && !layers && !groups)
      fail(what_, "expected quantized_layers or config_groups beside MIXED_PRECISION, found neither");
    if (mixed) parsed_.algorithm = kMixed;
  }

  void parse_compressed_tensors() {
    const Json* value = member(*declaration_, "format");
    if (!value) fail(what_ + ".format", "expected nvfp4-pack-quantized, found none");
    const std::string format = lower(string_of(*value, what_ + ".format"));
    if (format != "nvfp4-pack-quantized" && format != "mixed-precision")
      fail(what_ + ".format", "expected nvfp4-pack-quantized, found " + in_quotes(format) +
                                  ", which Strata does not compute with; use another quantisation of the model");
    for (const char* key : {"sparsity_config", "transform_config"})
      if (const Json* extra = member(*declaration_, key); extra && !extra->empty())
        if (const Json* kind = extra->is_object() ? member(*extra, "format") : nullptr; !kind || *kind != "dense")
          fail(what_ + "." + key, "expected none, Strata computes neither with sparse nor with transformed weights");
    const Json* groups = member(*declaration_, "config_groups");
    if (!groups) fail(what_ + ".config_groups", "expected an object of groups, found none");
    read_groups(*groups, format == "mixed-precision");
    parsed_.algorithm = format;
  }

  void include(std::string_view name, QuantAlgorithm algorithm, const std::string& where) {
    std::string key = normalise_module(name);
    constexpr std::string_view kExperts = ".experts.";
    if (const auto at = key.find(kExperts); at != std::string::npos)
      parsed_.rules.experts.emplace(key.substr(0, at + kExperts.size() - 1), algorithm);
    const auto [found, added] = parsed_.rules.exact.emplace(std::move(key), algorithm);
    if (!added && found->second != algorithm)
      fail(where, in_quotes(name) + " is declared " + std::string(name_of(found->second)) + " and " +
                      std::string(name_of(algorithm)));
  }

  void read_layers(const Json& layers) {
    const std::string where = what_ + ".quantized_layers";
    require_object(layers, where);
    parsed_.rules.exact.reserve(layers.size());
    for (const auto& [name, layer] : layers.get_ref<const Json::object_t&>()) {
      if (!layer.is_object() || !member(layer, "quant_algo"))
        fail(where + "[" + in_quotes(name) + "]", "expected an object with quant_algo, found none");
      const QuantAlgorithm algorithm = algorithm_of(*member(layer, "quant_algo"), where + "[" + in_quotes(name) + "]");
      check_group_size(layer, algorithm, where + "[" + in_quotes(name) + "]");
      if (ModulePattern::is_glob(name)) {
        add_pattern(name, algorithm, where);
      } else {
        include(name, algorithm, where);
      }
    }
  }

  void add_pattern(std::string_view entry, QuantAlgorithm algorithm, const std::string& where) {
    parsed_.rules.patterns.emplace_back(pattern_of(entry, where), algorithm);
  }

  ModulePattern pattern_of(std::string_view entry, const std::string& where) {
    count_pattern(where);
    if (entry.starts_with("re:")) {
      if (++expressions_ > kMaxExpressions)
        fail(where, "expected at most " + std::to_string(kMaxExpressions) + " regular expressions, found more");
      return ModulePattern::regex(entry.substr(3), where);
    }
    return ModulePattern::glob(normalise_module(entry));
  }

  void count_pattern(const std::string& where) {
    if (++patterns_ > kMaxPatterns)
      fail(where, "expected at most " + std::to_string(kMaxPatterns) + " patterns, found more");
  }

  void read_groups(const Json& groups, bool own_formats) {
    const std::string where = what_ + ".config_groups";
    require_object(groups, where);
    for (const auto& [name, group] : groups.get_ref<const Json::object_t&>()) {
      const std::string place = where + "." + in_quotes(name);
      require_object(group, place);
      const QuantAlgorithm algorithm = group_algorithm(group, place);
      if (own_formats) check_group_format(group, algorithm, place);
      const Json* targets = member(group, "targets");
      if (!targets) fail(place + ".targets", "expected an array of modules, found none");
      read_targets(*targets, algorithm, place + ".targets");
      if (!parsed_.algorithm.empty()) continue;
      parsed_.algorithm = name_of(algorithm);
    }
  }

  static QuantAlgorithm group_algorithm(const Json& group, const std::string& place) {
    const Json* weights = member(group, "weights");
    if (!weights) fail(place + ".weights", "expected an object, found none");
    const std::optional<int> bits = float_bits(*weights, place + ".weights");
    const Json* inputs = member(group, "input_activations");
    const std::optional<int> input_bits = inputs ? float_bits(*inputs, place + ".input_activations") : std::nullopt;
    if (bits == 8 && (!inputs || input_bits == 8)) return QuantAlgorithm::fp8;
    if (bits == 4 && (!inputs || input_bits == 4)) {
      const auto algorithm = inputs ? QuantAlgorithm::nvfp4 : QuantAlgorithm::w4a16_nvfp4;
      check_group_size(*weights, algorithm, place + ".weights");
      return algorithm;
    }
    fail(place, "expected weights of 4 or 8 bits and inputs of the same or none, of type float, found weights " +
                    scheme(*weights) + (inputs ? " and inputs " + scheme(*inputs) : "") +
                    "; use another quantisation of the model");
  }

  /// nullopt unless the scheme's numbers are floats of a whole number of bits.
  static std::optional<int> float_bits(const Json& value, const std::string& where) {
    require_object(value, where);
    const Json* bits = member(value, "num_bits");
    const Json* type = member(value, "type");
    if (!bits || !bits->is_number_integer() || (type && *type != "float")) return std::nullopt;
    return *bits == 4 ? 4 : *bits == 8 ? 8 : 0;
  }

  static std::string scheme(const Json& value) {
    const Json* bits = member(value, "num_bits");
    const Json* type = member(value, "type");
    return (bits ? printed(*bits) : "none") + " bits of type " + (type ? printed(*type) : "none");
  }

  static void check_group_format(const Json& group, QuantAlgorithm algorithm, const std::string& place) {
    const char* const expected = algorithm == QuantAlgorithm::fp8 ? "float-quantized" : "nvfp4-pack-quantized";
    const Json* format = member(group, "format");
    if (!format || *format != expected)
      fail(place + ".format", std::string("expected ") + expected + ", found " + (format ? printed(*format) : "none"));
    const Json* strategy = member(*member(group, "weights"), "strategy");
    if (algorithm == QuantAlgorithm::fp8 && strategy && *strategy != "tensor")
      fail(place + ".weights.strategy",
           "expected tensor, found " + printed(*strategy) + ", which Strata does not compute with for FP8");
  }

  void read_targets(const Json& targets, QuantAlgorithm algorithm, const std::string& where) {
    require_array(targets, where);
    for (const Json& target : targets) {
      const std::string_view name = string_of(target, where);
      if (name == "Linear") {
        QuantAlgorithm& otherwise = parsed_.rules.otherwise;
        if (otherwise != QuantAlgorithm::none && otherwise != algorithm)
          fail(where,
               "Linear is declared " + std::string(name_of(otherwise)) + " and " + std::string(name_of(algorithm)));
        otherwise = algorithm;
      } else if (name.starts_with("re:") || ModulePattern::is_glob(name)) {
        add_pattern(name, algorithm, where);
      } else {
        include(name, algorithm, where);
      }
    }
  }

  void read_exclusions(const char* key) {
    const Json* list = member(*declaration_, key);
    if (!list) return;
    const std::string where = what_ + "." + key;
    require_array(*list, where);
    for (const Json& value : *list) {
      const std::string_view entry = string_of(value, where);
      const std::string name = normalise_module(entry);
      if (name.empty()) continue;
      if (entry.starts_with("re:") || ModulePattern::is_glob(entry)) {
        parsed_.rules.excluded_patterns.push_back(pattern_of(entry, where));
      } else if (parsed_.rules.excluded.insert(name).second && bare_substrings_) {
        count_pattern(where);
        parsed_.rules.excluded_patterns.push_back(ModulePattern::substring(name));
      }
    }
  }

  void read_kv_cache() {
    if (const Json* value = member(*declaration_, "kv_cache_quant_algo")) {
      const std::string name = upper(string_of(*value, what_ + ".kv_cache_quant_algo"));
      if (name != "FP8" && name != "NONE" && !name.empty())
        fail(what_ + ".kv_cache_quant_algo",
             "expected FP8 or null, found " + in_quotes(name) + ", which Strata does not compute with");
      parsed_.fp8_kv_cache = name == "FP8";
    }
    if (const Json* value = member(*declaration_, "kv_cache_scheme")) {
      if (float_bits(*value, what_ + ".kv_cache_scheme") != 8)
        fail(what_ + ".kv_cache_scheme",
             "expected 8 bits of type float, found " + scheme(*value) + ", which Strata does not compute with");
      parsed_.fp8_kv_cache = true;
    }
  }

  std::string what_;
  const Json* declaration_ = nullptr;
  bool bare_substrings_ = false;
  std::size_t patterns_ = 0, expressions_ = 0;
  Parsed parsed_;
};

std::string describe(const Parsed& parsed) {
  std::string text = parsed.producer + ", " + (parsed.algorithm.empty() ? "no algorithm" : parsed.algorithm);
  std::string counts;
  for (const auto algorithm : {QuantAlgorithm::fp8, QuantAlgorithm::nvfp4, QuantAlgorithm::w4a16_nvfp4}) {
    const auto count = std::count_if(parsed.rules.exact.begin(), parsed.rules.exact.end(),
                                     [&](const auto& entry) { return entry.second == algorithm; });
    if (count > 0)
      counts += (counts.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(name_of(algorithm));
  }
  return counts.empty() ? text : text + " (" + counts + ")";
}

}  // namespace

QuantConfig QuantConfig::parse(const Json& declaration, std::string_view what) {
  Parsed parsed = Parser(declaration, what).parse();
  QuantConfig config;
  config.fp8_kv_cache_ = parsed.fp8_kv_cache;
  config.description_ = describe(parsed);
  config.rules_ = std::make_shared<const QuantRules>(std::move(parsed.rules));
  return config;
}

}  // namespace strata
