// Matrix products of two dynamic operands, as in attention.
#pragma once

#include "foundation/threads.h"
#include "isa/kernels.h"

#include <cstdint>

namespace bibench {

// One operand: `batch` x `rows` vectors of `length` values. Either `row` or `value`, the strides, is 1.
struct Vectors {
  const float* data;
  int64_t rows;
  int64_t batch_outer, batch_inner;  // strides of the two batch axes
  int64_t row, value;
};

enum class Product {
  kSigns,  // sign(a) . sign(b)
  kMask,   // (a > 1/2) . sign(b), for a of zeros and ones
};

// out[o][i][m][n] = a[o][i][m] . b[o][i][n], contiguous; the batch is outer x inner.
void matmul(const Kernels& kernels, Product product, int64_t outer, int64_t inner, int64_t length, const Vectors& a,
            const Vectors& b, float* out, const Threads& threads);

}  // namespace bibench
