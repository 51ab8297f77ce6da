// What Generator::prepare leaves for Generator::start.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/request.h"
#include "server/constrained/constraint_compiler.h"
#include "server/generation/generator.h"
#include "server/generation/tool_set.h"

namespace strata {

/// One prompt, shared by `n` answers.
struct PreparedPrompt {
  std::vector<TokenId> tokens;
  std::vector<std::int64_t> snapshots;
  std::int64_t max_tokens = 0;
};

struct PreparedRequest::Parts {
  GenerationRequest request;
  std::vector<PreparedPrompt> prompts;
  bool chat = false, thinking = false;
  SamplingParameters sampling;  // of choice 0
  std::vector<TokenId> stop_tokens;
  std::shared_ptr<const ToolSet> tools;    // that the parser knows; nullptr: none
  ConstraintCompiler::GrammarPtr grammar;  // of the answer, or of its calls
  bool grammar_of_calls = false;
  std::int64_t thinking_budget = -1;  // -1: none
};

}  // namespace strata
