#include "validation/files_check.h"

#include <algorithm>
#include <optional>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/shard_index.h"
#include "model/registry.h"
#include "validation/value_scan.h"
#include "validation/weight_survey.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxIndexBytes = 256 << 20;

/// What the index and each shard by itself have wrong; empty if all that is wrong is something else.
std::vector<std::string> shard_problems(const fs::path& folder) {
  std::vector<std::string> problems;
  const fs::path index_path = folder / "model.safetensors.index.json";
  std::error_code error;
  if (fs::exists(folder / "model.safetensors", error) || !fs::exists(index_path, error)) return problems;
  try {
    const ShardIndex index = parse_shard_index(read_text(index_path, kMaxIndexBytes), index_path.string());
    std::vector<std::set<std::string>> names(index.shards.size());
    std::vector<bool> readable(index.shards.size());
    for (std::size_t s = 0; s < index.shards.size(); ++s) {
      try {
        for (const TensorEntry& entry : read_safetensors(folder / index.shards[s])) names[s].insert(entry.name);
        readable[s] = true;
      } catch (const Error& e) {
        problems.push_back(e.what());
      }
    }
    for (const ShardIndex::Entry& entry : index.tensors) {
      const auto s = static_cast<std::size_t>(entry.shard);
      if (readable[s] && names[s].erase(entry.tensor) == 0)
        problems.push_back((folder / index.shards[s]).string() + ": " + entry.tensor +
                           " should be in this shard by the index, but is not; fetch the shard and the index again");
    }
    for (std::size_t s = 0; s < names.size(); ++s) {
      for (const std::string& name : names[s])
        problems.push_back((folder / index.shards[s]).string() + ": " + name +
                           " is in this shard, but not by the index; fetch the shard and the index again");
    }
  } catch (const Error& e) {
    problems.push_back(e.what());
  }
  return problems;
}

bool speaks_of(const std::vector<std::string>& problems, const std::string& tensor) {
  return std::any_of(problems.begin(), problems.end(),
                     [&](const std::string& p) { return p.find(tensor + " ") != std::string::npos; });
}

void check_model(const Checkpoint& checkpoint, FilesReport& report) {
  try {
    CheckpointWeights weights(checkpoint);
    WeightSurvey survey(checkpoint, weights);
    bind_model(checkpoint, survey);
    report.problems = survey.problems();
    for (const std::string& contradiction : weights.contradictions())
      report.problems.push_back(checkpoint.folder().string() + ": " + contradiction);
    const WeightSurvey::Rest rest = survey.rest();
    for (const TensorEntry* entry : rest.useless)
      report.problems.push_back(entry->bytes.file()->path().string() + ": " + entry->name + " (" +
                                entry->description() +
                                ") is of no use to the model of config.json; is config.json the one of these weights?");
    report.mtp_tensors = std::ssize(rest.mtp);
    if (!rest.mtp.empty())
      report.notes.push_back(std::to_string(rest.mtp.size()) +
                             " tensors of multi-token prediction (mtp.) are there; Strata doesn't run it");
  } catch (const Error& e) {
    report.problems.push_back(e.what());
  }
}

}  // namespace

FilesReport check_files(const fs::path& folder, ThreadPool& pool) {
  FilesReport report;
  std::optional<Checkpoint> checkpoint;
  try {
    checkpoint = Checkpoint::open(folder);
  } catch (const Error& e) {
    report.problems = shard_problems(folder);
    if (report.problems.empty()) report.problems.push_back(e.what());
    return report;
  }
  report.tensors = std::ssize(checkpoint->tensors());
  report.bytes = checkpoint->file_bytes();
  report.notes = checkpoint->warnings();
  check_model(*checkpoint, report);
  for (const ScanResult& found : scan_values(checkpoint->tensors(), pool)) {
    if (!speaks_of(report.problems, found.tensor->name)) report.problems.push_back(found.sentence());
  }
  return report;
}

}  // namespace strata
