#include "validation/synthetic.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "validation/synthetic_tensors.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPieceBytes = 1 << 20;
constexpr std::size_t kPiecesAtATime = 64;
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kCopied[] = {
    "hf_quant_config.json",    "generation_config.json", "tokenizer.json",     "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja",    "chat_template.json", "config.json"};

std::string gigabytes(std::int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

std::optional<QuantConfig> read_declaration(const fs::path& folder, const Json& config) {
  const fs::path own = folder / "hf_quant_config.json";
  if (fs::exists(own)) return QuantConfig::parse(read_json(own), own.string());
  const auto nested = config.find("quantization_config");
  if (nested == config.end() || nested->is_null()) return std::nullopt;
  return QuantConfig::parse(*nested, (folder / "config.json").string() + ": quantization_config");
}

/// Weights that the folder has.
std::vector<fs::path> weight_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool weights = name.starts_with("model") && name.ends_with(".safetensors");
    if (weights || name == kIndex) files.push_back(it->path());
  }
  return files;
}

void check_folder(const fs::path& folder, bool replace) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error))
    throw Error(ErrorCode::usage, folder.string() + ": expected a folder, found a file; give another OUT_DIR");
  const auto files = weight_files(folder);
  if (!files.empty() && !replace)
    throw Error(ErrorCode::usage, folder.string() + ": already holds a checkpoint (" +
                                      files.front().filename().string() +
                                      "); give another OUT_DIR, or --force to overwrite it");
}

void check_room(fs::path folder, std::int64_t bytes) {
  std::error_code error;
  folder = fs::absolute(folder);
  while (!fs::exists(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  const fs::space_info space = fs::space(folder, error);
  // Headers, the index and the tokenizer come on top of the weights.
  const std::int64_t needed = bytes + bytes / 100 + (std::int64_t{64} << 20);
  if (!error && space.available < static_cast<std::uintmax_t>(needed))
    throw Error(ErrorCode::failure, folder.string() + ": the checkpoint needs " + gigabytes(needed) +
                                        " and the disk has " + gigabytes(static_cast<std::int64_t>(space.available)) +
                                        " free; make room or choose another OUT_DIR");
}

/// The tensors of each shard: consecutive ones, at least one, and within the shard as the safetensors library writes
/// them, larger types first, then by name, so that loading finds what it finds in published files.
std::vector<std::span<const SyntheticTensor>> split(std::span<SyntheticTensor> tensors, std::int64_t shard_bytes) {
  std::vector<std::span<const SyntheticTensor>> shards;
  const auto add = [&](std::span<SyntheticTensor> shard) {
    std::sort(shard.begin(), shard.end(), [](const SyntheticTensor& a, const SyntheticTensor& b) {
      return std::pair(b.tensor.type, std::string_view(a.tensor.name)) <
             std::pair(a.tensor.type, std::string_view(b.tensor.name));
    });
    shards.push_back(shard);
  };
  std::size_t first = 0;
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (i > first && bytes + tensors[i].bytes() > shard_bytes) {
      add(tensors.subspan(first, i - first));
      first = i;
      bytes = 0;
    }
    bytes += tensors[i].bytes();
  }
  add(tensors.subspan(first));
  return shards;
}

std::string shard_name(std::size_t shard, std::size_t shards) {
  if (shards == 1) return kWeights;
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
  return name;
}

/// Part of one tensor.
struct Piece {
  const SyntheticTensor* tensor;
  std::int64_t at, bytes;
};

class ShardFiller {
 public:
  ShardFiller(const SyntheticOptions& options, std::int64_t total)
      : options_(options), pool_(options.threads > 0 ? options.threads : available_threads()), total_(total) {}

  void write(const fs::path& path, std::span<const SyntheticTensor> tensors) {
    std::vector<SafetensorsWriter::Tensor> headers;
    for (const SyntheticTensor& t : tensors) headers.push_back(t.tensor);
    SafetensorsWriter writer(path, headers, {{"format", "pt"}});
    std::vector<Piece> pieces;
    for (const SyntheticTensor& t : tensors) {
      for (std::int64_t at = 0; at < t.bytes(); at += kPieceBytes) {
        pieces.push_back({&t, at, std::min(kPieceBytes, t.bytes() - at)});
        if (pieces.size() == kPiecesAtATime) append(writer, pieces);
      }
    }
    append(writer, pieces);
    writer.finish();
  }

 private:
  void append(SafetensorsWriter& writer, std::vector<Piece>& pieces) {
    buffers_.resize(kPiecesAtATime);
    pool_.run(std::ssize(pieces), [&](std::int64_t i, int) {
      const Piece& piece = pieces[static_cast<std::size_t>(i)];
      auto& buffer = buffers_[static_cast<std::size_t>(i)];
      buffer.resize(static_cast<std::size_t>(piece.bytes));
      const ElementTable& elements = *piece.tensor->elements;
      fill_elements(elements, options_.seed, hash_of_name(piece.tensor->tensor.name), piece.at / elements.element_bytes,
                    buffer);
    });
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      writer.append(buffers_[i]);
      done_ += pieces[i].bytes;
    }
    if (options_.progress) options_.progress(done_, total_);
    pieces.clear();
  }

  const SyntheticOptions& options_;
  ThreadPool pool_;
  std::vector<std::vector<std::byte>> buffers_;
  std::int64_t done_ = 0, total_;
};

void write_text(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) throw Error(ErrorCode::failure, path.string() + ": can't be written; is the disk full?");
}

/// Written as text: a Json object would compare each of 100,000 names with all before it.
std::string index_text(const std::vector<std::span<const SyntheticTensor>>& shards, std::int64_t bytes) {
  std::string text = "{\n  \"metadata\": {\"total_size\": " + std::to_string(bytes) + "},\n  \"weight_map\": {";
  bool first = true;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    for (const SyntheticTensor& t : shards[s]) {
      text +=
          (first ? "\n    " : ",\n    ") + Json(t.tensor.name).dump() + ": \"" + shard_name(s, shards.size()) + "\"";
      first = false;
    }
  }
  return text + "\n  }\n}\n";
}

void copy_files(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (fs::equivalent(from, to, error)) return;
  for (const char* name : kCopied) {
    if (!fs::exists(from / name)) {
      fs::remove(to / name, error);  // of a checkpoint that was there before
      continue;
    }
    if (!fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing, error))
      throw Error(ErrorCode::failure, (to / name).string() + ": can't be written: " + error.message());
  }
}

}  // namespace

SyntheticSummary write_synthetic_checkpoint(const fs::path& config_dir, const fs::path& out_dir,
                                            const SyntheticOptions& options) {
  if (options.shard_bytes < 1)
    throw Error(ErrorCode::usage,
                "--shard-size: expected at least 1 byte, found " + std::to_string(options.shard_bytes));
  const fs::path config_path = config_dir / "config.json";
  const Json config = read_json(config_path);
  if (!config.is_object()) throw Error(ErrorCode::bad_model, config_path.string() + ": expected a JSON object");
  auto tensors = synthetic_tensors(config, read_declaration(config_dir, config), config_path.string(), options.seed);
  SyntheticSummary summary{.tensors = std::ssize(tensors)};
  for (const SyntheticTensor& t : tensors) summary.bytes += t.bytes();

  check_folder(out_dir, options.replace);
  check_room(out_dir, summary.bytes);
  std::error_code error;
  fs::create_directories(out_dir, error);
  if (error) throw Error(ErrorCode::failure, out_dir.string() + ": can't be made: " + error.message());
  for (const fs::path& old : weight_files(out_dir)) fs::remove(old, error);

  const auto shards = split(tensors, options.shard_bytes);
  summary.shards = std::ssize(shards);
  ShardFiller filler(options, summary.bytes);
  for (std::size_t s = 0; s < shards.size(); ++s) filler.write(out_dir / shard_name(s, shards.size()), shards[s]);
  if (shards.size() > 1) write_text(out_dir / kIndex, index_text(shards, summary.bytes));
  copy_files(config_dir, out_dir);
  return summary;
}

}  // namespace strata
