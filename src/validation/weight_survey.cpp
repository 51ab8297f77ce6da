#include "validation/weight_survey.h"

#include "base/error.h"
#include "model/registry.h"

namespace strata {

WeightSurvey::WeightSurvey(const Checkpoint& checkpoint, CheckpointWeights& weights)
    : checkpoint_(checkpoint), weights_(weights) {
  for (const TensorEntry& entry : checkpoint.tensors()) entries_.emplace(canonical_name(entry.name), &entry);
}

template <class F>
void WeightSurvey::note(const std::string& name, F&& look) {
  try {
    look();
  } catch (const Error& e) {
    problems_.push_back(e.what());
    broken_.insert(name);
  }
}

const TensorEntry* WeightSurvey::find(const std::string& name) const {
  const auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : at->second;
}

std::unique_ptr<Linear> WeightSurvey::linear(const std::string& name, std::int64_t out, std::int64_t in) {
  auto shape = WeightList::linear(name, out, in);
  found_.push_back({requests().back(), {}});
  note(name, [&] { found_.back().weights.push_back(weights_.linear(name, out, in)); });
  return shape;
}

std::unique_ptr<Linear> WeightSurvey::experts(const std::string& container, const std::string& projection,
                                              std::int64_t n, std::int64_t out, std::int64_t in) {
  auto shape = WeightList::experts(container, projection, n, out, in);
  found_.push_back({requests().back(), {}});
  Found& found = found_.back();
  if (const std::string fused = container + "." + projection; find(fused)) {
    note(fused, [&] { found.weights = weights_.experts(container, projection, n, out, in); });
    return shape;
  }
  for (std::int64_t e = 0; e < n; ++e) {
    const std::string name = container + "." + std::to_string(e) + "." + projection;
    note(name, [&] { found.weights.push_back(weights_.linear(name, out, in)); });
  }
  return shape;
}

Vector WeightSurvey::vector(const std::string& name, std::int64_t size) {
  Vector shape = WeightList::vector(name, size);
  found_.push_back({requests().back(), {}, find(name)});
  note(name, [&] { weights_.floats(name, {size}); });
  return shape;
}

Table WeightSurvey::table(const std::string& name, std::int64_t rows, std::int64_t cols) {
  Table shape = WeightList::table(name, rows, cols);
  found_.push_back({requests().back(), {}, find(name)});
  note(name, [&] { weights_.floats(name, {rows, cols}); });
  return shape;
}

std::optional<float> WeightSurvey::scalar(const std::string& name) {
  WeightList::scalar(name);
  found_.push_back({requests().back(), {}, find(name)});
  std::optional<float> value;
  note(name, [&] { value = weights_.scalar(name); });
  return value;
}

WeightSurvey::Rest WeightSurvey::rest() const {
  Rest rest;
  for (const TensorEntry* entry : useless_tensors(weights_, checkpoint_.config())) {
    const std::string name = canonical_name(entry->name);
    if (!broken_.contains(name) && !broken_.contains(name.substr(0, name.rfind('.')))) rest.useless.push_back(entry);
  }
  for (const auto& [name, entry] : entries_) {
    if (name.starts_with("mtp.")) rest.mtp.push_back(entry);
  }
  return rest;
}

}  // namespace strata
