#pragma once

// Ctrl-C: the first one asks the program to stop at the next safe place, the second ends it at once.

#include <eosin/core/error.hpp>

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace common {

namespace detail {

inline std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

/// Calls only what is safe in a signal handler.
extern "C" inline void eosin_examples_on_interrupt(int) {
  if (interrupted.exchange(true)) _exit(130);
  static constexpr char text[] = "\nstopping at the next safe place; press Ctrl-C again to stop at once\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, sizeof(text) - 1);
}

}  // namespace detail

/// While it lives, SIGINT is handled as above; the earlier handling is restored at its end. One per program at a time.
class Interrupt {
 public:
  Interrupt() {
    detail::interrupted = false;
    struct sigaction action {};
    action.sa_handler = detail::eosin_examples_on_interrupt;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    if (sigaction(SIGINT, &action, &before_) != 0) throw eosin::Error("SIGINT cannot be handled");
  }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt() { sigaction(SIGINT, &before_, nullptr); }

  /// Ctrl-C was pressed.
  static bool requested() noexcept { return detail::interrupted.load(); }
  /// Throws Cancelled if Ctrl-C was pressed.
  static void check() {
    if (requested()) throw eosin::Cancelled("stopped by Ctrl-C");
  }

 private:
  struct sigaction before_ {};
};

}  // namespace common
