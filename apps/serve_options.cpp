#include "apps/serve_options.h"

#include <cstdlib>
#include <map>

namespace strata {

void add_serve_options(CLI::App& command, ServeOptions& o) {
  command.add_option("MODEL,-m,--model", o.model,
                     "A model folder or org/name of the Hugging Face cache; none: the demo");
  add_machine_options(command, o.machine);
  o.shape.sequences = 0;
  o.shape.snapshots = -1;
  o.shape.max_queue = 256;
  command
      .add_option("-j,--parallel,--max-num-seqs,--sequences", o.shape.sequences,
                  "Requests that are computed at a time (default: up to 64, as memory allows)")
      ->check(CLI::Range(1, 1 << 16));
  command
      .add_option("--snapshots", o.shape.snapshots,
                  "States of earlier requests that later ones may start from (default: one for each of --parallel)")
      ->check(CLI::Range(0, 1 << 20));
  command.add_option("--max-queue,--max-num-queued-reqs", o.shape.max_queue, "Requests that may wait; more get 429")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      .add_option("--max-queued-tokens,--max-num-queued-tokens", o.shape.max_queued_tokens,
                  "Prompt tokens that may wait (default: any number)")
      ->check(CLI::PositiveNumber);

  command.add_option("--host", o.host, "Address to listen on; other than this machine's own needs a key")
      ->capture_default_str()
      ->envname("STRATA_HOST");
  command.add_option("--port", o.port, "0: any that is free")->capture_default_str()->envname("STRATA_PORT");
  command.add_option("--uds", o.uds, "Listen on this unix socket instead");
  command.add_option("--api-key-file", o.api_key_file, "Keys, one a line: KEY or NAME KEY; only its owner may read it");
  command.add_option("--api-key", o.api_key,
                     "A key; everyone can see it in ps: better STRATA_API_KEY or --api-key-file");
  command.add_flag("--insecure-no-auth", o.insecure_no_auth, "Let everyone who reaches the server ask");
  command.add_option("--allowed-host", o.allowed_hosts, "A further name under which the server may be asked");
  command.add_option("--cors-origin", o.cors_origins,
                     "An origin whose pages may ask, as https://chat.example; * is all");

  command.add_option("--alias,--served-model-name", o.aliases,
                     "What the model is called (default: its folder's name); further ones are other names for it");
  command.add_flag("--any-model", o.requests.any_model, "Whatever a request calls the model is right");
  command.add_flag("--strict-fields", o.requests.strict_fields, "Refuse fields that aren't known");
  command.add_option("--max-n", o.requests.limits.n, "Answers that one request may ask for")
      ->check(CLI::Range(1, 128))
      ->capture_default_str();
  command.add_option("--reasoning-field", o.reasoning_field, "Where the thinking goes")
      ->check(CLI::IsMember({"both", "reasoning", "reasoning_content", "inline", "none"}))
      ->capture_default_str();
  command
      .add_option("--thinking-budget,--reasoning-budget", o.thinking_budget,
                  "Tokens after which thinking is ended where a request doesn't say (default: never)")
      ->check(CLI::PositiveNumber);
  command.add_flag("--no-call-replay", o.no_call_replay,
                   "Render calls of tools that clients send back as the template does, not as the model wrote them");
  command.add_flag("--normalize-history", o.normalize_history,
                   "Drop the thinking of turns that the template drops anyway");

  command.add_option("--max-body", o.limits.body_bytes, "Bytes of a request; k, m and g may follow")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--max-connections", o.limits.max_connections,
                  "Connections at a time (default: the descriptor limit less 256)")
      ->check(CLI::Range(1, 1 << 22));
  const auto seconds = [&](const char* name, double& value, const char* what) {
    command.add_option(name, value, what)->check(CLI::Range(0.1, 86400.0))->capture_default_str();
  };
  seconds("--slow-client-timeout", o.slow_client_timeout, "Seconds after which a client that doesn't read is cut off");
  seconds("--idle-timeout", o.idle_timeout, "Seconds that a connection is kept without a request");
  seconds("--watchdog", o.watchdog, "Seconds without a step after which a hanging engine ends the program");
  command.add_option("--drain-timeout", o.drain_timeout, "Seconds that answers may take to end after SIGTERM")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  command.add_option("--metrics-compat", o.metrics_compat, "vllm: export vLLM's metric names too")
      ->check(CLI::IsMember({"vllm"}));
  command.add_option("--log-level", o.log_level, "debug: a line for each request")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str()
      ->envname("STRATA_LOG_LEVEL");
}

ApiKeys read_keys(const ServeOptions& options) {
  std::vector<ApiKey> keys;
  if (!options.api_key_file.empty()) keys = ApiKeys::read(options.api_key_file);
  if (!options.api_key.empty()) {
    ApiKeys::check(options.api_key, "--api-key");
    keys.push_back({"flag", options.api_key});
  }
  if (const char* key = std::getenv("STRATA_API_KEY"); key && *key) {
    ApiKeys::check(key, "STRATA_API_KEY");
    keys.push_back({"environment", key});
  }
  return ApiKeys(std::move(keys));
}

}  // namespace strata
