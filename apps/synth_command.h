// `strata synth`: a checkpoint of random weights for a config.json.
#pragma once

#include <CLI/CLI.hpp>

namespace strata {

/// Adds `synth` to the program.
void add_synth_command(CLI::App& program);

}  // namespace strata
