// A conversation as tokens, and where the next turn's prompt is bound to agree with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "server/generation/generation_request.h"
#include "text/chat_template.h"
#include "text/segment.h"
#include "text/tokenizer.h"

namespace strata {

/// What a template makes of a conversation. Throws Error{usage}.
std::vector<TextSegment> render_chat(const ChatTemplate& chat_template, const ChatPrompt& prompt);

/// Thinking in turns before the last user message is dropped, as the family's templates do with it, unless
/// truncate_history_thinking is false.
void drop_old_thinking(ChatPrompt& prompt);

/// Lengths of beginnings of a prompt's tokens that later prompts are likely to have, ascending, each after a special
/// token, so that no merge crosses it:
/// - what any conversation with the same system message and tools has;
/// - what the next turn has: the prompt agrees so far with the same conversation and two more messages;
/// - with tools, the last special token: what the next step of a tool loop has.
/// Found by rendering, so any template will do; one that refuses such a conversation has no point of that kind.
std::vector<std::int64_t> snapshot_points(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                                          const ChatPrompt& prompt, std::span<const TextSegment> rendered,
                                          std::span<const TokenId> tokens);

}  // namespace strata
