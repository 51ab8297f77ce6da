#include "validation/law.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>

namespace strata {
namespace {

using Sizes = std::vector<std::int64_t>;
using Tokens = std::span<const TokenId>;

Tokens part(Tokens tokens, std::int64_t from, std::int64_t count) {
  return tokens.subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(count));
}

/// Rows [from, from + logits.rows) of the case's.
bool same_rows(const Logits& logits, const LawCase& c, std::int64_t from) {
  return logits.vocab == c.logits.vocab && from + logits.rows <= c.logits.rows &&
         std::memcmp(logits.values.data(), c.logits.row(from).data(), logits.values.size() * sizeof(float)) == 0;
}

/// Where logits differ from what they should be, in words; rows of `logits` are positions from `from`.
std::string difference(const Logits& logits, const LawCase& c, std::int64_t from) {
  for (std::int64_t r = 0; r < logits.rows; ++r) {
    const auto x = logits.row(r), y = c.logits.row(from + r);
    if (std::memcmp(x.data(), y.data(), x.size_bytes()) == 0) continue;
    double largest_difference = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      largest_difference = std::max(largest_difference, std::abs(double{x[i]} - y[i]));
    char text[96];
    std::snprintf(text, sizeof text, "%.3g", largest_difference);
    return "the logits of position " + std::to_string(from + r) + " differ by up to " + text +
           " from those of one sequence alone in one step";
  }
  return "the logits have another shape";
}

/// Counts a check, and notes it if it fails.
void expect(LawReport& report, const std::string& claim, const Logits& logits, const LawCase& c,
            std::int64_t from = 0) {
  ++report.checks;
  if (!same_rows(logits, c, from)) report.failures.push_back(claim + ": " + difference(logits, c, from));
}

std::string text_of(const Sizes& sizes) {
  constexpr std::size_t kShown = 6;
  std::string text;
  for (std::size_t i = 0; i < std::min(sizes.size(), kShown); ++i) text += (i ? " + " : "") + std::to_string(sizes[i]);
  return sizes.size() > kShown ? text + " + ... (" + std::to_string(sizes.size()) + " chunks)" : text;
}

/// `first`, then again `first`'s sizes in turn `rounds` times or for ever (0), the rest as one chunk.
Sizes repeated(const Sizes& first, std::int64_t total, int rounds) {
  Sizes sizes;
  for (int round = 0; total > 0 && (rounds == 0 || round < rounds); ++round) {
    for (const std::int64_t size : first) {
      if (total == 0) break;
      sizes.push_back(std::min(size, total));
      total -= sizes.back();
    }
  }
  if (total > 0) sizes.push_back(total);
  return sizes;
}

Sizes random_sizes(std::int64_t total, std::mt19937_64& random) {
  Sizes sizes;
  const std::int64_t largest_size = std::max<std::int64_t>(total / 3, 1);
  while (total > 0) {
    // Small sizes as likely as large ones.
    const auto range = static_cast<std::uint64_t>(std::max<std::int64_t>(largest_size >> (random() % 5), 1));
    sizes.push_back(std::min(1 + static_cast<std::int64_t>(random() % range), total));
    total -= sizes.back();
  }
  return sizes;
}

/// Appends `tokens` to `state` in chunks of `sizes`, which add up to them.
Logits feed_sizes(ModelRunner& runner, SequenceState& state, Tokens tokens, const Sizes& sizes) {
  Logits all;
  std::int64_t at = 0;
  for (const std::int64_t size : sizes) {
    all.append(runner.feed(state, part(tokens, at, size), size));
    at += size;
  }
  return all;
}

std::vector<Sizes> splits_of(std::int64_t total, const LawOptions& options) {
  std::vector<Sizes> splits;
  const int rounds = options.uniform_splits ? 0 : 4;
  for (const std::int64_t size : {2, 3}) splits.push_back(repeated({size}, total, rounds));
  if (total > 2) splits.push_back({1, total - 2, 1});
  for (const std::int64_t size : {63, 64, 65, 127, 128, 129}) {
    const bool page = size < 100;
    if (total < size + 2 || (page && !options.uniform_splits && size != 64)) continue;
    splits.push_back(total >= 3 * size ? repeated({size}, total, 0) : Sizes{size, 1, total - size - 1});
  }
  std::mt19937_64 random(options.seed);
  for (int i = 0; i < options.random_splits; ++i) splits.push_back(random_sizes(total, random));
  return splits;
}

/// A sequence among neighbours.
struct Guest {
  LawCase alone;
  SequenceState state;
  Logits logits;
  std::int64_t left() const { return std::ssize(alone.prompt) - state.length(); }
};

/// Runs all guests to their ends, each step's sequences in the order of `order`; `chunk` gives a guest's next tokens.
template <class F>
void run_together(ModelRunner& runner, std::vector<Guest>& guests, const std::vector<std::size_t>& order, F&& chunk) {
  const std::int64_t most = std::max<std::int64_t>(runner.limits().tokens / std::ssize(guests), 1);
  for (Guest& guest : guests) {
    guest.state = runner.fresh();
    guest.logits = {};
  }
  while (true) {
    std::vector<ModelRunner::Work> work;
    std::vector<Guest*> owners;
    for (const std::size_t g : order) {
      Guest& guest = guests[g];
      if (guest.left() == 0) continue;
      const std::int64_t count = std::clamp<std::int64_t>(chunk(g), 1, std::min(most, guest.left()));
      work.push_back({&guest.state, part(guest.alone.prompt, guest.state.length(), count)});
      owners.push_back(&guest);
    }
    if (work.empty()) return;
    const Logits logits = runner.step(work);
    std::int64_t row = 0;
    for (std::size_t i = 0; i < work.size(); ++i) {
      const std::int64_t rows = std::ssize(work[i].tokens);
      const auto begin = logits.values.begin() + row * logits.vocab;
      owners[i]->logits.append({rows, logits.vocab, {begin, begin + rows * logits.vocab}});
      row += rows;
    }
  }
}

}  // namespace

LawOptions LawOptions::reduced() {
  return {.prompt_length = 70,
          .seed = 1,
          .repeats = 3,
          .random_splits = 1,
          .uniform_splits = false,
          .all_fork_points = false};
}

void LawReport::append(const LawReport& more) {
  checks += more.checks;
  failures.insert(failures.end(), more.failures.begin(), more.failures.end());
}

LawCase LawCase::make(ModelRunner& runner, std::int64_t length, std::uint64_t seed) {
  LawCase c;
  std::mt19937_64 random(seed);
  for (std::int64_t i = 0; i < length; ++i)
    c.prompt.push_back(static_cast<TokenId>(random() % static_cast<std::uint64_t>(runner.model().vocab_size())));
  SequenceState state = runner.fresh();
  c.logits = runner.feed(state, c.prompt, runner.limits().tokens);
  return c;
}

LawReport check_finite(const LawCase& c) {
  LawReport report{.checks = 1, .failures = {}};
  const auto bad =
      std::find_if(c.logits.values.begin(), c.logits.values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != c.logits.values.end())
    report.failures.push_back("finite logits: position " +
                              std::to_string((bad - c.logits.values.begin()) / c.logits.vocab) +
                              " has a NaN or an infinity");
  return report;
}

LawReport check_chunks(ModelRunner& runner, const LawCase& c, const LawOptions& options) {
  LawReport report;
  for (const Sizes& sizes : splits_of(std::ssize(c.prompt), options)) {
    SequenceState state = runner.fresh();
    expect(report, "chunks of " + text_of(sizes), feed_sizes(runner, state, c.prompt, sizes), c);
  }
  return report;
}

LawReport check_decode(ModelRunner& runner, const LawCase& c, const LawOptions& options) {
  LawReport report;
  const std::int64_t total = std::ssize(c.prompt);
  std::vector<std::int64_t> prefills{total - std::min<std::int64_t>(total, 8)};
  if (options.uniform_splits) prefills = {0, total / 2, prefills[0]};
  for (const std::int64_t prefill : prefills) {
    SequenceState state = runner.fresh();
    Logits logits = runner.feed(state, part(c.prompt, 0, prefill), runner.limits().tokens);
    logits.append(runner.feed(state, part(c.prompt, prefill, total - prefill), 1));
    expect(report, "token by token after a prefill of " + std::to_string(prefill), logits, c);
  }
  return report;
}

LawReport check_neighbours(ModelRunner& runner, const LawCase& c, const LawOptions& options) {
  LawReport report;
  const std::int64_t most = options.uniform_splits ? 4 : 3;
  std::vector<Guest> guests(static_cast<std::size_t>(std::min(most, runner.limits().sequences)));
  guests[0].alone = c;
  for (std::size_t g = 1; g < guests.size(); ++g)
    guests[g].alone =
        LawCase::make(runner, std::ssize(c.prompt) / static_cast<std::int64_t>(g + 1) + 1, options.seed + 100 * g);
  std::vector<std::size_t> order(guests.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937_64 random(options.seed);
  auto check = [&](const std::string& how, auto&& chunk) {
    run_together(runner, guests, order, chunk);
    for (std::size_t g = 0; g < guests.size(); ++g) {
      expect(report, "sequence " + std::to_string(g) + " of " + std::to_string(guests.size()) + " in a batch, " + how,
             guests[g].logits, guests[g].alone);
      guests[g].state = {};
    }
  };
  check("as many tokens a step as fit", [&](std::size_t) { return runner.limits().tokens; });
  std::reverse(order.begin(), order.end());
  check("in reverse order, one decoding beside chunks of 17", [&](std::size_t g) { return g == 0 ? 1 : 17; });
  if (options.uniform_splits) check("in reverse order, one token a step each", [&](std::size_t) { return 1; });
  std::rotate(order.begin(), order.begin() + 1, order.end());
  if (options.random_splits > 0)
    check("in another order, with random chunks",
          [&](std::size_t) { return 1 + static_cast<std::int64_t>(random() % 40); });
  return report;
}

LawReport check_reuse(ModelRunner& runner, const LawCase& c, const LawOptions& options) {
  LawReport report;
  // Every slot and the pages first taken are written to, and none is new when the prompt comes.
  const std::int64_t sequences = runner.limits().sequences;
  const std::vector<TokenId> other(c.prompt.rbegin(), c.prompt.rend());
  {
    std::vector<SequenceState> used;
    for (std::int64_t s = 0; s < sequences; ++s) {
      used.push_back(runner.fresh());
      runner.feed(used.back(), part(other, 0, std::max<std::int64_t>(std::ssize(other) - s, 1)),
                  runner.limits().tokens);
    }
  }
  std::vector<SequenceState> states;
  for (std::int64_t s = 0; s < (options.uniform_splits ? sequences : 1); ++s) {
    states.push_back(runner.fresh());
    expect(report, "a slot and pages that another sequence has used (" + std::to_string(s) + ")",
           runner.feed(states.back(), c.prompt, runner.limits().tokens), c);
  }
  return report;
}

LawReport check_forks(ModelRunner& runner, const LawCase& c, const LawOptions& options) {
  LawReport report;
  const std::int64_t total = std::ssize(c.prompt), chunk = runner.limits().tokens;
  std::vector<TokenId> astray(c.prompt.rbegin(), c.prompt.rend());
  std::vector<std::int64_t> points{1, kPageSize - 1, kPageSize, kPageSize + 1, total / 2, 2 * kPageSize};
  if (!options.all_fork_points) points = {std::min(total / 2, kPageSize / 2)};
  auto fork = [&](const SequenceState& state) {
    auto copy = runner.pool().fork(state);
    CHECK(copy && runner.pool().reserve(*copy, total - state.length()), "more sequences than the runner was made for");
    return std::move(*copy);
  };
  for (const std::int64_t at : points) {
    if (at < 1 || at >= total) continue;
    const std::string where = " at token " + std::to_string(at);
    const Tokens rest = part(c.prompt, at, total - at), other = part(astray, 0, total - at);
    SequenceState original = runner.fresh();
    runner.feed(original, part(c.prompt, 0, at), chunk);
    {
      SequenceState copy = fork(original);
      runner.feed(copy, other, chunk);
      copy = {};
      copy = fork(original);
      expect(report, "a fork" + where + " after another fork went another way", runner.feed(copy, rest, chunk), c, at);
    }
    SequenceState snapshot = fork(original);
    expect(report, "the original after forks" + where, runner.feed(original, rest, chunk), c, at);
    original = {};
    for (const char* time : {"first", "second"}) {
      SequenceState resumed = fork(snapshot);
      expect(report, std::string("a snapshot") + where + " resumed for the " + time + " time, its original gone",
             runner.feed(resumed, rest, 1 + chunk / 2), c, at);
    }
  }
  return report;
}

LawReport check_repeats(ModelRunner& runner, const LawCase& c, const LawOptions& options) {
  LawReport report;
  for (int i = 1; i < options.repeats; ++i) {
    SequenceState state = runner.fresh();
    expect(report, "run " + std::to_string(i + 1) + " of the same steps",
           runner.feed(state, c.prompt, runner.limits().tokens), c);
  }
  return report;
}

LawReport check_law(ModelRunner& runner, const LawOptions& options) {
  CHECK(runner.limits().sequences >= 2, "room for two sequences");
  const std::int64_t length = std::min({options.prompt_length, runner.limits().context, runner.model().max_context()});
  const LawCase c = LawCase::make(runner, length, options.seed);
  LawReport report = check_finite(c);
  report.append(check_chunks(runner, c, options));
  report.append(check_decode(runner, c, options));
  report.append(check_neighbours(runner, c, options));
  report.append(check_reuse(runner, c, options));
  report.append(check_forks(runner, c, options));
  report.append(check_repeats(runner, c, options));
  return report;
}

}  // namespace strata
