// Holds a model on a backend to the one law: the same tokens give the same bits, however they got there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "validation/model_runner.h"

namespace strata {

struct LawOptions {
  std::int64_t prompt_length = 150;  // capped by the runner's context
  std::uint64_t seed = 1;            // of the random tokens and splits
  int repeats = 32;
  int random_splits = 4;        // 1 of them also among neighbours
  bool uniform_splits = true;   // sizes 1, 2 and 3 throughout; else a few of each, then the rest
  bool all_fork_points = true;  // else only one, in the middle of a page

  /// Less of everything, for a model whose steps are slow.
  static LawOptions reduced();
};

struct LawReport {
  std::int64_t checks = 0;
  std::vector<std::string> failures;  // a sentence each
  void append(const LawReport& more);
};

/// What all claims are held to: a prompt of random tokens and its logits from one sequence, in as few steps as may be.
struct LawCase {
  std::vector<TokenId> prompt;
  Logits logits;
  static LawCase make(ModelRunner& runner, std::int64_t length, std::uint64_t seed);
};

/// Logits are finite.
LawReport check_finite(const LawCase& law_case);
/// Any split into chunks, at least three where the prompt is long enough: the same bits.
LawReport check_chunks(ModelRunner& runner, const LawCase& law_case, const LawOptions& options);
/// The last tokens one a step, after a prefill of none, some or most of the prompt: the same bits.
LawReport check_decode(ModelRunner& runner, const LawCase& law_case, const LawOptions& options);
/// Neighbours of other lengths, in any order, in steps that mix chunks and single tokens: the same bits for each.
LawReport check_neighbours(ModelRunner& runner, const LawCase& law_case, const LawOptions& options);
/// Slots and pages that other sequences have used: the same bits.
LawReport check_reuse(ModelRunner& runner, const LawCase& law_case, const LawOptions& options);
/// Forks and snapshots, resumed after the original went another way or died; and the original, after its fork did.
LawReport check_forks(ModelRunner& runner, const LawCase& law_case, const LawOptions& options);
/// The same steps again and again.
LawReport check_repeats(ModelRunner& runner, const LawCase& law_case, const LawOptions& options);

/// All of these. The runner must have room for two sequences at least; its sequences and their states must be free.
LawReport check_law(ModelRunner& runner, const LawOptions& options);

}  // namespace strata
