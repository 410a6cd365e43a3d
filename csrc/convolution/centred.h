// Filters that are centred before their signs are taken.
#pragma once

#include "foundation/threads.h"
#include "isa/kernels.h"
#include "shape.h"
#include "weight.h"

#include <vector>

namespace bibench {

// The signs of filters minus a value each, packed; `centres` has one for each output channel.
PackedWeight pack_centred(const Kernels& kernels, const Shape& shape, const float* weight, Strides strides,
                          const float* centres, const Threads& threads);

// Filters minus a value each, in the same order.
std::vector<float> centred(const Shape& shape, const float* weight, const float* centres);

}  // namespace bibench
