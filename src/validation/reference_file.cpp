#include "validation/reference_file.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace strata {
namespace {

/// Keeps a copy of what every block sees and of the final norm's output.
class HiddenRecorder : public Probe {
 public:
  explicit HiddenRecorder(Backend& backend) : backend_(backend) {}
  void residual(std::size_t block, Matrix x) override { append(block, x); }
  void final_norm(ConstMatrix x) override {
    // The last hidden state of a reference file is the normed one.
    const std::size_t at = normed_.size();
    normed_.resize(at + static_cast<std::size_t>(x.rows * x.cols));
    backend_.download(x.data, std::as_writable_bytes(std::span(normed_).subspan(at)));
  }
  std::vector<std::vector<float>> take() {
    if (!hidden_.empty()) hidden_.back() = std::move(normed_);
    return std::move(hidden_);
  }

 private:
  void append(std::size_t block, ConstMatrix x) {
    if (hidden_.size() <= block) hidden_.resize(block + 1);
    const std::size_t at = hidden_[block].size();
    hidden_[block].resize(at + static_cast<std::size_t>(x.rows * x.cols));
    backend_.download(x.data, std::as_writable_bytes(std::span(hidden_[block]).subspan(at)));
  }

  Backend& backend_;
  std::vector<std::vector<float>> hidden_;
  std::vector<float> normed_;
};

template <class T>
std::vector<T> read_values(const std::filesystem::path& path, const TensorEntry& entry, StoredType type,
                           std::size_t rank) {
  if (entry.type != type || entry.shape.size() != rank) {
    throw Error(ErrorCode::bad_model, path.string() + ": " + entry.name + " should be " + std::string(name_of(type)) +
                                          " with " + std::to_string(rank) + " dimensions, but is " +
                                          entry.description());
  }
  std::vector<T> values(static_cast<std::size_t>(entry.elements()));
  entry.bytes.read(0, std::as_writable_bytes(std::span(values)));
  return values;
}

double log_sum_exp(std::span<const float> row) {
  double largest = -INFINITY, sum = 0;
  for (float v : row) largest = std::max(largest, double{v});
  for (float v : row) sum += std::exp(double{v} - largest);
  return largest + std::log(sum);
}

double kl_divergence(std::span<const float> reference, std::span<const float> logits) {
  const double r = log_sum_exp(reference), x = log_sum_exp(logits);
  double sum = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - r;
    sum += std::exp(log_p) * (log_p - (logits[i] - x));
  }
  return sum;
}

}  // namespace

ReferenceFile ReferenceFile::read(const std::filesystem::path& path, const std::string& ids_name,
                                  const std::string& logits_name) {
  const std::vector<TensorEntry> entries = read_safetensors(path);
  auto find = [&](const std::string& name) -> const TensorEntry* {
    const auto at = std::find_if(entries.begin(), entries.end(), [&](const TensorEntry& e) { return e.name == name; });
    return at == entries.end() ? nullptr : &*at;
  };
  auto need = [&](const std::string& name) -> const TensorEntry& {
    if (const TensorEntry* entry = find(name)) return *entry;
    throw Error(ErrorCode::bad_model,
                path.string() + ": the tensor " + name + " is missing; a reference file has input_ids and logits");
  };
  ReferenceFile file;
  file.input_ids = read_values<TokenId>(path, need(ids_name), StoredType::I32, 1);
  const TensorEntry& logits = need(logits_name);
  file.logits.values = read_values<float>(path, logits, StoredType::F32, 2);
  file.logits.rows = logits.shape[0];
  file.logits.vocab = logits.shape[1];
  if (file.input_ids.empty() || file.logits.rows < 1 || file.logits.rows > std::ssize(file.input_ids)) {
    throw Error(ErrorCode::bad_model, path.string() + ": " + logits_name + " has " + std::to_string(file.logits.rows) +
                                          " rows for " + std::to_string(file.input_ids.size()) + " tokens");
  }
  if (const TensorEntry* greedy = find("greedy")) file.greedy = read_values<TokenId>(path, *greedy, StoredType::I32, 1);
  while (const TensorEntry* hidden = find("hidden." + std::to_string(file.hidden.size()))) {
    file.hidden.push_back(read_values<float>(path, *hidden, StoredType::F32, 2));
  }
  return file;
}

double relative_l2(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

Distance distance(const Logits& logits, const Logits& reference) {
  CHECK(logits.rows == reference.rows && logits.vocab == reference.vocab, "logits of the same shape");
  Distance d;
  std::vector<double> by_row;
  std::int64_t agreed = 0;
  for (std::int64_t r = 0; r < reference.rows; ++r) {
    const auto x = logits.row(r), y = reference.row(r);
    by_row.push_back(relative_l2(x, y));
    for (std::size_t i = 0; i < y.size(); ++i) d.max_abs = std::max(d.max_abs, std::abs(double{x[i]} - y[i]));
    d.finite = d.finite && std::all_of(x.begin(), x.end(), [](float v) { return std::isfinite(v); });
    agreed += largest(x) == largest(y);
    d.mean_kl += kl_divergence(y, x) / static_cast<double>(reference.rows);
  }
  d.rel_l2 = relative_l2(logits.values, reference.values);
  std::nth_element(by_row.begin(), by_row.begin() + std::ssize(by_row) / 2, by_row.end());
  d.median_rel_l2 = by_row[by_row.size() / 2];
  d.top1_agreement = static_cast<double>(agreed) / static_cast<double>(reference.rows);
  return d;
}

ReferenceResult compare(ModelRunner& runner, const ReferenceFile& reference) {
  if (reference.logits.vocab != runner.model().vocab_size()) {
    throw Error(ErrorCode::bad_model, "the reference's logits have " + std::to_string(reference.logits.vocab) +
                                          " entries a position, the model's " +
                                          std::to_string(runner.model().vocab_size()));
  }
  ReferenceResult result;
  HiddenRecorder recorder(runner.backend());
  {
    SequenceState state = runner.fresh();
    Logits logits =
        runner.feed(state, reference.input_ids, runner.limits().tokens, reference.hidden.empty() ? nullptr : &recorder);
    const std::int64_t skip = logits.rows - reference.logits.rows;
    logits.values.erase(logits.values.begin(), logits.values.begin() + skip * logits.vocab);
    logits.rows = reference.logits.rows;
    result.logits = distance(logits, reference.logits);
  }
  const auto hidden = recorder.take();
  for (std::size_t n = 0; n < std::min(hidden.size(), reference.hidden.size()); ++n) {
    if (hidden[n].size() == reference.hidden[n].size())
      result.hidden_rel_l2.push_back(relative_l2(hidden[n], reference.hidden[n]));
  }
  const std::vector<TokenId> answer = runner.greedy(reference.input_ids, std::ssize(reference.greedy));
  result.greedy_total = std::ssize(reference.greedy);
  result.greedy_matched = std::mismatch(answer.begin(), answer.end(), reference.greedy.begin()).first - answer.begin();
  return result;
}

}  // namespace strata
