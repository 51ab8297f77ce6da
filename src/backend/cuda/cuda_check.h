// Every call of the CUDA runtime is checked: an error throws, with the expression and the place.
#pragma once

#include <cuda_runtime_api.h>

namespace strata::cuda {

/// Throws Error that says what failed, where and why: no_device if there is no usable GPU or driver, out_of_memory,
/// else failure.
[[noreturn]] void fail(cudaError_t error, const char* what, const char* file, int line);

inline void check(cudaError_t error, const char* what, const char* file, int line) {
  if (error != cudaSuccess) fail(error, what, file, line);
}

}  // namespace strata::cuda

#define CUDA_CHECK(call) ::strata::cuda::check((call), #call, __FILE__, __LINE__)
