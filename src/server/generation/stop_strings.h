// Texts that end an answer.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace strata {

/// Passes text through until one of the stop strings is complete, and never lets a byte of it out before: what may be
/// the beginning of one is held back, and no more. The same text gives the same result however it was cut: of two stop
/// strings the one that is complete first counts, and of those the longer.
class StopStrings {
 public:
  /// Empty strings are ignored. `include`: the stop string belongs to the text.
  explicit StopStrings(std::vector<std::string> stops = {}, bool include = false);

  /// What can't be part of a stop string any more; after a stop nothing. `armed`: false passes over stop strings that
  /// become complete in `text`.
  std::string push(std::string_view text, bool armed = true);
  /// What was held back: no text follows that could complete it.
  std::string finish();

  bool stopped() const { return !matched_.empty(); }
  /// The stop string that came.
  const std::string& matched() const { return matched_; }

 private:
  std::size_t possible_start() const;

  std::vector<std::string> stops_;
  bool include_;
  std::string held_, matched_;
};

}  // namespace strata
