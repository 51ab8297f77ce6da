// The choice of a token from logits, without sorting the vocabulary.
#include "backend/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "backend/logit_passes.h"
#include "backend/philox.h"
#include "base/check.h"
#include "base/error.h"

namespace strata {
namespace {

constexpr int kZeroWeightDepth = 88;  // exp_negative is 0 below this

/// Memory of one thread's calls, so that a call allocates nothing once they have grown.
struct Scratch {
  std::vector<float> adjusted, maxima, ordered_maxima;
  std::vector<double> masses, buckets;
  std::vector<Candidate> candidates, ordered;
  std::vector<std::uint32_t> marks;  // by token, all 0 between calls: bit 0 for "seen", the rest counts the answer's
};

Scratch& scratch() {
  thread_local Scratch memory;
  return memory;
}

std::string text(float value) {
  std::string s = std::to_string(value);
  while (s.back() == '0') s.pop_back();
  if (s.back() == '.') s.pop_back();
  return s;
}

void require(bool holds, const char* field, const std::string& value, const char* range) {
  if (!holds) throw Error(ErrorCode::usage, std::string(field) + " is " + value + "; it must be " + range);
}

float penalize_repetition(float logit, float penalty) { return logit > 0 ? logit / penalty : logit * penalty; }

void apply_penalties(const SamplingRow& row, std::span<float> x, std::vector<std::uint32_t>& marks) {
  const SamplingParameters& p = *row.parameters;
  if (marks.size() < x.size()) marks.resize(x.size());
  const auto see = [&](TokenId t, std::uint32_t count) {
    CHECK(t >= 0 && static_cast<std::size_t>(t) < x.size(), "a token outside the vocabulary in a sequence's history");
    std::uint32_t& mark = marks[static_cast<std::size_t>(t)];
    if (mark == 0)
      x[static_cast<std::size_t>(t)] = penalize_repetition(x[static_cast<std::size_t>(t)], p.repetition_penalty);
    mark = (mark | 1u) + 2 * count;
  };
  for (TokenId t : row.prompt) see(t, 0);
  for (TokenId t : row.answer) see(t, 1);
  for (TokenId t : row.answer) {
    std::uint32_t& mark = marks[static_cast<std::size_t>(t)];
    const std::uint32_t count = mark >> 1;
    if (count == 0) continue;  // done at an earlier occurrence
    x[static_cast<std::size_t>(t)] -= p.presence_penalty + static_cast<float>(count) * p.frequency_penalty;
    mark = 1;
  }
  for (TokenId t : row.prompt) marks[static_cast<std::size_t>(t)] = 0;
  for (TokenId t : row.answer) marks[static_cast<std::size_t>(t)] = 0;
}

bool is_allowed(std::span<const std::uint32_t> allowed, std::size_t token) {
  return (allowed[token / 32] >> token % 32 & 1) != 0;
}

/// Sets what the mask forbids to -infinity.
void apply_mask(std::span<const std::uint32_t> allowed, std::span<float> x) {
  for (std::size_t word = 0; word * 32 < x.size(); ++word) {
    if (allowed[word] == ~std::uint32_t{0}) continue;
    const std::size_t end = std::min(x.size(), word * 32 + 32);
    for (std::size_t t = word * 32; t < end; ++t) {
      if (!is_allowed(allowed, t)) x[t] = -kInfinity;
    }
  }
}

/// The logits with mask, bias and penalties; the same memory if there are none.
std::span<const float> adjust(std::span<const float> logits, const SamplingRow& row, Scratch& memory) {
  const SamplingParameters& p = *row.parameters;
  if (p.logit_bias.empty() && !p.needs_history() && row.allowed.empty()) return logits;
  memory.adjusted.assign(logits.begin(), logits.end());
  for (const auto& [token, bias] : p.logit_bias) memory.adjusted[static_cast<std::size_t>(token)] += bias;
  if (p.needs_history()) apply_penalties(row, memory.adjusted, memory.marks);
  // Last, so that an infinite bias can't bring back what is forbidden.
  if (!row.allowed.empty()) {
    CHECK(row.allowed.size() * 32 >= logits.size(), "a mask that is shorter than the vocabulary");
    apply_mask(row.allowed, memory.adjusted);
  }
  return memory.adjusted;
}

/// The greedy choice where no allowed logit is above -infinity: the lowest allowed id, a NaN last.
TokenId lowest_allowed(std::span<const float> x, std::span<const std::uint32_t> allowed) {
  TokenId lowest = -1;
  for (std::size_t t = x.size(); t-- > 0;) {
    const bool better = lowest < 0 || !std::isnan(x[t]) || std::isnan(x[static_cast<std::size_t>(lowest)]);
    if (better && is_allowed(allowed, t)) lowest = static_cast<TokenId>(t);
  }
  CHECK(lowest >= 0, "a mask that allows no token");
  return lowest;
}

/// The largest logit at its lowest id; {0, -infinity} if all are NaN.
Candidate largest(std::span<const float> x, std::span<const float> maxima) {
  const auto block = static_cast<std::size_t>(std::max_element(maxima.begin(), maxima.end()) - maxima.begin());
  // A block that has only NaN counts as -infinity too, so that then the search goes on past it.
  const std::size_t begin = maxima[block] == -kInfinity ? 0 : block * kLogitBlock;
  const auto at = std::find(x.begin() + static_cast<std::ptrdiff_t>(begin), x.end(), maxima[block]);
  if (at == x.end()) return {0, -kInfinity, 0};
  return {static_cast<TokenId>(at - x.begin()), *at, 0};
}

/// The order of choice: the larger logit, then the lower id.
bool before(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

/// Drops what comes after `last` in the order of choice.
void keep_through(std::vector<Candidate>& candidates, const Candidate& last) {
  std::erase_if(candidates, [&](const Candidate& c) { return before(last, c); });
}

/// Fills `memory.candidates` with the k largest, ascending by id.
void gather_top(std::span<const float> x, std::span<const float> maxima, std::size_t k, Scratch& memory) {
  // The k-th largest of the blocks' maxima is a floor: k tokens reach it.
  float floor = -kInfinity;
  if (k <= maxima.size()) {
    memory.ordered_maxima.assign(maxima.begin(), maxima.end());
    const auto kth = memory.ordered_maxima.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(memory.ordered_maxima.begin(), kth, memory.ordered_maxima.end(), std::greater<>());
    floor = *kth;
  }
  gather(x, maxima, floor, memory.candidates);
  if (memory.candidates.size() <= k) return;
  memory.ordered.assign(memory.candidates.begin(), memory.candidates.end());
  const auto kth = memory.ordered.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(memory.ordered.begin(), kth, memory.ordered.end(), before);
  keep_through(memory.candidates, *kth);
}

/// Sets the candidates' weights, exp((logit - max) * scale), and returns their sum.
double weigh(std::vector<Candidate>& candidates, float max, float scale) {
  double sum = 0;
  for (Candidate& c : candidates) {
    c.weight = exp_negative((c.logit - max) * scale);
    sum += static_cast<double>(c.weight);
  }
  return sum;
}

/// Keeps the fewest candidates, in the order of choice, whose weights add up to `mass`. `max` and `scale` are those
/// that they were weighed with.
void keep_nucleus(float max, float scale, double mass, Scratch& memory) {
  // Buckets by logit first: what is left to put in order are the few that share a bucket with the last one kept.
  constexpr std::size_t kBucketsPerUnit = 32, kBuckets = kZeroWeightDepth * kBucketsPerUnit;
  const auto bucket = [&](const Candidate& c) {
    const float depth = (max - c.logit) * scale;
    return depth < kZeroWeightDepth ? static_cast<std::size_t>(depth * kBucketsPerUnit) : kBuckets;
  };
  memory.buckets.assign(kBuckets + 1, 0);
  for (const Candidate& c : memory.candidates) memory.buckets[bucket(c)] += static_cast<double>(c.weight);
  double earlier = 0;
  std::size_t last = 0;
  while (last < kBuckets && earlier + memory.buckets[last] < mass) earlier += memory.buckets[last++];
  memory.ordered.clear();
  for (const Candidate& c : memory.candidates) {
    if (bucket(c) == last) memory.ordered.push_back(c);
  }
  // Halves the range that holds the last one kept; what lies before the range comes earlier and adds up to less.
  auto begin = memory.ordered.begin(), end = memory.ordered.end();
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, before);
    double half = 0;
    for (auto c = begin; c != middle; ++c) half += static_cast<double>(c->weight);
    if (earlier + half >= mass) {
      end = middle;
    } else {
      earlier += half;
      begin = middle;
    }
  }
  if (begin != memory.ordered.end()) keep_through(memory.candidates, *begin);
}

/// Fills `memory.candidates` with a superset of the nucleus of mass `top_p`, weighed; returns the mass of the nucleus.
double gather_nucleus(std::span<const float> x, float max, float scale, float top_p, Scratch& memory) {
  memory.masses.resize(memory.maxima.size());
  block_masses(x, max, scale, memory.masses);
  double total = 0;
  for (double m : memory.masses) total += m;
  const double mass = static_cast<double>(top_p) * total;
  for (float depth = 4;; depth *= 2) {  // mostly a few tokens near the top are enough
    const bool all = depth > kZeroWeightDepth;
    gather(x, memory.maxima, all ? -kInfinity : max - depth / scale, memory.candidates);
    if (weigh(memory.candidates, max, scale) >= mass || all) return mass;
  }
}

/// The first candidate at which the weights, summed by ascending id, exceed `u` of their sum.
TokenId draw_candidate(const std::vector<Candidate>& candidates, float u) {
  double total = 0;
  for (const Candidate& c : candidates) total += static_cast<double>(c.weight);
  double left = static_cast<double>(u) * total;
  TokenId chosen = candidates.front().id;
  for (const Candidate& c : candidates) {
    if (c.weight == 0) continue;
    chosen = c.id;
    left -= static_cast<double>(c.weight);
    if (left < 0) break;
  }
  return chosen;
}

/// The same over the whole vocabulary: finds the block, then the token in it.
TokenId draw_any(std::span<const float> x, float max, float scale, float u, Scratch& memory) {
  memory.masses.resize(memory.maxima.size());
  block_masses(x, max, scale, memory.masses);
  double total = 0;
  for (double m : memory.masses) total += m;
  double left = static_cast<double>(u) * total;
  std::size_t block = 0;
  for (std::size_t b = 0; b < memory.masses.size(); ++b) {
    if (memory.masses[b] == 0) continue;
    block = b;
    if (left < memory.masses[b]) break;
    left -= memory.masses[b];
  }
  TokenId chosen = 0;
  const std::size_t end = std::min(x.size(), (block + 1) * kLogitBlock);
  for (std::size_t i = block * kLogitBlock; i < end; ++i) {
    const double weight = static_cast<double>(exp_negative((x[i] - max) * scale));
    if (weight == 0) continue;
    chosen = static_cast<TokenId>(i);
    left -= weight;
    if (left < 0) break;
  }
  return chosen;
}

/// One draw from what top-k, top-p and min-p leave of softmax(x / temperature). `max` is finite.
TokenId draw(std::span<const float> x, float max, const SamplingParameters& p, float u, Scratch& memory) {
  const float scale = std::min(1 / p.temperature, std::numeric_limits<float>::max());
  const bool top_k = p.top_k > 0 && static_cast<std::size_t>(p.top_k) < x.size();
  if (!top_k && p.top_p >= 1 && p.min_p <= 0) return draw_any(x, max, scale, u, memory);

  std::vector<Candidate>& candidates = memory.candidates;
  if (top_k) {
    gather_top(x, memory.maxima, static_cast<std::size_t>(p.top_k), memory);
    const double total = weigh(candidates, max, scale);
    if (p.top_p < 1) keep_nucleus(max, scale, static_cast<double>(p.top_p) * total, memory);
  } else if (p.top_p < 1) {
    const double mass = gather_nucleus(x, max, scale, p.top_p, memory);
    keep_nucleus(max, scale, mass, memory);
  } else {
    // A little below min_p's own floor, so that rounding drops nothing that belongs.
    const float depth = 1.001f * -std::log(p.min_p) + 0.001f;
    gather(x, memory.maxima, max - depth / scale, candidates);
    weigh(candidates, max, scale);
  }
  std::erase_if(candidates, [&](const Candidate& c) { return c.weight < p.min_p; });  // the largest weight is 1
  return draw_candidate(candidates, u);
}

TokenId choose(std::span<const float> logits, const SamplingRow& row, Scratch& memory) {
  const SamplingParameters& p = *row.parameters;
  const std::span<const float> x = adjust(logits, row, memory);
  memory.maxima.resize(logit_blocks(x.size()));
  block_maxima(x, memory.maxima);
  const Candidate best = largest(x, memory.maxima);
  if (best.logit == -kInfinity && !row.allowed.empty()) return lowest_allowed(x, row.allowed);
  if (p.temperature == 0 || p.top_k == 1 || !std::isfinite(best.logit)) return best.id;
  return draw(x, best.logit, p, uniform(p.seed, row.position), memory);
}

/// Log probability of `token` under softmax(logits), and the largest ones.
float report(std::span<const float> logits, TokenId token, Scratch& memory, std::span<TokenId> top_ids,
             std::span<float> top_logprobs) {
  memory.maxima.resize(logit_blocks(logits.size()));
  memory.masses.resize(memory.maxima.size());
  block_maxima(logits, memory.maxima);
  const float max = largest(logits, memory.maxima).logit;
  double log_sum = 0;
  if (std::isfinite(max)) {
    block_masses(logits, max, 1, memory.masses);
    double total = 0;
    for (double m : memory.masses) total += m;
    log_sum = std::log(total);
  }
  const auto logprob = [&](float logit) {
    if (logit == max) return static_cast<float>(-log_sum);  // infinities too
    return static_cast<float>(static_cast<double>(logit) - static_cast<double>(max) - log_sum);
  };

  std::size_t count = std::min(top_ids.size(), logits.size());
  if (count > 0) {
    gather_top(logits, memory.maxima, count, memory);
    std::sort(memory.candidates.begin(), memory.candidates.end(), before);
    count = std::min(count, memory.candidates.size());
  }
  for (std::size_t i = 0; i < top_ids.size(); ++i) {
    top_ids[i] = i < count ? memory.candidates[i].id : -1;
    top_logprobs[i] = i < count ? logprob(memory.candidates[i].logit) : -kInfinity;
  }
  return logprob(logits[static_cast<std::size_t>(token)]);
}

}  // namespace

void SamplingParameters::validate(std::int64_t vocab) const {
  require(temperature >= 0 && std::isfinite(temperature), "temperature", text(temperature), "0 or more");
  require(top_k >= 0, "top_k", std::to_string(top_k), "0 (all) or more");
  require(top_p > 0 && top_p <= 1, "top_p", text(top_p), "above 0 and at most 1");
  require(min_p >= 0 && min_p < 1, "min_p", text(min_p), "at least 0 and below 1");
  require(repetition_penalty > 0 && std::isfinite(repetition_penalty), "repetition_penalty", text(repetition_penalty),
          "above 0");
  require(std::isfinite(presence_penalty), "presence_penalty", text(presence_penalty), "a finite number");
  require(std::isfinite(frequency_penalty), "frequency_penalty", text(frequency_penalty), "a finite number");
  require(top_logprobs >= 0 && top_logprobs <= kMaxTopLogprobs, "top_logprobs", std::to_string(top_logprobs),
          ("from 0 to " + std::to_string(kMaxTopLogprobs)).c_str());
  for (const auto& [token, bias] : logit_bias) {
    require(token >= 0 && token < vocab, "a token of logit_bias", std::to_string(token),
            ("from 0 to " + std::to_string(vocab - 1) + ", the vocabulary").c_str());
    require(!std::isnan(bias), "logit_bias", text(bias), "a number");
  }
}

float uniform(std::uint64_t seed, std::uint64_t position) {
  const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
  const auto words = philox4x32_10({low(position), low(position >> 32), 0, 0}, {low(seed), low(seed >> 32)});
  return static_cast<float>(words[0] >> 8) * 0x1p-24f;
}

SampledToken sample_row(std::span<const float> logits, const SamplingRow& row, std::span<TokenId> top_ids,
                        std::span<float> top_logprobs) {
  const SamplingParameters& p = *row.parameters;
  Scratch& memory = scratch();
  SampledToken result{row.given >= 0 ? row.given : choose(logits, row, memory), 0};
  if (p.logprobs || p.top_logprobs > 0) {
    const auto tops = static_cast<std::size_t>(p.top_logprobs);
    CHECK(top_ids.size() >= tops && top_logprobs.size() >= tops, "too little room for the alternatives");
    result.logprob = report(logits, result.token, memory, top_ids.first(tops), top_logprobs.first(tops));
  }
  if (!all_finite(logits)) result.logprob = std::numeric_limits<float>::quiet_NaN();
  return result;
}

}  // namespace strata
