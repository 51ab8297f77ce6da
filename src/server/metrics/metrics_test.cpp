// Prometheus' text: names, labels, buckets.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "server/metrics/server_metrics.h"

namespace strata {
namespace {

std::string sample_of(const std::string& text, const std::string& start) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(start)) return line;
  }
  return "";
}

TEST(Exposition, EscapesLabels) {
  Exposition out({"x_"}, {{"model_name", "a\"b\\c\nd"}});
  out.gauge("g", "Help.", 1.5);
  EXPECT_EQ(out.take(), "# HELP x_g Help.\n# TYPE x_g gauge\nx_g{model_name=\"a\\\"b\\\\c\\nd\"} 1.5\n");
}

TEST(Exposition, BucketsOfAHistogramAddUp) {
  static constexpr double kBounds[] = {1, 2};
  Histogram histogram(kBounds);
  for (const double value : {0.5, 1.0, 1.5, 9.0}) histogram.observe(value);
  Exposition out({""}, {});
  out.histogram("h", "Help.", histogram);
  EXPECT_EQ(out.take(),
            "# HELP h Help.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} "
            "4\nh_sum 12\nh_count 4\n");
}

TEST(ServerMetrics, NamesAndLabelsAreThoseOfVllm) {
  ServerMetrics metrics("demo", "1.0", true);
  metrics.on_first_token(std::chrono::milliseconds(3));
  metrics.on_http("/v1/models", "GET", 200, 0.001, 100, 200);
  EngineStats stats;
  stats.running = 3;
  stats.prompt_tokens = 7;
  stats.cached_prompt_tokens = 5;
  stats.cancelled_in_decode = 2;
  stats.step_times[static_cast<std::size_t>(StepPhase::mixed)].add(std::chrono::milliseconds(7));
  stats.mask_times.add(std::chrono::microseconds(30));
  metrics.on_grammar(std::chrono::milliseconds(2));
  const std::string text = metrics.text(stats, {.connections = 4});
  const std::string labels = "{model_name=\"demo\",engine=\"0\"";
  EXPECT_EQ(sample_of(text, "strata_num_requests_running{"), "strata_num_requests_running" + labels + "} 3");
  EXPECT_EQ(sample_of(text, "vllm:num_requests_running{"), "vllm:num_requests_running" + labels + "} 3");
  EXPECT_EQ(sample_of(text, "strata_prompt_tokens_total{"), "strata_prompt_tokens_total" + labels + "} 12");
  EXPECT_EQ(sample_of(text, "strata_prefix_cache_hits_total{"), "strata_prefix_cache_hits_total" + labels + "} 5");
  EXPECT_EQ(sample_of(text, "strata_requests_cancelled_total" + labels + ",where=\"decode\""),
            "strata_requests_cancelled_total" + labels + ",where=\"decode\"} 2");
  EXPECT_EQ(sample_of(text, "strata_time_to_first_token_seconds_bucket" + labels + ",le=\"0.005\""),
            "strata_time_to_first_token_seconds_bucket" + labels + ",le=\"0.005\"} 1");
  EXPECT_EQ(sample_of(text, "strata_engine_step_seconds_bucket" + labels + ",phase=\"mixed\",le=\"0.005\""),
            "strata_engine_step_seconds_bucket" + labels + ",phase=\"mixed\",le=\"0.005\"} 0");
  EXPECT_EQ(sample_of(text, "strata_engine_step_seconds_bucket" + labels + ",phase=\"mixed\",le=\"0.01\""),
            "strata_engine_step_seconds_bucket" + labels + ",phase=\"mixed\",le=\"0.01\"} 1");
  EXPECT_EQ(sample_of(text, "strata_grammar_mask_seconds_count"), "strata_grammar_mask_seconds_count" + labels + "} 1");
  EXPECT_EQ(sample_of(text, "strata_grammar_compile_seconds_sum"),
            "strata_grammar_compile_seconds_sum" + labels + "} 0.002");
  EXPECT_EQ(sample_of(text, "http_requests_total"),
            "http_requests_total{handler=\"/v1/models\",method=\"GET\",status=\"200\"} 1");
  EXPECT_EQ(sample_of(text, "http_connections "), "http_connections 4");
  EXPECT_NE(sample_of(text, "process_resident_memory_bytes "), "");
}

TEST(ServerMetrics, EveryFamilyIsDescribedOnce) {
  ServerMetrics metrics("demo", "1.0", true);
  metrics.on_http("/a", "GET", 200, 1, 1, 1);
  metrics.on_http("/b", "GET", 200, 1, 1, 1);
  std::istringstream lines(metrics.text({}, {}));
  std::set<std::string> seen;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# TYPE ")) continue;
    EXPECT_TRUE(seen.insert(line).second) << line;
  }
  EXPECT_GT(seen.size(), 40u);
}

}  // namespace
}  // namespace strata
