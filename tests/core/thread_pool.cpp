#include <eosin/core/thread_pool.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace eosin;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

}  // namespace

TEST_CASE("thread pool: every task runs once, workers are numbered") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const Index tasks : {0, 1, 2, 7, 1000}) {
      CAPTURE(threads);
      CAPTURE(tasks);
      std::vector<std::atomic<int>> runs(at(tasks));
      std::atomic<bool> numbered{true};
      pool.run(tasks, [&](Index task, int worker) {
        ++runs[at(task)];
        if (worker < 0 || worker >= threads) numbered = false;
      });
      bool once = true;
      for (const auto& count : runs) once = once && count == 1;
      CHECK(once);
      CHECK(numbered);
    }
  }
}

TEST_CASE("thread pool: a thread count below one is one") {
  CHECK(ThreadPool(0).threads() == 1);
  CHECK(ThreadPool(-3).threads() == 1);
  int runs = 0;
  ThreadPool(-3).run(5, [&](Index, int worker) { runs += worker == 0; });
  CHECK(runs == 5);
}

TEST_CASE("thread pool: no task for a negative number of tasks") {
  ThreadPool pool(2);
  bool ran = false;
  pool.run(-1, [&](Index, int) { ran = true; });
  CHECK_FALSE(ran);
}

TEST_CASE("thread pool: what tasks wrote is visible after run, and what was written before is visible to tasks") {
  ThreadPool pool(4);
  std::vector<Index> plain(512);
  for (Index round = 0; round < 200; ++round) {
    for (auto& value : plain) value = round;
    pool.run(512, [&](Index task, int) { plain[at(task)] += task; });
    Index sum = 0;
    for (const Index value : plain) sum += value;
    REQUIRE(sum == 512 * round + 512 * 511 / 2);
  }
}

TEST_CASE("thread pool: one worker has its scratch for itself") {
  ThreadPool pool(4);
  std::vector<Index> scratch(4);
  std::vector<Index> result(1000);
  pool.run(1000, [&](Index task, int worker) {
    scratch[at(worker)] = task;
    result[at(task)] = scratch[at(worker)];
  });
  for (Index i = 0; i < 1000; ++i) REQUIRE(result[at(i)] == i);
}

TEST_CASE("thread pool: many short generations, with pauses that let workers sleep") {
  ThreadPool pool(3);
  std::atomic<Index> total{0};
  for (int generation = 0; generation < 1000; ++generation)
    pool.run(4, [&](Index task, int) { total += task; });
  CHECK(total == 1000 * 6);
  for (int generation = 0; generation < 20; ++generation) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    pool.run(4, [&](Index task, int) { total += task; });
  }
  CHECK(total == 1020 * 6);
}

TEST_CASE("thread pool: pools that are never used end at once, and so do used ones") {
  for (int i = 0; i < 50; ++i) {
    ThreadPool unused(3);
    ThreadPool used(3);
    std::atomic<int> runs{0};
    used.run(3, [&](Index, int) { ++runs; });
    REQUIRE(runs == 3);
  }
}

TEST_CASE("thread pool: an exception of a task reaches the caller, and the pool lives on") {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    CAPTURE(threads);
    for (int round = 0; round < 50; ++round) {
      CHECK_THROWS_WITH_AS(pool.run(100,
                                    [&](Index task, int) {
                                      if (task == 13) throw std::invalid_argument("task 13");
                                    }),
                           "task 13", std::invalid_argument);
      std::atomic<int> runs{0};
      pool.run(100, [&](Index, int) { ++runs; });
      REQUIRE(runs == 100);
    }
  }
}

TEST_CASE("thread pool: exceptions of several tasks at once become one") {
  ThreadPool pool(4);
  for (int round = 0; round < 100; ++round)
    CHECK_THROWS_AS(pool.run(64, [](Index task, int) { throw std::runtime_error(std::to_string(task)); }),
                    std::runtime_error);
  std::atomic<int> runs{0};
  pool.run(64, [&](Index, int) { ++runs; });
  CHECK(runs == 64);
}

TEST_CASE("thread pool: after an exception the remaining tasks are left out") {
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    std::atomic<Index> runs{0};
    CHECK_THROWS(pool.run(1000000, [&](Index, int) {
      ++runs;
      throw std::runtime_error("stop");
    }));
    CHECK(runs <= threads);
  }
}

TEST_CASE("thread pool: a task that calls run does the inner tasks itself, as the same worker") {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> runs(20 * 30);
  std::atomic<bool> same{true};
  pool.run(20, [&](Index outer, int worker) {
    const auto thread = std::this_thread::get_id();
    pool.run(30, [&](Index inner, int inner_worker) {
      ++runs[at(outer * 30 + inner)];
      if (inner_worker != worker || std::this_thread::get_id() != thread) same = false;
    });
  });
  CHECK(same);
  bool once = true;
  for (const auto& count : runs) once = once && count == 1;
  CHECK(once);

  // Three deep, and parallel again afterwards.
  std::atomic<int> deep{0};
  pool.run(3, [&](Index, int) {
    pool.run(3, [&](Index, int) { pool.run(3, [&](Index, int) { ++deep; }); });
  });
  CHECK(deep == 27);
}

TEST_CASE("thread pool: an exception passes through nested runs") {
  ThreadPool pool(3);
  CHECK_THROWS_WITH(pool.run(6,
                             [&](Index outer, int) {
                               pool.run(6, [&](Index inner, int) {
                                 if (outer == 4 && inner == 2) throw std::runtime_error("inner");
                               });
                             }),
                    "inner");
  std::atomic<int> runs{0};
  pool.run(6, [&](Index, int) { ++runs; });
  CHECK(runs == 6);
}

TEST_CASE("thread pool: a task of one pool may use another") {
  ThreadPool outer(2);
  ThreadPool inner(3);
  // Inside a task, inner work stays on the thread; its worker number must fit the pool that runs it.
  std::atomic<int> runs{0};
  std::atomic<bool> numbered{true};
  outer.run(1, [&](Index, int) {
    inner.run(10, [&](Index, int worker) {
      ++runs;
      if (worker < 0 || worker >= inner.threads()) numbered = false;
    });
  });
  CHECK(runs == 10);
  CHECK(numbered);

  ThreadPool wide(4);
  ThreadPool narrow(1);
  std::atomic<bool> fits{true};
  wide.run(64, [&](Index, int) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    ThreadPool own(1);
    own.run(2, [&](Index, int worker) {
      if (worker != 0) fits = false;
    });
  });
  CHECK(fits);
}

TEST_CASE("thread pool: pools are independent of each other") {
  ThreadPool a(2);
  ThreadPool b(2);
  std::atomic<int> runs{0};
  std::jthread other([&] {
    for (int i = 0; i < 300; ++i) b.run(4, [&](Index, int) { ++runs; });
  });
  for (int i = 0; i < 300; ++i) a.run(4, [&](Index, int) { ++runs; });
  other.join();
  CHECK(runs == 2400);
}

TEST_CASE("thread pool: callables may be const, mutable, and move-only") {
  ThreadPool pool(2);
  std::atomic<int> runs{0};
  const auto constant = [&](Index, int) { ++runs; };
  pool.run(5, constant);
  auto owned = [&, token = std::make_unique<int>(1)](Index, int) { runs += *token; };
  pool.run(5, owned);
  pool.run(5, std::move(owned));
  CHECK(runs == 15);
}
