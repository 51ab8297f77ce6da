#include "server/http/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <random>

namespace strata::http {
namespace {

constexpr std::size_t kReadBytes = 64 << 10;
/// A refused body of at most this is read, so that the connection can be kept.
constexpr std::int64_t kReadThrough = 64 << 10;
/// What one connection reads before the others have their turn: a client may send as fast as it is read.
constexpr std::size_t kTurnBytes = 256 << 10;
/// What a buffer may keep between requests.
constexpr std::size_t kKeptCapacity = 4 << 10;

void shrink(std::string& buffer) {
  if (buffer.empty() && buffer.capacity() > kKeptCapacity) std::string().swap(buffer);
}

/// What the client calls its request if that is fit for logs and headers, else drawn.
std::string request_id(const Request& request) {
  if (const std::string* id = request.field("x-request-id"); id && is_plain_name(*id)) return *id;
  thread_local std::mt19937_64 draw{std::random_device{}()};
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(draw()));
  return std::string("req-") + digits.data();
}

}  // namespace

Connection::Connection(boost::asio::io_context& io, int socket, Service& service, const Limits& limits,
                       WakeQueue& wakes, OnClosed on_closed)
    : socket_(io, socket),
      service_(service),
      limits_(limits),
      wakes_(wakes),
      on_closed_(std::move(on_closed)),
      session_(session()) {}

Connection::~Connection() = default;

void Connection::start() { session_.start(); }

void Connection::enter(Phase phase, Clock::time_point deadline) {
  phase_ = phase;
  deadline_ = deadline;
  expired_ = false;
}

Task<> Connection::session() {
  try {
    bool more = true;
    while (more) more = co_await serve_one();
    if (!gone_) co_await linger();
  } catch (const std::exception&) {  // out of memory: nothing that can be said to this client
  }
  close();
}

/// Whether another request may follow.
Task<bool> Connection::serve_one() {
  shrink(in_);
  shrink(out_);
  request_bytes_ = response_bytes_ = 0;
  if (in_.empty()) {
    enter(Phase::idle, Clock::now() + limits_.idle_timeout);
    if (closing_) co_return false;
    const Read first = co_await read_some();
    if (first != Read::bytes) co_return false;
  }
  request_began_ = Clock::now();
  RequestReader reader(limits_);
  enter(Phase::head, request_began_ + limits_.header_timeout);
  const Read read = co_await read_request(reader, Phase::head);
  if (read == Read::end) co_return false;
  if (read == Read::expired || reader.state() == RequestReader::State::refused) {
    // Where the head wasn't readable, the rest isn't either.
    const Refusal refusal = read == Read::expired
                                ? Refusal{408, "request_timeout", "the head of the request took too long to come"}
                                : reader.refusal();
    reader.request().id = request_id(reader.request());
    respond(reader.request(), service_.refused(refusal, nullptr), false);
    co_await flush();
    finish(nullptr, refusal.status);
    co_return false;
  }
  Request& request = reader.request();
  request.id = request_id(request);
  keep_alive_ = request.keep_alive && !closing_;
  if (std::optional<Response> refusal = service_.refuse(request)) {
    const bool read_through = !request.chunked && !request.expects_continue && request.content_length <= kReadThrough;
    bool read_all = !request.has_body();
    if (!read_all && read_through) read_all = co_await read_body(reader);
    if (!read_all) keep_alive_ = false;
    if (!gone_) co_await refuse(std::move(*refusal), request);
    co_return keep_alive_ && !gone_;
  }
  if (request.has_body()) {
    if (request.expects_continue && in_.empty()) {
      out_.append("HTTP/1.1 100 Continue\r\n\r\n");
      push();
    }
    const bool whole = co_await read_body(reader);
    if (!whole) {
      if (gone_) co_return false;
      keep_alive_ = false;
      const Refusal refusal = reader.state() == RequestReader::State::refused
                                  ? reader.refusal()
                                  : Refusal{408, "request_timeout", "the body of the request took too long to come"};
      co_await refuse(service_.refused(refusal, &request), request);
      co_return false;
    }
  }
  co_await handle(request);
  co_return keep_alive_ && !gone_;
}

/// Feeds the reader until it has left `phase`'s state.
Task<Connection::Read> Connection::read_request(RequestReader& reader, Phase phase) {
  const auto state = phase == Phase::head ? RequestReader::State::head : RequestReader::State::body;
  while (true) {
    const std::size_t taken = reader.take(in_);
    in_.erase(0, taken);
    request_bytes_ += static_cast<std::int64_t>(taken);
    if (reader.state() != state) co_return Read::bytes;
    if (taken > 0 && !in_.empty()) continue;
    if (phase == Phase::body) {  // it may take longer as long as it keeps coming
      deadline_ = request_began_ + limits_.body_timeout +
                  std::chrono::milliseconds(request_bytes_ * 1000 / std::max<std::int64_t>(limits_.body_rate, 1));
    }
    const Read read = co_await read_some();
    if (read != Read::bytes) co_return read;
  }
}

/// False if it didn't come, was refused, or the client went.
Task<bool> Connection::read_body(RequestReader& reader) {
  enter(Phase::body, request_began_ + limits_.body_timeout);
  const Read read = co_await read_request(reader, Phase::body);
  if (read == Read::end) lost();
  co_return read == Read::bytes&& reader.state() == RequestReader::State::done;
}

Task<Connection::Read> Connection::read_some() {
  if (turn_bytes_ >= kTurnBytes) co_await give_way();
  while (true) {
    if (gone_) co_return Read::end;
    if (expired_) co_return Read::expired;
    if (closing_ && phase_ == Phase::idle) co_return Read::closing;
    const std::size_t before = in_.size();
    // Small first: an idle connection that asks something small stays small.
    const bool small = phase_ == Phase::idle || phase_ == Phase::head;
    in_.resize(before + (small ? kKeptCapacity : kReadBytes));
    const ssize_t n = ::recv(socket_.native_handle(), in_.data() + before, in_.size() - before, 0);
    const int error = errno;
    in_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (n > 0) {
      turn_bytes_ += static_cast<std::size_t>(n);
      co_return Read::bytes;
    }
    if (n == 0) co_return Read::end;
    if (error == EINTR) continue;
    if (error != EAGAIN && error != EWOULDBLOCK) co_return Read::end;
    if (before == 0) shrink(in_);
    turn_bytes_ = 0;
    wait_readable();
    co_await signal_;
  }
}

/// Goes on when everything that was ready has run.
Task<> Connection::give_way() {
  turn_bytes_ = 0;
  gave_way_ = false;
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->gave_way_ = true;
    self->signal_.set();
  });
  while (!gave_way_) co_await signal_;
}

void Connection::respond(const Request& request, const Response& response, bool keep_alive) {
  if (pending() == 0) last_progress_ = Clock::now();
  out_ += response_head(response, request, static_cast<std::int64_t>(response.body.size()), keep_alive);
  if (request.method != "HEAD" && response.status != 204 && response.status != 304) out_ += response.body;
  push();
}

Task<> Connection::refuse(Response response, Request& head) {
  respond(head, response, keep_alive_);
  co_await flush();
  finish(&head, response.status);
}

Task<> Connection::handle(Request& request) {
  enter(Phase::handling, Clock::time_point::max());
  wait_readable();  // to hear of the client's end
  Exchange exchange(*this, request);
  bool failed = false;
  try {
    co_await service_.handle(exchange);
  } catch (const std::exception&) {
    failed = true;
  }
  wake_at_ = Clock::time_point::max();
  waker_.reset();
  if (!exchange.responded_ && !gone_) {
    exchange.respond(service_.refused({500, "", "the request failed"}, &request));
  } else if (exchange.streaming_ && !exchange.ended_) {
    keep_alive_ = false;  // the missing end tells the client
  }
  if (failed) keep_alive_ = false;
  co_await flush();
  finish(&request, exchange.status_);
}

/// Until all is sent or the client is gone.
Task<> Connection::flush() {
  enter(Phase::flushing, Clock::time_point::max());
  while (!gone_ && pending() > 0) co_await signal_;
}

void Connection::finish(const Request* head, int status) {
  service_.finished({.head = head,
                     .status = status,
                     .request_bytes = request_bytes_,
                     .response_bytes = response_bytes_,
                     .duration = Clock::now() - request_began_,
                     .client_gone = gone_ && !slow_,
                     .client_slow = slow_});
}

/// Closing with unread bytes would reset the connection, and the client might never see the response.
Task<> Connection::linger() {
  ::shutdown(socket_.native_handle(), SHUT_WR);
  enter(Phase::lingering, Clock::now() + limits_.linger);
  while (true) {
    const Read read = co_await read_some();
    if (read != Read::bytes) break;
    in_.clear();
  }
}

void Connection::close() {
  phase_ = Phase::closed;
  boost::system::error_code ignored;
  socket_.close(ignored);
  // The coroutine is still running: its connection must not die before it has returned.
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] { self->on_closed_(*self); });
}

void Connection::close_when_idle() {
  closing_ = true;
  keep_alive_ = false;
  signal_.set();
}

void Connection::abort() {
  lost();
  signal_.set();
}

void Connection::lost() {
  gone_ = true;
  keep_alive_ = false;
}

void Connection::sweep(Clock::time_point now) {
  const bool overdue = deadline_ <= now;
  if (overdue) {
    expired_ = true;
    deadline_ = Clock::time_point::max();
  }
  const bool due = wake_at_ <= now;
  if (due) wake_at_ = Clock::time_point::max();
  // Bytes of a next request hide the end that follows them from recv.
  if (phase_ == Phase::handling && !waits_readable_ && !gone_) {
    pollfd poll{socket_.native_handle(), POLLRDHUP, 0};
    if (::poll(&poll, 1, 0) > 0) lost();
  }
  const bool must_drain = phase_ == Phase::flushing || !drained();
  const bool stuck = !gone_ && pending() > 0 && must_drain && now - last_progress_ > limits_.slow_client_timeout;
  if (stuck) {
    slow_ = true;
    lost();
  }
  if (overdue || due || gone_) signal_.set();
}

void Connection::wait_readable() {
  if (std::exchange(waits_readable_, true)) return;
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->waits_readable_ = false;
                       if (!error) self->on_readable();
                     });
}

void Connection::on_readable() {
  if (phase_ == Phase::handling || phase_ == Phase::flushing) {
    char byte;
    const ssize_t n = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK);
    if (n > 0) return;  // the next request: read in its turn
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return wait_readable();
    lost();
  }
  signal_.set();
}

void Connection::wait_writable() {
  if (std::exchange(waits_writable_, true)) return;
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_write,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->waits_writable_ = false;
                       if (error) return;
                       self->push();
                       self->signal_.set();
                     });
}

void Connection::push() {
  if (waits_writable_) return;
  while (!gone_ && pending() > 0) {
    const ssize_t n = ::send(socket_.native_handle(), out_.data() + sent_, pending(), MSG_NOSIGNAL);
    if (n > 0) {
      sent_ += static_cast<std::size_t>(n);
      response_bytes_ += n;
      last_progress_ = Clock::now();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_writable();
      break;
    } else if (errno != EINTR) {
      lost();
    }
  }
  if (pending() == 0 || gone_) {
    out_.clear();
    sent_ = 0;
  } else if (sent_ > kReadBytes && sent_ > pending()) {  // so that a long response isn't moved over and over
    out_.erase(0, sent_);
    sent_ = 0;
  }
}

void Exchange::respond(Response response) {
  responded_ = true;
  status_ = response.status;
  connection_.respond(request_, response, connection_.keep_alive_);
}

void Exchange::begin_stream(Response head) {
  responded_ = streaming_ = true;
  status_ = head.status;
  if (request_.minor_version == 0) connection_.keep_alive_ = false;
  connection_.out_ += response_head(head, request_, std::nullopt, connection_.keep_alive_);
}

void Exchange::send(std::string_view bytes) {
  if (request_.method == "HEAD") return;
  std::string& out = connection_.out_;
  if (connection_.pending() == 0) connection_.last_progress_ = Connection::Clock::now();
  if (request_.minor_version == 0) {
    out.append(bytes);
  } else {
    append_chunk(out, bytes);
  }
  connection_.last_sent_ = Connection::Clock::now();
  connection_.push();
}

void Exchange::end_stream() {
  ended_ = true;
  if (request_.minor_version > 0 && request_.method != "HEAD") connection_.out_.append(kLastChunk);
  connection_.push();
}

bool Exchange::gone() const { return connection_.gone_; }
bool Exchange::full() const {
  return connection_.pending() >= static_cast<std::size_t>(connection_.limits_.send_buffer);
}
bool Exchange::drained() const { return connection_.drained(); }
std::chrono::steady_clock::time_point Exchange::last_sent() const { return connection_.last_sent_; }
Signal& Exchange::wake_up() { return connection_.signal_; }
void Exchange::wake_at(std::chrono::steady_clock::time_point time) { connection_.wake_at_ = time; }
std::shared_ptr<Waker> Exchange::waker() {
  if (!connection_.waker_)
    connection_.waker_ = std::make_shared<Waker>(connection_.wakes_, connection_.weak_from_this());
  return connection_.waker_;
}

}  // namespace strata::http
