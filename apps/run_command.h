// `strata run`: one answer, or a chat in the terminal.
#pragma once

#include <CLI/CLI.hpp>

namespace strata {

void add_run_command(CLI::App& program);

}  // namespace strata
