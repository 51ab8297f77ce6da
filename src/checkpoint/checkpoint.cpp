// Opens a model folder and holds its files against each other.
#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/quote.h"
#include "checkpoint/shard_index.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxIndexBytes = 256 << 20;
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

[[noreturn]] void fail(const fs::path& path, const std::string& why) {
  throw Error(ErrorCode::bad_model, path.string() + ": " + why);
}

bool is_there(const fs::path& path) {
  std::error_code error;
  // A dangling link of a cache must be opened, so that the message says what is wrong with it.
  return fs::exists(fs::symlink_status(path, error));
}

/// The names of the folder's files that look like weights, sorted, the first few.
std::string weight_files(const fs::path& folder) {
  constexpr std::size_t kShown = 5;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string extension = it->path().extension().string();
    if (extension == ".safetensors" || extension == ".gguf" || extension == ".bin")
      names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i == 0 ? "" : ", ") + names[i];
  return names.size() > kShown ? text + " and " + std::to_string(names.size() - kShown) + " more" : text;
}

void check_folder(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (!fs::exists(status))
    fail(folder, "expected a folder with a Hugging Face checkpoint, found nothing; check the path" +
                     (error && error != std::errc::no_such_file_or_directory ? " (" + error.message() + ")" : ""));
  if (!fs::is_directory(status))
    fail(folder,
         "expected a folder with a Hugging Face checkpoint, found a file; give the folder that holds config.json "
         "and the safetensors files");
  if (!is_there(folder / "config.json")) {
    const std::string found = weight_files(folder);
    fail(folder, "expected config.json in the folder, found " + (found.empty() ? "none" : "none beside " + found) +
                     "; give the folder of a Hugging Face checkpoint, with all of its files");
  }
}

Json read_object(const fs::path& path) {
  Json json = read_json(path);
  if (!json.is_object()) fail(path, std::string("expected a JSON object, found ") + json.type_name());
  return json;
}

[[noreturn]] void refuse_without_weights(const fs::path& folder) {
  std::string why = std::string("expected ") + kWeights + " or " + kIndex + ", found ";
  const std::string found = weight_files(folder);
  why += found.empty() ? "no weights at all; fetch the checkpoint again, with its safetensors files"
                       : "only " + found +
                             "; Strata reads Hugging Face safetensors: fetch the missing files, or convert the weights "
                             "with save_pretrained";
  fail(folder, why);
}

struct Shard {
  std::string name;
  std::vector<TensorEntry> tensors;
};

/// The tensors of all shards, sorted; `shard_of` gets each one's shard. Throws if two shards have the same tensor.
std::vector<TensorEntry> merge(std::vector<Shard> shards, const fs::path& folder, std::vector<std::int64_t>& shard_of) {
  std::vector<std::pair<TensorEntry, std::int64_t>> all;
  for (std::size_t i = 0; i < shards.size(); ++i)
    for (TensorEntry& tensor : shards[i].tensors) all.emplace_back(std::move(tensor), static_cast<std::int64_t>(i));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first.name < b.first.name; });
  std::vector<TensorEntry> tensors;
  tensors.reserve(all.size());
  for (auto& [tensor, shard] : all) {
    if (!tensors.empty() && tensors.back().name == tensor.name)
      fail(folder / shards[static_cast<std::size_t>(shard)].name,
           "tensor " + in_quotes(tensor.name) + ": expected in one shard, found in " +
               shards[static_cast<std::size_t>(shard_of.back())].name + " too; fetch the checkpoint again");
    tensors.push_back(std::move(tensor));
    shard_of.push_back(shard);
  }
  return tensors;
}

/// Throws unless weight_map is what the shards' headers say.
void check_index(const ShardIndex& index, const std::vector<TensorEntry>& tensors,
                 const std::vector<std::int64_t>& shard_of, const fs::path& folder) {
  const std::string again = "; the index and the shards are of different exports, fetch all of them again";
  std::size_t i = 0;
  for (const ShardIndex::Entry& entry : index.tensors) {
    const std::string& shard = index.shards[static_cast<std::size_t>(entry.shard)];
    if (i < tensors.size() && tensors[i].name < entry.tensor) break;
    const bool here = i < tensors.size() && tensors[i].name == entry.tensor;
    if (!here)
      fail(folder / shard,
           "tensor " + in_quotes(entry.tensor) + ": expected in this shard by " + kIndex + ", found in none" + again);
    if (shard_of[i] != entry.shard)
      fail(folder / shard, "tensor " + in_quotes(entry.tensor) + ": expected in this shard by " + kIndex +
                               ", found in " + index.shards[static_cast<std::size_t>(shard_of[i])] + again);
    ++i;
  }
  if (i < tensors.size())
    fail(folder / index.shards[static_cast<std::size_t>(shard_of[i])], "tensor " + in_quotes(tensors[i].name) +
                                                                           ": expected in the weight_map of " + kIndex +
                                                                           ", found only in the shard" + again);
}

std::vector<TensorEntry> read_shards(const ShardIndex& index, const fs::path& folder) {
  std::string missing;
  std::size_t missing_count = 0;
  for (const std::string& name : index.shards)
    if (!is_there(folder / name) && missing_count++ == 0) missing = name;
  if (missing_count > 0)
    fail(folder / missing, "expected this shard by " + std::string(kIndex) + ", found no such file (" +
                               std::to_string(missing_count) + " of " + std::to_string(index.shards.size()) +
                               " shards are missing); fetch the rest of the checkpoint");
  std::vector<Shard> shards;
  for (const std::string& name : index.shards) shards.push_back({name, read_safetensors(folder / name)});
  std::vector<std::int64_t> shard_of;
  std::vector<TensorEntry> tensors = merge(std::move(shards), folder, shard_of);
  check_index(index, tensors, shard_of, folder);
  return tensors;
}

std::string_view module_of(std::string_view tensor) {
  for (const std::string_view suffix : {".weight", ".weight_packed"})
    if (tensor.ends_with(suffix)) return tensor.substr(0, tensor.size() - suffix.size());
  return {};
}

/// Sentences on where `other`, of config.json, contradicts `used`.
std::vector<std::string> contradictions(const QuantConfig& used, const QuantConfig& other,
                                        std::span<const TensorEntry> tensors) {
  const std::string files = "hf_quant_config.json (" + used.description() + ") and config.json (" +
                            other.description() + ") contradict each other: ";
  std::vector<std::string> found;
  if (used.fp8_kv_cache() != other.fp8_kv_cache())
    found.push_back(files + "only " + (used.fp8_kv_cache() ? "the former" : "the latter") +
                    " declares keys and values FP8; the former counts.");
  std::size_t count = 0;
  std::string first;
  for (const TensorEntry& tensor : tensors) {
    const std::string_view module = module_of(tensor.name);
    if (module.empty()) continue;
    const QuantAlgorithm a = used.declared(module), b = other.declared(module);
    if (a != b && count++ == 0)
      first = in_quotes(module) + " is " + std::string(name_of(a)) + " by the former and " + std::string(name_of(b)) +
              " by the latter";
  }
  if (count > 0)
    found.push_back(files + first + (count > 1 ? " (and so on for " + std::to_string(count - 1) + " more)" : "") +
                    "; the former counts.");
  return found;
}

std::optional<QuantConfig> read_quant_config(const fs::path& folder, const Json& config,
                                             std::span<const TensorEntry> tensors, std::vector<std::string>& warnings) {
  const fs::path own = folder / "hf_quant_config.json";
  const auto nested = config.find("quantization_config");
  const bool has_nested = nested != config.end() && !nested->is_null();
  const auto parse_nested = [&] {
    return QuantConfig::parse(*nested, (folder / "config.json").string() + ": quantization_config");
  };
  if (!is_there(own)) return has_nested ? std::optional(parse_nested()) : std::nullopt;
  const Json declaration = read_object(own);
  if (!declaration.contains("quantization")) fail(own, "expected the key \"quantization\", found none");
  QuantConfig used = QuantConfig::parse(declaration, own.string());
  if (!has_nested) return used;
  try {
    for (std::string& warning : contradictions(used, parse_nested(), tensors)) warnings.push_back(std::move(warning));
  } catch (const Error& e) {
    warnings.push_back(std::string(e.what()) + "; hf_quant_config.json counts.");
  }
  return used;
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& folder) {
  check_folder(folder);
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  checkpoint.config_ = read_object(folder / "config.json");
  const fs::path generation = folder / "generation_config.json";
  checkpoint.generation_config_ = is_there(generation) ? read_object(generation) : Json::object();

  std::vector<std::string> files{kWeights};
  if (is_there(folder / kWeights)) {
    if (is_there(folder / kIndex))
      checkpoint.warnings_.push_back(std::string(kWeights) + " and " + kIndex +
                                     " are both in the folder; the former is read.");
    checkpoint.tensors_ = read_safetensors(folder / kWeights);
  } else if (is_there(folder / kIndex)) {
    const std::string text = read_text(folder / kIndex, kMaxIndexBytes);
    const ShardIndex index = parse_shard_index(text, (folder / kIndex).string());
    checkpoint.tensors_ = read_shards(index, folder);
    files = index.shards;
  } else {
    refuse_without_weights(folder);
  }
  checkpoint.shards_ = static_cast<std::int64_t>(files.size());
  for (const std::string& file : files) checkpoint.file_bytes_ += File::open(folder / file).size();
  checkpoint.quant_config_ = read_quant_config(folder, checkpoint.config_, checkpoint.tensors_, checkpoint.warnings_);
  return checkpoint;
}

const TensorEntry* Checkpoint::find(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const TensorEntry& tensor, std::string_view n) { return tensor.name < n; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

}  // namespace strata
