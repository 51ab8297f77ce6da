// What a Generator keeps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "server/constrained/constraint_compiler.h"
#include "server/generation/answer_constraints.h"
#include "server/generation/answer_parser.h"
#include "server/generation/call_memory.h"
#include "server/generation/generator.h"

namespace strata {

struct Generator::Impl {
  Impl(const Tokenizer& tokenizer, const std::vector<TokenId>& stop_tokens);

  void prepare_chat(const Generator& generator, PreparedRequest::Parts& parts) const;
  void prepare_texts(const Generator& generator, PreparedRequest::Parts& parts) const;
  /// Compiles the form that the answer must have.
  void prepare_form(PreparedRequest::Parts& parts) const;
  /// Throws ContextError for a text that is longer than any `context` tokens.
  void check_size(std::size_t bytes, std::int64_t context) const;
  /// Tokens that the answer to a prompt may have. Throws ContextError.
  std::int64_t room(std::int64_t prompt_tokens, const GenerationRequest& request, std::int64_t context) const;

  /// Those of one answer; `budget` becomes the one of its thinking, if it has one.
  std::vector<std::shared_ptr<TokenConstraint>> constraints_of(const Generator& generator,
                                                               const PreparedRequest::Parts& parts,
                                                               std::shared_ptr<const ThinkingBudget>& budget) const;

  const Marks marks;
  std::size_t longest_token = 1;        // bytes
  mutable ConstraintCompiler compiler;  // thread-safe
  CallMemory calls;                     // thread-safe
};

}  // namespace strata
