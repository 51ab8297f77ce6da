// Prometheus' text format.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata {

/// Counts of values by bucket, for any thread.
class Histogram {
 public:
  /// `bounds`: upper bounds, ascending; static.
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

  void observe(double value);
  std::span<const double> bounds() const { return bounds_; }
  /// Of bucket i alone; the last one has no bound.
  std::int64_t count(std::size_t i) const { return counts_[i].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::span<const double> bounds_;
  std::vector<std::atomic<std::int64_t>> counts_;
  std::atomic<double> sum_ = 0;
};

using Labels = std::vector<std::pair<std::string, std::string>>;

/// Writes metrics one family after the other.
class Exposition {
 public:
  /// `prefixes`: each family appears once under each of them. `common`: labels of every sample.
  Exposition(std::vector<std::string> prefixes, Labels common)
      : prefixes_(std::move(prefixes)), common_(std::move(common)) {}

  struct Sample {
    Labels labels;
    double value = 0;
  };
  /// `name` without prefix and, of a counter, without "_total".
  void gauge(std::string_view name, std::string_view help, double value) { gauge(name, help, {{{}, value}}); }
  void gauge(std::string_view name, std::string_view help, const std::vector<Sample>& samples);
  void counter(std::string_view name, std::string_view help, double value) { counter(name, help, {{{}, value}}); }
  void counter(std::string_view name, std::string_view help, const std::vector<Sample>& samples);
  void histogram(std::string_view name, std::string_view help, const Histogram& histogram) {
    this->histogram(name, help, {{{}, &histogram}});
  }
  void histogram(std::string_view name, std::string_view help,
                 const std::vector<std::pair<Labels, const Histogram*>>& histograms);
  struct Counts {
    Labels labels;
    std::span<const std::int64_t> counts;  // one more than there are bounds
    double sum = 0;
  };
  void histogram(std::string_view name, std::string_view help, std::span<const double> bounds,
                 const std::vector<Counts>& series);

  std::string take() { return std::move(text_); }

 private:
  void head(const std::string& name, std::string_view help, std::string_view type);
  void sample(const std::string& name, const Labels& labels, double value);
  void buckets(const std::string& name, const Labels& labels, std::span<const double> bounds,
               std::span<const std::int64_t> counts, double sum);

  std::vector<std::string> prefixes_;
  Labels common_;
  std::string text_;
};

}  // namespace strata
