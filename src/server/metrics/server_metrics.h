// What the server counts: answers as the engine's thread sees them, requests as the I/O thread does.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "engine/engine_stats.h"
#include "server/generation/generator.h"
#include "server/metrics/exposition.h"

namespace strata {

/// Names, labels and buckets are vLLM's under the prefix "strata_" (docs/server.md); `vllm_names` exports them as
/// "vllm:" too.
class ServerMetrics final : public GenerationObserver {
 public:
  ServerMetrics(std::string model_name, std::string version, bool vllm_names);

  // Any thread.
  void on_grammar(std::chrono::steady_clock::duration time) override;

  // The engine's thread.
  void on_first_token(std::chrono::steady_clock::duration since_start) override;
  void on_token(std::chrono::steady_clock::duration gap) override;
  void on_finished(const Finished& finished) override;

  // The I/O thread.
  /// `handler`: the route's pattern, of which there are few.
  void on_http(std::string_view handler, std::string_view method, int status, double seconds,
               std::int64_t request_bytes, std::int64_t response_bytes);
  void on_request(int choices, std::int64_t max_tokens);
  void on_slow_client() { ++slow_clients_; }
  void on_rejected(std::string_view reason) { ++rejections_[std::string(reason)]; }
  void on_stall() { ++stalls_; }

  /// The mean time of the last answers in seconds, or 1 if there was none.
  double mean_answer_seconds() const { return mean_answer_seconds_.load(std::memory_order_relaxed); }

  /// What is known of the sockets.
  struct HttpFacts {
    std::int64_t connections = 0, accepted = 0, turned_away = 0;
  };
  /// Prometheus' text. `stats`: of an engine that is not loaded yet, all zero. The I/O thread.
  std::string text(const EngineStats& stats, const HttpFacts& http) const;

 private:
  struct HttpSeries {
    std::map<int, std::int64_t> by_status;
    Histogram seconds, request_bytes, response_bytes;
    HttpSeries();
  };
  void write_engine(Exposition& out, const EngineStats& stats) const;
  void write_answers(Exposition& out) const;
  void write_http(const HttpFacts& http, std::string& text) const;

  const std::string model_name_, version_;
  const bool vllm_names_;

  Histogram first_token_, gap_, per_token_, answer_, queue_, inference_, prefill_, decode_;
  Histogram grammar_;
  Histogram prompt_tokens_, generation_tokens_, params_n_, params_max_tokens_;
  std::array<std::atomic<std::int64_t>, 6> finished_{};  // by AnswerFinish
  std::atomic<std::int64_t> reasoning_tokens_ = 0, reasoning_truncated_ = 0;
  std::atomic<double> mean_answer_seconds_ = 1;

  std::map<std::pair<std::string, std::string>, HttpSeries> http_;  // by handler and method
  std::map<std::string, std::int64_t> rejections_;
  std::int64_t slow_clients_ = 0, stalls_ = 0;
};

/// process_cpu_seconds_total and its like, from /proc.
std::string process_metrics();

}  // namespace strata
