// Float convolutions of few channels, as networks begin with, by polyphase Winograd filtering.
//
// A convolution with strides (sy, sx) is the sum of sy * sx convolutions with stride 1: input pixels fall into phases by
// their remainders, and each phase has the filter's taps of its remainder. Padded to the same size, all phases share one
// Winograd transform and their products are summed there, so that phases are further input channels: a 7x7 filter with
// stride 2 takes 16 products per output and channel instead of 49. Max pooling behind it happens in the cache.
#pragma once

#include "convolution/finish.h"
#include "foundation/aligned.h"
#include "foundation/threads.h"
#include "isa/kernels.h"
#include "winograd.h"

#include <cstdint>
#include <vector>

namespace bibench {

inline constexpr int64_t kMostTaps = 4;   // of a phase along an axis
inline constexpr int64_t kMostPool = 16;  // size of a window along an axis

// Sizes have been checked by the caller: strides times kMostTaps are at least the filter's size.
struct StemShape {
  int64_t n, c, h, w;
  int64_t co, kh, kw;
  int64_t stride_h, stride_w;
  int64_t top, bottom, left, right;
  // Max pooling; a size of 1 with stride 1 for none. Less padding than size.
  int64_t pool_h = 1, pool_w = 1, pool_stride_h = 1, pool_stride_w = 1;
  int64_t pool_top = 0, pool_bottom = 0, pool_left = 0, pool_right = 0;

  int64_t high() const { return (h + top + bottom - kh) / stride_h + 1; }  // before pooling
  int64_t wide() const { return (w + left + right - kw) / stride_w + 1; }
  int64_t out_h() const { return (high() + pool_top + pool_bottom - pool_h) / pool_stride_h + 1; }
  int64_t out_w() const { return (wide() + pool_left + pool_right - pool_w) / pool_stride_w + 1; }
  bool pools() const { return pool_h > 1 || pool_w > 1 || pool_stride_h > 1 || pool_stride_w > 1; }
  int64_t phases() const { return stride_h * stride_w; }
  int64_t taps() const;  // of a phase along an axis: 2 to kMostTaps
};

// The steps for the instruction set of `kernels`.
const Winograd& winograd_for(const Kernels& kernels);

// A filter in the transformed domain, [block][product][input of the product][lane]; inputs are phases of channels.
struct StemWeight {
  const Winograd* steps;
  std::vector<int32_t> list;
  int32_t count[kProducts];
  AlignedVector<float> values;
};

// `weight` is (co, c, kh, kw), contiguous.
StemWeight transform_stem(const Winograd& steps, const StemShape& shape, const float* weight);

// x (n, c, h, w) and out (n, co, out_h, out_w) are contiguous. Of `finish` bias and activation count.
void convolve_stem(const Kernels& kernels, const StemShape& shape, const float* x, const StemWeight& weight,
                   const Finish& finish, float* out, const Threads& threads);

}  // namespace bibench
