#include "backend/registry/make_backend.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"
#include "base/error.h"

namespace strata {

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.name == "cpu") {
    return std::make_unique<CpuBackend>(options.threads, options.isa.empty() ? best_isa() : isa_from_name(options.isa));
  }
  if (options.name == "reference") return std::make_unique<ReferenceBackend>();
  std::string names;
  for (const std::string& name : available_backends()) names += (names.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::usage, "there is no backend \"" + options.name + "\"; this build has " + names);
}

std::vector<std::string> available_backends() { return {"cpu", "reference"}; }

std::vector<std::string> cpu_isas() {
  std::vector<std::string> names;
  for (const Isa isa : kIsas) names.emplace_back(name_of(isa));
  return names;
}

}  // namespace strata
