#include "apps/serve_command.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "apps/model_options.h"
#include "apps/serve.h"
#include "apps/serve_options.h"

namespace strata {
namespace {

void run(const ServeOptions& options) {
  auto logger = std::make_shared<spdlog::logger>("strata", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  logger->set_level(spdlog::level::from_str(options.log_level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  std::fprintf(stderr, "strata " STRATA_VERSION "\n");
  const std::filesystem::path folder = model_folder(options.model);
  int code;
  {
    Serve serve(options, folder);
    code = serve.run();
  }
  if (code != 0) throw CLI::RuntimeError("stopped", code);
}

}  // namespace

void add_serve_command(CLI::App& program) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command =
      program.add_subcommand("serve", "Serve a model over HTTP: OpenAI's API and a chat page on one port.");
  add_serve_options(*command, *options);
  command->footer(
      "SIGTERM or Ctrl+C finishes what is being answered (--drain-timeout), a second one ends at once; SIGHUP reads "
      "the\n"
      "keys again. Endpoints, fields and metrics: docs/server.md.\n\n"
      "Examples:\n"
      "  strata serve\n"
      "  strata serve ./my-model --port 0 --ctx 16384\n"
      "  STRATA_API_KEY=... strata serve org/name --host 0.0.0.0");
  command->callback([options] { run(*options); });
}

}  // namespace strata
