// See borders.h.

#include "borders.h"

#include <algorithm>

namespace bibench {
namespace {

Border border(int64_t out, int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t before) {
  Border result;
  result.outside.emplace_back(kernel, 0);
  for (int64_t o = 0; o < out; ++o) {
    std::vector<uint8_t> taps(kernel);
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t i = o * stride + k * dilation - before;
      taps[k] = i < 0 || i >= in;
    }
    auto found = std::find(result.outside.begin(), result.outside.end(), taps);
    if (found == result.outside.end()) found = result.outside.insert(found, taps);
    result.class_of.push_back(static_cast<int32_t>(found - result.outside.begin()));
  }
  return result;
}

}  // namespace

Corrections corrections(const Shape& s, const PackedWeight& weight) {
  Corrections result;
  const bool padded = s.top || s.bottom || s.left || s.right;
  if (!padded || s.pad_value == 1) return result;
  result.rows = border(s.out_h(), s.h, s.kh, s.stride_h, s.dilation_h, s.top);
  result.columns = border(s.out_w(), s.w, s.kw, s.stride_w, s.dilation_w, s.left);
  result.width = s.blocks() * kLanes;
  const int32_t factor = s.pad_value == 0 ? 1 : 2;
  result.table.assign(s.groups * result.rows.outside.size() * result.columns.outside.size() * result.width, 0);
  int32_t* entry = result.table.data();
  for (int64_t g = 0; g < s.groups; ++g)
    for (const auto& row : result.rows.outside)
      for (const auto& column : result.columns.outside) {
        for (int64_t ky = 0; ky < s.kh; ++ky)
          for (int64_t kx = 0; kx < s.kw; ++kx)
            if (row[ky] || column[kx]) {
              const int32_t* sums = weight.tap_sums.data() + (g * s.taps() + ky * s.kw + kx) * result.width;
              for (int64_t c = 0; c < result.width; ++c) entry[c] += factor * sums[c];
            }
        entry += result.width;
      }
  const int64_t classes = static_cast<int64_t>(result.rows.outside.size() * result.columns.outside.size());
  if (classes > kLanes) return result;
  result.by_channel.assign(s.groups * result.width * kLanes, 0);
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t i = 0; i < classes; ++i)
      for (int64_t c = 0; c < result.width; ++c)
        result.by_channel[(g * result.width + c) * kLanes + i] = result.table[(g * classes + i) * result.width + c];
  return result;
}

}  // namespace bibench
