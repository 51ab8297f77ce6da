// The running server: the I/O thread, the engine's thread, signals, the watchdog, the end.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <utility>  // Asio 1.74 forgets it

#include "apps/serve_options.h"
#include "server/generation/generator.h"
#include "server/http/server.h"
#include "server/metrics/server_metrics.h"
#include "server/policy/watchdog.h"
#include "server/routes/api_service.h"

namespace strata {

/// From listening to the last answer. The thread that calls `run` is the I/O thread.
class Serve {
 public:
  /// Listens; throws Error{network, usage}. The model is loaded by `run`, while /health and /ready already answer.
  Serve(const ServeOptions& options, const std::filesystem::path& folder);
  ~Serve();
  Serve(const Serve&) = delete;
  Serve& operator=(const Serve&) = delete;

  /// Until a signal; the exit code. Throws what loading threw.
  int run();

 private:
  void load();
  void loaded();
  void say_ready();
  void wait_for_signal();
  void on_signal(int signal);
  void begin_drain(int signal);
  void watch_drain();
  void tick();
  void log_traffic(const EngineStats& stats);
  void watch_engine(const EngineStats& stats);
  void stop(int exit_code);
  void end_connections();

  using Clock = std::chrono::steady_clock;
  const ServeOptions& options_;
  const std::filesystem::path folder_;
  const std::string name_;

  // Made first, gone last: connections and answers refer to what follows, and are ended before.
  std::unique_ptr<ChatModel> model_;
  std::optional<Generator> generator_;
  ServerMetrics metrics_;
  boost::asio::io_context io_{1};
  WorkPool pool_{2};
  ApiService service_;
  http::Server server_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer ticker_, drain_timer_;
  std::vector<std::string> addresses_;

  std::atomic<bool> give_up_ = false;  // loading
  std::exception_ptr load_error_;
  std::string checked_;
  std::jthread loader_, engine_thread_;
  Watchdog watchdog_;
  Clock::time_point drain_end_{}, connections_end_{}, next_traffic_ = Clock::now(), next_ping_ = Clock::now();
  Clock::time_point last_traffic_ = Clock::now();  // when the traffic was last looked at
  EngineStats last_stats_;
  std::optional<std::chrono::microseconds> ping_every_;
  bool draining_ = false, stopped_ = false, aborted_ = false;
  int exit_code_ = 0;
};

}  // namespace strata
