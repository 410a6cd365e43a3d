// Gradients of convolutions of signs, by table lookup.

#include "geometry.h"
#include "lookup/gradients.h"

namespace bibench::python {
namespace {

// The data of an array of these sizes whose channels come last in memory.
template <class T>
auto channels_last(const T& a, Sizes sizes, const char* name) {
  check(sizes_of(a, name) == sizes, std::string(name) + " must have shape " + text_of(sizes) + ", got " + shape_of(a));
  check(layout(a, name).c == 1, std::string(name) + " must be channels-last");
  return a.data();
}

void input_gradient(const Array& grad, const Array& weight, const MaybeArray& scale, const Output& out,
                    std::array<int64_t, 2> stride, std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation,
                    int threads) {
  const Sizes x = sizes_of(out, "out"), filters = sizes_of(weight, "weight");
  const Shape s = conv_shape(x, filters, stride, padding, dilation, 1, 0);
  const float* from = channels_last(grad, output_sizes(s), "grad");
  const float* values = channels_last(weight, filters, "weight");
  const float* factors = channel_values(scale, s.co, "scale");
  float* to = channels_last(out, x, "out");
  const Lookup& lookup = lookup_for(kernels());
  nb::gil_scoped_release release;
  lookup_input_gradient(lookup, s, from, values, factors, to, threads);
}

void weight_gradient(const Array& grad, const Array& x, const MaybeArray& shift, const Output& out,
                     std::array<int64_t, 2> stride, std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation,
                     int pad_value, int threads) {
  const Sizes sizes = sizes_of(x, "x"), filters = sizes_of(out, "out");
  const Shape s = conv_shape(sizes, filters, stride, padding, dilation, 1, pad_value);
  const float* from = channels_last(grad, output_sizes(s), "grad");
  const float* values = channels_last(x, sizes, "x");
  const float* shifts = channel_values(shift, s.c, "shift");
  float* to = channels_last(out, filters, "out");
  const Lookup& lookup = lookup_for(kernels());
  nb::gil_scoped_release release;
  lookup_weight_gradient(lookup, s, from, values, shifts, to, threads);
}

}  // namespace

void register_gradients(nb::module_& m) {
  m.def("lookup_pays", [] { return lookup_pays(kernels()); }, "Whether gradients by lookup are faster than multiply-adds.");
  m.def("lookup_input_gradient", &input_gradient, "grad"_array, "weight"_array, "scale"_array.none(), "out"_array,
        "stride"_a, "padding"_a, "dilation"_a, "threads"_a,
        "out = gradient of sign(x) conv (scale * sign(weight)) with respect to sign(x); all channels-last.");
  m.def("lookup_weight_gradient", &weight_gradient, "grad"_array, "x"_array, "shift"_array.none(), "out"_array,
        "stride"_a, "padding"_a, "dilation"_a, "pad_value"_a, "threads"_a,
        "out = gradient of sign(x + shift) conv w with respect to w; all channels-last.");
}

}  // namespace bibench::python
