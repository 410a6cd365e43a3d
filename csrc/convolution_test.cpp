// Products against their definition: packing, counting, convolutions and matrix products. See kernels_test.cpp.

#include "convolution.h"
#include "kernels_test.h"
#include "matmul.h"

#include <vector>

namespace bibench::testing {
namespace {

void finished(const int32_t* counts, int pixels, int count_stride, int channels, const Epilogue& e, float* out,
              int64_t out_stride) {
  for (int p = 0; p < pixels; ++p)
    for (int c = 0; c < channels; ++c) {
      float v = static_cast<float>((e.totals ? e.totals[p] : e.total) - 2 * counts[p * count_stride + c] -
                                   (e.corrections ? e.corrections[p][c] : 0));
      if (e.scale) v *= e.scale[c];
      if (e.bias) v += e.bias[c];
      out[p * out_stride + c] = v;
    }
}

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

void check_matmul(const Kernels& k) {
  const bool mask = coin(), last = coin();
  const int threads = static_cast<int>(between(1, 4));
  const int64_t outer = between(0, 3), inner = between(1, 3), m = between(0, 30), n = between(1, 40);
  const int64_t length = between(0, 3) ? between(1, 100) : between(900, 1200);
  current = std::string(k.name) + (mask ? " matmul mask" : " matmul signs") + " outer,inner,m,n,length=" +
            text(outer, inner, m, n, length) + " last=" + text(last) + " threads=" + text(threads);
  Floats a = values(outer * inner * m * length), b = values(outer * inner * n * length);
  if (mask)
    for (float& v : a) v = v > 0 ? 1.0f : 0.0f;
  // Batch axes in either order of memory: (outer, inner, row, value) or (outer, row, inner, value).
  const Vectors left = {a.data(), m, inner * m * length, last ? m * length : length, last ? length : inner * length, 1};
  const Vectors right = mask ? Vectors{b.data(), n, inner * n * length, n * length, 1, n}
                             : Vectors{b.data(), n, inner * n * length, last ? n * length : length,
                                       last ? length : inner * length, 1};
  Floats out(outer * inner * m * n, -12345.0f), wanted(outer * inner * m * n);
  matmul(k, mask ? Product::kMask : Product::kSigns, outer, inner, length, left, right, out.data(), threads);
  for (int64_t e = 0; e < outer * inner; ++e)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        int64_t dot = 0;
        for (int64_t t = 0; t < length; ++t) {
          const float u = a[e / inner * left.batch_outer + e % inner * left.batch_inner + i * left.row + t * left.value];
          const float v = b[e / inner * right.batch_outer + e % inner * right.batch_inner + j * right.row + t * right.value];
          dot += (mask ? static_cast<int>(u) : sign_of(u)) * sign_of(v);
        }
        wanted[(e * m + i) * n + j] = static_cast<float>(dot);
      }
  expect(out, wanted);
}

void check_products(const Kernels& k) {
  const int pixels = static_cast<int>(between(1, k.tile_pixels)), blocks = static_cast<int>(between(1, k.tile_blocks));
  const int64_t runs = between(1, 9), words = between(0, 3) ? between(1, 20) : between(30, 200);
  current = std::string(k.name) + " count pixels,blocks,runs,words=" + text(pixels, blocks, runs, words);
  Buffer<int32_t> offsets(runs);
  for (int64_t r = 0; r < runs; ++r) offsets[r] = static_cast<int32_t>(r * (words + 3));
  Buffer<uint32_t> bits((runs - 1) * (words + 3) + words + pixels - 1), weights(blocks * runs * words * kLanes);
  const bool full = between(0, 3) == 0;  // all bits differ: what overflows, overflows here
  for (uint32_t& v : bits) v = full ? ~0u : static_cast<uint32_t>(random_bits());
  for (uint32_t& v : weights) v = full ? 0u : static_cast<uint32_t>(random_bits());
  Buffer<const uint32_t*> bases(pixels);
  for (int p = 0; p < pixels; ++p) bases[p] = bits.data() + p;
  const auto count = [](uint32_t v) {
    int32_t ones = 0;
    for (; v; v >>= 1) ones += v & 1;
    return ones;
  };
  for (const bool both : {false, true}) {
    Buffer<int32_t> wanted(pixels * blocks * kLanes);
    for (int p = 0; p < pixels; ++p)
      for (int b = 0; b < blocks; ++b)
        for (int64_t r = 0; r < runs; ++r)
          for (int64_t j = 0; j < words; ++j)
            for (int lane = 0; lane < kLanes; ++lane) {
              const uint32_t a = bases[p][offsets[r] + j], w = weights[((b * runs + r) * words + j) * kLanes + lane];
              wanted[(p * blocks + b) * kLanes + lane] += count(both ? a & w : a ^ w);
            }
    const int channels = static_cast<int>(between((blocks - 1) * kLanes + 1, blocks * kLanes));
    const int64_t out_stride = channels + between(0, 3);
    const Floats scale = normal(channels), bias = normal(channels);
    Buffer<int32_t> totals(pixels), table(pixels * channels);
    for (int32_t& v : totals) v = static_cast<int32_t>(between(0, 1 << 20));
    for (int32_t& v : table) v = static_cast<int32_t>(between(-99, 99));
    Buffer<const int32_t*> corrections(pixels);
    for (int p = 0; p < pixels; ++p) corrections[p] = table.data() + p * channels;
    const Epilogue e = {static_cast<int32_t>(between(0, 1 << 20)), coin() ? totals.data() : nullptr,
                        coin() ? corrections.data() : nullptr, coin() ? scale.data() : nullptr,
                        coin() ? bias.data() : nullptr};
    Floats out((pixels - 1) * out_stride + channels, 7.0f), wanted_out((pixels - 1) * out_stride + channels, 7.0f);
    (both ? k.product_and : k.product_xor)(bases.data(), pixels, weights.data(), blocks, {offsets.data(), runs, words},
                                           channels, e, out.data(), out_stride);
    finished(wanted.data(), pixels, blocks * kLanes, channels, e, wanted_out.data(), out_stride);
    expect(out, wanted_out);
  }
}

void check_packing(const Kernels& k) {
  const int64_t channels = between(0, 4) ? between(1, 100) : 16, count = between(1, 40), step = channels + between(0, 3);
  const int64_t words = (channels + kWordBits - 1) / kWordBits, word_step = words + between(0, 2);
  const Floats shift = normal(std::max<int64_t>(channels, kWordBits));
  const bool shifted = coin();
  const auto bit = [&](float v, int64_t c) { return !((shifted ? v + shift[c] : v) >= 0.0f); };
  {
    current = std::string(k.name) + " pack_rows channels,count,step=" + text(channels, count, step);
    Floats b(channels), x = values((count - 1) * step + channels);
    for (int64_t c = 0; c < channels; ++c) b[c] = shift[c];
    Buffer<uint32_t> got((count - 1) * word_step + words, 9), wanted((count - 1) * word_step + words, 9);
    k.pack_rows(x.data(), shifted ? b.data() : nullptr, channels, count, step, got.data(), word_step);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t c = 0; c < channels; ++c) {
        uint32_t& word = wanted[i * word_step + c / kWordBits];
        if (c % kWordBits == 0) word = 0;
        if (bit(x[i * step + c], c)) word |= 1u << (c % kWordBits);
      }
    expect(got, wanted);
  }
  const int few = static_cast<int>(between(1, kWordBits));
  const int64_t stride = count + between(0, 3);
  current = std::string(k.name) + " pack_plane channels,pixels,stride=" + text(few, count, stride);
  Floats b(few), x = values((few - 1) * stride + count);
  for (int c = 0; c < few; ++c) b[c] = shift[c];
  Buffer<uint32_t> got((count - 1) * word_step + 1, 9), wanted((count - 1) * word_step + 1, 9);
  k.pack_plane(x.data(), shifted ? b.data() : nullptr, few, stride, count, got.data(), word_step);
  for (int64_t i = 0; i < count; ++i) {
    wanted[i * word_step] = 0;
    for (int c = 0; c < few; ++c)
      if (bit(x[c * stride + i], c)) wanted[i * word_step] |= 1u << c;
  }
  expect(got, wanted);
}

void check_transpose(const Kernels& k) {
  const int64_t rows = between(1, 50), columns = between(1, 50), in_stride = columns + between(0, 3),
                out_stride = rows + between(0, 3);
  current = std::string(k.name) + " transpose rows,columns=" + text(rows, columns);
  const Floats in = values((rows - 1) * in_stride + columns);
  Floats got((columns - 1) * out_stride + rows, 7.0f), wanted((columns - 1) * out_stride + rows, 7.0f);
  k.transpose(in.data(), rows, columns, in_stride, got.data(), out_stride);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) wanted[c * out_stride + r] = in[r * in_stride + c];
  expect(got, wanted);
}

void check_bytes(const Kernels& k) {
  const int64_t n = between(1, 100), step = between(1, 3);
  current = std::string(k.name) + " bytes n,step=" + text(n, step);
  const Floats x = values(n), shift = normal(n);
  const int kind = static_cast<int>(between(0, 2));  // no shift, one for all, one each
  Buffer<int8_t> bytes(n), wanted_bytes(n), a((n - 1) * step + 1), w(n);
  k.to_bytes(x.data(), kind ? shift.data() : nullptr, kind == 2, n, bytes.data());
  for (int64_t i = 0; i < n; ++i)
    wanted_bytes[i] = static_cast<int8_t>(sign_of(kind == 0 ? x[i] : x[i] + shift[kind == 2 ? i : 0]));
  expect(bytes, wanted_bytes);
  for (int8_t& v : a) v = static_cast<int8_t>(between(-1, 1));
  for (int8_t& v : w) v = coin() ? 1 : -1;
  Buffer<int16_t> tap(n), products(n), wanted_tap(n), wanted_products(n);
  for (int64_t i = 0; i < n; ++i) tap[i] = products[i] = static_cast<int16_t>(between(-16000, 16000));
  for (int64_t i = 0; i < n; ++i) {
    wanted_tap[i] = static_cast<int16_t>(tap[i] + a[i * step] * w[0]);
    wanted_products[i] = static_cast<int16_t>(products[i] + a[i] * w[i]);
  }
  k.add_tap(a.data(), step, w[0], n, tap.data());
  k.add_products(a.data(), w.data(), n, products.data());
  expect(tap, wanted_tap), expect(products, wanted_products);
  const int64_t each = between(0, 1);
  const Floats scale = normal(each ? n : 1), bias = normal(each ? n : 1);
  const bool scaled = coin(), biased = coin();
  Floats out(n), wanted(n);
  k.finish_sums(tap.data(), scaled ? scale.data() : nullptr, biased ? bias.data() : nullptr, each, n, out.data());
  for (int64_t i = 0; i < n; ++i) {
    wanted[i] = static_cast<float>(tap[i]);
    if (scaled) wanted[i] *= scale[i * each];
    if (biased) wanted[i] += bias[i * each];
  }
  expect(out, wanted);
}

}  // namespace bibench::testing
