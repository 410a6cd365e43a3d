// Binary convolution and matrix product of float tensors: sign, pack, count, scale.
#pragma once

#include "aligned.h"
#include "finish.h"
#include "kernels.h"
#include "threads.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace bibench {

// A convolution of (n, c, h, w) with (co, c / groups, kh, kw). One-dimensional convolutions have h = kh = 1, a
// matrix product of rows is a 1x1 convolution of (rows, c, 1, 1). Sizes have been checked by the caller.
struct Shape {
  int64_t n, c, h, w;
  int64_t co, kh, kw;
  int64_t stride_h, stride_w;
  int64_t top, bottom, left, right;  // padding
  int64_t dilation_h, dilation_w;
  int64_t groups;
  int pad_value;  // what padding holds after the sign: 0, 1 or -1

  int64_t out_h() const { return (h + top + bottom - dilation_h * (kh - 1) - 1) / stride_h + 1; }
  int64_t out_w() const { return (w + left + right - dilation_w * (kw - 1) - 1) / stride_w + 1; }
  int64_t group_in() const { return c / groups; }
  int64_t group_out() const { return co / groups; }
  int64_t taps() const { return kh * kw; }
  // An output for each pixel, of that pixel alone: pixels may then be taken for rows, columns or images alike.
  bool pointwise() const {
    return taps() == 1 && stride_h == 1 && stride_w == 1 && !top && !bottom && !left && !right;
  }
  int64_t tap_words() const { return (group_in() + kWordBits - 1) / kWordBits; }
  int64_t words() const { return taps() * tap_words(); }
  int64_t blocks() const { return (group_out() + kLanes - 1) / kLanes; }
};

// Strides of a tensor in elements, for (n, c, h, w) or, of a weight, (co, c, kh, kw).
struct Strides {
  int64_t n, c, h, w;
};

// The signs of a weight, packed for the kernels: [group][block][word][lane].
struct PackedWeight {
  AlignedVector<uint32_t> words;
  // Sum of the signs under each tap, [group][tap][block * lane]: what zero padding has to give back.
  std::vector<int32_t> tap_sums;
};

PackedWeight pack_weight(const Kernels& kernels, const Shape& shape, const float* weight, Strides strides,
                         const Threads& threads = 1);
// The same from bits: for each output channel ceil(n / 8) bytes, least significant bit first, over (c, kh, kw).
PackedWeight pack_weight(const Shape& shape, const uint8_t* bits);

// What a convolution needs beside its values, for one shape (of any n), weight and instruction set; made once, used often.
struct Plan;
std::shared_ptr<const Plan> make_plan(const Kernels& kernels, const Shape& shape, const PackedWeight& weight);

// out = scale[co] * (sign(x + shift) conv sign(weight)) + bias[co], and what else `finish` says; shift may be null. x
// and out are contiguous or channels-last; the strides of memory that is both (one channel, or one pixel) are those
// of channels-last. A `plan` made for the shape and the kernels saves making one.
void convolve(const Kernels& kernels, const Shape& shape, const float* x, Strides x_strides, const PackedWeight& weight,
              const float* shift, const Finish& finish, float* out, Strides out_strides, const Threads& threads,
              const Plan* plan = nullptr);

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

// The layout in which channels come before pixels, with the strides `convolve` expects of it.
Strides planar(int64_t c, int64_t h, int64_t w);

// Number of set bits.
int32_t bits_set(uint32_t v);

}  // namespace bibench
