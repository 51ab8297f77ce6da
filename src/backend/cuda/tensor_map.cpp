#include "backend/cuda/kernels/tensor_map.h"

#include <cuda_runtime_api.h>

#include <string>

#include "backend/cuda/cuda_check.h"
#include "base/error.h"

namespace strata::cuda {
namespace {

/// The driver's function: it is asked for by name, so that the program needs no driver to start.
decltype(&cuTensorMapEncodeTiled) encoder() {
  static const auto found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result{};
    CUDA_CHECK(
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result));
    if (result != cudaDriverEntryPointSuccess)
      throw Error(ErrorCode::no_device, "the GPU's driver has no cuTensorMapEncodeTiled; it is older than CUDA 12");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  return found;
}

void made(CUresult result) {
  if (result != CUDA_SUCCESS)
    throw Error(ErrorCode::failure,
                "the GPU's copy engine refuses a map (error " + std::to_string(static_cast<int>(result)) + ")");
}

/// More than a bank has: no box lies past the last.
constexpr cuuint64_t kMostMatrices = 4096;

}  // namespace

CUtensorMap map_rows(const std::uint16_t* data, std::int64_t rows, std::int64_t stride, int box_rows) {
  CUtensorMap map;
  const cuuint64_t size[] = {static_cast<cuuint64_t>(stride), static_cast<cuuint64_t>(rows)};
  const cuuint64_t apart[] = {static_cast<cuuint64_t>(stride) * 2};
  const cuuint32_t box[] = {64, static_cast<cuuint32_t>(box_rows)}, step[] = {1, 1};
  made(encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<std::uint16_t*>(data), size, apart, box, step,
                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

CUtensorMap map_tiles(const PackedBank& bank, int box_tiles) {
  CUtensorMap map;
  const auto tile = static_cast<cuuint64_t>(tile_bytes(bank.first.format));
  const cuuint64_t row = static_cast<cuuint64_t>(bank.col_tiles()) * tile,
                   row_tiles = static_cast<cuuint64_t>(bank.row_tiles());
  const cuuint64_t size[] = {row / 8, row_tiles, kMostMatrices};
  const cuuint64_t apart[] = {row,
                              bank.matrix_bytes > 0 ? static_cast<cuuint64_t>(bank.matrix_bytes) : row * row_tiles};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(tile / 8), static_cast<cuuint32_t>(box_tiles), 1},
                   step[] = {1, 1, 1};
  made(encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_UINT64, 3, const_cast<std::byte*>(bank.first.tiles), size, apart, box,
                 step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
  return map;
}

}  // namespace strata::cuda
