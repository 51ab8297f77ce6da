// The `strata` program: arguments to commands, errors to one sentence and an exit code.
#pragma once

namespace strata {

/// Runs the command that the arguments name; gives the exit status.
int run_program(int argc, char** argv);

}  // namespace strata
