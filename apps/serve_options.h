// What `strata serve` was asked for.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "apps/chat_model.h"
#include "server/http/limits.h"
#include "server/openai/request_options.h"
#include "server/policy/api_keys.h"

namespace strata {

struct ServeOptions {
  std::string model;  // empty: the demo
  MachineOptions machine;
  EngineShape shape;

  std::string host = "127.0.0.1", uds;
  std::uint16_t port = 8737;
  std::string api_key, api_key_file;
  bool insecure_no_auth = false;
  std::vector<std::string> allowed_hosts, cors_origins;
  http::Limits limits;

  std::vector<std::string> aliases;  // the first is the served name
  RequestOptions requests;
  std::string reasoning_field = "both";
  std::int64_t thinking_budget = 0;  // 0: none
  bool normalize_history = false;
  bool no_call_replay = false;

  double slow_client_timeout = 30, drain_timeout = 30, watchdog = 30, idle_timeout = 75;  // seconds
  bool vllm_metrics = false;
  std::string metrics_compat, log_level = "info";
};

void add_serve_options(CLI::App& command, ServeOptions& options);

/// The keys of --api-key-file, --api-key and $STRATA_API_KEY. Throws Error{usage}.
ApiKeys read_keys(const ServeOptions& options);

}  // namespace strata
