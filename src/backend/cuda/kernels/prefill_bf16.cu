// prefill_linear's kernels for bf16 weights.
#include "backend/cuda/kernels/prefill_products.cuh"

namespace strata::cuda {

template void launch_prefill<Format::bf16>(const Launch&, const PrefillProducts&, std::int64_t, bool);

}  // namespace strata::cuda
