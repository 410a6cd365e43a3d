// The checks of kernels_test: each feeds kernels of one kind a random case and compares with the definition.
#pragma once

#include "foundation/testing.h"
#include "isa/dispatch.h"

namespace bibench::testing {

// foundation/threads_test.cpp
void check_threads();

// isa/products_test.cpp
void check_products(const Kernels& k);

// isa/packing_test.cpp
void check_packing(const Kernels& k);
void check_transpose(const Kernels& k);

// elementwise/surrogates_test.cpp
void check_gradients(const Kernels& k);
void check_waves(const Kernels& k);

// elementwise/bytes_test.cpp
void check_bytes(const Kernels& k);

// elementwise/rows_test.cpp
void check_rows(const Kernels& k);

// elementwise/columns_test.cpp
void check_factors(const Kernels& k);

// convolution/convolution_test.cpp
void check_convolution(const Kernels& k);

// matmul/matmul_test.cpp
void check_matmul(const Kernels& k);

}  // namespace bibench::testing
