// Every kernel of every instruction set this processor has against its definition, on random shapes with a fixed
// seed. The definitions here are scalar loops over floats that share nothing with the kernels; results are compared
// bit for bit. All buffers have exactly the size the kernels may touch, so that AddressSanitizer sees a step beyond.
//
//   kernels_test [cases] [seed]
//
// Prints a line per instruction set; the first difference ends it with the case and status 1. See csrc/check.

#include "convolution.h"
#include "dispatch.h"
#include "matmul.h"
#include "threads.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace bibench;

std::mt19937_64 random_bits;
std::string current;  // what is being checked, for the message

int64_t between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_bits); }
bool coin() { return between(0, 1) == 1; }

[[noreturn]] void fail(const std::string& what) {
  std::printf("DIFFERENT: %s: %s\n", current.c_str(), what.c_str());
  std::exit(1);
}

template <class... Values>
std::string text(const Values&... values) {
  std::string result;
  ((result += (result.empty() ? "" : " ") + std::to_string(values)), ...);
  return result;
}

// An array of exactly this size on the heap (a vector may reserve more).
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t size, T value = T()) : size_(size), data_(new T[size]) { std::fill(begin(), end(), value); }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  int64_t size_;
  std::unique_ptr<T[]> data_;
};

using Floats = Buffer<float>;

float value() {
  static const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, std::numeric_limits<float>::denorm_min(),
                                  -std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::infinity(),
                                  -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
  if (between(0, 15) == 0) return special[between(0, 8)];
  return std::normal_distribution<float>()(random_bits);
}

Floats values(int64_t size) {
  Floats result(size);
  for (float& v : result) v = value();
  return result;
}

Floats normal(int64_t size) {
  Floats result(size);
  for (float& v : result) v = std::normal_distribution<float>()(random_bits);
  return result;
}

bool same(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::memcmp(&a, &b, sizeof a) == 0;
}

void expect(const Floats& got, const Floats& wanted) {
  for (int64_t i = 0; i < wanted.size(); ++i)
    if (!same(got[i], wanted[i])) fail(text(i) + ": got " + text(got[i]) + ", not " + text(wanted[i]));
}

template <class T>
void expect(const Buffer<T>& got, const Buffer<T>& wanted) {
  for (int64_t i = 0; i < wanted.size(); ++i)
    if (got[i] != wanted[i]) fail(text(i) + ": got " + text(got[i]) + ", not " + text(wanted[i]));
}

int sign_of(float v) { return v >= 0.0f ? 1 : -1; }

// ---- the definitions ------------------------------------------------------------------------------------------

// Sum by folding, written from its description: element i of the first half meets element half + i.
float folded(std::vector<float> v) {
  while (v.size() > 1) {
    const size_t half = (v.size() + 1) / 2;
    for (size_t i = half; i < v.size(); ++i) v[i - half] += v[i];
    v.resize(half);
  }
  return v[0];
}

// Sum over rows, written from its description: neighbours are added, the last of an odd number is left as it is.
float sum_of_neighbours(std::vector<float> v) {
  while (v.size() > 1) {
    std::vector<float> next;
    for (size_t i = 0; i + 1 < v.size(); i += 2) next.push_back(v[i] + v[i + 1]);
    if (v.size() % 2) next.push_back(v.back());
    v = next;
  }
  return v[0];
}

// Half turns away from x and what is left, which the polynomials of sine and cosine take.
std::pair<float, float> half_turned(float x) {
  const float v = x < -8192.0f ? -8192.0f : x > 8192.0f ? 8192.0f : x;
  const float count = std::nearbyint(v * 0.31830987334251404f);
  float rest = v;
  for (const float part : {3.140625f, 0.0009675025939941406f, 1.5099580252808664e-07f}) {
    const float product = count * part;
    rest -= product;
  }
  return {rest, std::fmod(count, 2.0f) == 0.0f ? 1.0f : -1.0f};
}

float polynomial(const std::vector<float>& c, float square) {
  float sum = c.back();
  for (size_t t = c.size() - 1; t-- > 0;) {
    const float product = sum * square;
    sum = product + c[t];
  }
  return sum;
}

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

// ---- the checks -----------------------------------------------------------------------------------------------

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

void check_gradients(const Kernels& k) {
  const int64_t n = between(0, 5) ? between(0, 100) : between(200, 900);
  current = std::string(k.name) + " elementwise n=" + text(n);
  const bool inside = between(0, 2) == 0;  // all in the window, which some kernels look for
  Floats x = values(n);
  const Floats grad = values(n);
  for (float& v : x)
    if (inside) v = 0.5f;
  const float clip = coin() ? 1.0f : std::numeric_limits<float>::infinity(), window = std::fabs(normal(1)[0]);
  const Floats c = normal(between(1, kMaxTerms));
  const float scale = value();
  Floats signs(n), scaled(n), ste(n), apart(n, 7.0f), approx(n), polynomial(n);
  for (int64_t i = 0; i < n; ++i) ste[i] = approx[i] = polynomial[i] = grad[i];  // in place
  const float limit = coin() ? 1.0f : std::numeric_limits<float>::infinity();
  const bool within = k.sign(x.data(), signs.data(), n, limit);
  if (k.sign_scaled(x.data(), scale, scaled.data(), n, limit) != within) fail("sign and sign_scaled differ in limits");
  k.ste(ste.data(), x.data(), ste.data(), n, clip);
  k.ste(grad.data(), x.data(), apart.data(), n, clip);
  k.approx_sign(approx.data(), x.data(), approx.data(), n);
  k.even_polynomial(polynomial.data(), x.data(), polynomial.data(), n, c.data(), static_cast<int>(c.size()), window);
  Floats wanted_signs(n), wanted_scaled(n), wanted_ste(n), wanted_approx(n), wanted_polynomial(n);
  for (int64_t i = 0; i < n; ++i) {
    wanted_signs[i] = static_cast<float>(sign_of(x[i]));
    wanted_scaled[i] = x[i] >= 0.0f ? scale : -scale;
    wanted_ste[i] = grad[i] * (std::fabs(x[i]) <= clip ? 1.0f : 0.0f);
    const float slope = 2.0f - 2.0f * std::fabs(x[i]);
    wanted_approx[i] = grad[i] * (slope < 0.0f ? 0.0f : slope);
    float sum = c[c.size() - 1];
    for (int64_t t = c.size() - 2; t >= 0; --t) {
      const float product = sum * (x[i] * x[i]);
      sum = product + c[t];
    }
    wanted_polynomial[i] = grad[i] * (std::fabs(x[i]) > window ? 0.0f : sum);
  }
  bool wanted_within = true;
  for (int64_t i = 0; i < n; ++i) wanted_within &= std::fabs(x[i]) <= limit;
  if (within != wanted_within) fail("magnitudes are said to be within a limit wrongly");
  expect(signs, wanted_signs), expect(scaled, wanted_scaled), expect(ste, wanted_ste), expect(apart, wanted_ste);
  expect(approx, wanted_approx);
  expect(polynomial, wanted_polynomial);
}

// FDA's noise: the polynomials against their definition, and sine and cosine against the library's.
void check_waves(const Kernels& k) {
  const int64_t n = between(0, 3) ? between(0, 100) : between(500, 1300);
  current = std::string(k.name) + " sign_sine, even_polynomial_cosine n=" + text(n);
  const std::vector<float> sine = {1.0f, -0.16666658222675323f, 0.008333049714565277f, -0.00019809004152193666f,
                                   2.6050781798403477e-06f};
  const std::vector<float> cosine = {1.0f, -0.5f, 0.04166663438081741f, -0.0013888359535485506f,
                                     2.4760092856013216e-05f, -2.605036399927485e-07f};
  const float stretch = coin() ? 0.2f : between(0, 3) ? 3.0f : 9000.0f, amount = normal(1)[0], window = 1.0f;
  const Floats grad = values(n), coefficients = normal(between(1, kMaxTerms));
  const std::vector<float> c(coefficients.data(), coefficients.data() + coefficients.size());
  Floats x = between(0, 3) ? normal(n) : values(n);
  for (float& v : x) v *= stretch;
  Floats out(n), back(n, 7.0f), in_place(n), wanted(n), wanted_back(n);
  for (int64_t i = 0; i < n; ++i) in_place[i] = grad[i];
  const int terms = static_cast<int>(c.size());
  k.sign_sine(x.data(), amount, out.data(), n);
  k.even_polynomial_cosine(grad.data(), x.data(), back.data(), n, c.data(), terms, window, amount);
  k.even_polynomial_cosine(in_place.data(), x.data(), in_place.data(), n, c.data(), terms, window, amount);
  for (int64_t i = 0; i < n; ++i) {
    const auto [rest, sign] = half_turned(x[i]);
    const float s = sign * (rest * polynomial(sine, rest * rest)), co = sign * polynomial(cosine, rest * rest);
    if (std::fabs(x[i]) <= 8192.0f && !(std::fabs(s - std::sin(static_cast<double>(x[i]))) < 3e-7 &&
                                        std::fabs(co - std::cos(static_cast<double>(x[i]))) < 3e-7))
      fail("sine or cosine of " + text(x[i]) + " is far off: " + text(s, co));
    const float scaled = amount * s, waved = amount * co;
    wanted[i] = static_cast<float>(sign_of(x[i])) + scaled;
    wanted_back[i] = grad[i] * (std::fabs(x[i]) > window ? waved : polynomial(c, x[i] * x[i]));
  }
  expect(out, wanted), expect(back, wanted_back), expect(in_place, wanted_back);
}

// What is done along with a product: shifts before the sign, and scales of filters, pixels and channels after it.
void check_factors(const Kernels& k) {
  const int64_t rows = between(1, 12), n = between(1, 80), step = n + between(0, 3), size = (rows - 1) * step + n;
  current = std::string(k.name) + " sign_shifted, approx_sign_shifted rows,n=" + text(rows, n);
  const Floats x = values(size), shift = normal(n), grad = values(size), gamma = normal(n);
  Floats signs(n), wanted_signs(n), back(size), wanted_back(size), total(n), wanted_total(n), apart(size, 7.0f),
      scratch((rows + 1) / 2 * n);
  for (int64_t i = 0; i < size; ++i) back[i] = wanted_back[i] = grad[i];  // in place
  k.sign_shifted(x.data(), shift.data(), signs.data(), n);
  k.approx_sign_shifted(back.data(), x.data(), shift.data(), rows, n, step, back.data(), total.data(), scratch.data());
  k.approx_sign_shifted(grad.data(), x.data(), shift.data(), rows, n, step, apart.data(), total.data(), scratch.data());
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> column(rows);
    wanted_signs[i] = static_cast<float>(sign_of(x[i] + shift[i]));
    for (int64_t r = 0; r < rows; ++r) {
      const float slope = 2.0f - 2.0f * std::fabs(x[r * step + i] + shift[i]);
      column[r] = wanted_back[r * step + i] = grad[r * step + i] * (slope < 0.0f ? 0.0f : slope);
    }
    wanted_total[i] = sum_of_neighbours(column);
  }
  expect(signs, wanted_signs), expect(back, wanted_back), expect(total, wanted_total);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = n; i < step && r * step + i < size; ++i) wanted_back[r * step + i] = 7.0f;  // between the rows
  expect(apart, wanted_back);

  const int64_t pixels = between(1, 40), across = between(1, 5) == 1 ? 16 * between(1, 3) : between(1, 40);
  current = std::string(k.name) + " sign_shifted_rows, approx_sign_shifted_rows rows,n=" + text(pixels, across);
  const Floats map = values(pixels * across), up = values(pixels * across), shifts = normal(across);
  Floats map_signs(pixels * across), wanted_map(pixels * across), down(pixels * across), wanted_down(pixels * across),
      sums(across), wanted_sums(across), room((pixels + 7) / 8 * across);
  for (int64_t i = 0; i < pixels * across; ++i) down[i] = up[i];  // in place
  k.sign_shifted_rows(map.data(), shifts.data(), pixels, across, map_signs.data());
  k.approx_sign_shifted_rows(down.data(), map.data(), shifts.data(), pixels, across, down.data(), sums.data(), room.data());
  for (int64_t i = 0; i < across; ++i) {
    std::vector<float> column(pixels);
    for (int64_t r = 0; r < pixels; ++r) {
      const int64_t at = r * across + i;
      const float slope = 2.0f - 2.0f * std::fabs(map[at] + shifts[i]);
      wanted_map[at] = static_cast<float>(sign_of(map[at] + shifts[i]));
      column[r] = wanted_down[at] = up[at] * (slope < 0.0f ? 0.0f : slope);
    }
    wanted_sums[i] = sum_of_neighbours(column);
  }
  expect(map_signs, wanted_map), expect(down, wanted_down), expect(sums, wanted_sums);

  current = std::string(k.name) + " rescale_kept_backward, scale_keeping rows,n=" + text(rows, n);
  Buffer<int16_t> integers(size), kept(n), wanted_kept(n);
  for (int16_t& v : integers) v = static_cast<int16_t>(between(-32767, 32767));
  Floats to(size, 7.0f), wanted_to(size, 7.0f), line(n), alone(n), wanted_line(n);
  k.rescale_kept_backward(grad.data(), integers.data(), gamma.data(), rows, n, step, to.data(), total.data(),
                          scratch.data());
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> column(rows);
    for (int64_t r = 0; r < rows; ++r) {
      wanted_to[r * step + i] = grad[r * step + i] * gamma[i];
      column[r] = grad[r * step + i] * static_cast<float>(integers[r * step + i]);
    }
    wanted_total[i] = sum_of_neighbours(column);
    line[i] = alone[i] = integers[i];
    wanted_kept[i] = integers[i];
    wanted_line[i] = line[i] * gamma[i];
  }
  k.scale_keeping(line.data(), gamma.data(), n, kept.data());
  k.scale_keeping(alone.data(), gamma.data(), n, nullptr);
  expect(to, wanted_to), expect(total, wanted_total);
  expect(line, wanted_line), expect(alone, wanted_line), expect(kept, wanted_kept);

  current = std::string(k.name) + " scale_lines, sum_neighbours, filter_scale_gradient rows,n=" + text(rows, n);
  Floats lines = values(rows * n), factors = normal(rows), wanted_lines(rows * n), summed(rows * n), sum(n), wanted_sum(n);
  for (int64_t i = 0; i < rows * n; ++i) wanted_lines[i] = lines[i] * factors[i / n], summed[i] = lines[i];
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> column(rows);
    for (int64_t r = 0; r < rows; ++r) column[r] = lines[r * n + i];
    wanted_sum[i] = sum_of_neighbours(column);
  }
  k.scale_lines(lines.data(), factors.data(), rows, n);
  k.sum_neighbours(summed.data(), rows, n, sum.data());
  expect(lines, wanted_lines), expect(sum, wanted_sum);
  const int64_t length = between(0, 3) ? n : 8 * n;
  Floats filter = values(length), latent = values(length), wanted_filter(length), buffer(length / 2 + 1), got(1), one(1);
  std::vector<float> terms(length);
  for (int64_t i = 0; i < length; ++i) {
    terms[i] = filter[i] * static_cast<float>(sign_of(latent[i]));
    wanted_filter[i] = filter[i] * factors[0];
  }
  got[0] = k.filter_scale_gradient(filter.data(), latent.data(), factors[0], length, buffer.data());
  one[0] = folded(terms);
  expect(got, one), expect(filter, wanted_filter);
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

void check_rows(const Kernels& k) {
  const int64_t n = between(0, 5) ? between(1, 100) : between(200, 1200);
  current = std::string(k.name) + " normalize n=" + text(n);
  const Normalization how = {static_cast<float>(n > 1 ? n - 1 : 1), 1e-5f, 2.5f, coin()};
  const float limit = coin() ? std::numeric_limits<float>::infinity() : 2.0f;
  const Floats x = between(0, 7) ? normal(n) : values(n), grad = normal(n);
  Floats out(n), stats(4), buffer(n), back(n), wanted(n), wanted_stats(4), wanted_back(n);
  k.normalize_row(x.data(), n, how, out.data(), buffer.data(), stats.data());
  std::vector<float> terms(x.data(), x.data() + n);
  const float mean = folded(terms) / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) terms[i] = (x[i] - mean) * (x[i] - mean);
  const float variance = folded(terms) / how.degrees + how.eps;
  const float factor = 1.0f / std::sqrt(variance) * how.deviation;
  for (int64_t i = 0; i < n; ++i) {
    wanted[i] = (how.centre ? x[i] - mean : x[i]) * factor;
    terms[i] = std::fabs(wanted[i]);
  }
  wanted_stats[0] = mean, wanted_stats[1] = factor, wanted_stats[2] = variance, wanted_stats[3] = folded(terms);
  expect(out, wanted), expect(stats, wanted_stats);
  k.normalize_row_backward(grad.data(), x.data(), stats.data(), n, how, limit, back.data(), buffer.data());
  std::vector<float> passed(n);
  for (int64_t i = 0; i < n; ++i) {
    passed[i] = grad[i] * (std::fabs(wanted[i]) < limit ? 1.0f : 0.0f);
    terms[i] = passed[i] * (how.centre ? x[i] - mean : x[i]);
  }
  const float spread = folded(terms) * factor / (variance * how.degrees);
  for (int64_t i = 0; i < n; ++i) {
    wanted_back[i] = passed[i] * factor - spread * (x[i] - mean);
    if (how.centre) wanted_back[i] -= folded(passed) * factor / static_cast<float>(n);
  }
  expect(back, wanted_back);

  current = std::string(k.name) + " describe_filter, sign_centred, rectify_row n=" + text(n);
  const float scale = value(), origin = how.centre ? mean : 0.0f;
  Floats facts(4), signs(n), wanted_signs(n), rectified(n), wanted_rectified(n), sum(1), wanted_sum(1);
  k.describe_filter(x.data(), n, how, buffer.data(), facts.data());
  k.sign_centred(x.data(), mean, scale, signs.data(), n);
  for (int64_t i = 0; i < n; ++i) {
    rectified[i] = grad[i];  // in place
    wanted_signs[i] = x[i] - mean >= 0.0f ? scale : -scale;
    terms[i] = grad[i] * (x[i] - origin >= 0.0f ? 1.0f : -1.0f);
  }
  sum[0] = k.rectify_row(rectified.data(), x.data(), stats.data(), scale, n, how, limit, buffer.data());
  wanted_sum[0] = folded(terms);
  for (int64_t i = 0; i < n; ++i) {
    passed[i] = (grad[i] * scale) * (std::fabs(wanted[i]) < limit ? 1.0f : 0.0f);
    terms[i] = passed[i] * (x[i] - origin);
  }
  const float share = folded(terms) * factor / (variance * how.degrees);
  for (int64_t i = 0; i < n; ++i) {
    wanted_rectified[i] = passed[i] * factor - share * (x[i] - mean);
    if (how.centre) wanted_rectified[i] -= folded(passed) * factor / static_cast<float>(n);
  }
  expect(facts, wanted_stats), expect(signs, wanted_signs), expect(sum, wanted_sum), expect(rectified, wanted_rectified);

  current = std::string(k.name) + " approx_sign_row n=" + text(n);
  k.approx_sign_row(grad.data(), x.data(), n, how, back.data(), buffer.data());
  for (int64_t i = 0; i < n; ++i) {
    const float slope = 2.0f - 2.0f * std::fabs(wanted[i]);
    passed[i] = grad[i] * (slope < 0.0f ? 0.0f : slope);
    terms[i] = passed[i] * (how.centre ? x[i] - mean : x[i]);
  }
  const float along = folded(terms) * factor / (variance * how.degrees);
  for (int64_t i = 0; i < n; ++i) {
    wanted_back[i] = passed[i] * factor - along * (x[i] - mean);
    if (how.centre) wanted_back[i] -= folded(passed) * factor / static_cast<float>(n);
  }
  expect(back, wanted_back);

  const int64_t lines = between(1, 9);
  current = std::string(k.name) + " mean_magnitudes, multiply_rows rows,n=" + text(lines, n);
  const Floats many = normal(lines * n), factors = normal(lines);
  Floats means(lines), wanted_means(lines), multiplied(lines * n), wanted_multiplied(lines * n);
  k.mean_magnitudes(many.data(), lines, n, means.data(), buffer.data());
  k.multiply_rows(many.data(), factors.data(), lines, n, multiplied.data());
  for (int64_t r = 0; r < lines; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      terms[i] = std::fabs(many[r * n + i]);
      wanted_multiplied[r * n + i] = many[r * n + i] * factors[r];
    }
    wanted_means[r] = folded(terms) / static_cast<float>(n);
  }
  expect(means, wanted_means), expect(multiplied, wanted_multiplied);

  const int64_t rows = between(1, 12), columns = between(1, 80), step = columns + between(0, 3);
  current = std::string(k.name) + " rescale_backward rows,columns=" + text(rows, columns);
  const int64_t size = (rows - 1) * step + columns;
  const Floats g = normal(size), v = normal(size), gamma = normal(columns);
  Floats to(size, 7.0f), total(columns), scratch((rows + 1) / 2 * columns), wanted_to(size, 7.0f),
      wanted_total(columns);
  k.rescale_backward(g.data(), v.data(), gamma.data(), rows, columns, step, to.data(), total.data(), scratch.data());
  for (int64_t c = 0; c < columns; ++c) {
    std::vector<float> column(rows);
    for (int64_t r = 0; r < rows; ++r) {
      wanted_to[r * step + c] = g[r * step + c] * gamma[c];
      column[r] = g[r * step + c] * v[r * step + c];
    }
    wanted_total[c] = sum_of_neighbours(column);
  }
  expect(to, wanted_to), expect(total, wanted_total);
}

// Every index once, loops inside loops, loops from several threads at once, and a body that throws.
void check_threads() {
  current = "parallel_for";
  for (int round = 0; round < 200; ++round) {
    const int64_t count = between(0, 50);
    Buffer<int> seen(count), once(count, 1);
    parallel_for(count, static_cast<int>(between(1, 5)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) parallel_for(1, 3, [&](int64_t, int64_t) { ++seen[i]; });
    });
    expect(seen, once);
  }
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t)
    callers.emplace_back([&sum] {
      for (int round = 0; round < 50; ++round)
        parallel_for(20, 3, [&sum](int64_t begin, int64_t end) { sum += end - begin; });
    });
  for (auto& caller : callers) caller.join();
  if (sum != 3 * 50 * 20) fail("several callers: " + text(sum.load()));
  bool caught = false;
  try {
    parallel_for(4, 4, [](int64_t begin, int64_t) {
      if (begin == 3) throw std::bad_alloc();
    });
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  if (!caught) fail("an exception of a body did not reach the caller");
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 600;
  const unsigned seed = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1;
  void (*const checks[])(const Kernels&) = {check_convolution, check_matmul,    check_products, check_packing,
                                            check_transpose,   check_gradients, check_bytes,    check_rows,
                                            check_waves,       check_factors};
  check_threads();
  for (const Kernels* kernels : available_kernels()) {
    random_bits.seed(seed);  // the same cases for all
    for (const auto check : checks)
      for (int i = 0; i < cases; ++i) check(*kernels);
    std::printf("%s: %zu kinds of kernels, %d random cases each, all equal to their definition\n", kernels->name,
                std::size(checks), cases);
  }
  return 0;
}
