// `strata validate`: a checkpoint's files, the law, and the distance from a reference.
#pragma once

#include <CLI/CLI.hpp>

namespace strata {

/// Adds `validate` to the program.
void add_validate_command(CLI::App& program);

}  // namespace strata
