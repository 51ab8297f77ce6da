// The backends by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace strata {

struct BackendOptions {
  std::string name = "cpu";        // one of known_backends(), or auto
  int threads = 0;                 // 0: as many as this process may run on
  std::string isa{};               // cpu: one of cpu_isas(); empty: the best that this machine has
  std::string numerics = "exact";  // or fast
  bool pin = false;                // cpu: one thread per core, and they stay there
};

/// Throws Error{usage} for an unknown name or instruction set, or a backend that has no such numerics;
/// Error{no_device} for one that this machine lacks.
std::unique_ptr<Backend> make_backend(const BackendOptions& options);

/// The backend that `asked` means, and what is to be said of it: nothing, if `asked` is no choice.
struct BackendChoice {
  std::string name, reason;
};
/// auto: cuda, unless `why_no_cuda` says why it can't be had; else cpu. Anything else is what it says.
BackendChoice choose_backend(const std::string& asked, const std::string& why_no_cuda);
/// choose_backend on this machine.
BackendChoice choose_backend(const BackendOptions& options);

/// Names that make_backend takes in this build on this machine, the default first: cuda where there is a usable GPU.
std::vector<std::string> available_backends();

/// All names, whether or not this build and this machine have what they need.
std::vector<std::string> known_backends();

/// Why `cuda` can't be had, in a sentence; empty if it can.
std::string why_no_cuda();

/// Instruction sets that the cpu backend has kernels for, whether or not this machine has them, the widest first.
std::vector<std::string> cpu_isas();

}  // namespace strata
