// Norms, sums and activations, row by row.
#include "backend/cpu/cpu_backend.h"

namespace strata {
namespace {

bool same_shape(ConstMatrix a, ConstMatrix b) { return a.rows == b.rows && a.cols == b.cols; }
const float* values(const Vector& v) { return reinterpret_cast<const float*>(v.data.get()); }

}  // namespace

void CpuBackend::rms_norm(ConstMatrix x, const Vector& weight, float eps, Matrix out) {
  CHECK(same_shape(x, out) && weight.size == x.cols, "rms_norm: shape");
  pool_.run(
      x.rows,
      [&](std::int64_t r, int) { kernels_.rms_norm(x.row<float>(r), values(weight), x.cols, eps, out.row<float>(r)); },
      items_alone(12 * x.cols));
}

void CpuBackend::gated_rms_norm(ConstMatrix y, ConstMatrix z, const Vector& weight, std::int64_t groups, float eps,
                                Matrix out) {
  CHECK(same_shape(y, z) && same_shape(y, out) && weight.size == y.cols && groups >= 1 && y.cols % groups == 0,
        "gated_rms_norm: shape");
  const std::int64_t width = y.cols / groups;
  pool_.run(
      y.rows * groups,
      [&](std::int64_t item, int) {
        const std::int64_t r = item / groups, at = item % groups * width;
        kernels_.gated_rms_norm(y.row<float>(r) + at, z.row<float>(r) + at, values(weight) + at, width, eps,
                                out.row<float>(r) + at);
      },
      items_alone(24 * width));
}

void CpuBackend::add(ConstMatrix x, Matrix out) {
  CHECK(same_shape(x, out), "add: shape");
  pool_.run(
      x.rows, [&](std::int64_t r, int) { kernels_.add(x.row<float>(r), out.row<float>(r), x.cols); },
      items_alone(8 * x.cols));
}

void CpuBackend::relu_squared(ConstMatrix x, Matrix out) {
  CHECK(same_shape(x, out), "relu_squared: shape");
  pool_.run(
      x.rows, [&](std::int64_t r, int) { kernels_.relu_squared(x.row<float>(r), out.row<float>(r), x.cols); },
      items_alone(8 * x.cols));
}

}  // namespace strata
