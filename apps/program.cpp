#include "apps/program.h"

#include <csignal>
#include <cstdio>
#include <iostream>
#include <string_view>

#include "apps/bench_command.h"
#include "apps/completions.h"
#include "apps/inspect_command.h"
#include "apps/plan_command.h"
#include "apps/run_command.h"
#include "apps/serve_command.h"
#include "apps/synth_command.h"
#include "apps/text_commands.h"
#include "apps/validate_command.h"
#include "base/error.h"

namespace strata {
namespace {

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::failure:
    case ErrorCode::busy:
      return 1;
    case ErrorCode::usage:
      return 2;
    case ErrorCode::bad_model:
      return 3;
    case ErrorCode::out_of_memory:
      return 4;
    case ErrorCode::no_device:
      return 5;
    case ErrorCode::network:
      return 6;
    case ErrorCode::gate_failed:
      return 7;
  }
  return 1;
}

/// `serve -np N`, as llama.cpp has it: the parser knows one letter behind one dash.
void spell_out(int argc, char** argv) {
  static char parallel[] = "--parallel";
  if (argc < 2 || std::string_view(argv[1]) != "serve") return;
  for (int i = 2; i < argc; ++i)
    if (std::string_view(argv[i]) == "-np") argv[i] = parallel;
}

}  // namespace

int run_program(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App program("Strata: inference for hybrid language models (Mamba2, mixture-of-experts, attention).", "strata");
  program.require_subcommand(1);
  add_serve_command(program);
  add_run_command(program);
  add_plan_command(program);
  add_completions_command(program);
  add_text_commands(program);
  add_bench_command(program);
  add_inspect_command(program);
  add_validate_command(program);
  add_synth_command(program);
  program.add_subcommand("version", "Print the version.")->callback([] { std::cout << "strata " STRATA_VERSION "\n"; });
  program.add_subcommand("help", "Print this help.")->callback([&program] { std::cout << program.help(); });
  try {
    spell_out(argc, argv);
    program.parse(argc, argv);
    std::cout.flush();
    if (!std::cout) throw Error(ErrorCode::failure, "stdout can't be written; is the disk full or the reader gone?");
    return 0;
  } catch (const CLI::RuntimeError& e) {  // a command that ends with a code and has said all it has to say
    return e.get_exit_code();
  } catch (const CLI::ParseError& e) {
    const int code = program.exit(e, std::cout, std::cerr);
    return code == 0 ? 0 : exit_code(ErrorCode::usage);
  } catch (const Error& e) {
    std::fprintf(stderr, "strata: %s\n", e.what());
    return exit_code(e.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "strata: not enough memory\n");
    return exit_code(ErrorCode::out_of_memory);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "strata: %s\n", e.what());
    return exit_code(ErrorCode::failure);
  }
}

}  // namespace strata
