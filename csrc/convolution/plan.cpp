// See plan.h.

#include "plan.h"

namespace bibench {

Plan::Plan(const Kernels& k, const Shape& s, const PackedWeight& weight)
    : kernels(k), corrections(bibench::corrections(s, weight)), triples(k, s),
      arranged(triples.arrange(s, weight.words)), weights(arranged.empty() ? weight.words : arranged) {
  columns = s.w + s.left + s.right;
  pixel_words = s.groups * s.tap_words();
  row_words = columns * pixel_words * (triples.sideways ? 2 : 1);
  const auto place = [&](int64_t ky, int64_t column, int64_t word) {
    offsets.push_back(static_cast<int32_t>(ky * s.dilation_h * row_words + column * pixel_words + word));
  };
  runs.triple_words = triples.sideways ? s.tap_words() : triples.inward;
  for (int64_t ky = 0; ky < s.kh; ++ky) {
    for (int64_t t = 0; t < triples.sideways; ++t) {
      const int64_t column = 3 * t * s.dilation_w;
      place(ky, column, 0), place(ky, column + s.dilation_w, 0), place(ky, columns + column, 0);
    }
    for (int64_t kx = 0; kx < (triples.inward ? s.kw : 0); ++kx)
      for (int i = 0; i < 3; ++i) place(ky, kx * s.dilation_w, i * triples.inward);
  }
  runs.triples = static_cast<int64_t>(offsets.size()) / 3;
  // Taps of a filter row are adjacent in memory unless dilation, groups or threes part them.
  const int64_t first = 3 * triples.sideways, left = s.tap_words() - 3 * triples.inward;
  const bool adjacent = s.dilation_w == 1 && s.groups == 1 && !triples.inward;
  if (first < s.kw && left)
    for (int64_t ky = 0; ky < s.kh; ++ky)
      for (int64_t kx = first; kx < (adjacent ? first + 1 : s.kw); ++kx) place(ky, kx * s.dilation_w, 3 * triples.inward);
  runs.offsets = offsets.data();
  runs.count = static_cast<int64_t>(offsets.size()) - 3 * runs.triples;
  runs.words = adjacent ? (s.kw - first) * left : left;
}

std::shared_ptr<const Plan> make_plan(const Kernels& kernels, const Shape& shape, const PackedWeight& weight) {
  return std::make_shared<const Plan>(kernels, shape, weight);
}

}  // namespace bibench
