// One program for a machine with a GPU and nothing else: the tests of the CUDA backend, its benchmark, and `strata`.
//   gpu_check [--gtest_filter=...]       the tests, from the repository's root
//   gpu_check bench [name ...]           the benchmark: see bench.h
//   gpu_check law [name ...]             the law on a full-size model: see full_size_law.h
//   gpu_check load FOLDER SECONDS        from a checkpoint's files to the first token: see load.h
//   gpu_check strata ARGUMENTS...        what the program `strata` does with them
#include <gtest/gtest.h>

#include <iostream>

#include "apps/program.h"
#include "base/error.h"
#include "tools/gpu_check/bench.h"
#include "tools/gpu_check/full_size_law.h"
#include "tools/gpu_check/load.h"

namespace strata::gpu_check {
namespace {

/// Whether `name` is a command; then `status` is its exit status.
bool run(const std::string& name, const std::vector<std::string>& arguments, int& status) {
  if (name == "bench") {
    bench(arguments);
    status = 0;
  } else if (name == "law") {
    status = full_size_law(arguments) == 0 ? 0 : 1;
  } else if (name == "load" && arguments.size() == 2) {
    status = load(arguments[0], std::stod(arguments[1])) ? 0 : 1;
  } else {
    return false;
  }
  return true;
}

}  // namespace
}  // namespace strata::gpu_check

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "strata") return strata::run_program(argc - 1, argv + 1);
  try {
    int status = 0;
    if (!name.empty() && strata::gpu_check::run(name, {argv + 2, argv + argc}, status)) return status;
  } catch (const strata::Error& e) {
    std::cerr << "gpu_check: " << e.what() << '\n';
    return e.code() == strata::ErrorCode::no_device ? 5 : 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
