// From a request to the events of its answers.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "server/generation/event.h"
#include "server/generation/generation_request.h"
#include "server/generation/sampling_defaults.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace strata {

struct GeneratorOptions {
  std::int64_t context = 0;          // EngineOptions::context
  std::vector<TokenId> stop_tokens;  // that end an answer: of config.json, generation_config.json, and <|im_end|>
  SamplingDefaults sampling;
  std::optional<std::int64_t> thinking_budget;  // where a request has none
  /// Thinking of turns that the template drops anyway is dropped before rendering, so that a client which sends it back
  /// and one which doesn't have the same tokens, and find each other's states.
  bool normalize_history = false;
  /// Calls that a client sends back by their ids stand in the prompt as the model wrote them (CallMemory), not as the
  /// template would write them; as long as they are remembered.
  bool replay_calls = true;
};

/// What a request costs and becomes, before the engine hears of it. Move-only.
class PreparedRequest {
 public:
  PreparedRequest(PreparedRequest&&) noexcept;
  PreparedRequest& operator=(PreparedRequest&&) noexcept;
  ~PreparedRequest();

  /// Answers that it will have: prompts * n.
  int choices() const;
  /// Of all prompts, each counted once.
  std::int64_t prompt_tokens() const;
  /// The tokens of a choice's prompt.
  std::span<const TokenId> prompt(int choice) const;
  /// The most tokens that each answer may have, of a choice's prompt.
  std::int64_t max_tokens(int choice) const;
  /// Whether the answers begin inside <think>.
  bool thinking() const;

 private:
  friend class Generator;
  struct Parts;
  explicit PreparedRequest(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// A request that doesn't fit: prompt and the least answer need more than the context.
class ContextError : public Error {
 public:
  ContextError(std::int64_t prompt_tokens, std::int64_t context, std::int64_t answer_tokens);
  std::int64_t prompt_tokens() const { return prompt_tokens_; }
  std::int64_t context() const { return context_; }

 private:
  std::int64_t prompt_tokens_, context_;
};

/// An Error{usage} about one field of a request that only the model can judge, as a logit_bias that is no token.
class FieldError : public Error {
 public:
  /// `field`: its JSON path.
  FieldError(const std::string& field, const std::string& why);
  const std::string& field() const { return field_; }

 private:
  std::string field_;
};

/// Answers under way. Destroying it cancels those that haven't ended, and no event comes after that: it waits for one
/// that is being delivered, so it must not be destroyed inside on_event. Any thread.
class Generation {
 public:
  Generation();  // of nothing
  Generation(Generation&&) noexcept;
  Generation& operator=(Generation&&) noexcept;
  ~Generation();

  /// Ends the answers that haven't ended: each gets what is known of it and a Finished with `reason` (timeout or
  /// abort), in at most one step of the engine.
  void stop(AnswerFinish reason);
  /// Stops the engine from going on with them, or lets it: a few events more may come. Their tokens don't depend on it.
  void pause(bool paused);

 private:
  friend class Generator;
  struct Shared;
  explicit Generation(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;
};

/// Watches all answers, for metrics. Called on the engine's thread where nothing else is said: a few atomic additions.
class GenerationObserver {
 public:
  virtual ~GenerationObserver() = default;
  /// A choice's first token, since start().
  virtual void on_first_token(std::chrono::steady_clock::duration since_start) = 0;
  /// Any later one, since the one before it.
  virtual void on_token(std::chrono::steady_clock::duration gap) = 0;
  virtual void on_finished(const Finished& finished) = 0;
  /// A request's grammar was compiled, or found, in this time. Any thread.
  virtual void on_grammar(std::chrono::steady_clock::duration time) = 0;
};

/// Turns requests into answers with one model. Thread-safe; knows no sockets and no JSON of any API.
class Generator {
 public:
  /// `engine`, `tokenizer`, `chat_template` (nullptr: the model can't chat) and `observer` must outlive it, and all
  /// Generations must have been destroyed before it.
  Generator(Engine& engine, const Tokenizer& tokenizer, const ChatTemplate* chat_template, GeneratorOptions options,
            GenerationObserver* observer = nullptr);
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  /// Renders, tokenises, compiles grammars and checks that it fits: all that takes time and can be wrong with the
  /// request, on the caller's thread. A prompt's text of more bytes than any prompt of `context` tokens could have is
  /// refused before it is tokenised.
  /// Throws ContextError; SchemaError (server/constrained/schema_error.h); FieldError; Error{usage} for what the
  /// template refuses.
  PreparedRequest prepare(GenerationRequest request) const;

  /// On the engine's thread, in order for each choice; must not throw, block or take long. The last event of each
  /// choice is Finished.
  using OnEvent = std::function<void(ChoiceEvent)>;
  /// Hands all answers to the engine, or none: throws Error{busy} if its queue is full, Error{failure} if it is going
  /// away. Events may come before it returns.
  Generation start(PreparedRequest prepared, OnEvent on_event);

  /// For /tokenize and /apply-template: what a chat is rendered to, who wrote each piece, its tokens.
  struct Rendered {
    std::vector<TextSegment> segments;
    std::vector<TokenId> tokens;
  };
  /// Throws Error{usage}.
  Rendered render(const ChatPrompt& prompt) const;

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const GeneratorOptions& options() const { return options_; }
  bool can_chat() const { return chat_template_ != nullptr; }
  /// Whether the model has the tokens of tool calls, or of thinking.
  bool can_call_tools() const;
  bool can_think() const;

 private:
  struct Impl;
  Engine& engine_;
  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_template_;
  GeneratorOptions options_;
  GenerationObserver* observer_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace strata
