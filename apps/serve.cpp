#include "apps/serve.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "apps/chat_page.h"
#include "apps/progress.h"
#include "apps/self_check.h"
#include "apps/systemd.h"
#include "base/error.h"
#include "server/generation/sampling_defaults.h"
#include "server/policy/content_security.h"

namespace strata {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTick{500}, kDrainLook{20};
/// From the end of the last answer until connections that linger are cut.
constexpr milliseconds kLastWords{1000};
constexpr std::chrono::seconds kTrafficEvery{10};

milliseconds as_ms(double seconds) { return milliseconds(static_cast<std::int64_t>(seconds * 1000)); }

std::string served_name(const std::filesystem::path& folder, const ServeOptions& options) {
  if (!options.aliases.empty()) return options.aliases.front();
  std::filesystem::path path = std::filesystem::weakly_canonical(folder);
  // .../models--org--name/snapshots/<commit> of the Hugging Face cache.
  if (path.parent_path().filename() == "snapshots") {
    const std::string cached = path.parent_path().parent_path().filename();
    if (const std::size_t at = cached.rfind("--"); cached.starts_with("models--") && at > 8)
      return cached.substr(at + 2);
  }
  const std::string name = path.filename();
  return name.empty() ? "model" : name;
}

ReasoningField reasoning_field(const std::string& name) {
  if (name == "reasoning") return ReasoningField::reasoning;
  if (name == "reasoning_content") return ReasoningField::reasoning_content;
  if (name == "inline") return ReasoningField::inline_text;
  return name == "none" ? ReasoningField::none : ReasoningField::both;
}

ServiceOptions service_options(const ServeOptions& options, const std::string& name) {
  ServiceOptions service;
  service.requests = options.requests;
  service.requests.model_names = options.aliases.empty() ? std::vector<std::string>{name} : options.aliases;
  service.requests.reasoning_field = reasoning_field(options.reasoning_field);
  service.allowed_hosts = options.allowed_hosts;
  service.cors_origins = options.cors_origins;
  // Who is reached from elsewhere has names that can't be known, unless they were given.
  service.any_host = options.uds.empty() ? !http::is_loopback(options.host) && options.allowed_hosts.empty() : true;
  service.max_queue = options.shape.max_queue;
  service.version = STRATA_VERSION;
  service.fingerprint = "strata-" STRATA_VERSION;
  service.page = {chat_page(), content_security_policy(chat_page())};
  return service;
}

http::Limits limits_of(const ServeOptions& options) {
  http::Limits limits = options.limits;
  limits.slow_client_timeout = as_ms(options.slow_client_timeout);
  limits.idle_timeout = as_ms(options.idle_timeout);
  return limits;
}

std::vector<http::Listener> listen(const ServeOptions& options) {
  if (options.uds.empty()) return http::Listener::tcp(options.host, options.port);
  std::vector<http::Listener> listeners;
  listeners.push_back(http::Listener::unix_domain(options.uds));
  return listeners;
}

}  // namespace

Serve::Serve(const ServeOptions& options, const std::filesystem::path& folder)
    : options_(options),
      folder_(folder),
      name_(served_name(folder, options)),
      metrics_(name_, STRATA_VERSION, options.metrics_compat == "vllm"),
      service_(service_options(options, name_), metrics_, pool_),
      server_(io_, service_, limits_of(options)),
      signals_(io_, SIGINT, SIGTERM, SIGHUP),
      ticker_(io_),
      drain_timer_(io_),
      watchdog_(as_ms(options.watchdog)),
      ping_every_(systemd_watchdog()) {
  ApiKeys keys = read_keys(options);
  const bool local = !options.uds.empty() || http::is_loopback(options.host);
  if (!local && !keys.required() && !options.insecure_no_auth) {
    throw Error(ErrorCode::usage,
                "--host " + options.host +
                    " can be reached by others: give a key (STRATA_API_KEY or --api-key-file), or say "
                    "--insecure-no-auth if everyone may ask");
  }
  if (!local && !keys.required()) spdlog::warn("everyone who reaches {} may ask: there is no key", options.host);
  if (!options.api_key.empty()) spdlog::warn("--api-key shows in ps: better STRATA_API_KEY or --api-key-file");
  service_.set_keys(std::move(keys));
  service_.set_server(&server_);
  std::vector<http::Listener> listeners = listen(options);
  for (const http::Listener& listener : listeners) addresses_.push_back(listener.address());
  server_.serve(std::move(listeners));
}

Serve::~Serve() {
  give_up_ = true;
  if (loader_.joinable()) loader_.join();
  end_connections();
  if (engine_thread_.joinable()) {
    engine_thread_.request_stop();
    engine_thread_.join();
  }
}

int Serve::run() {
  wait_for_signal();
  loader_ = std::jthread([this] { load(); });
  tick();
  io_.run();
  if (load_error_ && !draining_) std::rethrow_exception(load_error_);
  return exit_code_;
}

void Serve::load() {
  try {
    EngineShape shape = options_.shape;
    shape.give_up = [this] { return give_up_.load(); };
    shape.check = [this](const Model& model, Backend& backend, const EngineOptions& engine) {
      checked_ = self_check(model, backend, engine.kv_type);
    };
    model_ = std::make_unique<ChatModel>(folder_, options_.machine, shape);
    GeneratorOptions generator;
    generator.context = model_->engine_options().context;
    generator.stop_tokens = model_->stop_tokens();
    generator.sampling = sampling_defaults(model_->checkpoint().config(), model_->checkpoint().generation_config());
    if (options_.thinking_budget > 0) generator.thinking_budget = options_.thinking_budget;
    generator.normalize_history = options_.normalize_history;
    generator.replay_calls = !options_.no_call_replay;
    generator_.emplace(model_->engine(), model_->tokenizer(), model_->chat_template(), generator, &metrics_);
    boost::asio::post(io_, [this] { loaded(); });
  } catch (...) {
    load_error_ = std::current_exception();
    boost::asio::post(io_, [this] { stop(draining_ ? exit_code_ : 1); });
  }
}

void Serve::loaded() {
  loader_.join();
  if (draining_) return;
  engine_thread_ = std::jthread([this](const std::stop_token& token) {
    try {
      model_->engine().run(token);
    } catch (const std::exception& e) {
      spdlog::critical("the engine failed: {}", e.what());
      boost::asio::post(io_, [this] { stop(1); });
    }
  });
  LoadedModel loaded;
  loaded.engine = &model_->engine();
  loaded.generator = &*generator_;
  loaded.chat_template = model_->chat_template();
  loaded.card.created = std::time(nullptr);
  loaded.card.weight_bytes = model_->weight_bytes();
  loaded.card.longest_context = model_->model().max_context();
  loaded.card.parallel = model_->engine_options().max_sequences;
  const Json& config = model_->checkpoint().config();
  if (const auto architectures = config.find("architectures"); architectures != config.end() &&
                                                               architectures->is_array() && !architectures->empty() &&
                                                               (*architectures)[0].is_string())
    loaded.card.architecture = (*architectures)[0].get<std::string>();
  loaded.card.version = STRATA_VERSION;
  service_.set_model(std::move(loaded));
  say_ready();
  notify_systemd("READY=1");
}

void Serve::say_ready() {
  const bool key = !read_keys(options_).required();
  std::fprintf(stderr, "warm      self-check ok: %s, the same bits\n", checked_.c_str());
  std::fprintf(stderr, "serve     \"%s\", %s requests at a time, %s may wait\n", name_.c_str(),
               format_count(model_->engine_options().max_sequences).c_str(),
               format_count(options_.shape.max_queue).c_str());
  for (const std::string& address : addresses_) {
    std::fprintf(stderr, "ready     %s   chat page /   OpenAI base URL %s/v1   (%s)\n", address.c_str(),
                 address.c_str(), key ? "no API key" : "with an API key");
  }
  if (options_.uds.empty()) {
    std::fprintf(stderr,
                 "\n  curl %s/v1/chat/completions -H 'content-type: application/json' \\\n    -d "
                 "'{\"messages\":[{\"role\":\"user\",\"content\":\"What is the capital of France?\"}]}'\n\n",
                 addresses_.front().c_str());
  }
  std::fflush(stderr);
}

void Serve::wait_for_signal() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    on_signal(signal);
    wait_for_signal();
  });
}

void Serve::on_signal(int signal) {
  if (signal == SIGHUP) {
    try {
      service_.set_keys(read_keys(options_));
      spdlog::info("the keys were read again");
    } catch (const std::exception& e) {
      spdlog::error("the keys stay as they were: {}", e.what());
    }
  } else if (!draining_) {
    begin_drain(signal);
  } else {
    aborted_ = true;
    stop(128 + signal);
  }
}

void Serve::begin_drain(int signal) {
  draining_ = true;
  give_up_ = true;
  const bool loading = service_.state() == ApiService::State::loading;
  service_.set_state(ApiService::State::draining);
  notify_systemd("STOPPING=1");
  server_.drain();
  drain_end_ = Clock::now() + as_ms(options_.drain_timeout);
  connections_end_ = Clock::time_point::max();
  if (loading) {
    spdlog::info("stopping before the model was loaded");
    return stop(0);
  }
  if (const std::size_t n = service_.active(); n > 0) {
    spdlog::info("finishing {} request{}, {} again to abort", n, n == 1 ? "" : "s",
                 signal == SIGINT ? "Ctrl+C" : "the signal");
  }
  watch_drain();
}

void Serve::watch_drain() {
  const auto now = Clock::now();
  if (server_.connections() == 0 || now >= connections_end_) return stop(0);
  if (now >= drain_end_) {
    spdlog::warn("ending {} answers that took longer than --drain-timeout", service_.active());
    service_.abort_answers();
    drain_end_ = Clock::time_point::max();
    connections_end_ = now + 2 * kLastWords;
  } else if (service_.active() == 0 && connections_end_ == Clock::time_point::max()) {
    connections_end_ = now + kLastWords;
  }
  drain_timer_.expires_after(kDrainLook);
  drain_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && !stopped_) watch_drain();
  });
}

void Serve::tick() {
  if (!draining_ && service_.state() == ApiService::State::ready) {
    const EngineStats stats = service_.engine_stats();
    watch_engine(stats);
    log_traffic(stats);
  }
  const auto now = Clock::now();
  if (ping_every_ && now >= next_ping_ && service_.state() != ApiService::State::stalled) {
    notify_systemd("WATCHDOG=1");
    next_ping_ = now + *ping_every_ / 3;
  }
  ticker_.expires_after(ping_every_ ? std::min(kTick, std::chrono::duration_cast<milliseconds>(*ping_every_ / 4))
                                    : kTick);
  ticker_.async_wait([this](const boost::system::error_code& error) {
    if (!error && !stopped_) tick();
  });
}

void Serve::watch_engine(const EngineStats& stats) {
  if (!watchdog_.stalled(stats.has_work, stats.last_step, Clock::now())) return;
  service_.set_state(ApiService::State::stalled);
  metrics_.on_stall();
  spdlog::critical(
      "the engine has made no step for {} s: {} running, {} waiting, {} parked, step {}, {} of {} pages, {} of {} "
      "slots; "
      "ending, so that a supervisor can start anew",
      std::chrono::duration<double>(watchdog_.limit()).count(), stats.running, stats.waiting, stats.parked, stats.steps,
      stats.kv_pages_used, stats.kv_pages_total, stats.slots_used, stats.slots_total);
  spdlog::shutdown();
  std::_Exit(1);  // the engine's thread can't be joined
}

void Serve::log_traffic(const EngineStats& stats) {
  const auto now = Clock::now();
  if (now < next_traffic_) return;
  next_traffic_ = now + kTrafficEvery;
  const double seconds = std::chrono::duration<double>(now - std::exchange(last_traffic_, now)).count();
  const EngineStats last = std::exchange(last_stats_, stats);
  const auto prompt = static_cast<double>(stats.prompt_tokens - last.prompt_tokens);
  const auto cached = static_cast<double>(stats.cached_prompt_tokens - last.cached_prompt_tokens);
  const auto generated = static_cast<double>(stats.generated_tokens - last.generated_tokens);
  if (prompt + generated == 0) return;
  spdlog::info("prompt {:.1f} tok/s, gen {:.1f} tok/s, run {}, wait {}, kv {:.0f} %, prefix hit {:.0f} %",
               prompt / seconds, generated / seconds, stats.running, stats.waiting + stats.parked,
               stats.kv_pages_total > 0
                   ? 100.0 * static_cast<double>(stats.kv_pages_used) / static_cast<double>(stats.kv_pages_total)
                   : 0.0,
               100 * cached / std::max(prompt + cached, 1.0));
}

void Serve::stop(int exit_code) {
  if (std::exchange(stopped_, true)) return;
  exit_code_ = exit_code;
  if (loader_.joinable() && draining_) {
    // A load looks whether it is still wanted after each piece; one that hangs is not waited for.
    spdlog::shutdown();
    std::_Exit(exit_code);
  }
  io_.stop();
}

/// Lets every handler run to its end, so that no answer outlives the engine.
void Serve::end_connections() {
  server_.abort();
  signals_.cancel();
  ticker_.cancel();
  drain_timer_.cancel();
  io_.restart();
  const auto end = Clock::now() + std::chrono::seconds(2);
  while (server_.connections() > 0 && Clock::now() < end) io_.run_one_for(milliseconds(10));
}

}  // namespace strata
