#include "backend/registry/make_backend.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"
#include "base/error.h"

#ifdef STRATA_CUDA
#include "backend/cuda/cuda_backend.h"
#endif

namespace strata {

BackendChoice choose_backend(const std::string& asked, const std::string& why_no_cuda) {
  if (asked != "auto") return {asked, ""};
  if (why_no_cuda.empty()) return {"cuda", "auto: there is a usable GPU"};
  return {"cpu", "auto: " + why_no_cuda.substr(0, why_no_cuda.find(';'))};  // without what to do about it
}

BackendChoice choose_backend(const BackendOptions& options) {
  return choose_backend(options.name, options.name == "auto" ? why_no_cuda() : "");
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  const auto [name, reason] = choose_backend(options);
  if (options.numerics != "exact" && options.numerics != "fast")
    throw Error(ErrorCode::usage, "there are no numerics \"" + options.numerics + "\"; Strata has exact and fast");
  if (options.numerics == "fast" && (name == "cpu" || name == "reference"))
    throw Error(ErrorCode::usage, "the " + name + " backend" + (reason.empty() ? "" : " (" + reason + ")") +
                                      " is exact only; leave out --numerics fast, or use --backend cuda");
  if (name == "cpu") {
    return std::make_unique<CpuBackend>(options.threads, options.isa.empty() ? best_isa() : isa_from_name(options.isa),
                                        options.pin);
  }
  if (name == "cuda") {
#ifdef STRATA_CUDA
    CudaOptions cuda;
    cuda.fast = options.numerics == "fast";
    return std::make_unique<CudaBackend>(cuda);
#else
    throw Error(ErrorCode::no_device, why_no_cuda());
#endif
  }
  if (name == "reference") return std::make_unique<ReferenceBackend>();
  std::string names;
  for (const std::string& known : known_backends()) names += (names.empty() ? "" : ", ") + known;
  throw Error(ErrorCode::usage, "there is no backend \"" + name + "\"; Strata has " + names);
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
