// The geometry of a convolution, from its arguments.
#pragma once

#include "arguments.h"

#include <array>

namespace bibench::python {

using Sizes = std::array<int64_t, 4>;

template <class T>
Sizes sizes_of(const T& a, const char* name) {
  check(a.ndim() == 4, std::string(name) + " must have 4 axes, got " + shape_of(a));
  return {static_cast<int64_t>(a.shape(0)), static_cast<int64_t>(a.shape(1)), static_cast<int64_t>(a.shape(2)),
          static_cast<int64_t>(a.shape(3))};
}

std::string text_of(Sizes sizes);

// Of x (n, c, h, w) with weight (co, c / groups, kh, kw); padding (top, bottom, left, right).
Shape conv_shape(Sizes x, Sizes weight, std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                 std::array<int64_t, 2> dilation, int64_t groups, int pad_value);

inline Sizes output_sizes(const Shape& s) { return {s.n, s.co, s.out_h(), s.out_w()}; }

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

}  // namespace bibench::python
