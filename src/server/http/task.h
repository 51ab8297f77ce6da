// Coroutines of the I/O thread: a lazy task that its caller awaits, and a signal that wakes one.
// A co_await stands in a statement of its own, never in a condition: GCC 12 compiles some of those to a trap.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace strata::http {

namespace detail {

/// Goes on with whoever awaited the task.
struct FinalAwaiter {
  bool await_ready() noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> done) noexcept {
    return done.promise().continuation;
  }
  void await_resume() noexcept {}
};

struct PromiseBase {
  std::coroutine_handle<> continuation = std::noop_coroutine();
  std::exception_ptr error;

  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() { error = std::current_exception(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  void return_value(T result) { value.emplace(std::move(result)); }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  void return_void() {}
  void take() {}
};

}  // namespace detail

/// Begins when it is awaited, or by `start`. What it throws comes out of the await. Owns its frame. Unlike Asio's
/// awaitables it may wait for whatever comes first (tokens, the client's end, room in a socket): see Signal.
template <class T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : detail::Promise<T> {
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
  };

  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(frame_, other.frame_);
    return *this;
  }
  ~Task() {
    if (frame_) frame_.destroy();
  }

  /// Runs it to its first wait; for a task that nobody awaits.
  void start() { frame_.resume(); }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    frame_.promise().continuation = caller;
    return frame_;
  }
  T await_resume() {
    if (frame_.promise().error) std::rethrow_exception(frame_.promise().error);
    return frame_.promise().take();
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;
};

/// One coroutine awaits it, anything on the same thread sets it; a set that nobody awaits is kept, several are one.
class Signal {
 public:
  Signal() = default;
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  /// Runs the waiting coroutine before it returns.
  void set() {
    set_ = true;
    if (auto waiter = std::exchange(waiter_, nullptr)) waiter.resume();
  }

  // An awaiter of its own: GCC 12 would await a copy of what a call returns a reference to.
  struct Awaiter {
    Signal* signal;
    bool await_ready() const noexcept { return signal->set_; }
    void await_suspend(std::coroutine_handle<> waiter) const noexcept { signal->waiter_ = waiter; }
    void await_resume() const noexcept { signal->set_ = false; }
  };
  Awaiter operator co_await() { return {this}; }

 private:
  std::coroutine_handle<> waiter_;
  bool set_ = false;
};

}  // namespace strata::http
