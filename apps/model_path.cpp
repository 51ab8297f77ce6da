#include "apps/model_path.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include "base/error.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

bool has_config(const fs::path& path) {
  std::error_code error;
  return fs::exists(path / "config.json", error);
}

/// As Hugging Face writes names: one slash, letters, digits, dots, dashes and underscores on both sides.
bool is_repository_name(const std::string& name) {
  const std::size_t slash = name.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == name.size()) return false;
  if (name.find('/', slash + 1) != std::string::npos || name[0] == '.' || name[slash + 1] == '.') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '/' || c == '.' || c == '-' || c == '_';
  });
}

bool is_path(const std::string& word) {
  return word.starts_with('/') || word.starts_with("./") || word.starts_with("../") || word.starts_with('~');
}

}  // namespace

bool names_model(const std::string& word) {
  if (word.empty()) return false;
  if (is_folder(word)) return true;
  const bool spaces = std::any_of(word.begin(), word.end(), [](unsigned char c) { return std::isspace(c); });
  return !spaces && (is_path(word) || is_repository_name(word));
}

fs::path huggingface_cache() {
  if (const std::string hub = environment("HF_HUB_CACHE"); !hub.empty()) return hub;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return fs::path(home) / "hub";
  const std::string cache = environment("XDG_CACHE_HOME");
  return (cache.empty() ? fs::path(environment("HOME")) / ".cache" : fs::path(cache)) / "huggingface" / "hub";
}

std::optional<fs::path> cached_model(const fs::path& cache, const std::string& name) {
  if (!is_repository_name(name)) return std::nullopt;
  const std::size_t slash = name.find('/');
  const fs::path folder = cache / ("models--" + name.substr(0, slash) + "--" + name.substr(slash + 1));
  const fs::path snapshots = folder / "snapshots";

  std::string revision;
  if (std::ifstream(folder / "refs" / "main") >> revision && revision.find('/') == std::string::npos &&
      has_config(snapshots / revision)) {
    return snapshots / revision;
  }
  std::optional<fs::path> newest;
  fs::file_time_type newest_time;
  std::error_code error;
  for (fs::directory_iterator at(snapshots, error), end; !error && at != end; at.increment(error)) {
    std::error_code time_error;
    const fs::file_time_type time = fs::last_write_time(at->path(), time_error);
    if (time_error || !has_config(at->path()) || (newest && time <= newest_time)) continue;
    newest = at->path();
    newest_time = time;
  }
  return newest;
}

fs::path find_model(const std::string& name) {
  if (is_folder(name)) return name;
  std::error_code error;
  if (fs::exists(name, error)) {
    throw Error(ErrorCode::bad_model, name + " is a file; a model is the folder with its config.json");
  }
  if (!is_repository_name(name) || is_path(name)) {
    throw Error(ErrorCode::bad_model,
                "there is no folder " + name + "; name a model folder, or a model of Hugging Face as org/name");
  }
  const fs::path cache = huggingface_cache();
  if (const auto found = cached_model(cache, name)) return *found;
  throw Error(ErrorCode::bad_model, name + " is neither a folder nor in " + cache.string() +
                                        "; if it is a model of Hugging Face, fetch it with: hf download " + name);
}

fs::path demo_model() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* place : {"../models/demo", "../share/strata/models/demo", "models/demo"}) {
    if (has_config(program / place)) return (program / place).lexically_normal();
  }
  throw Error(ErrorCode::bad_model, "the demo model isn't at " +
                                        (program / "../models/demo").lexically_normal().string() +
                                        "; name a model folder: strata run MODEL \"PROMPT\"");
}

}  // namespace strata
