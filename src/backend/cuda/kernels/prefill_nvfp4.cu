// prefill_linear's kernels for NVFP4 weights.
#include "backend/cuda/kernels/prefill_products.cuh"

namespace strata::cuda {

template void launch_prefill<Format::nvfp4>(const Launch&, const PrefillProducts&, std::int64_t, bool);

}  // namespace strata::cuda
