// What a convolution needs beside its values: where the words of a filter lie, and the weights in the order of these.
#pragma once

#include "borders.h"
#include "convolution.h"
#include "triples.h"

#include <cstdint>
#include <vector>

namespace bibench {

// A packed image is [padded row][padded column][group][tap word]; where threes of words are neighbouring taps, the
// columns of a row are followed by as many parities: of each column and the next two that a filter reads.
struct Plan {
  const Kernels& kernels;
  Corrections corrections;
  Triples triples;
  AlignedVector<uint32_t> arranged;
  const AlignedVector<uint32_t>& weights;  // those, or the weight's own, which outlives its plans
  int64_t columns, pixel_words, row_words;
  std::vector<int32_t> offsets;
  Runs runs;

  Plan(const Kernels& kernels, const Shape& shape, const PackedWeight& weight);
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
};

}  // namespace bibench
