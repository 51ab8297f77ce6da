// The flags of commands that load a model, and how they load it.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/registry/make_backend.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "model/step_cost.h"

namespace strata {

/// What computes, and how keys and values are kept.
struct DeviceOptions {
  BackendOptions backend{.name = "auto"};
  std::string kv_cache = "auto";
};

/// --backend --numerics --threads --pin --isa --kv-cache.
void add_device_options(CLI::App& command, DeviceOptions& options);

/// The backend that `options` ask for in words: its description, its numerics, and why it was chosen.
std::string describe(const Backend& backend, const DeviceOptions& options);

/// What commands take that check or measure a model.
struct ModelOptions : DeviceOptions {
  std::string model;  // empty: the demo
};

/// [MODEL], and the device's flags.
void add_model_options(CLI::App& command, ModelOptions& options);

/// The folder that MODEL means.
std::filesystem::path model_folder(const std::string& model);

/// The type that keys and values are kept in: of `auto`, fp8 if the checkpoint declares it.
DType kv_cache_type(const Checkpoint& checkpoint, const std::string& asked);

/// A model's shape, and the bytes that its weights will take.
struct Skeleton {
  std::unique_ptr<Model> model;
  std::vector<WeightCost> weights;
  std::int64_t weight_bytes = 0;
  std::int64_t available = 0;  // bytes that the backend may still take
};
Skeleton bind_skeleton(const Checkpoint& checkpoint, const Backend& backend);

/// Throws Error{out_of_memory} if the weights alone don't fit.
void refuse_unless_weights_fit(const Checkpoint& checkpoint, const Skeleton& skeleton);

/// load_model, with its progress on stderr. Throws Error{failure} once `give_up` says so.
std::unique_ptr<Model> load_with_progress(const Checkpoint& checkpoint, Backend& backend,
                                          const std::function<bool()>& give_up = {});

}  // namespace strata
