// Where a model is: a folder, a name in the local Hugging Face cache, or the demo that comes with Strata.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace strata {

/// The folder of what a user called a model: a folder, or `org/name` in the Hugging Face cache. Throws Error{bad_model}
/// if there is neither, with the command that would fetch it.
std::filesystem::path find_model(const std::string& name);

/// Whether a word is meant as a model rather than as a prompt: an existing folder, a path (begins with `/`, `./`, `../`
/// or `~`), or shaped like `org/name`; never with white space in it unless the folder exists.
bool names_model(const std::string& word);

/// The demo model: ../models/demo, ../share/strata/models/demo or models/demo as seen from the executable's folder.
/// Throws Error{bad_model} if none of them is there.
std::filesystem::path demo_model();

/// The folder of cached models: $HF_HUB_CACHE, $HF_HOME/hub, else $XDG_CACHE_HOME or ~/.cache, huggingface/hub.
std::filesystem::path huggingface_cache();

/// The snapshot of `name` ("org/name") in `cache` that refs/main names, else the newest; nothing if there is none with
/// a config.json.
std::optional<std::filesystem::path> cached_model(const std::filesystem::path& cache, const std::string& name);

}  // namespace strata
