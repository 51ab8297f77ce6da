// What the layers of a model share during one step.
#pragma once

#include "backend/backend.h"
#include "state/state_layout.h"

namespace strata {

/// Scratch memory of a step: a bump allocator, sized once, so that a step allocates nothing.
class Workspace {
 public:
  Workspace(Backend& backend, std::int64_t bytes) : memory_(backend.allocate(bytes)), capacity_(bytes) {}

  Matrix take(std::int64_t rows, std::int64_t cols, DType dtype = DType::f32) {
    const std::int64_t bytes = bytes_for(rows, cols, dtype);
    CHECK(used_ + bytes <= capacity_, "the step needs more workspace than its model asked for");
    Matrix m{memory_.get() + used_, dtype, rows, cols, cols};
    used_ += bytes;
    return m;
  }

  /// Gives back, when it goes out of scope, all that was taken since it was made.
  class Scope {
   public:
    explicit Scope(Workspace& w) : workspace_(w), mark_(w.used_) {}
    ~Scope() { workspace_.used_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    std::int64_t mark_;
  };

  /// What take(rows, cols, dtype) takes.
  static std::int64_t bytes_for(std::int64_t rows, std::int64_t cols, DType dtype = DType::f32) {
    return (rows * cols * size_of(dtype) + kAlignment - 1) / kAlignment * kAlignment;
  }

 private:
  static constexpr std::int64_t kAlignment = 256;
  Buffer memory_;
  std::int64_t capacity_ = 0, used_ = 0;
};

/// Looks on while a step runs, for tests and `validate`; what it is shown lies in the backend's memory. It may change
/// the residual: so one backend's blocks can be fed another's.
class Probe {
 public:
  virtual ~Probe() = default;
  /// x [tokens, hidden] before block `block`; after the last one, `block` is the number of blocks.
  virtual void residual(std::size_t /*block*/, Matrix /*x*/) {}
  /// The final norm's output [logit_rows, hidden].
  virtual void final_norm(ConstMatrix /*x*/) {}
  /// A mixture-of-experts layer's router: logits [tokens, experts] and what was chosen.
  virtual void routing(ConstMatrix /*logits*/, const Routing& /*chosen*/) {}
};

struct Step {
  Backend& backend;
  Workspace& scratch;
  const StagedBatch& batch;
  LayerStates& states;
  Probe* probe = nullptr;
};

}  // namespace strata
