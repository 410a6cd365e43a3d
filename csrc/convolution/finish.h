// What follows the dot products of a layer: scales, bias, residual and activation, while outputs are in the cache.
#pragma once

#include "isa/kernels.h"

#include <cstdint>

namespace bibench {

struct Shape;
struct Strides;

// out = activation(((dot * ((scale[co] * rows[y]) * columns[x])) * pixels[n, group, y, x]) * post_scale[co]
//                  + bias[co] + residual[n, co, y, x])
// where `gamma`, if given, takes the place of scale, rows and columns.
// Null pointers leave their factor or term out.
struct Finish {
  const float* scale = nullptr;       // (co)
  const float* bias = nullptr;        // (co)
  const float* rows = nullptr;        // (out_h)
  const float* columns = nullptr;     // (out_w)
  const float* gamma = nullptr;       // (co, out_h, out_w), with the strides of the output
  int16_t* kept = nullptr;            // takes the dot products where there is gamma, with the strides of the output
  const float* pixels = nullptr;      // (n, pixel_groups, out_h, out_w), contiguous
  int64_t pixel_groups = 1;           // 1, or the groups of the convolution
  const float* post_scale = nullptr;  // (co)
  const float* residual = nullptr;    // with the strides of the output
  Activation activation = Activation::kNone;
  const float* slope = nullptr;  // (co), or one for all
  bool slope_per_channel = false;
  float low = 0.0f, high = 0.0f;  // of kClip

  // What the product's own epilogue can do in registers: the scale where no other factor joins it, the bias where
  // nothing stands between.
  bool scale_early() const { return !rows && !columns && !gamma; }
  bool bias_early() const { return scale_early() && !pixels && !post_scale; }
  bool after_gamma() const { return pixels || post_scale || bias || residual || activation != Activation::kNone; }
  bool pixels_alone() const {
    return pixels && scale_early() && !post_scale && !bias && !residual && activation == Activation::kNone;
  }
  // Whether anything is left for `finish_rows`.
  bool late() const { return !bias_early() || residual || activation != Activation::kNone; }
};

// Finishes output rows [first, first + rows) of one image in place: `channels` channels from `channel` on (within one
// group).
void finish_rows(const Kernels& kernels, const Shape& shape, const Finish& finish, float* out, const Strides& strides,
                 int64_t image, int64_t first, int64_t rows, int64_t channel, int64_t channels);

}  // namespace bibench
