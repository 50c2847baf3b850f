#include "common/interrupt.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>

#include <csignal>
#include <cstdlib>

namespace {

/// Exit status of a child that runs `body`; its standard error is closed to keep the test's output clean.
template <class Body>
int status_of_child(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    body();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("interrupt: the first Ctrl-C sets the flag and the work goes on") {
  const int status = status_of_child([] {
    const common::Interrupt interrupt;
    if (common::Interrupt::requested()) _exit(1);
    common::Interrupt::check();
    std::raise(SIGINT);
    if (!common::Interrupt::requested()) _exit(2);
    try {
      common::Interrupt::check();
    } catch (const eosin::Cancelled&) {
      _exit(7);
    }
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
}

TEST_CASE("interrupt: the second Ctrl-C ends the program with status 130") {
  const int status = status_of_child([] {
    const common::Interrupt interrupt;
    std::raise(SIGINT);
    std::raise(SIGINT);
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
}

TEST_CASE("interrupt: the earlier handling comes back at its end") {
  const int status = status_of_child([] {
    std::signal(SIGINT, SIG_DFL);
    { const common::Interrupt interrupt; }
    std::raise(SIGINT);
  });
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGINT);
}
