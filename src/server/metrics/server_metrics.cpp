#include "server/metrics/server_metrics.h"

#include <utility>

namespace strata {
namespace {

// vLLM's buckets.
constexpr double kFirstToken[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                  1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
constexpr double kGap[] = {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80};
constexpr double kRequest[] = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                               30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
constexpr double kGrammar[] = {.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5};
constexpr double kTokens[] = {1,    2,    5,    10,    20,    50,    100,    200,    500,
                              1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000};
constexpr double kParameterN[] = {1, 2, 5, 10, 20};
constexpr double kHttpSeconds[] = {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300};
constexpr double kHttpBytes[] = {100, 1000, 10'000, 100'000, 1'000'000, 10'000'000};

double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

void add(std::atomic<std::int64_t>& counter, std::int64_t n = 1) { counter.fetch_add(n, std::memory_order_relaxed); }
double read(const std::atomic<std::int64_t>& counter) {
  return static_cast<double>(counter.load(std::memory_order_relaxed));
}

}  // namespace

ServerMetrics::HttpSeries::HttpSeries()
    : seconds(kHttpSeconds), request_bytes(kHttpBytes), response_bytes(kHttpBytes) {}

ServerMetrics::ServerMetrics(std::string model_name, std::string version, bool vllm_names)
    : model_name_(std::move(model_name)),
      version_(std::move(version)),
      vllm_names_(vllm_names),
      first_token_(kFirstToken),
      gap_(kGap),
      per_token_(kGap),
      answer_(kRequest),
      queue_(kRequest),
      inference_(kRequest),
      prefill_(kRequest),
      decode_(kRequest),
      grammar_(kGrammar),
      prompt_tokens_(kTokens),
      generation_tokens_(kTokens),
      params_n_(kParameterN),
      params_max_tokens_(kTokens) {}

void ServerMetrics::on_grammar(std::chrono::steady_clock::duration time) { grammar_.observe(seconds(time)); }

void ServerMetrics::on_first_token(std::chrono::steady_clock::duration since_start) {
  first_token_.observe(seconds(since_start));
}

void ServerMetrics::on_token(std::chrono::steady_clock::duration gap) { gap_.observe(seconds(gap)); }

void ServerMetrics::on_finished(const Finished& finished) {
  add(finished_[static_cast<std::size_t>(finished.reason)]);
  const GenerationTimings& t = finished.timings;
  const double answer = (t.queue_ms + t.prompt_ms + t.predicted_ms) / 1000;
  answer_.observe(answer);
  queue_.observe(t.queue_ms / 1000);
  inference_.observe((t.prompt_ms + t.predicted_ms) / 1000);
  prefill_.observe(t.prompt_ms / 1000);
  decode_.observe(t.predicted_ms / 1000);
  prompt_tokens_.observe(static_cast<double>(finished.usage.prompt_tokens));
  const auto tokens = static_cast<double>(finished.usage.completion_tokens);
  generation_tokens_.observe(tokens);
  if (tokens > 1) per_token_.observe(t.predicted_ms / 1000 / (tokens - 1));
  add(reasoning_tokens_, finished.usage.reasoning_tokens);
  if (finished.reasoning_truncated) add(reasoning_truncated_);
  const double mean = mean_answer_seconds_.load(std::memory_order_relaxed);
  mean_answer_seconds_.store(mean + (answer - mean) / 16, std::memory_order_relaxed);
}

void ServerMetrics::on_http(std::string_view handler, std::string_view method, int status, double duration,
                            std::int64_t request_bytes, std::int64_t response_bytes) {
  HttpSeries& series = http_[{std::string(handler), std::string(method)}];
  ++series.by_status[status];
  series.seconds.observe(duration);
  series.request_bytes.observe(static_cast<double>(request_bytes));
  series.response_bytes.observe(static_cast<double>(response_bytes));
}

void ServerMetrics::on_request(int choices, std::int64_t max_tokens) {
  params_n_.observe(choices);
  params_max_tokens_.observe(static_cast<double>(max_tokens));
}

void ServerMetrics::write_engine(Exposition& out, const EngineStats& s) const {
  const auto n = [](std::int64_t value) { return static_cast<double>(value); };
  const auto part = [&](std::int64_t used, std::int64_t total) { return total > 0 ? n(used) / n(total) : 0; };
  out.gauge("num_requests_running", "Requests that the engine runs.", n(s.running));
  out.gauge("num_requests_waiting", "Requests that wait for the engine.", n(s.waiting + s.parked));
  out.gauge("num_requests_parked", "Of them, those that had begun and were put aside for want of memory.", n(s.parked));
  out.gauge("num_requests_paused", "Requests that stand still because their clients don't read.", n(s.paused));
  out.gauge("num_queued_tokens", "Prompt tokens of requests that haven't begun.", n(s.queued_tokens));
  out.gauge("kv_cache_usage_perc", "Part of the pages of keys and values that is in use, 0 to 1.",
            part(s.kv_pages_used, s.kv_pages_total));
  out.gauge("slot_usage_perc", "Part of the slots of recurrent state that is in use, 0 to 1.",
            part(s.slots_used, s.slots_total));
  out.counter("prefix_cache_queries", "Prompt tokens that a remembered state was looked for.",
              n(s.prompt_tokens + s.cached_prompt_tokens));
  out.counter("prefix_cache_hits", "Of them, those that needn't be computed.", n(s.cached_prompt_tokens));
  out.counter("num_preemptions", "Times that a sequence was put aside for want of memory.", n(s.preemptions));
  out.counter("prompt_tokens", "Prompt tokens, remembered ones included.", n(s.prompt_tokens + s.cached_prompt_tokens));
  out.counter("generation_tokens", "Tokens of answers.", n(s.generated_tokens));
  out.counter("corrupted_requests", "Requests that ended because a logit was NaN or infinite.", n(s.numerical_errors));
  std::vector<double> bounds(kStepTokenBounds.begin(), kStepTokenBounds.end());
  out.histogram("iteration_tokens_total", "Tokens of a step.", bounds,
                {{{}, s.step_tokens, n(s.prompt_tokens + s.generated_tokens)}});
}

void ServerMetrics::write_answers(Exposition& out) const {
  std::vector<Exposition::Sample> finished;
  for (std::size_t i = 0; i < finished_.size(); ++i) {
    finished.push_back({{{"finished_reason", std::string(name_of(static_cast<AnswerFinish>(i)))}}, read(finished_[i])});
  }
  out.counter("request_success", "Answers by how they ended.", finished);
  std::vector<Exposition::Sample> rejections;
  for (const auto& [reason, count] : rejections_)
    rejections.push_back({{{"reason", reason}}, static_cast<double>(count)});
  out.counter("admission_rejections", "Requests that were refused because there was too much to do.", rejections);
  out.histogram("time_to_first_token_seconds", "From a request's start to its first token.", first_token_);
  out.histogram("inter_token_latency_seconds", "Between two tokens of an answer.", gap_);
  out.histogram("request_time_per_output_token_seconds", "Mean time of an answer's tokens after the first.",
                per_token_);
  out.histogram("e2e_request_latency_seconds", "From a request's start to its answer's end.", answer_);
  out.histogram("request_queue_time_seconds", "Until the engine began.", queue_);
  out.histogram("request_inference_time_seconds", "From there to the answer's end.", inference_);
  out.histogram("request_prefill_time_seconds", "From there to the first token.", prefill_);
  out.histogram("request_decode_time_seconds", "From the first token to the last.", decode_);
  out.histogram("request_prompt_tokens", "Tokens of a prompt.", prompt_tokens_);
  out.histogram("request_generation_tokens", "Tokens of an answer.", generation_tokens_);
  out.histogram("request_max_num_generation_tokens", "Tokens of an answer.", generation_tokens_);
  out.histogram("request_params_n", "Answers asked for at once.", params_n_);
  out.histogram("request_params_max_tokens", "The most tokens that an answer might have had.", params_max_tokens_);
}

void ServerMetrics::write_http(const HttpFacts& http, std::string& text) const {
  Exposition out({""}, {});
  std::vector<Exposition::Sample> requests;
  for (const auto& [key, series] : http_) {
    for (const auto& [status, count] : series.by_status) {
      requests.push_back({{{"handler", key.first}, {"method", key.second}, {"status", std::to_string(status)}},
                          static_cast<double>(count)});
    }
  }
  out.counter("http_requests", "Requests by route; status 0: the client went before its answer.", requests);
  const auto all = [&](Histogram HttpSeries::*member) {
    std::vector<std::pair<Labels, const Histogram*>> histograms;
    for (const auto& [key, series] : http_)
      histograms.push_back({{{"handler", key.first}, {"method", key.second}}, &(series.*member)});
    return histograms;
  };
  out.histogram("http_request_duration_seconds", "From a request's first byte to its answer's last.",
                all(&HttpSeries::seconds));
  out.histogram("http_request_size_bytes", "Bytes of requests.", all(&HttpSeries::request_bytes));
  out.histogram("http_response_size_bytes", "Bytes of responses.", all(&HttpSeries::response_bytes));
  out.gauge("http_connections", "Connections that are open.", static_cast<double>(http.connections));
  out.counter("http_connections_accepted", "Connections that were accepted.", static_cast<double>(http.accepted));
  out.counter("http_connections_turned_away", "Connections that were closed because there were too many.",
              static_cast<double>(http.turned_away));
  text += out.take();
}

std::string ServerMetrics::text(const EngineStats& s, const HttpFacts& http) const {
  const Labels common{{"model_name", model_name_}, {"engine", "0"}};
  Exposition shared(vllm_names_ ? std::vector<std::string>{"strata_", "vllm:"} : std::vector<std::string>{"strata_"},
                    common);
  write_engine(shared, s);
  write_answers(shared);
  std::string text = shared.take();

  const auto n = [](std::int64_t value) { return static_cast<double>(value); };
  Exposition own({"strata_"}, common);
  own.gauge("ssm_snapshots", "Remembered states.", {{{{"tier", "gpu"}}, 0}, {{{"tier", "host"}}, n(s.snapshots)}});
  own.gauge("ssm_snapshot_bytes", "What remembered states take.",
            {{{{"tier", "gpu"}}, 0}, {{{"tier", "host"}}, n(s.snapshot_bytes)}});
  own.counter("ssm_snapshot_hits", "Requests that started from a remembered state.", n(s.prefix_hits));
  own.counter("ssm_snapshots_evicted", "Remembered states that were given up for others.", n(s.snapshots_evicted));
  own.counter("ssm_snapshots_skipped", "States that couldn't be remembered for want of memory.",
              n(s.snapshots_skipped));
  std::vector<Exposition::Sample> misses;
  for (std::size_t i = 0; i < s.prefix_misses.size(); ++i)
    misses.push_back({{{"reason", std::string(name_of(static_cast<PrefixMiss>(i)))}}, n(s.prefix_misses[i])});
  own.counter("prefix_miss", "Requests that found no remembered state, by why.", misses);
  own.counter("prefix_tokens_reused", "Prompt tokens that needn't be computed.", n(s.cached_prompt_tokens));
  own.counter("prefix_tokens_recomputed", "Prompt tokens that were computed.", n(s.prompt_tokens));
  own.counter("requests_cancelled", "Requests that were given up, by how far they had got.",
              {{{{"where", "queue"}}, n(s.cancelled_in_queue)},
               {{{"where", "prefill"}}, n(s.cancelled_in_prefill)},
               {{{"where", "decode"}}, n(s.cancelled_in_decode)}});
  own.counter("engine_steps", "Steps of the engine.", n(s.steps));
  std::vector<Exposition::Counts> phases;
  for (std::size_t i = 0; i < kStepPhases; ++i) {
    phases.push_back(
        {{{"phase", std::string(name_of(static_cast<StepPhase>(i)))}}, s.step_times[i].counts, s.step_times[i].sum});
  }
  own.histogram("engine_step_seconds", "How long a step took, by whether it had tokens of prompts, of answers or both.",
                kStepSeconds, phases);
  own.histogram("grammar_mask_seconds", "How long it took to say which tokens may come next in a constrained answer.",
                kMaskSeconds, {{{}, s.mask_times.counts, s.mask_times.sum}});
  own.histogram("grammar_compile_seconds", "How long a request waited for its grammar.", grammar_);
  own.counter("reasoning_tokens", "Tokens of thinking.", read(reasoning_tokens_));
  own.counter("reasoning_truncated", "Answers whose thinking was ended by its budget.", read(reasoning_truncated_));
  own.counter("stream_clients_slow", "Clients that were cut off because they didn't read.", n(slow_clients_));
  own.counter("watchdog_stalls", "Times that the engine stood still.", n(stalls_));
  own.gauge("build_info", "The program.", {{{{"version", version_}, {"arch", "x86_64"}}, 1}});
  text += own.take();
  write_http(http, text);
  return text + process_metrics();
}

}  // namespace strata
