// A body in chunks, read by the letter of RFC 9112, 7.1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace strata::http {

/// Sizes are hexadecimal digits and nothing else, lines end with CR LF, extensions and trailing fields are skipped.
class ChunkedBody {
 public:
  enum class State { open, done, malformed, too_large };

  /// `most`: bytes of the body.
  explicit ChunkedBody(std::int64_t most) : most_(static_cast<std::uint64_t>(most)) {}

  /// Takes from `bytes`, which begin where it left off, appends to `body` and returns how many it took.
  std::size_t take(std::string_view bytes, std::string& body);
  State state() const { return state_; }

 private:
  enum class Part { size, data, data_end, trailer };
  /// A line without its end, if it is whole; `consumed` includes the end.
  bool take_line(std::string_view bytes, std::string_view& line, std::size_t& consumed);
  void begin_chunk(std::string_view line);

  static constexpr std::size_t kLongestLine = 4096;
  static constexpr std::size_t kTrailerBytes = 16 << 10;
  const std::uint64_t most_;
  State state_ = State::open;
  Part part_ = Part::size;
  std::uint64_t left_ = 0, total_ = 0;  // of the chunk, of all chunks
  std::size_t trailer_ = 0;
};

}  // namespace strata::http
