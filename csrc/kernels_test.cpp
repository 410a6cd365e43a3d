// Every kernel of every instruction set this processor has against its definition, on random shapes with a fixed
// seed. The definitions are scalar loops over floats that share nothing with the kernels; results are compared bit for
// bit. They are in convolution_test.cpp and elementwise_test.cpp; here are the threads, and the program:
//
//   kernels_test [cases] [seed]
//
// Prints a line per instruction set; the first difference ends it with the case and status 1. See csrc/check.

#include "kernels_test.h"
#include "threads.h"

#include <atomic>
#include <new>
#include <thread>
#include <vector>

using namespace bibench;
using namespace bibench::testing;

namespace {

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

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 600;
  const unsigned seed = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1;
  void (*const checks[])(const Kernels&) = {check_convolution, check_matmul,    check_products, check_packing,
                                            check_transpose,   check_gradients, check_bytes,    check_rows,
                                            check_waves,       check_factors};
  check_threads();
  for (const Kernels* kernels : available_kernels()) {
    random_bits.seed(seed);  // the same cases for all
    for (const auto check : checks)
      for (int i = 0; i < cases; ++i) check(*kernels);
    std::printf("%s: %zu kinds of kernels, %d random cases each, all equal to their definition\n", kernels->name,
                std::size(checks), cases);
  }
  return 0;
}
