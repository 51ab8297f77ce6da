// The one exception for what input and the world do wrong; bugs are CHECKs.
#pragma once

#include <stdexcept>
#include <string>

namespace strata {

/// What kind of thing went wrong; `apps` turns it into an exit code, the server into a status.
enum class ErrorCode {
  failure,        // something at run time: a disk, a pipe
  usage,          // a flag, an argument, a request that asks for something impossible
  bad_model,      // a model file is missing, malformed, contradictory or of a kind that is not supported
  out_of_memory,  // the plan does not fit this machine
  no_device,      // the backend asked for has no device or driver here
  gate_failed,    // a validation or benchmark gate
  busy,           // a queue is full: the same may work later
  network,        // a port, a host, a socket
};

/// One clear sentence: the file and the tensor or field, what was expected, what was found, what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace strata
