// A pattern of any bytes, up to the first newline, splits the rest of the input or is refused by an Error.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "text/pre_tokenizer.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t newline = std::min(input.find('\n'), size);
  const std::string pattern(input.substr(0, newline));
  const std::string text = strata::replace_invalid_utf8(input.substr(newline));
  const strata::Json split = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", size % 2 == 0}};
  const strata::Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  try {
    const auto pre_tokenizer = strata::PreTokenizer::parse(
        {{"type", "Sequence"}, {"pretokenizers", strata::Json::array({split, byte_level})}}, "fuzz");
    std::size_t end = 0;
    strata::PreTokenizer::Splitter(pre_tokenizer).split(text, [&](strata::PreTokenizer::Word word) {
      CHECK(word.begin == end && word.end > end, "isolated words cover the text in order");
      CHECK(strata::valid_utf8_prefix(std::string_view(text).substr(word.begin, word.end - word.begin)) ==
                word.end - word.begin,
            "words hold whole characters");
      end = word.end;
    });
    CHECK(end == text.size(), "isolated words cover the text");
  } catch (const strata::Error&) {
  }
  return 0;
}
