// A prompt and single tokens behind it as the engine runs them on CUDA: the single ones by Backend::run, which replays
// graphs.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "model/model.h"
#include "state/state_pool.h"

namespace strata {

class SingleSteps {
 public:
  /// `prompt` tokens in two steps, then `singles` one by one.
  SingleSteps(CudaBackend& backend, const Model& model, std::int64_t prompt, std::int64_t singles)
      : backend_(backend),
        model_(model),
        prompt_(prompt),
        singles_(singles),
        pool_(backend, {model.state_shape(), backend.state_types(DType::bf16)}, 1,
              StateLayout::pages_for(prompt + singles)),
        workspace_(backend, model.workspace_bytes(prompt, 1)),
        logits_(backend.allocate(model.vocab_size() * 4)) {
    WorkLimits work = model.work_limits();
    work.tokens = prompt;
    work.logit_rows = work.sequences = work.slots = 1;
    work.context = prompt + singles;
    backend.reserve(work);
  }

  /// The logits behind the prompt's two parts and behind each single token; always the same tokens.
  std::vector<float> run() {
    auto state = pool_.acquire();
    CHECK(state && pool_.reserve(*state, prompt_ + singles_), "a slot and its pages");
    random_ = 1;
    all_.clear();
    step(*state, prompt_ / 2);
    step(*state, prompt_ - prompt_ / 2);
    for (std::int64_t i = 0; i < singles_; ++i) step(*state, 1);
    return all_;
  }

 private:
  void step(SequenceState& state, std::int64_t count) {
    const std::int64_t vocab = model_.vocab_size();
    std::vector<TokenId> ids(static_cast<std::size_t>(count));
    for (TokenId& id : ids)
      id = static_cast<TokenId>((random_ = random_ * 1664525 + 1013904223) / 7 % static_cast<std::uint32_t>(vocab));
    const SequenceRows rows = state.rows(0, count);
    const auto last = static_cast<std::int32_t>(count - 1);
    const StagedBatch batch = backend_.stage({ids, {&rows, 1}, {&last, 1}});
    const Matrix logits{logits_.get(), DType::f32, 1, vocab, vocab};
    const auto body = [&] { model_.forward({backend_, workspace_, batch, pool_.layers()}, logits); };
    if (count == 1) {
      backend_.run(1, body);
    } else {
      body();
    }
    state.advance(count);
    backend_.wait(backend_.mark());
    all_.resize(all_.size() + static_cast<std::size_t>(vocab));
    backend_.download(logits_.get(), std::as_writable_bytes(std::span(all_).last(static_cast<std::size_t>(vocab))));
  }

  CudaBackend& backend_;
  const Model& model_;
  std::int64_t prompt_, singles_;
  StatePool pool_;
  Workspace workspace_;
  Buffer logits_;
  std::uint32_t random_ = 1;
  std::vector<float> all_;
};

/// Runs of one backend, every single token a replayed graph, and a run for each other way of launching: the same bits.
/// `make_model(backend)` gives always the same weights.
template <class MakeModel>
void expect_launching_changes_no_bit(const std::string& what, std::int64_t prompt, MakeModel&& make_model) {
  struct Choice {
    const char* name;
    CudaOptions options;
  };
  const Choice choices[] = {{"eager", {.graphs = false}},
                            {"no overlap", {.overlap = false}},
                            {"no fusion", {.fuse = false}},
                            {"no kernels of prompts", {.prompts = false}},
                            {"plain", {.graphs = false, .overlap = false, .fuse = false, .prompts = false}}};
  constexpr std::int64_t kSingles = 40;
  constexpr int kRuns = 32;
  CudaBackend backend;
  const auto model = make_model(backend);
  SingleSteps steps(backend, *model, prompt, kSingles);
  const std::vector<float> first = steps.run();
  int same = 0, same_choices = 0;
  for (int i = 0; i < kRuns; ++i) same += steps.run() == first;
  EXPECT_EQ(same, kRuns);
  EXPECT_GT(backend.graph_kernels(), 0);
  for (const Choice& choice : choices) {
    CudaBackend other(choice.options);
    const auto again = make_model(other);
    const bool equal = SingleSteps(other, *again, prompt, kSingles).run() == first;
    EXPECT_TRUE(equal) << choice.name;
    same_choices += equal;
  }
  std::printf("  %s: %d of %d runs of %ld tokens and %ld replays the same, %d of %zu other ways of launching\n",
              what.c_str(), same, kRuns, long(prompt), long(kSingles), same_choices, std::size(choices));
}

}  // namespace strata
