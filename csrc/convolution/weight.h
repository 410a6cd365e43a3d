// The weight of a binary convolution, packed into bits.
#pragma once

#include "foundation/aligned.h"
#include "foundation/threads.h"
#include "isa/kernels.h"
#include "shape.h"

#include <cstdint>
#include <vector>

namespace bibench {

// The signs of a weight, packed for the kernels: [group][block][word][lane].
struct PackedWeight {
  AlignedVector<uint32_t> words;
  // Sum of the signs under each tap, [group][tap][block * lane]: what zero padding has to give back.
  std::vector<int32_t> tap_sums;
};

PackedWeight pack_weight(const Kernels& kernels, const Shape& shape, const float* weight, Strides strides,
                         const Threads& threads = 1);
// The same from bits: for each output channel ceil(n / 8) bytes, least significant bit first, over (c, kh, kw).
PackedWeight pack_weight(const Shape& shape, const uint8_t* bits);

// Number of set bits.
int32_t bits_set(uint32_t v);

}  // namespace bibench
