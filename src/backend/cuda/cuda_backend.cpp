// Memory, weights and steps of the backend: what is no op.
#include "backend/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "backend/cuda/kernels/prefill_attention.h"
#include "base/error.h"

namespace strata {

using namespace cuda;

namespace {

constexpr std::size_t kStagingBlocks = 16;

/// The GPU's properties. Throws Error{no_device} if it isn't there or there are no kernels for it.
cudaDeviceProp usable_gpu(int device) {
  int devices = 0;
  CUDA_CHECK(cudaGetDeviceCount(&devices));
  if (device >= devices)
    throw Error(ErrorCode::no_device,
                "there is no GPU " + std::to_string(device) + "; this machine has " + std::to_string(devices));
  cudaDeviceProp gpu;
  CUDA_CHECK(cudaGetDeviceProperties(&gpu, device));
  const int kind = gpu.major * 10 + gpu.minor;
  if (kind != 90 && kind != 120)
    throw Error(ErrorCode::no_device, std::string("no usable GPU: ") + gpu.name + " has compute capability " +
                                          std::to_string(gpu.major) + "." + std::to_string(gpu.minor) +
                                          "; this build has kernels for 9.0 (H100, H200) and 12.0; use --backend cpu");
  return gpu;
}

std::string megabytes(std::int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

}  // namespace

std::string why_no_gpu() {
  try {
    usable_gpu(0);
    return {};
  } catch (const Error& e) {
    return e.what();
  }
}

CudaBackend::CudaBackend(const CudaOptions& options) : options_(options) {
  const cudaDeviceProp gpu = usable_gpu(options.device);
  CUDA_CHECK(cudaSetDevice(options.device));
  gpu_ = gpu.name;
  stream_ = make_stream();
  copies_ = make_stream();
  to_ = {stream_.get(), options.overlap, gpu.multiProcessorCount, &launches_};
  to_.wide = options.prompts && gpu.major == 9;
  for (std::size_t i = 0; i < kEvents; ++i) {
    marks_.push_back(make_event());
    sampled_events_.push_back(make_event());
  }
}

CudaBackend::~CudaBackend() { cudaDeviceSynchronize(); }

std::string CudaBackend::description() const {
  return "cuda, " + gpu_ + ", " + (options_.fast && to_.wide ? "fast" : "exact") + " numerics" +
         (options_.fast && !to_.wide ? " (this GPU has no faster kernels)" : "") +
         (options_.graphs ? "" : ", no graphs") + (options_.fuse ? "" : ", no fusion");
}

Buffer CudaBackend::allocate(std::int64_t bytes) {
  void* memory = nullptr;
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  const cudaError_t error = cudaMalloc(&memory, size);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t left = 0, all = 0;
    CUDA_CHECK(cudaMemGetInfo(&left, &all));
    throw Error(ErrorCode::out_of_memory, gpu_ + ": " + megabytes(bytes) + " are needed and " +
                                              megabytes(static_cast<std::int64_t>(left)) +
                                              " of its memory are free; ask for a smaller context or fewer sequences");
  }
  CUDA_CHECK(error);
  Buffer buffer(static_cast<std::byte*>(memory), [](std::byte* p) { cudaFree(p); });
  CUDA_CHECK(cudaMemsetAsync(memory, 0, size, stream_.get()));
  return buffer;
}

void CudaBackend::upload(std::span<const std::byte> host, std::byte* to) {
  flush();
  changes(to, static_cast<std::int64_t>(host.size()));
  if (host.empty()) return;
  CUDA_CHECK(cudaMemcpyAsync(to, host.data(), host.size(), cudaMemcpyHostToDevice, stream_.get()));
  CUDA_CHECK(cudaStreamSynchronize(stream_.get()));
}

/// What a recent `sample` left is fetched as soon as that is done, whatever was enqueued after it.
void CudaBackend::download(const std::byte* from, std::span<std::byte> host) {
  if (host.empty()) return;
  for (const SampledBuffers& s : sampled_) {
    if (std::find(std::begin(s.at), std::end(s.at), from) == std::end(s.at)) continue;
    CUDA_CHECK(cudaStreamWaitEvent(copies_.get(), sampled_events_[s.event].get()));
    CUDA_CHECK(cudaMemcpyAsync(host.data(), from, host.size(), cudaMemcpyDeviceToHost, copies_.get()));
    CUDA_CHECK(cudaStreamSynchronize(copies_.get()));
    return;
  }
  flush();
  CUDA_CHECK(cudaMemcpyAsync(host.data(), from, host.size(), cudaMemcpyDeviceToHost, stream_.get()));
  CUDA_CHECK(cudaStreamSynchronize(stream_.get()));
}

void CudaBackend::copy(const std::byte* from, std::byte* to, std::int64_t bytes) {
  flush();
  changes(to, bytes);
  CUDA_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, stream_.get()));
}

void CudaBackend::zero(std::byte* at, std::int64_t bytes) {
  flush();
  changes(at, bytes);
  CUDA_CHECK(cudaMemsetAsync(at, 0, static_cast<std::size_t>(bytes), stream_.get()));
}

std::optional<std::int64_t> CudaBackend::available_memory() const {
  std::size_t left = 0, all = 0;
  CUDA_CHECK(cudaMemGetInfo(&left, &all));
  return static_cast<std::int64_t>(left);
}

std::unique_ptr<Linear> CudaBackend::load_linear(std::span<const LinearWeight> experts) {
  if (!loader_) loader_ = std::make_unique<WeightLoader>(to_);
  const std::int64_t bytes = packed_bytes(experts);  // checks formats and shapes
  std::vector<Format> formats;
  std::vector<float> scales;
  for (const LinearWeight& w : experts) {
    formats.push_back(format_of(w));
    scales.push_back(scale_of(w));
  }
  auto linear = make_linear(to_, out_features(experts[0]), in_features(experts[0]), formats, scales, allocate(bytes));
  loader_->load(experts, *linear);
  return linear;
}

std::int64_t CudaBackend::packed_bytes(std::span<const LinearWeight> experts) const {
  return cuda::packed_bytes(experts);
}

std::unique_ptr<CudaLinear> CudaBackend::empty_linear(std::int64_t rows, std::int64_t cols, Format format,
                                                      std::span<const float> scales) {
  const std::vector<Format> formats(scales.size(), format);
  return make_linear(to_, rows, cols, formats, scales, allocate(linear_bytes(rows, cols, formats)));
}

std::int64_t CudaBackend::scratch_bytes(const WorkLimits& limits) const {
  return CudaPlan(limits, options_.fast).bytes + limits.slots * 4;
}

void CudaBackend::reserve(const WorkLimits& limits) {
  CUDA_CHECK(cudaStreamSynchronize(stream_.get()));
  graphs_.clear();
  loader_.reset();  // its ring is of no use to steps
  for (Rounded& r : rounded_) r = {};
  limits_ = limits;
  plan_ = std::make_unique<CudaPlan>(limits, options_.fast);
  scratch_.reset();
  scratch_ = allocate(plan_->bytes);
  last_tokens_ = allocate(std::max<std::int64_t>(1, limits.slots) * 4);
  staging_.clear();
  const auto bytes = static_cast<std::size_t>(
      std::max(plan_->batch_bytes, limits.logit_rows * static_cast<std::int64_t>(sizeof(SampleRow))));
  for (std::size_t i = 0; i < kStagingBlocks; ++i) staging_.push_back({make_pinned(bytes), make_event()});
}

CudaBackend::StagingBlock& CudaBackend::next_block() {
  CHECK(!staging_.empty(), "a step before `reserve`");
  StagingBlock& block = staging_[next_staging_];
  next_staging_ = (next_staging_ + 1) % staging_.size();
  CUDA_CHECK(cudaEventSynchronize(block.copied.get()));
  return block;
}

DeviceBatch CudaBackend::device_batch() const { return {scratch_.get() + plan_->batch}; }

StagedBatch CudaBackend::stage(const Batch& batch) {
  flush();
  StagingBlock& block = next_block();
  std::byte* const host = block.memory.get();
  std::int64_t used = sizeof(BatchHeader);
  const auto take = [&]<class T>(std::size_t count, T*& at) {
    used = (used + 7) / 8 * 8;
    const auto offset = static_cast<std::int32_t>(used);
    at = reinterpret_cast<T*>(host + used);
    used += static_cast<std::int64_t>(count * sizeof(T));
    CHECK(used <= plan_->batch_bytes, "a batch beyond what was reserved");
    return offset;
  };
  BatchHeader header{};
  header.tokens = static_cast<std::int32_t>(batch.tokens.size());
  header.sequences = static_cast<std::int32_t>(batch.sequences.size());
  header.logit_rows = static_cast<std::int32_t>(batch.logit_rows.size());
  std::size_t pages = 0, spans = 0;
  staged_keys_ = 1;
  staged_short_ = staged_long_ = false;
  for (const SequenceRows& s : batch.sequences) {
    pages += s.pages.size();
    spans += static_cast<std::size_t>((s.count + kSpanRows - 1) / kSpanRows);
    staged_keys_ = std::max(staged_keys_, s.position + s.count);
    (s.count < kPrefillSequenceRows ? staged_short_ : staged_long_) = true;
  }
  staged_spans_ = static_cast<std::int64_t>(spans);
  header.spans = static_cast<std::int32_t>(spans);
  DeviceSequence* sequence;
  Span* span;
  std::int32_t *token, *row_sequence, *logit_row, *page;
  header.sequences_at = take(batch.sequences.size(), sequence);
  header.spans_at = take(spans, span);
  header.tokens_at = take(batch.tokens.size(), token);
  header.row_sequences_at = take(batch.tokens.size(), row_sequence);
  header.logit_rows_at = take(batch.logit_rows.size(), logit_row);
  header.pages_at = take(pages, page);
  std::memcpy(host, &header, sizeof header);
  std::copy(batch.tokens.begin(), batch.tokens.end(), token);
  std::copy(batch.logit_rows.begin(), batch.logit_rows.end(), logit_row);
  std::int32_t first_page = 0;
  for (std::size_t i = 0; i < batch.sequences.size(); ++i) {
    const SequenceRows& s = batch.sequences[i];
    sequence[i] = {s.position, static_cast<std::int32_t>(s.first_row), static_cast<std::int32_t>(s.count), s.slot,
                   first_page};
    std::copy(s.pages.begin(), s.pages.end(), page + first_page);
    first_page += static_cast<std::int32_t>(s.pages.size());
    std::fill_n(row_sequence + s.first_row, s.count, static_cast<std::int32_t>(i));
    for (std::int32_t at = 0; at < s.count; at += kSpanRows) *span++ = {static_cast<std::int32_t>(i), at};
  }
  CUDA_CHECK(cudaMemcpyAsync(scratch_.get() + plan_->batch, host, static_cast<std::size_t>(used),
                             cudaMemcpyHostToDevice, stream_.get()));
  CUDA_CHECK(cudaEventRecord(block.copied.get(), stream_.get()));
  return {batch, scratch_};
}

/// A key's first run is as it is, so that a capture meets no kernel for the first time; the second is captured. The
/// grid of attention depends on the longest sequence, in steps of a factor of 2: so does the graph.
void CudaBackend::run(std::uint64_t key, const std::function<void()>& body) {
  flush();
  for (Rounded& r : rounded_) r = {};  // of the step before
  if (!options_.graphs) {
    body();
    flush();
    return;
  }
  Recorded& step = graphs_[{key, attention_blocks()}];
  if (!step.seen) {
    step.seen = true;
    body();
    flush();
    return;
  }
  if (!step.graph) {
    const std::int64_t before = launches_;
    CUDA_CHECK(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal));
    cudaGraph_t captured{};
    try {
      body();
      flush();
    } catch (...) {
      cudaStreamEndCapture(stream_.get(), &captured);
      if (captured) cudaGraphDestroy(captured);
      throw;
    }
    CUDA_CHECK(cudaStreamEndCapture(stream_.get(), &captured));
    const Graph graph(captured);
    cudaGraphExec_t exec{};
    CUDA_CHECK(cudaGraphInstantiate(&exec, captured, 0));
    step.graph = GraphExec(exec);
    step.kernels = launches_ - before;
    launches_ = before;
  }
  graph_kernels_ = step.kernels;
  CUDA_CHECK(cudaGraphLaunch(step.graph.get(), stream_.get()));
  for (Rounded& r : rounded_) r = {};
}

std::int64_t CudaBackend::attention_blocks() const {
  const std::int64_t blocks = (staged_keys_ + kBlockKeys - 1) / kBlockKeys;
  return std::min(static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(blocks))),
                  std::max<std::int64_t>(blocks, plan_->attention_blocks));
}

std::uint64_t CudaBackend::mark() {
  flush();
  ++last_mark_;
  CUDA_CHECK(cudaEventRecord(marks_[last_mark_ % kEvents].get(), stream_.get()));
  return last_mark_;
}

bool CudaBackend::reached(std::uint64_t mark) {
  const cudaError_t state = cudaEventQuery(marks_[mark % kEvents].get());  // of a later mark, if its event was reused
  if (state == cudaErrorNotReady) return false;
  CUDA_CHECK(state);
  return true;
}

void CudaBackend::wait(std::uint64_t mark) { CUDA_CHECK(cudaEventSynchronize(marks_[mark % kEvents].get())); }

RoundedRows CudaBackend::room_for(RoundedSlot slot, std::int64_t cols, bool interleaved) {
  const std::int64_t stride = (cols + kTileCols - 1) / kTileCols * kTileCols;
  CHECK(stride <= plan_->rounded_stride, "inputs wider than what was reserved");
  rounded_[slot] = {};
  return {reinterpret_cast<std::uint16_t*>(scratch_.get() + plan_->rounded[slot]), stride, interleaved};
}

void CudaBackend::note_rounded(RoundedSlot slot, const Matrix& of, bool interleaved) {
  const std::int64_t stride = (of.cols + kTileCols - 1) / kTileCols * kTileCols;
  rounded_[slot] = {of.data,
                    of.rows,
                    of.cols,
                    of.stride,
                    {reinterpret_cast<const std::uint16_t*>(scratch_.get() + plan_->rounded[slot]), stride},
                    interleaved};
}

Bf16Rows CudaBackend::rounded(const ConstMatrix& x, bool interleaved) {
  if (pending_.norm && pending_.norm->out.data == x.data) flush_norm();
  for (const Rounded& r : rounded_)
    if (r.of == x.data && r.rows == x.rows && r.cols == x.cols && r.stride == x.stride && r.interleaved == interleaved)
      return r.values;
  round_rows(to_, reinterpret_cast<const float*>(x.data), x.stride, x.rows, x.cols,
             room_for(kOther, x.cols, interleaved));
  note_rounded(kOther, {const_cast<std::byte*>(x.data), x.dtype, x.rows, x.cols, x.stride}, interleaved);
  return rounded_[kOther].values;
}

void CudaBackend::changes(const std::byte* data, std::int64_t bytes) {
  for (Rounded& r : rounded_)
    if (r.of && r.of < data + bytes && data < r.of + r.rows * r.stride * 4) r = {};
}

}  // namespace strata
