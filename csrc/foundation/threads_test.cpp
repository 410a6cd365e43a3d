// Loops on threads. See kernels_test.cpp.

#include "kernels_test.h"
#include "threads.h"

#include <atomic>
#include <cstdint>
#include <new>
#include <thread>
#include <vector>

namespace bibench::testing {

// Every index once, loops inside loops, loops from several threads at once, and a body that throws.
void check_threads() {
  current = "parallel_for";
  for (int round = 0; round < 200; ++round) {
    const int64_t count = between(0, 50);
    Buffer<int> seen(count), once(count, 1);
    parallel_for(count, static_cast<int>(between(1, 5)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) parallel_for(1, 3, [&](int64_t, int64_t) { ++seen[i]; });
    });
    expect(seen, once);
  }
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t)
    callers.emplace_back([&sum] {
      for (int round = 0; round < 50; ++round)
        parallel_for(20, 3, [&sum](int64_t begin, int64_t end) { sum += end - begin; });
    });
  for (auto& caller : callers) caller.join();
  if (sum != 3 * 50 * 20) fail("several callers: " + text(sum.load()));
  bool caught = false;
  try {
    parallel_for(4, 4, [](int64_t begin, int64_t) {
      if (begin == 3) throw std::bad_alloc();
    });
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  if (!caught) fail("an exception of a body did not reach the caller");
}

}  // namespace bibench::testing
