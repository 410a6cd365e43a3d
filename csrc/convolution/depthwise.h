// Depthwise convolution: every channel has its own filter.
#pragma once

#include "finish.h"
#include "foundation/threads.h"
#include "isa/kernels.h"
#include "shape.h"

#include <cstdint>
#include <vector>

namespace bibench {

// Depthwise convolutions (one filter per channel) have a way of their own, on signs as bytes.
bool is_depthwise(const Shape& shape);

struct DepthwiseWeight {
  std::vector<int8_t> by_channel, by_tap;  // [channel][tap] and [tap][channel]
};

DepthwiseWeight pack_depthwise(const Shape& shape, const float* weight, Strides strides);
DepthwiseWeight pack_depthwise(const Shape& shape, const uint8_t* bits);

void convolve_depthwise(const Kernels& kernels, const Shape& shape, const float* x, Strides x_strides,
                        const DepthwiseWeight& weight, const float* shift, const Finish& finish, float* out,
                        Strides out_strides, const Threads& threads);

}  // namespace bibench
