// Products of signs: convolutions, matrix products; and the window means that go with them.

#include "convolution/box.h"
#include "convolution/centred.h"
#include "convolution/depthwise.h"
#include "geometry.h"
#include "matmul/matmul.h"

#include <array>

namespace bibench::python {
namespace {

void convolve(const Array& x, const Array& weight, const Output& out, std::array<int64_t, 2> stride,
              std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation, int64_t groups, int pad_value,
              const MaybeArray& shift, const MaybeArray& scale, const MaybeArray& bias, int threads,
              const MaybeArray& gamma, const MaybeArray& pixels, const MaybeKept& kept, const MaybeArray& centres) {
  const Shape s = conv_shape(sizes_of(x, "x"), sizes_of(weight, "weight"), stride, padding, dilation, groups, pad_value);
  check(out.ndim() == 4 && static_cast<int64_t>(out.shape(0)) == s.n && static_cast<int64_t>(out.shape(1)) == s.co &&
            static_cast<int64_t>(out.shape(2)) == s.out_h() && static_cast<int64_t>(out.shape(3)) == s.out_w(),
        "out must have shape (" + std::to_string(s.n) + ", " + std::to_string(s.co) + ", " + std::to_string(s.out_h()) +
            ", " + std::to_string(s.out_w()) + "), got " + shape_of(out));
  const Strides xs = layout(x, "x"), ws = layout(weight, "weight"), os = layout(out, "out");
  const float* shift_data = channel_values(shift, s.c, "shift");
  Finish finish;
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
  if (is_depthwise(s)) {
    const std::vector<float> filters = centre_data ? centred(s, weight.data(), centre_data) : std::vector<float>();
    const float* values = centre_data ? filters.data() : weight.data();
    convolve_depthwise(k, s, x.data(), xs, pack_depthwise(s, values, ws), shift_data, finish, out.data(), os, threads);
    return;
  }
  const PackedWeight packed = centre_data ? pack_centred(k, s, weight.data(), ws, centre_data, threads)
                                          : pack_weight(k, s, weight.data(), ws, threads);
  bibench::convolve(k, s, x.data(), xs, packed, shift_data, finish, out.data(), os, threads);
}

Vectors vectors(const Array& a, bool transposed, const char* name) {
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
  const Vectors left = vectors(a, false, "a"), right = vectors(b, mask, "b");
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
  bibench::matmul(k, mask ? Product::kMask : Product::kSigns, outer, inner, length, left, right, out.data(),
                  threads);
}

void box_means(const Array& x, const Output& out, std::array<int64_t, 2> kernel, std::array<int64_t, 2> stride,
               std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation, int threads) {
  const Sizes sizes = sizes_of(x, "x");
  const Shape s = conv_shape(sizes, {1, sizes[1], kernel[0], kernel[1]}, stride, padding, dilation, 1, 0);
  const Strides xs = layout(x, "x");
  check(out.ndim() == 3 && static_cast<int64_t>(out.shape(0)) == s.n && static_cast<int64_t>(out.shape(1)) == s.out_h() &&
            static_cast<int64_t>(out.shape(2)) == s.out_w() && is_contiguous(out),
        "out must be contiguous and have shape (N, H_o, W_o), got " + shape_of(out));
  const Kernels& k = kernels();
  nb::gil_scoped_release release;
  bibench::box_means(k, s, x.data(), xs.c != 1, out.data(), threads);
}

}  // namespace

void register_products(nb::module_& m) {
  m.def("convolve", &convolve, "x"_array, "weight"_array, "out"_array, "stride"_a, "padding"_a, "dilation"_a,
        "groups"_a, "pad_value"_a, "shift"_array.none(), "scale"_array.none(), "bias"_array.none(), "threads"_a,
        "gamma"_array.none() = nb::none(), "pixels"_array.none() = nb::none(), "kept"_array.none() = nb::none(),
        "centres"_array.none() = nb::none(),
        "out = scale * (sign(x + shift) conv sign(weight)) * pixels + bias, padding (top, bottom, left, right) after the "
        "sign; gamma, in the layout of out, instead of scale. kept takes the integers that gamma multiplies. Filters have "
        "their `centres` subtracted.");
  m.def("matmul", &matmul, "a"_array, "b"_array, "out"_array, "mask"_a, "threads"_a,
        "out = sign(a) @ sign(b)^T over the last two axes, or a @ sign(b) when `mask`, for a of zeros and ones.");
  m.def("box_means", &box_means, "x"_array, "out"_array, "kernel"_a, "stride"_a, "padding"_a, "dilation"_a,
        "threads"_a, "Mean of |x| over the channels and the window of a convolution; padding (top, bottom, "
        "left, right) of zeros.");
}

}  // namespace bibench::python
