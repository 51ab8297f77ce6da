#include "engine/memory_plan.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "base/error.h"
#include "engine/engine_memory.h"

namespace strata {
namespace {

constexpr std::int64_t kMostSequences = 1 << 20;

/// The parts that depend on the options.
void add_engine(const Model& model, const Backend& backend, const EngineOptions& options, MemoryPlan& plan) {
  const StateLayout layout{model.state_shape(), backend.state_types(options.kv_type)};
  const EngineMemory memory = engine_memory(model, options);
  plan.state = bounded_product(memory.slots, layout.slot_bytes());
  plan.kv = bounded_product(memory.pages, layout.page_bytes());
  plan.workspace = std::min(kMostBytes, memory.workspace_bytes + memory.logits_bytes + memory.sample_bytes(options));
  plan.scratch = backend.scratch_bytes(memory.limits);
}

/// The largest n from 1 to `most` for which fits(n), which only ever turns from true to false; 0 if there is none.
template <class Fits>
std::int64_t largest(std::int64_t most, Fits fits) {
  std::int64_t low = 0, high = most;
  while (low < high) {
    const std::int64_t middle = low + (high - low + 1) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

void require_range(const char* what, std::int64_t value, std::int64_t most) {
  if (1 <= value && value <= most) return;
  throw Error(ErrorCode::usage, std::string("the ") + what + " is " + std::to_string(value) +
                                    "; this model's must be from 1 to " + std::to_string(most));
}

std::optional<std::int64_t> read_number(const std::filesystem::path& path) {
  std::int64_t value = 0;
  if (std::ifstream(path) >> value) return value;
  return std::nullopt;  // "max", or no such file
}

/// The number after a line's first word `key`.
std::optional<std::int64_t> read_field(const std::filesystem::path& path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  std::int64_t value = 0;
  while (file >> word) {
    if (word == key && file >> value) return value;
    file.clear();
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

/// Names of a control group's files, which its two versions give other names.
struct GroupFiles {
  const char *limit, *usage, *inactive_files, *active_files;
};
constexpr GroupFiles kVersion2{"memory.max", "memory.current", "inactive_file", "active_file"};
constexpr GroupFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                               "total_active_file"};

/// The least that is left in `group` and the groups around it, up to `mount`.
std::int64_t left_in_groups(const std::filesystem::path& mount, std::filesystem::path group, const GroupFiles& files) {
  std::int64_t least = kMostBytes;
  while (true) {
    const std::filesystem::path folder = mount / group;
    const auto limit = read_number(folder / files.limit), usage = read_number(folder / files.usage);
    if (limit && usage) {
      const auto inactive = read_field(folder / "memory.stat", files.inactive_files);
      const auto active = read_field(folder / "memory.stat", files.active_files);
      least = std::min(least, *limit - *usage + inactive.value_or(0) + active.value_or(0));
    }
    if (group.empty()) return std::max<std::int64_t>(least, 0);
    group = group.parent_path();
  }
}

}  // namespace

MemoryPlan plan_memory(std::int64_t weight_bytes, const Model& model, const Backend& backend,
                       const EngineOptions& options, std::int64_t available) {
  require_range("number of sequences", options.max_sequences, kMostSequences);
  require_range("context", options.context, model.max_context());
  MemoryPlan plan;
  plan.weights = weight_bytes;
  plan.program = kProgramAllowance;
  plan.available = available;
  add_engine(model, backend, options, plan);

  // What keys and values are kept for beyond the sequences' own.
  const std::int64_t spare_tokens =
      options.kv_tokens > 0
          ? std::max<std::int64_t>(0, options.kv_tokens - bounded_product(options.max_sequences, options.context))
          : 0;
  const auto fits = [&](std::int64_t sequences, std::int64_t context) {
    EngineOptions asked = options;
    asked.max_sequences = sequences;
    asked.context = context;
    asked.chunk = std::max(options.chunk, sequences);
    const std::int64_t own = bounded_product(sequences, StateLayout::pages_for(context) * kPageSize);
    asked.kv_tokens = std::min(kMostBytes, own + spare_tokens);
    MemoryPlan at = plan;
    add_engine(model, backend, asked, at);
    return at.fits();
  };
  // Bounds that keep what a backend is asked within what a machine could have.
  const StateLayout layout{model.state_shape(), backend.state_types(options.kv_type)};
  const auto bound = [&](std::int64_t most, std::int64_t bytes_each) {
    return bytes_each > 0 ? std::min(most, available / bytes_each + 1) : most;
  };
  plan.largest_context = largest(bound(model.max_context(), layout.kv_bytes_per_token()),
                                 [&](std::int64_t n) { return fits(options.max_sequences, n); });
  plan.largest_sequences = largest(bound(kMostSequences, model.vocab_size() * size_of(DType::f32)),
                                   [&](std::int64_t n) { return fits(n, options.context); });
  return plan;
}

std::int64_t weight_bytes(const std::vector<WeightRequest>& requests, CheckpointWeights& weights,
                          const Backend& backend) {
  std::int64_t bytes = 0;
  for (const WeightRequest& r : requests) {
    switch (r.kind) {
      case WeightRequest::Kind::linear: {
        const LinearWeight weight = weights.linear(r.name, r.rows, r.cols);
        bytes += backend.packed_bytes({&weight, 1});
        break;
      }
      case WeightRequest::Kind::experts:
        bytes += backend.packed_bytes(weights.experts(r.name, r.projection, r.n, r.rows, r.cols));
        break;
      case WeightRequest::Kind::vector:
      case WeightRequest::Kind::table:
        bytes += r.rows * r.cols * size_of(DType::f32);
        break;
      case WeightRequest::Kind::scalar:
        break;
    }
  }
  return bytes;
}

std::int64_t available_memory(const std::filesystem::path& root) {
  std::int64_t available = kMostBytes;
  if (const auto kb = read_field(root / "proc/meminfo", "MemAvailable:")) available = *kb * 1024;

  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b" (version 2) or "5:memory:/a/b"
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::filesystem::path group = std::filesystem::path(line.substr(second + 1)).relative_path();
    if (controllers == ",,") {
      available = std::min(available, left_in_groups(root / "sys/fs/cgroup", group, kVersion2));
    } else if (controllers.find(",memory,") != std::string::npos) {
      available = std::min(available, left_in_groups(root / "sys/fs/cgroup/memory", group, kVersion1));
    }
  }
  return available;
}

}  // namespace strata
