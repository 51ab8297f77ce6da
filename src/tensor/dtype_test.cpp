// The number formats against their definitions, exhaustively.
#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace strata {
namespace {

TEST(Bf16, EveryCodeSurvivesARoundTrip) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const float value = static_cast<float>(bf16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(round_to_bf16(value)));
    else
      EXPECT_EQ(to_bf16(value).bits, bits);
  }
}

TEST(Bf16, TiesGoToTheEvenCode) {
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f).bits, 0x3f80);
  EXPECT_EQ(to_bf16(1.0f + 0x1p-7f + 0x1p-8f).bits, 0x3f82);
}

TEST(E4m3, EveryCodeSurvivesARoundTrip) {
  for (unsigned code = 0; code < 256; ++code) {
    const float value = decode_e4m3(static_cast<std::uint8_t>(code));
    if ((code & 0x7fu) == 0x7fu)
      EXPECT_TRUE(std::isnan(value));
    else
      EXPECT_EQ(encode_e4m3(value), code) << value;
  }
}

TEST(E4m3, HasTheValuesOfTheFormat) {
  EXPECT_EQ(decode_e4m3(0x38), 1.0f);
  EXPECT_EQ(decode_e4m3(0x7e), 448.0f);
  EXPECT_EQ(decode_e4m3(0x08), 0x1p-6f);
  EXPECT_EQ(decode_e4m3(0x01), 0x1p-9f);
  EXPECT_EQ(encode_e4m3(1e9f), 0x7e);
  EXPECT_EQ(encode_e4m3(-std::numeric_limits<float>::infinity()), 0xfe);
}

TEST(E4m3, RoundsToTheNearestAndTiesToTheEvenCode) {
  for (unsigned code = 0; code < 0x7e; ++code) {
    const float low = decode_e4m3(static_cast<std::uint8_t>(code)),
                high = decode_e4m3(static_cast<std::uint8_t>(code + 1));
    const float middle = (low + high) / 2;
    EXPECT_EQ(encode_e4m3(middle), code % 2 ? code + 1 : code) << middle;
    EXPECT_EQ(encode_e4m3(std::nextafter(middle, 0.0f)), code);
    EXPECT_EQ(encode_e4m3(std::nextafter(middle, 1e9f)), code + 1);
  }
}

TEST(E2m1, EveryCodeSurvivesARoundTrip) {
  for (unsigned code = 0; code < 16; ++code) EXPECT_EQ(encode_e2m1(decode_e2m1(code)), code);
}

TEST(E2m1, TiesGoToTheEvenCode) {
  const float ties[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  const unsigned codes[] = {0, 2, 2, 4, 4, 6, 6};
  for (int i = 0; i < 7; ++i) EXPECT_EQ(encode_e2m1(ties[i]), codes[i]) << ties[i];
  EXPECT_EQ(encode_e2m1(100.0f), 7u);
}

TEST(E2m1, TimesItsBlockScaleIsExactInBf16) {
  for (unsigned scale = 0; scale < 0x7f; ++scale)
    for (unsigned code = 0; code < 16; ++code) {
      const float weight = decode_e2m1(code) * decode_e4m3(static_cast<std::uint8_t>(scale));
      EXPECT_EQ(round_to_bf16(weight), weight);
    }
}

}  // namespace
}  // namespace strata
