// Unicode's own examples of normalisation, and the way back.
#include "text/normalizer.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace strata {
namespace {

Normalizer form(const char* type) { return Normalizer::parse({{"type", type}}, "test"); }

TEST(Normalizer, FormsAreThoseOfUnicode) {
  const std::string text = "A\u030A \u212B \uFB01 \uAC00\u11A8 a\u0307\u0323";  // UAX #15, figures 3 to 6
  EXPECT_EQ(form("NFC").normalize(text), "\u00C5 \u00C5 \uFB01 \uAC01 \u1EA1\u0307");
  EXPECT_EQ(form("NFD").normalize(text), "A\u030A A\u030A \uFB01 \u1100\u1161\u11A8 a\u0323\u0307");
  EXPECT_EQ(form("NFKC").normalize(text), "\u00C5 \u00C5 fi \uAC01 \u1EA1\u0307");
  EXPECT_EQ(form("NFKD").normalize(text), "A\u030A A\u030A fi \u1100\u1161\u11A8 a\u0323\u0307");
}

TEST(Normalizer, ACompatibilityMarkJoinsTheCharacterBeforeIt) {
  EXPECT_EQ(form("NFKC").normalize("\uFF76\uFF9E"), "\u30AC");  // a halfwidth voiced mark is no mark by category
}

TEST(Normalizer, ASequenceIsOneForm) {
  const Json sequence = {{"type", "Sequence"}, {"normalizers", Json::array({{{"type", "NFKD"}}, {{"type", "NFC"}}})}};
  EXPECT_EQ(Normalizer::parse(sequence, "test").name(), "NFKC");
  EXPECT_EQ(Normalizer::parse({{"type", "Sequence"}, {"normalizers", Json::array()}}, "test").name(), "none");
  EXPECT_EQ(Normalizer::parse(nullptr, "test").name(), "none");
  EXPECT_THROW(form("Lowercase"), Error);
}

TEST(Normalizer, TheAlignmentLeadsBackToTheText) {
  Alignment alignment;
  const std::string text = "x\uFB01y\u0301z";
  EXPECT_EQ(form("NFKC").normalize(text, &alignment), "xfi\u00FDz");
  EXPECT_EQ(alignment.begin_before(0), 0u);
  EXPECT_EQ(alignment.begin_before(2), 1u) << "half of a ligature begins where it begins";
  EXPECT_EQ(alignment.end_before(2), 4u);
  EXPECT_EQ(alignment.begin_before(3), 4u);
  EXPECT_EQ(alignment.end_before(5), 7u);
  EXPECT_EQ(alignment.end_before(6), 8u);
}

TEST(Normalizer, ManyMarksTakeNoQuadraticTime) {
  std::string marks;
  for (int i = 0; i < 200'000; ++i) marks += "\u0301\u0323";
  EXPECT_EQ(form("NFD").normalize("a" + marks).substr(0, 3), "a\u0323");
}

}  // namespace
}  // namespace strata
