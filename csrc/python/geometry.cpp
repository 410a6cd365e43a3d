// See geometry.h.

#include "geometry.h"

namespace bibench::python {

std::string text_of(Sizes sizes) {
  std::string text = "(";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + ")";
}

Shape conv_shape(Sizes x, Sizes weight, std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                 std::array<int64_t, 2> dilation, int64_t groups, int pad_value) {
  check(groups >= 1, "groups must be at least 1");
  check(pad_value >= -1 && pad_value <= 1, "pad_value must be 0, 1 or -1");
  constexpr int64_t kLimit = int64_t{1} << 31;
  for (size_t i = 0; i < 4; ++i)
    check(x[i] < kLimit && weight[i] < kLimit, "sizes must be below 2^31");
  for (const int64_t v : {stride[0], stride[1], dilation[0], dilation[1]})
    check(v >= 1 && v < kLimit, "stride and dilation must be at least 1");
  for (const int64_t v : padding) check(v >= 0 && v < kLimit, "padding must not be negative");
  Shape s;
  s.n = x[0], s.c = x[1], s.h = x[2], s.w = x[3];
  s.co = weight[0], s.kh = weight[2], s.kw = weight[3];
  s.stride_h = stride[0], s.stride_w = stride[1];
  s.top = padding[0], s.bottom = padding[1], s.left = padding[2], s.right = padding[3];
  s.dilation_h = dilation[0], s.dilation_w = dilation[1];
  s.groups = groups, s.pad_value = pad_value;
  check(s.c >= 1 && s.co >= 1 && s.kh >= 1 && s.kw >= 1,
        "weight must not be empty, got " + text_of(weight));
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

}  // namespace bibench::python
