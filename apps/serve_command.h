// `strata serve`: a model over HTTP.
#pragma once

#include <CLI/CLI.hpp>

namespace strata {

void add_serve_command(CLI::App& program);

}  // namespace strata
