#include "backend/cuda/cuda_check.h"

#include <string>

#include "base/error.h"

namespace strata::cuda {

void fail(cudaError_t error, const char* what, const char* file, int line) {
  const std::string reason = std::string(cudaGetErrorName(error)) + ", " + cudaGetErrorString(error);
  switch (error) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorSystemNotReady:
    case cudaErrorDevicesUnavailable:
      throw Error(ErrorCode::no_device, "no usable GPU: " + reason +
                                            "; use --backend cpu, or a machine with an NVIDIA "
                                            "GPU and a driver for CUDA 13");
    case cudaErrorMemoryAllocation:
      throw Error(ErrorCode::out_of_memory,
                  std::string("the GPU's memory is full (") + what + "); `strata plan --backend cuda` says what fits");
    default: {
      const std::string path = file;
      const std::size_t source = path.rfind("src/");
      throw Error(ErrorCode::failure, "the GPU failed at " + std::string(what) + " (" +
                                          (source == std::string::npos ? path : path.substr(source)) + ":" +
                                          std::to_string(line) + "): " + reason);
    }
  }
}

}  // namespace strata::cuda
