// The whole model against an independent float32 implementation, on a tiny checkpoint of every release format.
#include "backend/registry/make_backend.h"
#include "model/registry.h"
#include "tests/golden_bars.h"

namespace strata {
namespace {

class Golden : public testing::TestWithParam<std::string> {
 protected:
  static ReferenceResult compare_backend(const std::string& name) {
    const auto backend = make_backend({.name = name});
    const auto model = load_model(Checkpoint::open(kSource / GetParam()), *backend);
    ModelRunner runner(*model, *backend, {});
    return compare_with_reference(runner, GetParam());
  }
};

TEST_P(Golden, ReferenceBackendIsTheReference) {
  const ReferenceResult result = compare_backend("reference");
  RecordProperty("rel_l2", std::to_string(result.logits.rel_l2));
  std::printf("  %s, reference: rel L2 %.2e\n", GetParam().c_str(), result.logits.rel_l2);
  EXPECT_LE(result.logits.rel_l2, 1e-4);
  EXPECT_EQ(result.greedy_matched, 24);
  for (std::size_t n = 0; n < result.hidden_rel_l2.size(); ++n)
    EXPECT_LE(result.hidden_rel_l2[n], 1e-4) << "hidden." << n;
}

TEST_P(Golden, CpuBackendIsCloseToTheReference) {
  expect_close_to_reference(GetParam() + ", cpu", compare_backend("cpu").logits);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Golden, testing::ValuesIn(tiny_checkpoints()), name_of_checkpoint_test);

}  // namespace
}  // namespace strata
