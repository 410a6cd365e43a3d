// The Python module bibench._core. Checks every argument before a kernel runs, and releases the GIL.

#include "box.h"
#include "centred.h"
#include "convolution.h"
#include "dispatch.h"
#include "matmul.h"
#include "threads.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using bibench::Kernels;
using bibench::Shape;
using bibench::Strides;

using Array = nb::ndarray<const float, nb::device::cpu>;
using Output = nb::ndarray<float, nb::device::cpu>;
using Kept = nb::ndarray<int16_t, nb::device::cpu>;
using KeptInput = nb::ndarray<const int16_t, nb::device::cpu>;
using MaybeArray = std::optional<Array>;
using MaybeKept = std::optional<Kept>;

// An argument that is taken as it is or not at all: a converted `out` would be a copy that nobody sees.
auto operator""_array(const char* name, size_t) { return nb::arg(name).noconvert(); }

const Kernels& kernels() { return bibench::current_kernels(); }

void check(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

template <class T>
std::string shape_of(const T& array) {
  std::string text = "(";
  for (size_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + std::to_string(array.shape(i));
  return text + ")";
}

template <class T>
bool is_empty(const T& array) {
  for (size_t i = 0; i < array.ndim(); ++i)
    if (array.shape(i) == 0) return true;
  return false;
}

// Strides of a 4-d array that is contiguous or channels-last; axes of one element, and empty arrays, may have any.
template <class T>
Strides layout(const T& a, const char* name) {
  check(a.ndim() == 4, std::string(name) + " must have 4 axes, got " + shape_of(a));
  const int64_t n = a.shape(0), c = a.shape(1), h = a.shape(2), w = a.shape(3);
  const auto matches = [&](const Strides& s) {
    return (n <= 1 || a.stride(0) == s.n) && (c <= 1 || a.stride(1) == s.c) && (h <= 1 || a.stride(2) == s.h) &&
           (w <= 1 || a.stride(3) == s.w);
  };
  const Strides last = {h * w * c, 1, w * c, c}, planar = {c * h * w, h * w, w, 1};
  if (is_empty(a) || matches(last)) return last;
  if (matches(planar)) return planar;
  throw std::invalid_argument(std::string(name) + " must be contiguous or channels-last");
}

const float* channel_values(const MaybeArray& values, int64_t channels, const char* name) {
  if (!values) return nullptr;
  check(values->ndim() == 1 && static_cast<int64_t>(values->shape(0)) == channels,
        std::string(name) + " must have shape (" + std::to_string(channels) + "), got " + shape_of(*values));
  check(channels <= 1 || values->stride(0) == 1, std::string(name) + " must be contiguous");
  return values->data();
}

template <class T>
bool is_contiguous(const T& a) {
  int64_t size = 1;
  for (size_t i = a.ndim(); i-- > 0; size *= static_cast<int64_t>(a.shape(i)))
    if (a.shape(i) > 1 && a.stride(i) != size) return false;
  return true;
}

// The data of `n` examples laid out as the output is.
template <class T>
auto like_output(const T& a, int64_t n, const Shape& s, const Strides& os, const char* name) {
  check(a.ndim() == 4 && static_cast<int64_t>(a.shape(0)) == n && static_cast<int64_t>(a.shape(1)) == s.co &&
            static_cast<int64_t>(a.shape(2)) == s.out_h() && static_cast<int64_t>(a.shape(3)) == s.out_w(),
        std::string(name) + " has the wrong shape " + shape_of(a));
  const Strides strides = layout(a, name);
  check(is_empty(a) || (strides.c == os.c && strides.h == os.h && strides.w == os.w),
        std::string(name) + " must be laid out as out");
  return a.data();
}

// `weight`: the sizes of its four axes.
Shape conv_shape(const Array& x, std::array<int64_t, 4> weight, std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                 std::array<int64_t, 2> dilation, int64_t groups, int pad_value) {
  check(x.ndim() == 4, "x must have 4 axes, got " + shape_of(x));
  check(groups >= 1, "groups must be at least 1");
  check(pad_value >= -1 && pad_value <= 1, "pad_value must be 0, 1 or -1");
  constexpr int64_t kLimit = int64_t{1} << 31;
  for (size_t i = 0; i < 4; ++i)
    check(static_cast<int64_t>(x.shape(i)) < kLimit && weight[i] < kLimit,
          "sizes must be below 2^31");
  for (const int64_t v : {stride[0], stride[1], dilation[0], dilation[1]})
    check(v >= 1 && v < kLimit, "stride and dilation must be at least 1");
  for (const int64_t v : padding) check(v >= 0 && v < kLimit, "padding must not be negative");
  Shape s;
  s.n = x.shape(0), s.c = x.shape(1), s.h = x.shape(2), s.w = x.shape(3);
  s.co = weight[0], s.kh = weight[2], s.kw = weight[3];
  s.stride_h = stride[0], s.stride_w = stride[1];
  s.top = padding[0], s.bottom = padding[1], s.left = padding[2], s.right = padding[3];
  s.dilation_h = dilation[0], s.dilation_w = dilation[1];
  s.groups = groups, s.pad_value = pad_value;
  check(s.c >= 1 && s.co >= 1 && s.kh >= 1 && s.kw >= 1, "weight must not be empty, got (" + std::to_string(weight[0]) + ", " + std::to_string(weight[1]) + ", " +
            std::to_string(weight[2]) + ", " + std::to_string(weight[3]) + ")");
  check(s.c % groups == 0 && s.co % groups == 0, "groups must divide the channels of x and weight");
  check(weight[1] == s.c / groups,
        "weight has " + std::to_string(weight[1]) + " input channels for x with " + std::to_string(s.c) +
            " and groups=" + std::to_string(groups));
  check(s.group_in() * s.taps() < (int64_t{1} << 24), "a filter may have at most 2^24 weights");
  const int64_t high = s.h + s.top + s.bottom - s.dilation_h * (s.kh - 1) - 1;
  const int64_t wide = s.w + s.left + s.right - s.dilation_w * (s.kw - 1) - 1;
  check(high >= 0 && wide >= 0, "the filter is larger than the padded input");
  const double words = static_cast<double>(s.h + s.top + s.bottom) * static_cast<double>(s.w + s.left + s.right) *
                       static_cast<double>(s.groups * s.tap_words());
  check(words < static_cast<double>(kLimit), "one padded image has too many values");
  return s;
}

void convolve(const Array& x, const Array& weight, const Output& out, std::array<int64_t, 2> stride,
              std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation, int64_t groups, int pad_value,
              const MaybeArray& shift, const MaybeArray& scale, const MaybeArray& bias, int threads,
              const MaybeArray& gamma, const MaybeArray& pixels, const MaybeKept& kept, const MaybeArray& centres) {
  check(weight.ndim() == 4, "weight must have 4 axes, got " + shape_of(weight));
  std::array<int64_t, 4> sizes;
  for (size_t i = 0; i < 4; ++i) sizes[i] = weight.shape(i);
  const Shape s = conv_shape(x, sizes, stride, padding, dilation, groups, pad_value);
  check(out.ndim() == 4 && static_cast<int64_t>(out.shape(0)) == s.n && static_cast<int64_t>(out.shape(1)) == s.co &&
            static_cast<int64_t>(out.shape(2)) == s.out_h() && static_cast<int64_t>(out.shape(3)) == s.out_w(),
        "out must have shape (" + std::to_string(s.n) + ", " + std::to_string(s.co) + ", " + std::to_string(s.out_h()) +
            ", " + std::to_string(s.out_w()) + "), got " + shape_of(out));
  const Strides xs = layout(x, "x"), ws = layout(weight, "weight"), os = layout(out, "out");
  const float* shift_data = channel_values(shift, s.c, "shift");
  bibench::Finish finish;
  finish.scale = channel_values(scale, s.co, "scale");
  finish.bias = channel_values(bias, s.co, "bias");
  if (gamma) finish.gamma = like_output(*gamma, 1, s, os, "gamma");
  if (pixels) {
    check(pixels->ndim() == 3 && static_cast<int64_t>(pixels->shape(0)) == s.n &&
              static_cast<int64_t>(pixels->shape(1)) == s.out_h() && static_cast<int64_t>(pixels->shape(2)) == s.out_w(),
          "pixels must have shape (N, H_o, W_o), got " + shape_of(*pixels));
    check(is_empty(*pixels) || is_contiguous(*pixels), "pixels must be contiguous");
    finish.pixels = pixels->data();
  }
  if (kept) {
    check(gamma.has_value() && s.group_in() * s.taps() < (1 << 15), "kept needs gamma, and filters below 2^15 weights");
    finish.kept = like_output(*kept, s.n, s, os, "kept");
  }
  check(!finish.gamma || !scale, "gamma takes the place of scale");
  const float* centre_data = channel_values(centres, s.co, "centres");
  const Kernels& k = kernels();
  nb::gil_scoped_release release;
  if (bibench::is_depthwise(s)) {
    const std::vector<float> filters = centre_data ? bibench::centred(s, weight.data(), centre_data) : std::vector<float>();
    const float* values = centre_data ? filters.data() : weight.data();
    bibench::convolve_depthwise(k, s, x.data(), xs, bibench::pack_depthwise(s, values, ws), shift_data, finish,
                                out.data(), os, threads);
    return;
  }
  const bibench::PackedWeight packed = centre_data
                                           ? bibench::pack_centred(k, s, weight.data(), ws, centre_data, threads)
                                           : bibench::pack_weight(k, s, weight.data(), ws, threads);
  bibench::convolve(k, s, x.data(), xs, packed, shift_data, finish, out.data(), os, threads);
}

bibench::Vectors vectors(const Array& a, bool transposed, const char* name) {
  check(a.ndim() == 4, std::string(name) + " must have 4 axes, got " + shape_of(a));
  const size_t row = transposed ? 3 : 2, value = transposed ? 2 : 3;
  for (size_t i = 0; i < 4; ++i)
    check(a.shape(i) < (size_t{1} << 31), std::string(name) + ": sizes must be below 2^31");
  check(is_empty(a) || a.shape(3) <= 1 || a.stride(3) == 1, std::string(name) + " must be contiguous along its last axis");
  return {a.data(),   static_cast<int64_t>(a.shape(row)), a.stride(0), a.stride(1), transposed ? 1 : a.stride(row),
          transposed ? a.stride(value) : 1};
}

// a (B, H, M, K) with b (B, H, N, K), or with b (B, H, K, N) when `mask`, whose a holds zeros and ones.
void matmul(const Array& a, const Array& b, const Output& out, bool mask, int threads) {
  const bibench::Vectors left = vectors(a, false, "a"), right = vectors(b, mask, "b");
  const int64_t length = a.shape(3), outer = a.shape(0), inner = a.shape(1);
  check(static_cast<int64_t>(b.shape(mask ? 2 : 3)) == length && b.shape(0) == a.shape(0) && b.shape(1) == a.shape(1),
        "a " + shape_of(a) + " and b " + shape_of(b) + " do not fit");
  check(length < (int64_t{1} << 24), "a product may have at most 2^24 terms");
  check(out.ndim() == 4 && static_cast<int64_t>(out.shape(0)) == outer && static_cast<int64_t>(out.shape(1)) == inner &&
            static_cast<int64_t>(out.shape(2)) == left.rows && static_cast<int64_t>(out.shape(3)) == right.rows,
        "out has the wrong shape " + shape_of(out));
  int64_t stride = 1;
  for (int i = 3; i >= 0; --i) {
    check(is_empty(out) || out.shape(i) <= 1 || out.stride(i) == stride, "out must be contiguous");
    stride *= out.shape(i);
  }
  const Kernels& k = kernels();
  nb::gil_scoped_release release;
  bibench::matmul(k, mask ? bibench::Product::kMask : bibench::Product::kSigns, outer, inner, length, left, right,
                  out.data(), threads);
}

// Elementwise kernels work on the memory of dense arrays of equal layout, whatever the order of their axes.
template <class A, class B>
int64_t same_memory(const A& a, const B& b, const char* names) {
  check(a.ndim() == b.ndim(), std::string(names) + " must have the same shape");
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride and size, where there is more than one element
  for (size_t i = 0; i < a.ndim(); ++i) {
    check(a.shape(i) == b.shape(i), std::string(names) + " must have the same shape, got " + shape_of(a) + " and " + shape_of(b));
    check(a.shape(i) <= 1 || a.stride(i) == b.stride(i), std::string(names) + " must have the same strides");
    if (a.shape(i) > 1) axes.emplace_back(a.stride(i), static_cast<int64_t>(a.shape(i)));
  }
  if (is_empty(a)) return 0;
  std::sort(axes.begin(), axes.end());
  int64_t size = 1;
  for (const auto& [stride, count] : axes) {
    check(stride == size, std::string(names) + " must be dense in memory");
    size *= count;
  }
  return size;
}

template <class Body>
void elementwise(int64_t size, int threads, Body&& body) {
  constexpr int64_t kGrain = 1 << 15;  // below this, waking a thread costs more than it saves
  nb::gil_scoped_release release;
  const int64_t parts = (size + kGrain - 1) / kGrain;
  bibench::parallel_for(parts, threads, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kGrain, last = end * kGrain < size ? end * kGrain : size;
    body(first, last - first);
  });
}

bool sign(const Array& x, const Output& out, float limit, int threads) {
  const int64_t size = same_memory(x, out, "x and out");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  std::atomic<bool> within{true};
  elementwise(size, threads, [&](int64_t i, int64_t n) {
    if (!k.sign(from + i, to + i, n, limit)) within.store(false, std::memory_order_relaxed);
  });
  return within.load();
}

void sign_sine(const Array& x, float amount, const Output& out, int threads) {
  const int64_t size = same_memory(x, out, "x and out");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  elementwise(size, threads, [&](int64_t i, int64_t n) { k.sign_sine(from + i, amount, to + i, n); });
}

template <class Kernel>
void gradient(const Array& grad, const Array& x, const Output& out, int threads, Kernel&& kernel) {
  const int64_t size = same_memory(grad, x, "grad and x");
  same_memory(x, out, "x and out");
  const float *g = grad.data(), *v = x.data();
  float* to = out.data();
  elementwise(size, threads, [&](int64_t i, int64_t n) { kernel(g + i, v + i, to + i, n); });
}

void check_terms(const std::vector<float>& c) {
  check(!c.empty() && c.size() <= bibench::kMaxTerms,
        "coefficients must be 1 to " + std::to_string(bibench::kMaxTerms) + ", got " + std::to_string(c.size()));
}

bibench::Normalization normalization(int64_t n, bool unbiased, float eps, float deviation, bool centre) {
  return {static_cast<float>(unbiased && n > 1 ? n - 1 : n), eps, deviation, centre};
}

// A contiguous matrix: rows and columns.
template <class A>
void check_matrix(const A& a, int64_t rows, int64_t columns, const char* name) {
  check(a.ndim() == 2 && static_cast<int64_t>(a.shape(0)) == rows && static_cast<int64_t>(a.shape(1)) == columns,
        std::string(name) + " has the wrong shape " + shape_of(a));
  check((columns <= 1 || a.stride(1) == 1) && (rows <= 1 || a.stride(0) == columns),
        std::string(name) + " must be contiguous");
}

// A loop over rows of n values, which runs on one thread where there is little to do.
template <class Body>
void over_rows(int64_t rows, int64_t n, int threads, Body&& body) {
  constexpr int64_t kGrain = 1 << 15;
  const int64_t parts = std::clamp<int64_t>(rows * n / kGrain, 1, threads);
  bibench::parallel_for(rows, static_cast<int>(parts), [&](int64_t begin, int64_t end) { body(begin, end); });
}

constexpr int64_t kStats = 4;

// The sum over rows of the last of their statistics, folded as bibench.rows does.
float folded_sum(const float* facts, int64_t rows) {
  std::vector<float> sums(rows);
  for (int64_t r = 0; r < rows; ++r) sums[r] = facts[r * kStats + 3];
  for (int64_t size = rows; size > 1;) {
    const int64_t half = (size + 1) / 2;
    for (int64_t i = 0; i < size - half; ++i) sums[i] += sums[half + i];
    size = half;
  }
  return rows ? sums[0] : 0.0f;
}

float normalize(const Array& x, const Output& out, const Output& stats, float eps, float deviation, bool centre,
               int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out"), check_matrix(stats, rows, kStats, "stats");
  const Kernels& k = kernels();
  const bibench::Normalization how = normalization(n, true, eps, deviation, centre);
  const float* from = x.data();
  float *to = out.data(), *facts = stats.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r)
      k.normalize_row(from + r * n, n, how, to + r * n, buffer.data(), facts + r * kStats);
  });
  return folded_sum(facts, rows);
}

// Statistics of filters; returns the bound on what is scaled: the mean magnitude of all of it, times `clip`.
float describe(const Array& x, const Output& stats, float eps, float deviation, bool centre, float clip, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(x, rows, n, "x"), check_matrix(stats, rows, kStats, "stats");
  const Kernels& k = kernels();
  const bibench::Normalization how = normalization(n, true, eps, deviation, centre);
  const float* from = x.data();
  float* facts = stats.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r)
      k.describe_filter(from + r * n, n, how, buffer.data(), facts + r * kStats);
  });
  return folded_sum(facts, rows) / static_cast<float>(rows * n) * clip;
}

void sign_centred(const Array& x, const Array& stats, const Array& scale, const Output& out, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out"), check_matrix(stats, rows, kStats, "stats");
  const float *from = x.data(), *facts = stats.data(), *factors = channel_values(scale, rows, "scale");
  const Kernels& k = kernels();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) k.sign_centred(from + r * n, facts[r * kStats], factors[r], to + r * n, n);
  });
}

void rectify(const Output& grad, const Array& x, const Array& stats, const Array& scale, const Output& total, float eps,
             float deviation, bool centre, float limit, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x"), check_matrix(stats, rows, kStats, "stats");
  const float *v = x.data(), *facts = stats.data(), *factors = channel_values(scale, rows, "scale");
  check(total.ndim() == 1 && static_cast<int64_t>(total.shape(0)) == rows && (rows <= 1 || total.stride(0) == 1),
        "total must be contiguous with a value for each row");
  const Kernels& k = kernels();
  const bibench::Normalization how = normalization(n, true, eps, deviation, centre);
  float *g = grad.data(), *sums = total.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r)
      sums[r] = k.rectify_row(g + r * n, v + r * n, facts + r * kStats, factors[r], n, how, limit, buffer.data());
  });
}

void normalize_backward(const Array& grad, const Array& x, const Array& stats, const Output& out, float eps,
                        float deviation, bool centre, float limit, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  check_matrix(stats, rows, kStats, "stats");
  const Kernels& k = kernels();
  const bibench::Normalization how = normalization(n, true, eps, deviation, centre);
  const float *g = grad.data(), *v = x.data(), *facts = stats.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r)
      k.normalize_row_backward(g + r * n, v + r * n, facts + r * kStats, n, how, limit, to + r * n, buffer.data());
  });
}

bool sign_scaled(const Array& x, const Array& scale, const Output& out, float limit, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  const float* factors = channel_values(scale, rows, "scale");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  std::atomic<bool> within{true};
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    bool all = true;
    for (int64_t r = begin; r < end; ++r) all &= k.sign_scaled(from + r * n, factors[r], to + r * n, n, limit);
    if (!all) within.store(false, std::memory_order_relaxed);
  });
  return within.load();
}

// What multiplies (or is added to) every row of a matrix: the gradient of the matrix in `out`, of the row in `total`.
template <class Values, class Kernel>
void per_row_backward(const Array& grad, const Values& x, const Array& row, const char* name, const Output& out,
                      const Output& total, int threads, Kernel kernel) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(rows >= 1, "x must have rows");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  check_matrix(row, 1, n, name), check_matrix(total, 1, n, "total");
  const float *g = grad.data(), *values = row.data();
  const auto* v = x.data();
  float *to = out.data(), *sums = total.data();
  // A thread takes rows that follow each other, as the passes before and after do, so that they are in its cache; sums
  // over 2^k such rows are the same for any k. Of these rows, columns that the cache holds are done one after another;
  // the more of them, the longer the stretches of memory that are read.
  int64_t part = 1;
  while (part * 2 * std::max(1, threads) <= rows) part *= 2;
  const int64_t parts = (rows + part - 1) / part, half = (part + 1) / 2;
  const int64_t columns = std::clamp<int64_t>((1 << 17) / part / 64 * 64, 64, 4096), blocks = (n + columns - 1) / columns;
  nb::gil_scoped_release release;
  std::vector<float> part_sums(parts > 1 ? parts * n : 0);
  float* part_sum = parts > 1 ? part_sums.data() : sums;
  bibench::parallel_for(parts * blocks, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(half * columns);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t p = unit / blocks, first = unit % blocks * columns, size = std::min(n - first, columns);
      const int64_t start = p * part * n + first;
      kernel(g + start, v + start, values + first, std::min(part, rows - p * part), size, n, to + start,
             part_sum + p * n + first, buffer.data());
    }
  });
  if (parts > 1) kernels().sum_neighbours(part_sums.data(), parts, n, sums);
}

void filter_scale_gradients(const Output& grad, const Array& x, const Array& scale, const Output& total, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x");
  const float* factors = channel_values(scale, rows, "scale");
  check(total.ndim() == 1 && static_cast<int64_t>(total.shape(0)) == rows && (rows <= 1 || total.stride(0) == 1),
        "total must be contiguous with a value for each row");
  const Kernels& k = kernels();
  float *g = grad.data(), *sums = total.data();
  const float* v = x.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n / 2 + 1);
    for (int64_t r = begin; r < end; ++r)
      sums[r] = k.filter_scale_gradient(g + r * n, v + r * n, factors[r], n, buffer.data());
  });
}

void rescale_backward(const Array& grad, const Array& x, const Array& gamma, const Output& out, const Output& total,
                      int threads) {
  per_row_backward(grad, x, gamma, "gamma", out, total, threads, kernels().rescale_backward);
}

void rescale_kept_backward(const Array& grad, const KeptInput& x, const Array& gamma, const Output& out,
                           const Output& total, int threads) {
  per_row_backward(grad, x, gamma, "gamma", out, total, threads, kernels().rescale_kept_backward);
}

void approx_sign_shifted(const Array& grad, const Array& x, const Array& shift, const Output& out, const Output& total,
                         int threads) {
  per_row_backward(grad, x, shift, "shift", out, total, threads, kernels().approx_sign_shifted);
}

void sign_shifted(const Array& x, const Array& shift, const Output& out, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out"), check_matrix(shift, 1, n, "shift");
  const Kernels& k = kernels();
  const float *from = x.data(), *row = shift.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) k.sign_shifted(from + r * n, row, to + r * n, n);
  });
}

// The rows are pixels, the columns channels.
void sign_shifted_rows(const Array& x, const Array& shift, const Output& out, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  const float *from = x.data(), *values = channel_values(shift, n, "shift");
  const Kernels& k = kernels();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    k.sign_shifted_rows(from + begin * n, values, end - begin, n, to + begin * n);
  });
}

void approx_sign_shifted_rows(const Array& grad, const Array& x, const Array& shift, const Output& out,
                              const Output& total, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(rows >= 1, "x must have rows");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  check_matrix(total, 1, n, "total");
  const float *g = grad.data(), *v = x.data(), *values = channel_values(shift, n, "shift");
  float *to = out.data(), *sums = total.data();
  const Kernels& k = kernels();
  constexpr int64_t kPart = 1 << 9;  // a power of two: sums over parts, added, are those over all rows in order
  const int64_t parts = (rows + kPart - 1) / kPart;
  nb::gil_scoped_release release;
  std::vector<float> part_sums(parts * n);
  const int used = static_cast<int>(std::clamp<int64_t>(rows * n >> 15, 1, std::max(1, threads)));
  bibench::parallel_for(parts, used, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(kPart / 8 * n);
    for (int64_t p = begin; p < end; ++p) {
      const int64_t start = p * kPart * n;
      k.approx_sign_shifted_rows(g + start, v + start, values, std::min(kPart, rows - p * kPart), n, to + start,
                                 part_sums.data() + p * n, buffer.data());
    }
  });
  k.sum_neighbours(part_sums.data(), parts, n, sums);
}

void approx_sign_rows(const Array& grad, const Array& x, const Output& out, float eps, float deviation, bool centre,
                      int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  const Kernels& k = kernels();
  const bibench::Normalization how = normalization(n, true, eps, deviation, centre);
  const float *g = grad.data(), *v = x.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r) k.approx_sign_row(g + r * n, v + r * n, n, how, to + r * n, buffer.data());
  });
}

void mean_magnitudes(const Array& x, const Output& out, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(x, rows, n, "x");
  check(out.ndim() == 1 && static_cast<int64_t>(out.shape(0)) == rows && (rows <= 1 || out.stride(0) == 1),
        "out must be contiguous with a value for each row");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n / 2 + 1);
    k.mean_magnitudes(from + begin * n, end - begin, n, to + begin, buffer.data());
  });
}

void box_means(const Array& x, const Output& out, std::array<int64_t, 2> kernel, std::array<int64_t, 2> stride,
               std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation, int threads) {
  check(x.ndim() == 4, "x must have 4 axes, got " + shape_of(x));
  const Shape s = conv_shape(x, {1, static_cast<int64_t>(x.shape(1)), kernel[0], kernel[1]}, stride, padding, dilation, 1, 0);
  const Strides xs = layout(x, "x");
  check(out.ndim() == 3 && static_cast<int64_t>(out.shape(0)) == s.n && static_cast<int64_t>(out.shape(1)) == s.out_h() &&
            static_cast<int64_t>(out.shape(2)) == s.out_w() && is_contiguous(out),
        "out must be contiguous and have shape (N, H_o, W_o), got " + shape_of(out));
  const Kernels& k = kernels();
  nb::gil_scoped_release release;
  bibench::box_means(k, s, x.data(), xs.c != 1, out.data(), threads);
}

void multiply_rows(const Array& x, const Array& factors, const Output& out, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  const float* f = channel_values(factors, rows, "factors");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    k.multiply_rows(from + begin * n, f + begin, end - begin, n, to + begin * n);
  });
}

// What the benchmarks compare with: the processor's limit, and the counting alone, without packing or layout.

double probe(int64_t rounds) {
  const Kernels& k = kernels();
  uint32_t sink = 0;
  nb::gil_scoped_release release;
  const int64_t bits = k.probe(rounds, &sink);
  return sink == 0x12345678u ? -1.0 : static_cast<double>(bits);
}

void count_only(int64_t pixels, int64_t channels, int64_t words, int64_t repeats) {
  check(pixels >= 1 && channels >= 1 && words >= 1 && repeats >= 1, "sizes must be positive");
  check(pixels < 1 << 20 && channels < 1 << 20 && words < 1 << 20, "sizes must be below 2^20");
  const Kernels& k = kernels();
  const int64_t blocks = (channels + bibench::kLanes - 1) / bibench::kLanes;
  std::vector<uint32_t> bits(pixels * words, 0x5a5a1234u), weights(blocks * words * bibench::kLanes, 0x1234a5a5u);
  std::vector<float> out(pixels * blocks * bibench::kLanes);
  std::vector<const uint32_t*> bases(pixels);
  for (int64_t p = 0; p < pixels; ++p) bases[p] = bits.data() + p * words;
  const int32_t offset = 0;
  const bibench::Runs runs = {&offset, 1, words};
  const bibench::Epilogue epilogue = {static_cast<int32_t>(words * bibench::kWordBits), nullptr, nullptr, nullptr, nullptr};
  nb::gil_scoped_release release;
  for (int64_t r = 0; r < repeats; ++r)
    for (int64_t b = 0; b < blocks; b += k.tile_blocks) {
      const int tile = static_cast<int>(blocks - b < k.tile_blocks ? blocks - b : k.tile_blocks);
      for (int64_t p = 0; p < pixels; p += k.tile_pixels) {
        const int size = static_cast<int>(pixels - p < k.tile_pixels ? pixels - p : k.tile_pixels);
        k.product_xor(bases.data() + p, size, weights.data() + b * words * bibench::kLanes, tile, runs,
                      tile * bibench::kLanes, epilogue,
                      out.data() + p * blocks * bibench::kLanes + b * bibench::kLanes, blocks * bibench::kLanes);
      }
    }
}

}  // namespace

NB_MODULE(_core, m) {
  m.doc() = "XNOR-popcount kernels and fused surrogate gradients on float32 CPU arrays.";
  m.def("isa", [] { return kernels().name; }, "Name of the kernels in use.");
  m.def(
      "available",
      [] {
        std::vector<std::string> names;
        for (const Kernels* k : bibench::available_kernels()) names.emplace_back(k->name);
        return names;
      },
      "Names of the kernels this processor can run, best first.");
  m.def(
      "use",
      [](const std::string& name) {
        const Kernels* found = bibench::find_kernels(name);
        check(found != nullptr, "no kernels named '" + name + "' for this processor");
        bibench::use_kernels(*found);
      },
      "name"_a, "Use these kernels from now on.");
  m.def("convolve", &convolve, "x"_array, "weight"_array, "out"_array, "stride"_a, "padding"_a, "dilation"_a,
        "groups"_a, "pad_value"_a, "shift"_array.none(), "scale"_array.none(), "bias"_array.none(), "threads"_a,
        "gamma"_array.none() = nb::none(), "pixels"_array.none() = nb::none(), "kept"_array.none() = nb::none(),
        "centres"_array.none() = nb::none(),
        "out = scale * (sign(x + shift) conv sign(weight)) * pixels + bias, padding (top, bottom, left, right) after the "
        "sign; gamma, in the layout of out, instead of scale. kept takes the integers that gamma multiplies. Filters have "
        "their `centres` subtracted.");
  m.def("normalize", &normalize, "x"_array, "out"_array, "stats"_array, "eps"_a, "deviation"_a, "centre"_a,
        "threads"_a, "Rows of x scaled to standard deviation `deviation`; stats: mean, factor, variance + eps, sum of |out|. "
        "Returns the sum of |out| over all rows.");
  m.def("normalize_backward", &normalize_backward, "grad"_array, "x"_array, "stats"_array, "out"_array, "eps"_a,
        "deviation"_a, "centre"_a, "limit"_a, "threads"_a, "Gradient of normalize where |out| < limit.");
  m.def("describe", &describe, "x"_array, "stats"_array, "eps"_a, "deviation"_a, "centre"_a, "clip"_a, "threads"_a,
        "The statistics of normalize alone; returns the mean of its |out|, times `clip`.");
  m.def("sign_centred", &sign_centred, "x"_array, "stats"_array, "scale"_array, "out"_array, "threads"_a,
        "Rows of out = scale where x - mean >= 0, else -scale.");
  m.def("rectify", &rectify, "grad"_array, "x"_array, "stats"_array, "scale"_array, "total"_array, "eps"_a, "deviation"_a,
        "centre"_a, "limit"_a, "threads"_a,
        "grad, of scale * sign(x - mean), becomes that of x through normalize, passed where |out| < limit; total that of "
        "the scale.");
  m.def("filter_scale_gradients", &filter_scale_gradients, "grad"_array, "x"_array, "scale"_array, "total"_array,
        "threads"_a, "total = sum of grad * sign(x) over each row; grad is multiplied by the scale of its row.");
  m.def("rescale_backward", &rescale_backward, "grad"_array, "x"_array, "gamma"_array, "out"_array, "total"_array, "threads"_a,
        "Gradients of x * gamma: out = grad * gamma, total = sum over rows of grad * x.");
  m.def("rescale_kept_backward", &rescale_kept_backward, "grad"_array, "x"_array, "gamma"_array, "out"_array,
        "total"_array, "threads"_a, "The same of integers x.");
  m.def("approx_sign_shifted", &approx_sign_shifted, "grad"_array, "x"_array, "shift"_array, "out"_array, "total"_array,
        "threads"_a, "out = grad * max(0, 2 - 2|x + shift|), total = sum over rows of out.");
  m.def("sign_shifted", &sign_shifted, "x"_array, "shift"_array, "out"_array, "threads"_a,
        "out = +1 where x + shift >= 0, else -1; the shift has a value for each column.");
  m.def("sign_shifted_rows", &sign_shifted_rows, "x"_array, "shift"_array, "out"_array, "threads"_a,
        "The same of a vector of shifts, whatever the number of rows.");
  m.def("approx_sign_shifted_rows", &approx_sign_shifted_rows, "grad"_array, "x"_array, "shift"_array, "out"_array,
        "total"_array, "threads"_a, "approx_sign_shifted of a vector of shifts; the sums are over all rows, in their order.");
  m.def("approx_sign_rows", &approx_sign_rows, "grad"_array, "x"_array, "out"_array, "eps"_a, "deviation"_a, "centre"_a,
        "threads"_a, "grad * max(0, 2 - 2|s|), s the scaled rows of x, and from there the gradient of x.");
  m.def("mean_magnitudes", &mean_magnitudes, "x"_array, "out"_array, "threads"_a, "Mean of |x| over each row.");
  m.def("box_means", &box_means, "x"_array, "out"_array, "kernel"_a, "stride"_a, "padding"_a, "dilation"_a,
        "threads"_a, "Mean of |x| over the channels and the window of a convolution; padding (top, bottom, "
        "left, right) of zeros.");
  m.def("multiply_rows", &multiply_rows, "x"_array, "factors"_array, "out"_array, "threads"_a,
        "Rows of x, each times its factor.");
  m.def("probe", &probe, "rounds"_a, "Counts bits on registers alone; returns how many. For benchmarks.");
  m.def("count_only", &count_only, "pixels"_a, "channels"_a, "words"_a, "repeats"_a,
        "Counts for packed operands, without packing or layout. For benchmarks.");
  m.def("sign_scaled", &sign_scaled, "x"_array, "scale"_array, "out"_array, "limit"_a, "threads"_a,
        "Rows of out = scale where x >= 0, else -scale. Returns whether |x| <= limit everywhere.");
  m.def("matmul", &matmul, "a"_array, "b"_array, "out"_array, "mask"_a, "threads"_a,
        "out = sign(a) @ sign(b)^T over the last two axes, or a @ sign(b) when `mask`, for a of zeros and ones.");
  m.def("sign", &sign, "x"_array, "out"_array, "limit"_a, "threads"_a,
        "out = +1 where x >= 0, else -1. Returns whether |x| <= limit everywhere.");
  m.def(
      "ste",
      [](const Array& grad, const Array& x, const Output& out, float clip, int threads) {
        const Kernels& k = kernels();
        gradient(grad, x, out, threads,
                 [&](const float* g, const float* v, float* to, int64_t n) { k.ste(g, v, to, n, clip); });
      },
      "grad"_array, "x"_array, "out"_array, "clip"_a, "threads"_a, "out = grad where |x| <= clip, else 0.");
  m.def(
      "approx_sign",
      [](const Array& grad, const Array& x, const Output& out, int threads) {
        const Kernels& k = kernels();
        gradient(grad, x, out, threads,
                 [&](const float* g, const float* v, float* to, int64_t n) { k.approx_sign(g, v, to, n); });
      },
      "grad"_array, "x"_array, "out"_array, "threads"_a, "out = grad * max(0, 2 - 2|x|).");
  m.def(
      "even_polynomial",
      [](const Array& grad, const Array& x, const Output& out, const std::vector<float>& c, float window, int threads) {
        check_terms(c);
        const Kernels& k = kernels();
        gradient(grad, x, out, threads, [&](const float* g, const float* v, float* to, int64_t n) {
          k.even_polynomial(g, v, to, n, c.data(), static_cast<int>(c.size()), window);
        });
      },
      "grad"_array, "x"_array, "out"_array, "coefficients"_a, "window"_a, "threads"_a,
      "out = grad * sum_k c[k] x^(2k) where |x| <= window, else 0.");
  m.def("sign_sine", &sign_sine, "x"_array, "amount"_a, "out"_array, "threads"_a,
        "out = +1 where x >= 0, else -1; plus amount * sin(x).");
  m.def(
      "even_polynomial_cosine",
      [](const Array& grad, const Array& x, const Output& out, const std::vector<float>& c, float window, float amount,
         int threads) {
        check_terms(c);
        const Kernels& k = kernels();
        gradient(grad, x, out, threads, [&](const float* g, const float* v, float* to, int64_t n) {
          k.even_polynomial_cosine(g, v, to, n, c.data(), static_cast<int>(c.size()), window, amount);
        });
      },
      "grad"_array, "x"_array, "out"_array, "coefficients"_a, "window"_a, "amount"_a, "threads"_a,
      "out = grad * (sum_k c[k] x^(2k) where |x| <= window, else amount * cos(x)).");
}
