// Convolutions, and weights packed from bits, against their definition. See kernels_test.cpp.

#include "convolution.h"
#include "depthwise.h"
#include "kernels_test.h"

#include <algorithm>
#include <string>

namespace bibench::testing {
namespace {

float activated(float v, const Finish& f, int64_t channel) {
  if (f.activation == Activation::kRelu && v < 0.0f) return 0.0f;
  if (f.activation == Activation::kPrelu && v < 0.0f) return v * f.slope[f.slope_per_channel ? channel : 0];
  if (f.activation == Activation::kClip && v < f.low) v = f.low;
  if (f.activation == Activation::kClip && v > f.high) v = f.high;
  return v;
}

Floats convolution(const Shape& s, const Floats& x, const Strides& xs, const Floats& w, const Strides& ws,
                   const float* shift, const Finish& f, const Strides& os) {
  Floats out(s.n * s.co * s.out_h() * s.out_w());
  const int64_t per_group = s.co / s.groups, inputs = s.c / s.groups;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t o = 0; o < s.co; ++o)
      for (int64_t y = 0; y < s.out_h(); ++y)
        for (int64_t v = 0; v < s.out_w(); ++v) {
          int64_t dot = 0;
          for (int64_t i = 0; i < inputs; ++i)
            for (int64_t ky = 0; ky < s.kh; ++ky)
              for (int64_t kx = 0; kx < s.kw; ++kx) {
                const int64_t row = y * s.stride_h + ky * s.dilation_h - s.top;
                const int64_t column = v * s.stride_w + kx * s.dilation_w - s.left;
                const int64_t channel = o / per_group * inputs + i;
                int a = s.pad_value;
                if (row >= 0 && row < s.h && column >= 0 && column < s.w) {
                  const float real = x[n * xs.n + channel * xs.c + row * xs.h + column * xs.w];
                  a = sign_of(shift ? real + shift[channel] : real);
                }
                dot += a * sign_of(w[o * ws.n + i * ws.c + ky * ws.h + kx * ws.w]);
              }
          float result = static_cast<float>(dot), factor = f.scale ? f.scale[o] : 1.0f;
          if (f.rows) factor *= f.rows[y];
          if (f.columns) factor *= f.columns[v];
          result *= factor;
          const int64_t plane = n * f.pixel_groups + (f.pixel_groups > 1 ? o / per_group : 0);
          if (f.pixels) result *= f.pixels[(plane * s.out_h() + y) * s.out_w() + v];
          if (f.post_scale) result *= f.post_scale[o];
          if (f.bias) result += f.bias[o];
          const int64_t at = n * os.n + o * os.c + y * os.h + v * os.w;
          if (f.residual) result += f.residual[at];
          out[at] = activated(result, f, o);
        }
  return out;
}

// Where both layouts are the same memory, its strides are those of channels-last (see convolution.h).
Strides strides(int64_t c, int64_t h, int64_t w, bool last) {
  return last || c == 1 || h * w == 1 ? Strides{h * w * c, 1, w * c, c} : Strides{c * h * w, h * w, w, 1};
}

Shape shape() {
  Shape s;
  const int kind = static_cast<int>(between(0, 5));
  s.n = between(0, 9) ? between(1, 3) : between(0, 20);
  s.groups = 1;
  if (kind == 0) {  // depthwise
    s.c = s.co = s.groups = between(1, 70);
  } else if (kind == 1) {
    s.groups = between(1, 4);
    s.c = s.groups * between(1, 40);
    s.co = s.groups * between(1, 20);
  } else {
    s.c = between(0, 3) ? between(1, 70) : between(100, 300);
    s.co = between(1, 50);
  }
  const int64_t largest = between(0, 5) ? 4 : 11;
  s.kh = between(1, largest), s.kw = between(1, largest);
  if (kind == 2) s.kh = s.kw = 1;
  s.stride_h = between(1, 3), s.stride_w = between(1, 3);
  s.dilation_h = between(0, 2) ? 1 : between(1, 3), s.dilation_w = between(0, 2) ? 1 : between(1, 3);
  s.top = s.bottom = s.left = s.right = 0;
  if (coin()) s.top = between(0, 4), s.bottom = between(0, 4), s.left = between(0, 4), s.right = between(0, 4);
  s.pad_value = static_cast<int>(between(-1, 1));
  const int64_t high = (s.kh - 1) * s.dilation_h + 1 - s.top - s.bottom;
  const int64_t wide = (s.kw - 1) * s.dilation_w + 1 - s.left - s.right;
  s.h = std::max<int64_t>(1, high) + between(0, 8), s.w = std::max<int64_t>(1, wide) + between(0, 24);
  if (kind == 4) s.h += between(0, 24), s.n = 1;  // large enough for several units
  if (kind == 3) s.h = s.w = s.kh = s.kw = 1, s.n = between(1, 40);  // a matrix product
  return s;
}

// Weights from bits are those from floats.
void check_bits(const Shape& s, const Floats& w, const Strides& ws, const PackedWeight& packed) {
  const int64_t size = s.group_in() * s.taps(), bytes = (size + 7) / 8;
  Buffer<uint8_t> bits(s.co * bytes);
  for (int64_t o = 0; o < s.co; ++o)
    for (int64_t i = 0; i < size; ++i) {
      const int64_t tap = i % s.taps();
      const float v = w[o * ws.n + i / s.taps() * ws.c + tap / s.kw * ws.h + tap % s.kw * ws.w];
      if (sign_of(v) < 0) bits[o * bytes + i / 8] = static_cast<uint8_t>(bits[o * bytes + i / 8] | 1u << (i % 8));
    }
  const PackedWeight same = pack_weight(s, bits.data());
  if (same.words != packed.words || same.tap_sums != packed.tap_sums) fail("weights from bits");
  if (!is_depthwise(s)) return;
  const DepthwiseWeight a = pack_depthwise(s, bits.data()), b = pack_depthwise(s, w.data(), ws);
  if (a.by_channel != b.by_channel || a.by_tap != b.by_tap) fail("depthwise weights from bits");
}

// A host program that runs the units of a loop one by one on this thread, which may keep what it has between them.
Threads one_by_one() {
  const auto run = [](void*, int64_t count, void (*body)(void*, int64_t, int64_t), void* context) {
    for (int64_t i = 0; i < count; ++i) body(context, i, i + 1);
  };
  return Threads(static_cast<int>(between(2, 8)), run, nullptr);
}

}  // namespace

void check_convolution(const Kernels& k) {
  const Shape s = shape();
  const bool x_last = coin(), w_last = coin(), out_last = coin(), special = coin();
  const bool shifted = coin(), scaled = coin(), biased = coin();
  const int threads = static_cast<int>(between(1, 4));
  current = std::string(k.name) + " convolve n,c,h,w=" + text(s.n, s.c, s.h, s.w) + " co,kh,kw=" +
            text(s.co, s.kh, s.kw) + " stride=" + text(s.stride_h, s.stride_w) + " padding=" +
            text(s.top, s.bottom, s.left, s.right) + " dilation=" + text(s.dilation_h, s.dilation_w) + " groups=" +
            text(s.groups) + " pad_value=" + text(s.pad_value) + " last=" + text(x_last, w_last, out_last) +
            " shift,scale,bias=" + text(shifted, scaled, biased) + " threads=" + text(threads);
  const Strides xs = strides(s.c, s.h, s.w, x_last), ws = strides(s.c / s.groups, s.kh, s.kw, w_last);
  const Strides os = strides(s.co, s.out_h(), s.out_w(), out_last);
  const Floats x = special ? values(s.n * s.c * s.h * s.w) : normal(s.n * s.c * s.h * s.w);
  const Floats w = values(s.co * (s.c / s.groups) * s.kh * s.kw);
  const int64_t size = s.n * s.co * s.out_h() * s.out_w();
  const Floats shift = normal(s.c), scale = normal(s.co), bias = normal(s.co), rows = normal(s.out_h()),
               columns = normal(s.out_w()), post = normal(s.co), slope = normal(s.co), residual = values(size);
  const float* b = shifted ? shift.data() : nullptr;
  Finish f;
  if (scaled) f.scale = scale.data();
  if (biased) f.bias = bias.data();
  const bool more = coin();  // else what training asks for
  f.pixel_groups = coin() ? s.groups : 1;
  const Floats pixels = normal(s.n * f.pixel_groups * s.out_h() * s.out_w());
  if (more) {
    if (between(0, 3) == 0) f.rows = rows.data();
    if (between(0, 3) == 0) f.columns = columns.data();
    if (between(0, 3) == 0) f.pixels = pixels.data();
    if (between(0, 3) == 0) f.post_scale = post.data();
    if (coin()) f.residual = residual.data();
    f.activation = static_cast<Activation>(between(0, 3));
    f.slope = slope.data(), f.slope_per_channel = coin();
    f.low = -1.5f, f.high = 2.5f;
    current += " finish=" + text(f.rows != nullptr, f.columns != nullptr, f.pixels != nullptr, f.pixel_groups,
                                 f.post_scale != nullptr, f.residual != nullptr, static_cast<int>(f.activation),
                                 f.slope_per_channel);
  }
  const Floats wanted = convolution(s, x, xs, w, ws, b, f, os);
  Floats out(size, -12345.0f);
  if (is_depthwise(s)) {
    convolve_depthwise(k, s, x.data(), xs, pack_depthwise(s, w.data(), ws), b, f, out.data(), os, threads);
    expect(out, wanted);
    std::fill(out.begin(), out.end(), -12345.0f);  // then the general way, which must agree
  }
  const PackedWeight packed = pack_weight(k, s, w.data(), ws);
  const auto plan = coin() ? make_plan(k, s, packed) : nullptr;
  convolve(k, s, x.data(), xs, packed, b, f, out.data(), os, coin() ? Threads(threads) : one_by_one(), plan.get());
  expect(out, wanted);
  check_bits(s, w, ws, packed);
}

}  // namespace bibench::testing
