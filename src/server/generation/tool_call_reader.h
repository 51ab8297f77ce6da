// What the model writes between <tool_call> and </tool_call>, as JSON arguments that can be streamed.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>

#include "server/generation/tool_set.h"

namespace strata {

/// Who hears of a call.
class ToolCallSink {
 public:
  virtual ~ToolCallSink() = default;
  virtual void begin_call(const std::string& name) = 0;
  virtual void add_arguments(std::string fragment) = 0;
  virtual void end_call() = 0;
  /// Something was skipped or ignored: "malformed_tool_call", "duplicate_parameter".
  virtual void warn(const char* what) = 0;
};

/// Reads one call,
///   "<function=" NAME ">" { "<parameter=" KEY ">" [nl] VALUE [nl] "</parameter>" } "</function>"
/// with blanks between its parts. There is no escaping, so a value ends at the first of
///   nl "</parameter>", where blanks and then "<parameter=", "</function>", the end or the next mark follow,
///   nl "<parameter=" KEY ">" of a declared key, or nl "</function>": somebody forgot a closer,
///   the end.
/// A value that begins on the line of its key needs no nl there. Exactly one line end at each side is not part of it.
/// Strings are streamed as they come, other values once they are complete. Whatever the cut of the text, the fragments
/// add up to the same JSON object.
class ToolCallReader {
 public:
  enum class Status {
    head,        // no declared name yet
    inside,      // of a call
    done,        // the call has ended
    not_a_call,  // the name isn't declared, or there was none
  };

  /// Both must outlive it.
  ToolCallReader(const ToolSet& tools, ToolCallSink& sink) : tools_(tools), sink_(sink) {}

  void start();
  /// Takes from the front of `text` what it can and stops after the end of the call. `at_end`: nothing that belongs to
  /// the call follows, so that what was held back is decided; a call whose closers are missing ends.
  void read(std::string& text, bool at_end);
  Status status() const { return status_; }
  const std::string& name() const { return name_; }
  /// Whether the characters < and > of other marks would be part of a value: inside one that couldn't end with `text`.
  bool takes_marks(std::string_view text) const;

 private:
  enum class Place { function, value_begin, value };
  /// How what stands at some place of a value goes on.
  struct Match {
    enum { no, maybe, yes } answer = no;
    std::size_t next = 0;  // where the text after the value goes on
  };

  bool read_head(std::string& text, bool at_end);
  bool read_function(std::string& text, bool at_end);
  bool read_value_begin(std::string& text, bool at_end);
  bool read_value(std::string& text, bool at_end);
  Match match_end(std::string_view text, std::size_t at, bool at_end) const;
  Match match_closer(std::string_view text, std::size_t at, bool own_line, bool at_end) const;
  void begin_parameter(std::string key);
  void add_value(std::string_view text);
  void end_value();
  void end();

  const ToolSet& tools_;
  ToolCallSink& sink_;
  Status status_ = Status::head;
  Place place_ = Place::function;
  const ToolSchema* tool_ = nullptr;
  std::string name_;
  std::unordered_set<std::string> keys_;

  // The value being read.
  ParameterType type_;
  bool ignored_ = false;    // its key came before
  bool own_lines_ = false;  // it begins on a line of its own
  bool empty_ = true;       // nothing of it has come
  bool streaming_ = false;  // its opening quote is out
  std::string value_;       // what isn't out
};

}  // namespace strata
