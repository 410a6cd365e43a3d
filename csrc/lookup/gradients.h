// The gradients of a convolution of signs, sign(x + shift) conv (scale * sign(weight)), by table lookup (lookup.h).
//
// As accurate as sums in float32 (fewer roundings than adding one by one), and the same bits whatever the instruction set
// and the number of threads; but not the bits of a library that adds in another order.
//
// All tensors have their channels last: x (n, h, w, c), grad (n, out_h, out_w, co), weight (co, kh, kw, c); one group.
#pragma once

#include "convolution/shape.h"
#include "foundation/threads.h"
#include "lookup.h"

namespace bibench {

// The steps for the instruction set of `kernels`, which may have none of its own.
const Lookup& lookup_for(const Kernels& kernels);
// Whether lookups of that instruction set are faster than multiply-adds.
bool lookup_pays(const Kernels& kernels);

// out (n, h, w, c) = gradient with respect to sign(x); `scale` (co) may be null.
void lookup_input_gradient(const Lookup& lookup, const Shape& shape, const float* grad, const float* weight,
                           const float* scale, float* out, const Threads& threads);

// out (co, kh, kw, c) = gradient with respect to scale * sign(weight); `shift` (c) may be null.
void lookup_weight_gradient(const Lookup& lookup, const Shape& shape, const float* grad, const float* x,
                            const float* shift, float* out, const Threads& threads);

}  // namespace bibench
