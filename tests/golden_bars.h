// How close a fast backend must come to an independent float32 implementation: one set of bars for all backends.
#pragma once

#include <cstdio>

#include "tests/checkpoints.h"
#include "validation/reference_file.h"

namespace strata {

inline ReferenceResult compare_with_reference(ModelRunner& runner, const std::string& folder) {
  return compare(runner, ReferenceFile::read(kSource / folder / "reference.safetensors"));
}

// A product whose input is rounded to bf16 may flip an expert now and then, which the whole row then shows: so the
// bound on all positions is loose, and the one on the median is not.
inline void expect_close_to_reference(const std::string& what, const Distance& d) {
  std::printf("  %s: rel L2 %.2e, median %.2e, top-1 %.1f %%\n", what.c_str(), d.rel_l2, d.median_rel_l2,
              100 * d.top1_agreement);
  EXPECT_LE(d.rel_l2, 0.12);
  EXPECT_LE(d.median_rel_l2, 1.2e-2);
  EXPECT_GE(d.top1_agreement, 0.93);
}

}  // namespace strata
