// What is a request, and what is refused before anyone could read it in two ways.
#include "server/http/request_reader.h"

#include <gtest/gtest.h>

namespace strata::http {
namespace {

const Limits kLimits;

std::string request(const std::string& fields, const std::string& body = "",
                    const std::string& line = "POST / HTTP/1.1") {
  return line + "\r\nHost: a\r\n" + fields + "\r\n" + body;
}

/// Feeds `bytes` in pieces of `piece`, as the connection does.
struct Fed {
  RequestReader reader{kLimits};
  std::string rest;
  explicit Fed(const std::string& bytes, std::size_t piece = 1 << 20) {
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t n = std::min(piece, bytes.size() - at);
      rest.append(bytes, at, n);
      at += n;
      for (std::size_t taken = 1; taken > 0;) {
        taken = reader.take(rest);
        rest.erase(0, taken);
      }
    }
  }
  int status() const { return reader.state() == RequestReader::State::refused ? reader.refusal().status : 0; }
  bool done() const { return reader.state() == RequestReader::State::done; }
};

TEST(RequestReader, ReadsLineFieldsAndBody) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1000}}) {
    Fed fed(request("X-A:  b \r\nContent-Length: 5\r\n", "helloGET", "POST /v1/x?a=b HTTP/1.1"), piece);
    ASSERT_TRUE(fed.done());
    const Request& r = fed.reader.request();
    EXPECT_EQ(r.method, "POST");
    EXPECT_EQ(r.path, "/v1/x");
    EXPECT_EQ(r.query, "a=b");
    EXPECT_EQ(*r.field("x-a"), "b");
    EXPECT_EQ(r.body, "hello");
    EXPECT_TRUE(r.keep_alive);
    EXPECT_EQ(fed.rest, "GET");
  }
}

TEST(RequestReader, ReadsChunkedBodies) {
  const std::string body = "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{5}, std::size_t{1000}}) {
    Fed fed(request("Transfer-Encoding: chunked\r\n", body + "next"), piece);
    ASSERT_TRUE(fed.done()) << piece << " " << fed.status();
    EXPECT_EQ(fed.reader.request().body, "abcde");
    EXPECT_EQ(fed.reader.request().field("trailer"), nullptr);
    EXPECT_EQ(fed.rest, "next");
  }
}

TEST(RequestReader, SmugglingIsRefused) {
  const auto te = "Transfer-Encoding: chunked\r\n";
  for (const std::string& bytes : {
           request(std::string("Content-Length: 3\r\n") + te, "abc"),
           request(std::string(te) + "Content-Length: 3\r\n", "abc"),
           request("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
           request("Content-Length: 3, 3\r\n", "abc"),
           request("Content-Length: +3\r\n", "abc"),
           request("Content-Length: -3\r\n", "abc"),
           request("Content-Length: 0x3\r\n", "abc"),
           request("Content-Length:\r\n", "abc"),
           request("Content-Length: 99999999999999999999999\r\n", "abc"),
           request(std::string(te) + te, "0\r\n\r\n"),
           request("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
           request("X: a\r\n Content-Length: 3\r\n", "abc"),
           request("X: a\n\r\n"),
           request("X: a\rb\r\n"),
           request(std::string("X: a\0b\r\n", 8)),
           request("no colon\r\n"),
           request(": no name\r\n"),
           request("Host: b\r\n"),
           request(te, "0\r\n\r\n", "POST / HTTP/1.0"),
           request("", "", "POST  / HTTP/1.1"),
           request("", "", "POST /a b HTTP/1.1"),
           request("", "", "POST / HTTP/1.1 "),
           request("", "", "POST other HTTP/1.1"),
           request("", "", "P(ST / HTTP/1.1"),
           std::string("GET / HTTP/1.1\r\n\r\n"),  // no Host
       }) {
    EXPECT_EQ(Fed(bytes).status(), 400) << bytes;
    EXPECT_EQ(Fed(bytes, 1).status(), 400) << bytes;
  }
  for (const char* encoding : {"xchunked", "gzip, chunked", "chunked, chunked", "identity", ""})
    EXPECT_EQ(Fed(request(std::string("Transfer-Encoding: ") + encoding + "\r\n")).status(), 501) << encoding;
  for (const char* chunk :
       {"g\r\n", "-1\r\nab", "3 \nabc\r\n", "fffffffffffffffff\r\n", "3\r\nabcd\r\n", "0x3\r\nabc\r\n"})
    EXPECT_EQ(Fed(request(te, chunk)).status(), 400) << chunk;
  EXPECT_EQ(Fed(request("", "", "GET / HTTP/2.0")).status(), 505);
}

TEST(RequestReader, F27_ABareLineFeedIsRefusedAtOnce) {
  for (const char* bytes : {"GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\n", "\n", "GET / HTTP/1.1\r\nHost: a\n"}) {
    EXPECT_EQ(Fed(bytes).status(), 400) << bytes;
    EXPECT_EQ(Fed(bytes, 1).status(), 400) << bytes;
  }
}

TEST(RequestReader, F9_HeadsHaveAnEnd) {
  std::string many;
  for (int i = 0; i < 100; ++i) many += "X-" + std::to_string(i) + ": a\r\n";
  EXPECT_EQ(Fed(request(many)).status(), 431);
  EXPECT_EQ(Fed(request("X: " + std::string(33 << 10, 'a') + "\r\n")).status(), 431);
  EXPECT_EQ(Fed(request("X: " + std::string(33 << 10, 'a'))).status(), 431) << "without waiting for the end";
  EXPECT_EQ(Fed(request("", "", "GET /" + std::string(9 << 10, 'a') + " HTTP/1.1")).status(), 414);
  EXPECT_TRUE(Fed(request("X: " + std::string(30 << 10, 'a') + "\r\n")).done());
}

TEST(RequestReader, F8_BodiesHaveAnEnd) {
  EXPECT_EQ(Fed(request("Content-Length: 33554433\r\n")).status(), 413) << "before any of it has come";
  Limits small;
  small.body_bytes = 10;
  RequestReader reader(small);
  const std::string bytes = request("Transfer-Encoding: chunked\r\n", "8\r\nabcdefgh\r\n8\r\nabcdefgh\r\n");
  std::string_view rest = bytes;
  for (std::size_t taken = 1; taken > 0;) {
    taken = reader.take(rest);
    rest.remove_prefix(taken);
  }
  ASSERT_EQ(reader.state(), RequestReader::State::refused);
  EXPECT_EQ(reader.refusal().status, 413);
  EXPECT_EQ(Fed(request("Transfer-Encoding: chunked\r\n", "1;" + std::string(40 << 10, 'a'))).status(), 400);
}

TEST(RequestReader, KeepAliveIsWhatTheVersionAndTheClientSay) {
  const auto kept = [](const char* version, const char* fields) {
    return Fed(request(fields, "", std::string("GET / ") + version)).reader.request().keep_alive;
  };
  EXPECT_TRUE(kept("HTTP/1.1", ""));
  EXPECT_FALSE(kept("HTTP/1.1", "Connection: TE, Close\r\n"));
  EXPECT_FALSE(kept("HTTP/1.0", ""));
  EXPECT_TRUE(kept("HTTP/1.0", "Connection: keep-alive\r\n"));
}

TEST(RequestReader, EmptyLinesBeforeARequestAreSkipped) {
  EXPECT_TRUE(Fed("\r\n\r\n" + request("")).done());
  EXPECT_TRUE(Fed("\r\n\r\n" + request(""), 1).done());
}

TEST(PlainName, F27_HasNoPathInIt) {
  for (const char* good : {"a", "req-1_2.3", "chatcmpl-0123"}) EXPECT_TRUE(is_plain_name(good));
  for (const char* bad : {"", "a/b", "a b", "a\r\nb", "\xc3\xa4"}) EXPECT_FALSE(is_plain_name(bad));
  EXPECT_FALSE(is_plain_name(std::string(65, 'a')));
}

}  // namespace
}  // namespace strata::http
