#include "backend/registry/make_backend.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"
#include "base/error.h"

#ifdef STRATA_CUDA
#include "backend/cuda/cuda_backend.h"
#endif

namespace strata {

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.name == "cpu") {
    return std::make_unique<CpuBackend>(options.threads, options.isa.empty() ? best_isa() : isa_from_name(options.isa));
  }
  if (options.name == "cuda") {
#ifdef STRATA_CUDA
    return std::make_unique<CudaBackend>();
#else
    throw Error(ErrorCode::no_device, why_no_cuda());
#endif
  }
  if (options.name == "reference") return std::make_unique<ReferenceBackend>();
  std::string names;
  for (const std::string& name : known_backends()) names += (names.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::usage, "there is no backend \"" + options.name + "\"; Strata has " + names);
}

std::vector<std::string> available_backends() {
  if (why_no_cuda().empty()) return {"cuda", "cpu", "reference"};
  return {"cpu", "reference"};
}

std::vector<std::string> known_backends() { return {"cpu", "cuda", "reference"}; }

std::string why_no_cuda() {
#ifdef STRATA_CUDA
  return why_no_gpu();
#else
  return "this build has no CUDA backend; `make cuda` builds it where nvcc 13 is installed";
#endif
}

std::vector<std::string> cpu_isas() {
  std::vector<std::string> names;
  for (const Isa isa : kIsas) names.emplace_back(name_of(isa));
  return names;
}

}  // namespace strata
