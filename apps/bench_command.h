// `strata bench`: prompt and generation speed, as llama-bench tells it.
#pragma once

#include <CLI/CLI.hpp>

namespace strata {

/// Adds `bench` to the program.
void add_bench_command(CLI::App& program);

}  // namespace strata
