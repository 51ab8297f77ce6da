// A batch as kernels read it: one block of memory at one address, so that a captured graph can be replayed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace strata::cuda {

/// Rows of one sequence that one block of a kernel works on.
inline constexpr std::int32_t kSpanRows = 32;

struct DeviceSequence {
  std::int64_t position;  // of its first new token
  std::int32_t first_row, count, slot;
  std::int32_t first_page;  // its pages' place among all pages
};
struct Span {
  std::int32_t sequence, first;  // rows [first, first + kSpanRows) of the sequence
};

/// At the block's start; offsets are in bytes from there.
struct BatchHeader {
  std::int32_t tokens, sequences, logit_rows, spans;
  std::int32_t sequences_at, spans_at, tokens_at, row_sequences_at, logit_rows_at, pages_at;
};

/// The block, on the device.
struct DeviceBatch {
  const std::byte* data;

#ifdef __CUDACC__
  __device__ const BatchHeader& header() const { return *reinterpret_cast<const BatchHeader*>(data); }
  template <class T>
  __device__ const T* at(std::int32_t offset) const {
    return reinterpret_cast<const T*>(data + offset);
  }
  __device__ const DeviceSequence& sequence(int s) const { return at<DeviceSequence>(header().sequences_at)[s]; }
  __device__ Span span(int i) const { return at<Span>(header().spans_at)[i]; }
  __device__ int token(int row) const { return at<std::int32_t>(header().tokens_at)[row]; }
  __device__ int sequence_of_row(int row) const { return at<std::int32_t>(header().row_sequences_at)[row]; }
  __device__ int logit_row(int i) const { return at<std::int32_t>(header().logit_rows_at)[i]; }
  __device__ const std::int32_t* pages(const DeviceSequence& s) const {
    return at<std::int32_t>(header().pages_at) + s.first_page;
  }
#endif
};

}  // namespace strata::cuda
