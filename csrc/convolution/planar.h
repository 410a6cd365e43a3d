// Binary convolutions from planes of channels to planes of channels with sixteen outputs in the lanes of a register:
// nothing is transposed, and outputs are stored where they belong.
#pragma once

#include "borders.h"
#include "finish.h"
#include "foundation/aligned.h"
#include "foundation/threads.h"
#include "isa/kernels.h"
#include "shape.h"
#include "triples.h"

namespace bibench {

// Whether `convolve_planar` computes this, and as fast: maps so large that the lanes are mostly full.
bool suits_planar(const Kernels& kernels, const Shape& shape, const Strides& x, const Finish& finish, const Strides& out,
                  const Corrections& corrections);

// As `convolve`, with the weights arranged for the triples.
void convolve_planar(const Kernels& kernels, const Shape& shape, const float* x, Strides x_strides,
                     const AlignedVector<uint32_t>& weights, const Triples& triples, const Corrections& corrections,
                     const float* shift, const Finish& finish, float* out, Strides out_strides, const Threads& threads);

}  // namespace bibench
