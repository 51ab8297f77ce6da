// The cpu backend, block by block.
#include "backend/registry/make_backend.h"
#include "tests/block_distances.h"

namespace strata {
namespace {

class Blocks : public testing::TestWithParam<std::tuple<std::string, DType>> {};

TEST_P(Blocks, EachBlockIsTheReferencesToTwoThousandths) {
  const auto& [folder, kv] = GetParam();
  const auto cpu = make_backend({});
  expect_blocks_of_reference(folder, *cpu, kv);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Blocks,
                         testing::Combine(testing::ValuesIn(all_checkpoints()),
                                          testing::Values(DType::bf16, DType::f8_e4m3)),
                         [](const auto& test) {
                           return test_name(name_of_folder(std::get<0>(test.param)) + "_kv_" +
                                            std::string(name_of(std::get<1>(test.param))));
                         });

}  // namespace
}  // namespace strata
