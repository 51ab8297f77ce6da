#include "server/generation/call_memory.h"

#include <algorithm>
#include <utility>

namespace strata {
namespace {

std::size_t size_of(const WrittenCall& call) {
  constexpr std::size_t kEntry = 256;  // nodes of the list and the map
  return kEntry + call.id.size() + call.name.size() + call.arguments.size() + call.tokens.size() * sizeof(TokenId);
}

std::vector<const Json*> calls_of(const Json& messages) {
  std::vector<const Json*> calls;
  for (const Json& message : messages) {
    const auto list = message.find("tool_calls");
    if (list == message.end() || !list->is_array()) continue;
    for (const Json& call : *list) calls.push_back(&call);
  }
  return calls;
}

/// What stands between <tool_call> and </tool_call>.
struct Span {
  std::size_t begin = 0, end = 0;
};

/// The last `count` calls in `tokens`, in order; fewer if there aren't so many. (A system message may show how calls
/// are written, so not all that look like one are.)
std::vector<Span> last_calls(const std::vector<TokenId>& tokens, const Marks& marks, std::size_t count) {
  std::vector<Span> spans;
  std::size_t end = 0;
  bool inside = false;
  for (std::size_t i = tokens.size(); i-- > 0 && spans.size() < count;) {
    const auto mark = marks.of(tokens[i]);
    if (mark == Mark::call_end) {
      end = i;
      inside = true;
    } else if (mark == Mark::call_begin && std::exchange(inside, false)) {
      spans.push_back({i + 1, end});
    }
  }
  std::reverse(spans.begin(), spans.end());
  return spans;
}

std::string text_of(const std::vector<TokenId>& tokens, Span span, const Tokenizer& tokenizer) {
  std::string text;
  for (std::size_t i = span.begin; i < span.end; ++i) text += tokenizer.bytes(tokens[i]);
  return text;
}

}  // namespace

void CallMemory::remember(WrittenCall call) {
  const std::lock_guard lock(mutex_);
  if (by_id_.contains(call.id)) return;
  bytes_ += size_of(call);
  recent_.push_front(std::move(call));
  by_id_.emplace(recent_.front().id, recent_.begin());
  while (bytes_ > most_bytes_) {
    bytes_ -= size_of(recent_.back());
    by_id_.erase(recent_.back().id);
    recent_.pop_back();
  }
}

std::vector<TokenId> CallMemory::find(const Json& call) const {
  const auto id = call.find("id");
  const auto function = call.find("function");
  if (id == call.end() || !id->is_string() || function == call.end()) return {};
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id->get_ref<const std::string&>());
  if (found == by_id_.end()) return {};
  recent_.splice(recent_.begin(), recent_, found->second);
  const WrittenCall& written = *found->second;
  const Json& arguments = function->value("arguments", Json());
  const Json sent =
      arguments.is_string() ? Json::parse(arguments.get_ref<const std::string&>(), nullptr, false) : arguments;
  const bool same =
      function->value("name", "") == written.name && sent == Json::parse(written.arguments, nullptr, false);
  return same ? written.tokens : std::vector<TokenId>();
}

void CallMemory::replay(const Json& messages, const Tokenizer& tokenizer, const Marks& marks,
                        std::vector<TokenId>& tokens, std::vector<std::int64_t>& places) const {
  const std::vector<const Json*> calls = calls_of(messages);
  const std::vector<Span> spans = last_calls(tokens, marks, calls.size());
  if (calls.empty() || spans.size() != calls.size()) return;
  std::vector<std::vector<TokenId>> written;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    written.push_back(find(*calls[i]));
    if (written[i].empty()) continue;
    const auto& name = (*calls[i])["function"]["name"].get_ref<const std::string&>();
    if (text_of(tokens, spans[i], tokenizer).find(name) == std::string::npos) return;  // not where they were thought
  }
  std::vector<TokenId> out;
  std::size_t copied = 0, place = 0;
  const auto copy_to = [&](std::size_t end) {
    for (; place < places.size() && places[place] <= static_cast<std::int64_t>(end); ++place)
      places[place] += std::ssize(out) - static_cast<std::int64_t>(copied);
    out.insert(out.end(), tokens.begin() + static_cast<std::ptrdiff_t>(copied),
               tokens.begin() + static_cast<std::ptrdiff_t>(end));
    copied = end;
  };
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (written[i].empty()) continue;
    copy_to(spans[i].begin);
    out.insert(out.end(), written[i].begin(), written[i].end());
    copied = spans[i].end;
  }
  copy_to(tokens.size());
  tokens = std::move(out);
}

}  // namespace strata
