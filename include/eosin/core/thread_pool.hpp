#pragma once

// A pool of threads that executes numbered tasks. Which thread takes which task is open; what a task computes must
// depend on its number alone, so that results do not depend on the number of threads.

#include <eosin/core/config.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace eosin {

/// `threads` workers, the caller of run() being one of them. run() may be called by one thread at a time; a task that
/// calls run() again, on this pool or another, executes the inner tasks itself.
class ThreadPool {
 public:
  explicit ThreadPool(int threads) : threads_(threads < 1 ? 1 : threads) {
    workers_.reserve(static_cast<std::size_t>(threads_ - 1));
    for (int worker = 1; worker < threads_; ++worker)
      workers_.emplace_back([this, worker](std::stop_token stop) { serve(worker, stop); });
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    for (auto& worker : workers_) worker.request_stop();
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
  }

  int threads() const { return threads_; }

  /// Calls f(task, worker) for task = 0 .. tasks-1, worker in [0, threads()) for scratch that tasks reuse; returns
  /// when all are done. The first exception of a task is thrown here, the remaining tasks being left out.
  template <class F>
  void run(Index tasks, F&& f) {
    if (tasks <= 0) return;
    if (threads_ == 1 || tasks == 1 || serving() != nullptr) {
      // The number of a worker is one of this pool; a task of another pool comes as the caller.
      const int worker = serving() == this ? current_worker() : 0;
      for (Index task = 0; task < tasks; ++task) f(task, worker);
      return;
    }
    using Function = std::remove_reference_t<F>;
    call_ = [](void* function, Index task, int worker) { (*static_cast<Function*>(function))(task, worker); };
    function_ = const_cast<void*>(static_cast<const void*>(std::addressof(f)));
    tasks_ = tasks;
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(threads_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    work(0);
    // Workers usually finish within microseconds of the caller, so spin before sleeping.
    for (int spin = 0; spin < 4096 && busy_.load(std::memory_order_acquire) != 0; ++spin) pause();
    for (int left = busy_.load(std::memory_order_acquire); left != 0; left = busy_.load(std::memory_order_acquire))
      busy_.wait(left, std::memory_order_acquire);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  /// The pool whose task the calling thread executes, or null.
  static const ThreadPool*& serving() {
    thread_local const ThreadPool* pool = nullptr;
    return pool;
  }
  static int& current_worker() {
    thread_local int worker = 0;
    return worker;
  }
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  }

  void work(int worker) {
    serving() = this;
    current_worker() = worker;
    try {
      for (Index task = next_.fetch_add(1, std::memory_order_relaxed); task < tasks_;
           task = next_.fetch_add(1, std::memory_order_relaxed))
        call_(function_, task, worker);
    } catch (...) {
      next_.store(tasks_, std::memory_order_relaxed);
      const std::scoped_lock lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    serving() = nullptr;
  }

  void serve(int worker, const std::stop_token& stop) {
    std::uint64_t seen = 0;
    for (;;) {
      // A training step launches one operation after the other: stay awake for the gaps between them.
      for (int spin = 0; spin < 20000 && generation_.load(std::memory_order_acquire) == seen; ++spin) pause();
      generation_.wait(seen, std::memory_order_acquire);
      seen = generation_.load(std::memory_order_acquire);
      if (stop.stop_requested()) return;
      work(worker);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
    }
  }

  int threads_;
  void (*call_)(void*, Index, int) = nullptr;
  void* function_ = nullptr;
  Index tasks_ = 0;
  std::exception_ptr error_;
  std::mutex error_mutex_;
  std::atomic<Index> next_{0};
  std::atomic<int> busy_{0};
  std::atomic<std::uint64_t> generation_{0};
  std::vector<std::jthread> workers_;  // last member: the threads end before what they use
};

}  // namespace eosin
