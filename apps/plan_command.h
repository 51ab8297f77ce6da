// `strata plan`: what of a model fits on this machine.
#pragma once

#include <CLI/CLI.hpp>

namespace strata {

void add_plan_command(CLI::App& program);

}  // namespace strata
