// prefill_linear's kernels for FP8 weights.
#include "backend/cuda/kernels/prefill_products.cuh"

namespace strata::cuda {

template void launch_prefill<Format::fp8>(const Launch&, const PrefillProducts&, std::int64_t, bool);

}  // namespace strata::cuda
