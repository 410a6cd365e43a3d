// The checks of kernels_test: each feeds kernels of one kind a random case and compares with the definition.
#pragma once

#include "dispatch.h"
#include "testing.h"

namespace bibench::testing {

// convolution_test.cpp
void check_convolution(const Kernels& k);
void check_matmul(const Kernels& k);
void check_products(const Kernels& k);
void check_packing(const Kernels& k);
void check_transpose(const Kernels& k);
void check_bytes(const Kernels& k);

// elementwise_test.cpp
void check_gradients(const Kernels& k);
void check_waves(const Kernels& k);
void check_factors(const Kernels& k);
void check_rows(const Kernels& k);

}  // namespace bibench::testing
