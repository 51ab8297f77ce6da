#include "server/metrics/exposition.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace strata {
namespace {

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
}

}  // namespace

void Histogram::observe(double value) {
  const auto bucket =
      static_cast<std::size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin());
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

void Exposition::head(const std::string& name, std::string_view help, std::string_view type) {
  text_.append("# HELP ").append(name).append(" ").append(help).append("\n");
  text_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

void Exposition::sample(const std::string& name, const Labels& labels, double value) {
  text_ += name;
  char separator = '{';
  for (const Labels* list : {static_cast<const Labels*>(&common_), &labels}) {
    for (const auto& [key, text] : *list) {
      text_ += separator;
      separator = ',';
      text_.append(key).append("=\"");
      append_escaped(text_, text);
      text_ += '"';
    }
  }
  if (separator == ',') text_ += '}';
  text_.append(" ").append(number(value)).append("\n");
}

void Exposition::gauge(std::string_view name, std::string_view help, const std::vector<Sample>& samples) {
  for (const std::string& prefix : prefixes_) {
    const std::string full = prefix + std::string(name);
    head(full, help, "gauge");
    for (const Sample& s : samples) sample(full, s.labels, s.value);
  }
}

void Exposition::counter(std::string_view name, std::string_view help, const std::vector<Sample>& samples) {
  for (const std::string& prefix : prefixes_) {
    const std::string full = prefix + std::string(name) + "_total";
    head(full, help, "counter");
    for (const Sample& s : samples) sample(full, s.labels, s.value);
  }
}

void Exposition::histogram(std::string_view name, std::string_view help,
                           const std::vector<std::pair<Labels, const Histogram*>>& histograms) {
  for (const std::string& prefix : prefixes_) {
    const std::string full = prefix + std::string(name);
    head(full, help, "histogram");
    for (const auto& [labels, histogram] : histograms) {
      std::vector<std::int64_t> counts(histogram->bounds().size() + 1);
      for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = histogram->count(i);
      buckets(full, labels, histogram->bounds(), counts, histogram->sum());
    }
  }
}

void Exposition::histogram(std::string_view name, std::string_view help, std::span<const double> bounds,
                           const std::vector<Counts>& series) {
  for (const std::string& prefix : prefixes_) {
    const std::string full = prefix + std::string(name);
    head(full, help, "histogram");
    for (const Counts& s : series) buckets(full, s.labels, bounds, s.counts, s.sum);
  }
}

void Exposition::buckets(const std::string& name, const Labels& labels, std::span<const double> bounds,
                         std::span<const std::int64_t> counts, double sum) {
  std::int64_t total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    total += counts[i];
    Labels with_bound = labels;
    with_bound.emplace_back("le", i < bounds.size() ? number(bounds[i]) : "+Inf");
    sample(name + "_bucket", with_bound, static_cast<double>(total));
  }
  sample(name + "_sum", labels, sum);
  sample(name + "_count", labels, static_cast<double>(total));
}

}  // namespace strata
