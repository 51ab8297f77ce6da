// What of the backend needs no GPU: its memory, and what it says where there is none.
#include "backend/cuda/cuda_plan.h"

#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/kernels/prefill_scan.h"
#include "base/error.h"

namespace strata {
namespace {

WorkLimits small_limits() {
  WorkLimits l;
  l.tokens = 100, l.logit_rows = 4, l.sequences = l.slots = 4, l.context = 5000;
  l.features = 500, l.experts = 8, l.experts_per_token = 2, l.expert_features = 33;
  return l;
}

TEST(CudaPlan, PartsFollowEachOtherAndAreAligned) {
  const CudaPlan plan(small_limits());
  const std::int64_t at[] = {plan.batch,      plan.samples,    plan.maxima,           plan.rounded[0],
                             plan.rounded[3], plan.pairs,      plan.item_expert,      plan.items,
                             plan.hidden,     plan.expert_out, plan.attention_values, plan.attention_sums,
                             plan.bytes};
  for (std::size_t i = 0; i + 1 < std::size(at); ++i) {
    EXPECT_LT(at[i], at[i + 1]) << i;
    EXPECT_EQ(at[i] % 256, 0) << i;
  }
  EXPECT_EQ(plan.rounded_stride, 512) << "whole tiles of 64 columns";
  EXPECT_EQ(plan.hidden_stride, 64);
  EXPECT_EQ(plan.attention_blocks, 5) << "blocks of 1,024 keys";
}

TEST(CudaPlan, FastNumericsHaveRoomForAScanByChunks) {
  WorkLimits l = small_limits();
  l.features = 4096;
  for (const std::int64_t experts : {0, 2})
    for (const std::int64_t tokens : {100, 2048}) {
      l.experts_per_token = experts, l.tokens = tokens;
      for (const std::int64_t groups : {1, 8, 16})
        EXPECT_GE(CudaPlan(l, true).expert_out_bytes,
                  cuda::prefill_ssd_bytes(tokens, l.sequences, {64, 64, 128, groups, 0, 1}));
    }
}

TEST(CudaPlan, GrowsWithTheContextByPagesAndBlocksOnly) {
  WorkLimits l = small_limits();
  const std::int64_t before = CudaPlan(l).bytes;
  l.context += 1024;
  EXPECT_LE(CudaPlan(l).bytes - before, 4 * 500 * 4 + 4 * 500 / 16 + 4 * 17 * 4 + 3 * 256);
  l.context = 1024;
  EXPECT_EQ(CudaPlan(l).attention_rows, 0) << "one block of keys is never split";
}

TEST(CudaPlan, PackedBytesAreTilesOfEveryFormat) {
  const auto matrix = [](DType t, std::int64_t rows, std::int64_t cols) {
    return StoredMatrix{StoredBytes(std::vector<std::byte>(static_cast<std::size_t>(rows * cols * size_of(t)))), t,
                        rows, cols};
  };
  const LinearWeight bf16 = DenseWeight{matrix(DType::bf16, 17, 65)};
  EXPECT_EQ(cuda::packed_bytes({&bf16, 1}), 4 * 2048 + 256);
  const LinearWeight fp8 = Fp8Weight{matrix(DType::f8_e4m3, 16, 64), 1};
  EXPECT_EQ(cuda::packed_bytes({&fp8, 1}), 1024 + 256);
  const LinearWeight nvfp4 = Nvfp4Weight{matrix(DType::u8, 32, 32), matrix(DType::f8_e4m3, 32, 4), 1};
  EXPECT_EQ(cuda::packed_bytes({&nvfp4, 1}), 1280 + 256) << "2 tiles of 576 bytes, aligned";
}

TEST(CudaBackend, SaysInASentenceWhyItCannotBeMade) {
  const std::string why = why_no_gpu();
  if (why.empty()) GTEST_SKIP() << "there is a usable GPU";
  EXPECT_NE(why.find("--backend cpu"), std::string::npos) << why;
  try {
    CudaBackend backend;
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::no_device);
    EXPECT_EQ(e.what(), why);
  }
}

}  // namespace
}  // namespace strata
