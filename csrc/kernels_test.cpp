// Every kernel of every instruction set this processor has against its definition, on random shapes with a fixed
// seed. The definitions are scalar loops over floats that share nothing with the kernels; results are compared bit for
// bit. They are in the folders of the kernels (*_test.cpp); here is the program:
//
//   kernels_test [cases] [seed]
//
// Prints a line per instruction set; the first difference ends it with the case and status 1. See csrc/check.

#include "kernels_test.h"

#include <cstdio>
#include <cstdlib>
#include <iterator>

using namespace bibench;
using namespace bibench::testing;

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
