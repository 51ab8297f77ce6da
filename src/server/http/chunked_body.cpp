#include "server/http/chunked_body.h"

#include <algorithm>
#include <charconv>

namespace strata::http {

bool ChunkedBody::take_line(std::string_view bytes, std::string_view& line, std::size_t& consumed) {
  const std::size_t end = bytes.find('\n');
  if (end == std::string_view::npos) {
    if (bytes.size() > kLongestLine) state_ = State::malformed;
    return false;
  }
  line = bytes.substr(0, end);
  consumed = end + 1;
  const bool well_formed = line.size() <= kLongestLine && line.ends_with('\r');
  if (well_formed) line.remove_suffix(1);
  const auto is_control = [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; };
  if (!well_formed || std::any_of(line.begin(), line.end(), is_control)) {
    state_ = State::malformed;
    return false;
  }
  return true;
}

void ChunkedBody::begin_chunk(std::string_view line) {
  std::string_view size = line.substr(0, line.find(';'));
  if (size.size() < line.size()) {  // RFC 9112, 7.1.1: space before an extension is read, and never written
    while (size.ends_with(' ') || size.ends_with('\t')) size.remove_suffix(1);
  }
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), left_, 16);
  if (error != std::errc() || end != size.data() + size.size() || size.size() > 16 || size.starts_with('-')) {
    state_ = State::malformed;
  } else if (left_ > most_ - total_) {
    state_ = State::too_large;
  } else {
    total_ += left_;
    part_ = left_ > 0 ? Part::data : Part::trailer;
  }
}

std::size_t ChunkedBody::take(std::string_view bytes, std::string& body) {
  std::size_t taken = 0;
  while (state_ == State::open && taken < bytes.size()) {
    const std::string_view rest = bytes.substr(taken);
    if (part_ == Part::data) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest.size()));
      body.append(rest.substr(0, n));
      left_ -= n;
      taken += n;
      if (left_ == 0) part_ = Part::data_end;
      continue;
    }
    std::string_view line;
    std::size_t consumed = 0;
    if (!take_line(rest, line, consumed)) break;
    taken += consumed;
    if (part_ == Part::size) {
      begin_chunk(line);
    } else if (part_ == Part::data_end) {
      part_ = Part::size;
      if (!line.empty()) state_ = State::malformed;
    } else if (line.empty()) {
      state_ = State::done;
    } else if (trailer_ += consumed; trailer_ > kTrailerBytes) {
      state_ = State::malformed;
    }
  }
  return taken;
}

}  // namespace strata::http
