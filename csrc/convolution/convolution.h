// Binary convolution and matrix product of float tensors: sign, pack, count, scale.
#pragma once

#include "finish.h"
#include "foundation/threads.h"
#include "isa/kernels.h"
#include "shape.h"
#include "weight.h"

#include <memory>

namespace bibench {

// What a convolution needs beside its values, for one shape (of any n), weight and instruction set; made once, used often.
struct Plan;
std::shared_ptr<const Plan> make_plan(const Kernels& kernels, const Shape& shape, const PackedWeight& weight);

// out = scale[co] * (sign(x + shift) conv sign(weight)) + bias[co], and what else `finish` says; shift may be null. x
// and out are contiguous or channels-last; the strides of memory that is both (one channel, or one pixel) are those
// of channels-last. A `plan` made for the shape and the kernels saves making one.
void convolve(const Kernels& kernels, const Shape& shape, const float* x, Strides x_strides, const PackedWeight& weight,
              const float* shift, const Finish& finish, float* out, Strides out_strides, const Threads& threads,
              const Plan* plan = nullptr);

}  // namespace bibench
