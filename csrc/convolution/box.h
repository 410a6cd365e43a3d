// XNOR-Net's K: the mean magnitude over the channels, averaged over a layer's window at every output position.
#pragma once

#include "foundation/threads.h"
#include "isa/kernels.h"
#include "shape.h"

namespace bibench {

// x has its channels last, or first when `planar`; out is (N, H_o, W_o). Sums are those of bibench.operators.xnor: down the columns of the
// padded map, then along its rows, tap by tap.
void box_means(const Kernels& kernels, const Shape& s, const float* x, bool planar, float* out, const Threads& threads);

}  // namespace bibench
