// The sizes of a convolution, and where its tensors lie in memory.
#pragma once

#include "isa/kernels.h"

#include <cstdint>

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

// The layout in which channels come before pixels, with the strides `convolve` expects of it.
Strides planar(int64_t c, int64_t h, int64_t w);

}  // namespace bibench
