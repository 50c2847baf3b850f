#pragma once

// A fiber: a stack and the place where its execution goes on. Switching between fibers takes some nanoseconds: it saves
// the registers that the calling convention leaves to the callee (x86-64 System V; elsewhere ucontext does it).
//
// The address sanitizer is told of every change of stack. The thread sanitizer is not told here: what counts for it is
// which CUDA thread runs, and that is block.hpp's business. Functions that change stacks must not be instrumented by
// it, since it keeps a stack of its own per thread of execution.

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define EMULATION_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATION_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define EMULATION_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EMULATION_THREAD_SANITIZER 1
#endif
#endif

#if defined(EMULATION_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(EMULATION_THREAD_SANITIZER)
#define EMULATION_UNINSTRUMENTED __attribute__((no_sanitize("thread"), noinline))
#else
#define EMULATION_UNINSTRUMENTED
#endif

namespace emulation {

struct Fiber {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  char* lowest = nullptr;  ///< of its stack
  std::size_t size = 0;
  void* sanitizer_stack = nullptr;  ///< what the address sanitizer keeps of a fiber that waits
};

namespace detail {

#if defined(__x86_64__)
EMULATION_UNINSTRUMENTED __attribute__((naked, noinline)) inline void exchange_stacks(void** /*save*/, void* /*next*/) {
  asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15;"
      "mov %rsp, (%rdi); mov %rsi, %rsp;"
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; pop %rcx; jmp *%rcx");
}
#endif

}  // namespace detail

/// Goes on with `to`; returns when something goes on with `from`. `from_ends`: it never does.
EMULATION_UNINSTRUMENTED inline void switch_fiber(Fiber& from, Fiber& to, bool from_ends) {
  static_cast<void>(from_ends);
#if defined(EMULATION_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(from_ends ? nullptr : &from.sanitizer_stack, to.lowest, to.size);
#endif
#if defined(__x86_64__)
  detail::exchange_stacks(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
#if defined(EMULATION_ADDRESS_SANITIZER)
  const void* lowest;
  std::size_t size;
  __sanitizer_finish_switch_fiber(from.sanitizer_stack, &lowest, &size);
#endif
}

/// Stacks with a page below that must not be touched; a fiber that has ended gives its stack to the next. Under the
/// thread sanitizer, to which that would be a race, every lane of a block has a stack of its own.
class FiberPool {
 public:
  FiberPool() = default;
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;
  ~FiberPool() { unmap(); }

  /// A fiber for `lane` that will start with entry(), which must never return.
  Fiber* take([[maybe_unused]] unsigned lane, void (*entry)()) {
#if defined(EMULATION_THREAD_SANITIZER)
    while (stacks_.size() <= lane) grow();
    Fiber* fiber = &stacks_[lane]->fiber;
#else
    if (free_.empty()) grow();
    Fiber* fiber = free_.back();
    free_.pop_back();
#endif
#if defined(EMULATION_ADDRESS_SANITIZER)
    ASAN_UNPOISON_MEMORY_REGION(fiber->lowest, fiber->size);  // the red zones of frames that were abandoned
#endif
    fiber->sanitizer_stack = nullptr;
#if defined(__x86_64__)
    // What exchange_stacks pops: six registers, the address of entry; above it a return address that is never used.
    void** top = reinterpret_cast<void**>(fiber->lowest + fiber->size);
    top[-1] = nullptr;
    top[-2] = reinterpret_cast<void*>(entry);
    for (int i = 3; i <= 8; ++i) top[-i] = nullptr;
    fiber->stack_pointer = top - 8;
#else
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->lowest;
    fiber->context.uc_stack.ss_size = fiber->size;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, entry, 0);
#endif
    return fiber;
  }
  void give_back(Fiber* fiber) {
    free_.push_back(fiber);
  }
  /// All of them, also those that were left in the middle of something.
  void give_back_all() {
    free_.clear();
    unmap();
    stacks_.clear();
  }

 private:
  struct Stack {
    Fiber fiber;
    void* memory;
    std::size_t bytes;
  };

#if defined(EMULATION_ADDRESS_SANITIZER)
  static constexpr std::size_t stack_bytes = std::size_t{1} << 20;
#elif defined(EMULATION_THREAD_SANITIZER)
  static constexpr std::size_t stack_bytes = std::size_t{1} << 18;
#else
  static constexpr std::size_t stack_bytes = std::size_t{1} << 16;
#endif

  void unmap() {
    for (const auto& stack : stacks_) munmap(stack->memory, stack->bytes);
  }

  void grow() {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = stack_bytes + page;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, page, PROT_NONE);
    auto stack = std::make_unique<Stack>();
    stack->memory = memory;
    stack->bytes = bytes;
    stack->fiber.lowest = static_cast<char*>(memory) + page;
    // Tops at equal distances would all fall into the same few cache sets.
    stack->fiber.size = stack_bytes - stacks_.size() % 61 * 320;
    free_.push_back(&stack->fiber);
    stacks_.push_back(std::move(stack));
  }

  std::vector<std::unique_ptr<Stack>> stacks_;
  std::vector<Fiber*> free_;
};

}  // namespace emulation
