// The commands that need a model's text side only: tokenize, detokenize, template.
#pragma once

#include <CLI/CLI.hpp>

namespace strata {

/// Adds `tokenize`, `detokenize` and `template` to the program. Each reads stdin and writes its answer to stdout.
void add_text_commands(CLI::App& program);

}  // namespace strata
