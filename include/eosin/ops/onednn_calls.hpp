#pragma once

// What every call of oneDNN needs: the calling thread alone, and no signal meanwhile.

#include <eosin/core/config.hpp>

#include <dnnl.hpp>

#include <pthread.h>
#include <signal.h>

/// Of the OpenMP runtime that oneDNN is linked with. Weak, so that neither omp.h nor that library is asked for, and a
/// oneDNN built on other threads works too.
extern "C" void omp_set_num_threads(int) __attribute__((weak));

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {
namespace detail {

/// While it lives, this thread takes no signal; one that arrives meanwhile is taken afterwards. oneDNN's generated
/// code takes the stack pointer for an address of its data, so that a handler's frame would be written over the
/// matrices and the heap. Two system calls, below a microsecond.
class SignalsHeld {
 public:
  SignalsHeld() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
  ~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

/// oneDNN would open an OpenMP region of its own inside the task of our pool.
inline void use_this_thread_alone() {
  thread_local bool set = false;
  if (set || omp_set_num_threads == nullptr) return;
  omp_set_num_threads(1);
  set = true;
}

}  // namespace detail
}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
