#pragma once

// Runs the threads of one block of a CUDA grid, each as a fiber on the calling thread of the processor. A thread runs
// until it reaches a barrier or a warp-wide operation; then the next one does. What is checked while they run:
//
//   - a barrier is reached by all threads of the block, all at the same place in the source;
//   - a warp-wide operation is reached by all lanes of its mask, all at the same place, none of them having ended;
//   - a shuffle reads a lane of the mask;
//   - somebody can always run.
//
// Anything else throws LaunchError, which lists where the threads of the block are. Shared memory is taken per block,
// filled with a pattern that is NaN in every floating-point format, and has guard zones that are looked at when the
// block ends (and are poisoned under the address sanitizer). The order of the threads is an option: a result that
// depends on it lacks a barrier. Under the thread sanitizer every CUDA thread is a fiber of the sanitizer's, which
// orders nothing but barriers and
// __syncwarp, so that it finds races within a block; it does not see races between blocks, which run one after the
// other.

#include "fiber.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#if defined(EMULATION_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_ignore_thread_begin(void);
void __tsan_ignore_thread_end(void);
}
#endif

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned along_x = 1, unsigned along_y = 1, unsigned along_z = 1)
      : x(along_x), y(along_y), z(along_z) {}
};
struct uint3 {
  unsigned x, y, z;
};

inline constinit thread_local uint3 threadIdx{};
inline constinit thread_local uint3 blockIdx{};
inline constinit thread_local dim3 blockDim{};
inline constinit thread_local dim3 gridDim{};
inline constexpr int warpSize = 32;

namespace emulation {

/// What a launch does on the chip when a kernel is wrong, said with the place.
struct LaunchError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Order { forward, reverse, shuffle };

/// How kernels are run; tests set it.
struct Options {
  Order threads = Order::forward;
  Order blocks = Order::forward;
  std::uint64_t seed = 1;  ///< of Order::shuffle, drawn anew at every barrier
};
inline Options& options() {
  static Options instance;
  return instance;
}

/// A place in a kernel's source.
struct Place {
  const char* file = "";
  unsigned line = 0;
  unsigned column = 0;
  bool operator==(const Place&) const = default;
  std::string text() const { return std::string(file) + ":" + std::to_string(line) + ":" + std::to_string(column); }
};

/// Bytes that no kernel may rely on: NaN as float, double, half and bfloat16, -1 as an integer.
inline constexpr unsigned char poison = 0xFF;
/// Bytes around what a kernel may touch.
inline constexpr std::size_t guard_bytes = 128;
inline constexpr unsigned char guard_pattern = 0xA5;

enum class WarpOperation {
  shuffle,
  shuffle_xor,
  shuffle_up,
  shuffle_down,
  ballot,
  any,
  all,
  synchronise,
  match,
  add,
  least,
  greatest
};

class Block {
 public:
  /// The one of this thread of the processor.
  static Block& instance() {
    static thread_local Block block;
    return block;
  }
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
#if defined(EMULATION_THREAD_SANITIZER)
    for (auto& lane : lanes_)
      if (lane.sanitizer_fiber != nullptr) __tsan_destroy_fiber(lane.sanitizer_fiber);
#endif
  }

  /// Runs body(argument) once per thread. Throws LaunchError.
  EMULATION_UNINSTRUMENTED void run(dim3 shape, std::size_t dynamic_bytes, void (*body)(void*), void* argument) {
    prepare(shape, body, argument);
    dynamic_ = dynamic_bytes == 0 ? nullptr : allocate_shared(dynamic_bytes, {});
    for (const unsigned i : order_) push(i);
    const unsigned first_lane = pop();
    Fiber* first = pool_.take(first_lane, &entry);
#if defined(EMULATION_THREAD_SANITIZER)
    main_sanitizer_fiber_ = __tsan_get_current_fiber();
    // The launch comes before every thread.
    for (auto& lane : lanes_in_use()) {
      __tsan_release(&launch_order_);
      __tsan_switch_to_fiber(lane.sanitizer_fiber, no_order);
      __tsan_acquire(&launch_order_);
      __tsan_switch_to_fiber(main_sanitizer_fiber_, no_order);
    }
#endif
    become(first_lane);
    current_fiber_ = first;
    switch_fiber(main_, *first, false);
    current_fiber_ = nullptr;
#if defined(EMULATION_THREAD_SANITIZER)
    // Every thread comes before what follows the launch.
    for (auto& lane : lanes_in_use()) {
      __tsan_switch_to_fiber(lane.sanitizer_fiber, no_order);
      lane.listen();
      __tsan_release(&end_order_);
      __tsan_switch_to_fiber(main_sanitizer_fiber_, no_order);
    }
    __tsan_acquire(&end_order_);
#endif
    if (error_.empty()) check_guards();
    shared_.clear();
    if (error_.empty()) return;
    pool_.give_back_all();
#if defined(EMULATION_THREAD_SANITIZER)
    // They stand in the middle of a kernel.
    for (auto& lane : lanes_)
      if (lane.sanitizer_fiber != nullptr) __tsan_destroy_fiber(std::exchange(lane.sanitizer_fiber, nullptr));
#endif
    throw LaunchError(error_);
  }

  /// __syncthreads() and its kin: how many of the predicates hold, whether all do, whether any does.
  struct Votes {
    int count, all, any;
  };
  EMULATION_UNINSTRUMENTED Votes barrier(bool predicate, Place place) {
    Lane& lane = lanes_[current_];
    lane.ignore();
    lane.state = State::at_barrier;
    lane.place = place;
    ++at_barrier_;
    votes_.count += predicate;
    votes_.all &= predicate;
    votes_.any |= predicate;
    release_barrier_if_complete();
    wait();
    lanes_[current_].listen();
    return last_votes_;
  }

  /// A warp-wide operation on the bits of a value; the last lane of the mask that arrives computes all results.
  EMULATION_UNINSTRUMENTED std::uint64_t warp(WarpOperation operation, unsigned mask, std::uint64_t value, int argument,
                                              int width, Place place) {
    Lane& lane = lanes_[current_];
    lane.ignore();
    const unsigned first = current_ & ~31U, me = current_ & 31U;
    const unsigned lanes = std::min(32U, threads_ - first);
    const unsigned named = mask & (lanes == 32 ? ~0U : (1U << lanes) - 1);
    lane.state = State::in_warp_operation;
    lane.place = place;
    lane.value = value;
    lane.argument = argument;
    lane.width = width;
    Warp& warp = warps_[first / 32];
    auto group = std::find_if(warp.groups.begin(), warp.groups.end(), [&](const Group& g) { return g.mask == mask; });
    if (group == warp.groups.end()) group = warp.groups.insert(group, Group{mask, 0, operation, place});
    if ((mask >> me & 1U) == 0) {
      fail("warp operation: the calling lane is not in its own mask");
    } else if (group->operation != operation || !(group->place == place)) {
      fail("warp operation: lanes of one mask are at different operations");
    } else if ((warp.ended & named) != 0) {
      fail("warp operation: lane " + std::to_string(std::countr_zero(warp.ended & named)) + " of the mask has ended");
    }
    group->arrived |= 1U << me;
    if (error_.empty() && group->arrived == named) {
      warp.groups.erase(group);
      complete(operation, first, named, lanes);
    }
    wait();
    const std::uint64_t result = lanes_[current_].result;
    lanes_[current_].listen();
    return result;
  }

  /// The static shared object declared at `place`, the same for all threads of the block.
  void* shared_object(std::size_t bytes, Place place) {
    lanes_[current_].ignore();
    const auto object =
        std::find_if(shared_.begin(), shared_.end(), [&](const Shared& known) { return known.place == place; });
    void* data = object != shared_.end() ? object->data() : allocate_shared(bytes, place);
    lanes_[current_].listen();
    return data;
  }
  void* dynamic_shared() const {
    return dynamic_;
  }

 private:
  enum class State : std::uint8_t { fresh, ready, at_barrier, in_warp_operation, ended };

  struct Lane {
    Fiber* fiber = nullptr;
    State state = State::fresh;
    Place place;
    std::uint64_t value = 0, result = 0;
    int argument = 0, width = 32;
    uint3 index{};
#if defined(EMULATION_THREAD_SANITIZER)
    void* sanitizer_fiber = nullptr;
    bool ignored = false;
    /// What the emulator itself touches is not the kernel's business.
    EMULATION_UNINSTRUMENTED void ignore() {
      if (!std::exchange(ignored, true)) __tsan_ignore_thread_begin();
    }
    EMULATION_UNINSTRUMENTED void listen() {
      if (std::exchange(ignored, false)) __tsan_ignore_thread_end();
    }
#else
    void ignore() {}
    void listen() {}
#endif
  };
  struct Group {
    unsigned mask, arrived;
    WarpOperation operation;
    Place place;
  };
  struct Warp {
    std::vector<Group> groups;
    unsigned ended = 0;
  };
  /// Shared memory between two guard zones.
  struct Shared {
    Place place;
    std::size_t bytes;
    std::unique_ptr<unsigned char[], void (*)(unsigned char*)> memory;
    unsigned char* data() const { return memory.get() + guard_bytes; }
    std::size_t tail() const { return (bytes + guard_bytes - 1) / guard_bytes * guard_bytes + guard_bytes - bytes; }
  };

#if defined(EMULATION_THREAD_SANITIZER)
  static constexpr unsigned no_order = 1;  // a switch of fibers orders nothing
  struct LaneRange {
    Lane* first;
    unsigned count;
    Lane* begin() const { return first; }
    Lane* end() const { return first + count; }
  };
  LaneRange lanes_in_use() {
    return {lanes_.data(), threads_};
  }

  /// What the chosen lanes did before comes before what they do after.
  template <class Chosen>
  EMULATION_UNINSTRUMENTED void order_lanes(unsigned first, unsigned count, void* object, Chosen chosen) {
    for (const bool acquire : {false, true})
      for (unsigned i = first; i < first + count; ++i) {
        if (!chosen(i)) continue;
        __tsan_switch_to_fiber(lanes_[i].sanitizer_fiber, no_order);
        acquire ? __tsan_acquire(object) : __tsan_release(object);
      }
    __tsan_switch_to_fiber(lanes_[current_].sanitizer_fiber, no_order);
  }
#endif

  EMULATION_UNINSTRUMENTED void prepare(dim3 shape, void (*body)(void*), void* argument) {
    threads_ = shape.x * shape.y * shape.z;
    body_ = body;
    argument_ = argument;
    error_.clear();
    ended_ = at_barrier_ = 0;
    votes_ = {0, 1, 0};
    if (lanes_.size() < threads_) lanes_.resize(threads_);
    for (unsigned i = 0; i < threads_; ++i) {
      lanes_[i].fiber = nullptr;
      lanes_[i].state = State::fresh;
      lanes_[i].index = {i % shape.x, i / shape.x % shape.y, i / (shape.x * shape.y)};
#if defined(EMULATION_THREAD_SANITIZER)
      if (lanes_[i].sanitizer_fiber == nullptr) lanes_[i].sanitizer_fiber = __tsan_create_fiber(0);
#endif
    }
    warps_.assign((threads_ + 31) / 32, Warp{});
    queue_.assign(threads_ + 1, 0);
    head_ = tail_ = 0;
    order_.resize(threads_);
    for (unsigned i = 0; i < threads_; ++i) order_[i] = options().threads == Order::reverse ? threads_ - 1 - i : i;
    shuffle();
    shared_.clear();
  }

  void shuffle() {
    if (options().threads != Order::shuffle) return;
    if (seed_ != options().seed) random_.seed(seed_ = options().seed);
    std::shuffle(order_.begin(), order_.end(), random_);
  }

  // ---- lanes that can run, a ring

  void push(unsigned lane) {
    lanes_[lane].state = lanes_[lane].state == State::fresh ? State::fresh : State::ready;
    queue_[tail_] = lane;
    tail_ = tail_ + 1 == queue_.size() ? 0 : tail_ + 1;
  }
  unsigned pop() {
    const unsigned lane = queue_[head_];
    head_ = head_ + 1 == queue_.size() ? 0 : head_ + 1;
    return lane;
  }
  bool nobody_can_run() const {
    return head_ == tail_;
  }

  // ---- running them

  EMULATION_UNINSTRUMENTED void become(unsigned lane) {
    current_ = lane;
    threadIdx = lanes_[lane].index;
#if defined(EMULATION_THREAD_SANITIZER)
    __tsan_switch_to_fiber(lanes_[lane].sanitizer_fiber, no_order);
    lanes_[lane].ignore();
#endif
  }

  EMULATION_UNINSTRUMENTED static void entry() {
    instance().run_lanes();
  }

  /// What every fiber does: runs a lane, and then others that have not begun, until it meets one that waits on a fiber
  /// of its own.
  EMULATION_UNINSTRUMENTED __attribute__((noinline)) void run_lanes() {
#if defined(EMULATION_ADDRESS_SANITIZER)
    const void* lowest;
    std::size_t size;
    __sanitizer_finish_switch_fiber(nullptr, &lowest, &size);
    if (main_.lowest == nullptr) {
      main_.lowest = static_cast<char*>(const_cast<void*>(lowest));
      main_.size = size;
    }
#endif
    for (;;) {
      lanes_[current_].fiber = current_fiber_;
      lanes_[current_].state = State::ready;
      run_body();
      lanes_[current_].state = State::ended;
      ++ended_;
      warps_[current_ / 32].ended |= 1U << (current_ & 31U);
      Fiber* mine = current_fiber_;
      if (error_.empty()) release_barrier_if_complete();
      if (error_.empty() && nobody_can_run() && ended_ != threads_) fail("no thread of the block can run");
      if (!error_.empty() || nobody_can_run()) {
        pool_.give_back(mine);
        leave(*mine, true);
      }
      const unsigned next = pop();
      Fiber* to = lanes_[next].fiber;
      become(next);
#if defined(EMULATION_THREAD_SANITIZER)
      if (to == nullptr) to = pool_.take(next, &entry);
#else
      if (to == nullptr) continue;  // a lane that has not begun starts right here
#endif
      pool_.give_back(mine);
      current_fiber_ = to;
      switch_fiber(*mine, *to, true);
    }
  }

  EMULATION_UNINSTRUMENTED void run_body() {
    lanes_[current_].listen();
    try {
      body_(argument_);
    } catch (const std::exception& e) {
      lanes_[current_].ignore();
      fail(std::string("exception in a kernel: ") + e.what());
    }
    lanes_[current_].ignore();
  }

  /// Back to run().
  EMULATION_UNINSTRUMENTED void leave(Fiber& mine, bool ends) {
#if defined(EMULATION_THREAD_SANITIZER)
    __tsan_switch_to_fiber(main_sanitizer_fiber_, no_order);
#endif
    switch_fiber(mine, main_, ends);
  }

  /// The current lane cannot go on: another one does, until it can.
  EMULATION_UNINSTRUMENTED void wait() {
    Fiber* mine = current_fiber_;
    const unsigned lane = current_;
    if (error_.empty() && nobody_can_run()) fail("no thread of the block can run");
    if (!error_.empty()) leave(*mine, false);
    const unsigned next = pop();
    Fiber* to = lanes_[next].fiber;
    become(next);
    if (next == lane) return;
    if (to == nullptr) to = lanes_[next].fiber = pool_.take(next, &entry);
    current_fiber_ = to;
    switch_fiber(*mine, *to, false);
  }

  // ---- barriers and warps

  EMULATION_UNINSTRUMENTED void release_barrier_if_complete() {
    if (at_barrier_ == 0 || at_barrier_ + ended_ != threads_) return;
    const Lane* first = nullptr;
    for (unsigned i = 0; i < threads_; ++i) {
      if (lanes_[i].state != State::at_barrier) continue;
      if (first == nullptr) first = &lanes_[i];
      if (!(first->place == lanes_[i].place)) return fail("threads of one block wait at different barriers");
    }
    if (ended_ != 0)
      return fail("a barrier that not all threads reach: " + std::to_string(ended_) + " of the block have ended");
#if defined(EMULATION_THREAD_SANITIZER)
    order_lanes(0, threads_, &barrier_order_, [](unsigned) { return true; });
#endif
    last_votes_ = votes_;
    votes_ = {0, 1, 0};
    at_barrier_ = 0;
    shuffle();
    for (const unsigned i : order_) push(i);
  }

  EMULATION_UNINSTRUMENTED void complete(WarpOperation operation, unsigned first, unsigned named, unsigned lanes) {
    using enum WarpOperation;
    const auto is_named = [&](unsigned i) { return (named >> i & 1U) != 0; };
#if defined(EMULATION_THREAD_SANITIZER)
    // Shuffles and votes order no memory.
    if (operation == synchronise)
      order_lanes(first, lanes, &warp_order_[first / 32], [&](unsigned i) { return is_named(i - first); });
#endif
    unsigned holds = 0, sum = 0, least_value = ~0U, greatest_value = 0;
    for (unsigned i = 0; i < lanes; ++i) {
      if (!is_named(i)) continue;
      const std::uint64_t value = lanes_[first + i].value;
      if (value != 0) holds |= 1U << i;
      sum += static_cast<unsigned>(value);
      least_value = std::min(least_value, static_cast<unsigned>(value));
      greatest_value = std::max(greatest_value, static_cast<unsigned>(value));
    }
    for (unsigned i = 0; i < lanes; ++i) {
      if (!is_named(i)) continue;
      Lane& lane = lanes_[first + i];
      switch (operation) {
        case shuffle:
        case shuffle_xor:
        case shuffle_up:
        case shuffle_down: {
          const int source = source_lane(operation, static_cast<int>(i), lane);
          if (source >= static_cast<int>(lanes) || !is_named(static_cast<unsigned>(source)))
            return fail("a shuffle reads lane " + std::to_string(source) + ", which is not in its mask");
          lane.result = lanes_[first + static_cast<unsigned>(source)].value;
          break;
        }
        case ballot:
          lane.result = holds;
          break;
        case any:
          lane.result = holds != 0;
          break;
        case all:
          lane.result = holds == named;
          break;
        case add:
          lane.result = sum;
          break;
        case least:
          lane.result = least_value;
          break;
        case greatest:
          lane.result = greatest_value;
          break;
        case match:
          lane.result = 0;
          for (unsigned k = 0; k < lanes; ++k)
            if (is_named(k) && lanes_[first + k].value == lane.value) lane.result |= 1U << k;
          break;
        case synchronise:
          break;
      }
    }
    unsigned order[32];
    for (unsigned i = 0; i < lanes; ++i) order[i] = options().threads == Order::reverse ? lanes - 1 - i : i;
    if (options().threads == Order::shuffle) std::shuffle(order, order + lanes, random_);
    for (unsigned k = 0; k < lanes; ++k)
      if (is_named(order[k])) push(first + order[k]);
  }

  static int source_lane(WarpOperation operation, int me, const Lane& lane) {
    const int segment = me & ~(lane.width - 1);
    int source = me;
    if (operation == WarpOperation::shuffle) source = segment + (lane.argument & (lane.width - 1));
    if (operation == WarpOperation::shuffle_xor) source = me ^ lane.argument;
    if (operation == WarpOperation::shuffle_up) source = me - lane.argument;
    if (operation == WarpOperation::shuffle_down) source = me + lane.argument;
    return source < segment || source >= segment + lane.width ? me : source;
  }

  // ---- shared memory

  unsigned char* allocate_shared(std::size_t bytes, Place place) {
    Shared object{place, bytes, {nullptr, [](unsigned char* p) {
#if defined(EMULATION_ADDRESS_SANITIZER)
                                   ASAN_UNPOISON_MEMORY_REGION(p, 1);
#endif
                                   ::operator delete[](p, std::align_val_t{guard_bytes});
                                 }}};
    const std::size_t total = guard_bytes + bytes + object.tail();
    object.memory.reset(static_cast<unsigned char*>(::operator new[](total, std::align_val_t{guard_bytes})));
    unsigned char* data = object.data();
    std::memset(object.memory.get(), guard_pattern, total);
    std::memset(data, poison, bytes);
#if defined(EMULATION_ADDRESS_SANITIZER)
    ASAN_POISON_MEMORY_REGION(object.memory.get(), guard_bytes);
    ASAN_POISON_MEMORY_REGION(data + bytes, object.tail());
#endif
    shared_.push_back(std::move(object));
    return data;
  }

  EMULATION_UNINSTRUMENTED void check_guards() {
    for (const auto& object : shared_) {
#if defined(EMULATION_ADDRESS_SANITIZER)
      ASAN_UNPOISON_MEMORY_REGION(object.memory.get(), guard_bytes + object.bytes + object.tail());
#endif
      const auto intact = [](const unsigned char* from, std::size_t count) {
        return std::all_of(from, from + count, [](unsigned char byte) { return byte == guard_pattern; });
      };
      if (!intact(object.memory.get(), guard_bytes) || !intact(object.data() + object.bytes, object.tail()))
        fail("a kernel wrote beside its shared memory of " + std::to_string(object.bytes) + " bytes" +
             (object.place.line != 0 ? " declared at " + object.place.text() : " given at the launch"));
    }
  }

  // ---- errors

  void fail(const std::string& what) {
    if (!error_.empty()) return;
    static const char* const names[] = {"not started", "runnable", "at a barrier", "in a warp operation", "ended"};
    struct Crowd {
      State state;
      Place place;
      unsigned count, first;
    };
    std::vector<Crowd> crowds;
    for (unsigned i = 0; i < threads_; ++i) {
      const bool waits = lanes_[i].state == State::at_barrier || lanes_[i].state == State::in_warp_operation;
      const Place place = waits ? lanes_[i].place : Place{};
      auto crowd = std::find_if(crowds.begin(), crowds.end(),
                                [&](const Crowd& c) { return c.state == lanes_[i].state && c.place == place; });
      if (crowd == crowds.end()) crowd = crowds.insert(crowd, Crowd{lanes_[i].state, place, 0, i});
      ++crowd->count;
    }
    error_ = what;
    for (const Crowd& crowd : crowds)
      error_ += "\n  " + std::to_string(crowd.count) + " thread(s) " + names[static_cast<int>(crowd.state)] +
                (crowd.place.line != 0 ? " " + crowd.place.text() : std::string()) + ", the first is " +
                std::to_string(crowd.first);
    error_ += "\n  block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " +
              std::to_string(blockIdx.z) + ")";
  }

  FiberPool pool_;
  Fiber main_;
  Fiber* current_fiber_ = nullptr;
  std::vector<Lane> lanes_;
  std::vector<Warp> warps_;
  std::vector<Shared> shared_;
  void* dynamic_ = nullptr;
  unsigned threads_ = 0, current_ = 0, ended_ = 0, at_barrier_ = 0;
  Votes votes_{0, 1, 0}, last_votes_{0, 1, 0};
  std::vector<unsigned> queue_, order_;
  std::size_t head_ = 0, tail_ = 0;
  std::mt19937_64 random_;
  std::uint64_t seed_ = 0;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::string error_;
#if defined(EMULATION_THREAD_SANITIZER)
  void* main_sanitizer_fiber_ = nullptr;
  char launch_order_ = 0, end_order_ = 0, barrier_order_ = 0, warp_order_[32] = {};
#endif
};

/// Runs kernel(arguments...) for every block of the grid. Throws LaunchError.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t dynamic_bytes, Arguments&&... arguments) {
  const std::size_t blocks = std::size_t{grid.x} * grid.y * grid.z;
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  // Limits of compute capability 9.0; the y and z extents of a grid are the traps.
  if (blocks == 0 || threads == 0 || threads > 1024 || block.z > 64 || grid.y > 65535 || grid.z > 65535 ||
      dynamic_bytes > 227 * 1024)
    throw LaunchError("invalid configuration: grid " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                      std::to_string(grid.z) + ", block " + std::to_string(block.x) + " x " + std::to_string(block.y) +
                      " x " + std::to_string(block.z) + ", " + std::to_string(dynamic_bytes) +
                      " bytes of dynamic shared memory");
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  } call{kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)};
  const auto body = +[](void* p) {
    auto& c = *static_cast<Call*>(p);
    std::apply(c.kernel, c.arguments);
  };
  std::vector<std::size_t> order(blocks);
  for (std::size_t i = 0; i < blocks; ++i) order[i] = options().blocks == Order::reverse ? blocks - 1 - i : i;
  if (options().blocks == Order::shuffle) {
    std::mt19937_64 random(options().seed);
    std::shuffle(order.begin(), order.end(), random);
  }
  blockDim = block;
  gridDim = grid;
  for (const std::size_t i : order) {
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / (std::size_t{grid.x} * grid.y))};
    Block::instance().run(block, dynamic_bytes, body, &call);
  }
}

}  // namespace emulation
