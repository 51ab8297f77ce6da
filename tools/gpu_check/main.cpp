// One program for a machine with a GPU and nothing else: the tests of the CUDA backend, and its benchmark.
//   gpu_check [--gtest_filter=...]       the tests, from the repository's root
//   gpu_check bench [name ...]           the benchmark: see bench.h
//   gpu_check law [name ...]             the law on a full-size model: see full_size_law.h
#include <gtest/gtest.h>

#include <cstring>
#include <iostream>

#include "base/error.h"
#include "tools/gpu_check/bench.h"
#include "tools/gpu_check/full_size_law.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "bench") == 0) {
    try {
      strata::gpu_check::bench({argv + 2, argv + argc});
      return 0;
    } catch (const strata::Error& e) {
      std::cerr << "gpu_check: " << e.what() << '\n';
      return e.code() == strata::ErrorCode::no_device ? 5 : 1;
    }
  }
  if (argc > 1 && std::strcmp(argv[1], "law") == 0) {
    try {
      return strata::gpu_check::full_size_law({argv + 2, argv + argc}) == 0 ? 0 : 1;
    } catch (const strata::Error& e) {
      std::cerr << "gpu_check: " << e.what() << '\n';
      return e.code() == strata::ErrorCode::no_device ? 5 : 1;
    }
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
