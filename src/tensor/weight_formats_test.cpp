// What each stored weight format means, value by value.
#include "tensor/weight_formats.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

StoredMatrix stored(std::vector<std::uint8_t> bytes, DType dtype, std::int64_t rows, std::int64_t cols) {
  const auto view = std::as_bytes(std::span(bytes));
  return {StoredBytes(std::vector<std::byte>(view.begin(), view.end())), dtype, rows, cols};
}

TEST(Nvfp4Weight, DecodesTheGoldenBlock) {
  const Nvfp4Weight w{stored({0x21, 0x43, 0x65, 0x87, 0xA9, 0xCB, 0xED, 0x0F}, DType::u8, 1, 8),
                      stored({0x6C}, DType::f8_e4m3, 1, 1), 8.65e-5f};
  const float golden[16] = {0.004152f,  0.008304f,  0.012456f,  0.016608f,  0.024912f,  0.033216f,  0.049824f,  -0.0f,
                            -0.004152f, -0.008304f, -0.012456f, -0.016608f, -0.024912f, -0.033216f, -0.049824f, 0.0f};
  EXPECT_EQ(in_features(w), 16);
  EXPECT_EQ(format_name(w), "nvfp4");
  float row[16];
  decode_row(w, 0, row);
  for (int c = 0; c < 16; ++c) EXPECT_NEAR(row[c], golden[c], 1e-8f) << c;
}

TEST(Fp8Weight, IsTheCodeTimesItsScale) {
  const Fp8Weight w{stored({0x38, 0xB8, 0x7e, 0x01}, DType::f8_e4m3, 2, 2), 0.5f};
  float row[2];
  decode_row(w, 1, row);
  EXPECT_EQ(row[0], 224.0f);
  EXPECT_EQ(row[1], 0x1p-10f);
  EXPECT_EQ(stored_bytes(w), 4);
}

TEST(DenseWeight, ReadsBf16RowByRow) {
  const DenseWeight w{stored({0, 0, 0x80, 0x3f, 0, 0x40, 0x80, 0xbf}, DType::bf16, 2, 2)};
  float row[2];
  decode_row(w, 1, row);
  EXPECT_EQ(row[0], 2.0f);
  EXPECT_EQ(row[1], -1.0f);
}

}  // namespace
}  // namespace strata
