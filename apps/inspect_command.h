// `strata inspect`: what a checkpoint is and takes, without loading its weights.
#pragma once

#include <CLI/CLI.hpp>

namespace strata {

/// Adds `inspect` to the program.
void add_inspect_command(CLI::App& program);

}  // namespace strata
