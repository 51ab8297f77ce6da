// What this machine's memory and arithmetic units reach: the limits that a step's time is held against.
#pragma once

#include "backend/backend.h"
#include "backend/cpu/isa.h"
#include "base/thread_pool.h"

namespace strata {

struct MachineRates {
  double read_bytes = 0;  // a second, from memory
  double operations = 0;  // a second, floating point, of the multiply-adds that `isa`'s linear layers are made of
};

/// Measures them with as many threads as the backend has, so that they can be taken beside what they are held against:
/// a machine's neighbours come and go.
class MachineMeter {
 public:
  MachineMeter(int threads, Isa isa);
  /// The best of several runs, in some 0.2 seconds: reading the memory in huge pages (four chains of exclusive ors a
  /// thread), and independent chains of multiply-adds in registers (dot products of bf16 pairs for avx512bf16, of
  /// float32 for the others). Takes 256 MiB meanwhile; throws Error{out_of_memory}.
  MachineRates measure();

 private:
  ThreadPool pool_;
  Isa isa_;
};

}  // namespace strata
