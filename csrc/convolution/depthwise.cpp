// Depthwise convolution: every channel has its own filter of a few weights, too short for words of bits. Signs
// are bytes, padding included, so 0, +1 and -1 at the border need no correction.

#include "depthwise.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace bibench {
namespace {

constexpr int64_t kMaxTaps = 1 << 14;  // sums are 16-bit

// The input positions along one axis that filters at `out` outputs read, from `first` on.
int64_t span(int64_t out, int64_t stride, int64_t kernel, int64_t dilation) {
  return (out - 1) * stride + (kernel - 1) * dilation + 1;
}

struct Depthwise {
  const Kernels& k;
  const Shape& s;
  const float* x;
  Strides xs;
  const DepthwiseWeight& weight;
  const float* shift;
  const Finish& finish;
  float* out;
  Strides os;

  // One channel of one image, rows in memory order. A tap adds the padded plane, shifted, to the sums of all
  // positions at once (strides then pick some), because rows are too short to be worth a loop each.
  void plane(int64_t image, int64_t channel) const {
    thread_local std::vector<int8_t> dense, signs;
    thread_local std::vector<int16_t> sums, picked;
    const int64_t columns = s.w + s.left + s.right;
    dense.resize(s.h * s.w);
    k.to_bytes(x + image * xs.n + channel * xs.c, shift ? shift + channel : nullptr, 0, s.h * s.w, dense.data());
    signs.assign((s.h + s.top + s.bottom) * columns, static_cast<int8_t>(s.pad_value));
    for (int64_t y = 0; y < s.h; ++y)
      std::memcpy(signs.data() + (y + s.top) * columns + s.left, dense.data() + y * s.w, s.w);
    const int64_t positions = (s.out_h() - 1) * s.stride_h * columns + (s.out_w() - 1) * s.stride_w + 1;
    sums.assign(positions, 0);
    const int8_t* w = weight.by_channel.data() + channel * s.taps();
    for (int64_t ky = 0; ky < s.kh; ++ky)
      for (int64_t kx = 0; kx < s.kw; ++kx)
        k.add_tap(signs.data() + ky * s.dilation_h * columns + kx * s.dilation_w, 1, w[ky * s.kw + kx], positions,
                  sums.data());
    picked.resize(s.out_h() * s.out_w());
    int16_t* to = picked.data();
    for (int64_t row = 0; row < s.out_h(); ++row) {
      const int16_t* from = sums.data() + row * s.stride_h * columns;
      if (s.stride_w == 1)
        to = std::copy(from, from + s.out_w(), to);
      else
        for (int64_t column = 0; column < s.out_w(); ++column) *to++ = from[column * s.stride_w];
    }
    k.finish_sums(picked.data(), scale() ? scale() + channel : nullptr, bias() ? bias() + channel : nullptr, 0,
                  s.out_h() * s.out_w(), out + image * os.n + channel * os.c);
    if (finish.late()) finish_rows(k, s, finish, out, os, image, 0, s.out_h(), channel, 1);
  }

  // Output rows [first, first + rows) of one image, all channels of a pixel adjacent.
  void band(int64_t image, int64_t first, int64_t rows) const {
    thread_local std::vector<int8_t> signs;
    thread_local std::vector<int16_t> sums;
    const int64_t row_bytes = (s.w + s.left + s.right) * s.c;
    const int64_t in_first = first * s.stride_h, in_rows = span(rows, s.stride_h, s.kh, s.dilation_h);
    signs.assign(in_rows * row_bytes, static_cast<int8_t>(s.pad_value));
    for (int64_t r = 0; r < in_rows; ++r) {
      const int64_t y = in_first + r - s.top;
      if (y < 0 || y >= s.h) continue;
      for (int64_t c = 0; c < s.w; ++c)
        k.to_bytes(x + image * xs.n + y * xs.h + c * xs.w, shift, 1, s.c,
                   signs.data() + r * row_bytes + (s.left + c) * s.c);
    }
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < s.out_w(); ++column) {
        sums.assign(s.c, 0);
        for (int64_t ky = 0; ky < s.kh; ++ky)
          for (int64_t kx = 0; kx < s.kw; ++kx)
            k.add_products(signs.data() + (row * s.stride_h + ky * s.dilation_h) * row_bytes +
                               (column * s.stride_w + kx * s.dilation_w) * s.c,
                           weight.by_tap.data() + (ky * s.kw + kx) * s.c, s.c, sums.data());
        k.finish_sums(sums.data(), scale(), bias(), 1, s.c,
                      out + image * os.n + (first + row) * os.h + column * os.w);
      }
    if (finish.late()) finish_channels(image, first, rows);
  }

  const float* scale() const { return finish.scale_early() ? finish.scale : nullptr; }
  const float* bias() const { return finish.bias_early() ? finish.bias : nullptr; }

  // K of each group has its own values: then every channel, which is a group, is a line.
  void finish_channels(int64_t image, int64_t first, int64_t rows) const {
    const int64_t step = finish.pixel_groups > 1 ? 1 : s.c;
    for (int64_t c = 0; c < s.c; c += step) finish_rows(k, s, finish, out, os, image, first, rows, c, step);
  }
};

}  // namespace

bool is_depthwise(const Shape& s) { return s.groups == s.c && s.co == s.c && s.taps() <= kMaxTaps; }

DepthwiseWeight pack_depthwise(const Shape& s, const float* weight, Strides ws) {
  DepthwiseWeight result;
  result.by_channel.resize(s.c * s.taps());
  result.by_tap.resize(s.c * s.taps());
  for (int64_t c = 0; c < s.c; ++c)
    for (int64_t tap = 0; tap < s.taps(); ++tap)
      result.by_channel[c * s.taps() + tap] = result.by_tap[tap * s.c + c] =
          weight[c * ws.n + tap / s.kw * ws.h + tap % s.kw * ws.w] >= 0.0f ? 1 : -1;
  return result;
}

DepthwiseWeight pack_depthwise(const Shape& s, const uint8_t* bits) {
  DepthwiseWeight result;
  result.by_channel.resize(s.c * s.taps());
  result.by_tap.resize(s.c * s.taps());
  const int64_t bytes = (s.taps() + 7) / 8;
  for (int64_t c = 0; c < s.c; ++c)
    for (int64_t tap = 0; tap < s.taps(); ++tap)
      result.by_channel[c * s.taps() + tap] = result.by_tap[tap * s.c + c] =
          bits[c * bytes + tap / 8] >> (tap % 8) & 1 ? -1 : 1;
  return result;
}

void convolve_depthwise(const Kernels& kernels, const Shape& s, const float* x, Strides xs,
                        const DepthwiseWeight& weight, const float* shift, const Finish& finish, float* out, Strides os,
                        const Threads& threads) {
  if (s.n == 0) return;
  const bool last = xs.c == 1 && os.c == 1 && s.c > 1;
  const bool planes = xs.w == 1 && os.w == 1;
  if (!last && !planes) {  // input and output differ in layout: as planes, through a copy of the input
    std::vector<float> copy(s.n * s.c * s.h * s.w);
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t y = 0; y < s.h; ++y)
        for (int64_t c = 0; c < s.c; ++c)
          for (int64_t v = 0; v < s.w; ++v)
            copy[((n * s.c + c) * s.h + y) * s.w + v] = x[n * xs.n + c * xs.c + y * xs.h + v * xs.w];
    std::vector<float> result(s.n * s.co * s.out_h() * s.out_w());
    const Strides dense = {s.c * s.h * s.w, s.h * s.w, s.w, 1};
    const Strides to = {s.co * s.out_h() * s.out_w(), s.out_h() * s.out_w(), s.out_w(), 1};
    Finish early;  // the rest is done where the residual is
    early.scale = finish.scale_early() ? finish.scale : nullptr;
    early.bias = finish.bias_early() ? finish.bias : nullptr;
    convolve_depthwise(kernels, s, copy.data(), dense, weight, shift, early, result.data(), to, threads);
    const Depthwise work = {kernels, s, x, xs, weight, shift, finish, out, os};
    for (int64_t n = 0; n < s.n; ++n) {
      for (int64_t c = 0; c < s.co; ++c)
        for (int64_t y = 0; y < s.out_h(); ++y)
          for (int64_t v = 0; v < s.out_w(); ++v)
            out[n * os.n + c * os.c + y * os.h + v * os.w] = result[n * to.n + c * to.c + y * to.h + v];
      if (finish.late()) work.finish_channels(n, 0, s.out_h());
    }
    return;
  }
  const Depthwise work = {kernels, s, x, xs, weight, shift, finish, out, os};
  if (!last) {
    parallel_for(s.n * s.c, threads, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) work.plane(u / s.c, u % s.c);
    });
    return;
  }
  constexpr int64_t kBandRows = 8;
  const int64_t bands = (s.out_h() + kBandRows - 1) / kBandRows;
  parallel_for(s.n * bands, threads, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t first = u % bands * kBandRows;
      work.band(u / bands, first, std::min(kBandRows, s.out_h() - first));
    }
  });
}

}  // namespace bibench
