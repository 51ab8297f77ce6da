// The flags of commands that load a model to check or measure it.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "backend/registry/make_backend.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"

namespace strata {

struct ModelOptions {
  std::string model;  // empty: the demo
  BackendOptions backend;
  std::string kv_cache = "auto";
};

/// [MODEL] --backend --threads --isa --kv-cache.
void add_model_options(CLI::App& command, ModelOptions& options);

/// The folder that MODEL means.
std::filesystem::path model_folder(const std::string& model);

/// The type that keys and values are kept in: of `auto`, fp8 if the checkpoint declares it.
DType kv_cache_type(const Checkpoint& checkpoint, const std::string& asked);

/// load_model, with its progress on stderr. Throws Error{out_of_memory} first if the weights don't fit.
std::unique_ptr<Model> load_with_progress(const Checkpoint& checkpoint, Backend& backend);

}  // namespace strata
