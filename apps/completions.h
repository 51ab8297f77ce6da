// `strata completions`: completion scripts for shells, made from the program's own commands and options.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace strata {

/// Adds `completions`; what it prints covers all commands that the program has when it runs.
void add_completions_command(CLI::App& program);

/// `shell`: bash, zsh or fish.
std::string completion_script(const CLI::App& program, const std::string& shell);

}  // namespace strata
