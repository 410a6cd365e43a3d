// Elementwise kernels, compiled once for each instruction set and vectorized by the compiler.
//
// The arithmetic is that of the PyTorch expressions they replace, operation by operation, so results are
// bit-identical to the pure path: compile with -ffp-contract=off.
//
// Included inside an anonymous namespace of each translation unit.

void sign(const float* __restrict x, float* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] >= 0.0f ? 1.0f : -1.0f;
}

// Signs of one filter, times its scale.
void sign_scaled(const float* __restrict x, float scale, float* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] >= 0.0f ? scale : -scale;
}

// The straight-through estimator: grad * (|x| <= clip). The mask is a factor, as in the pure path, so that a
// gradient of infinity or NaN outside the window becomes NaN there too.
//
// Latent weights are mostly inside the window: in place, blocks that are need not be touched.
void ste(const float* grad, const float* x, float* out, int64_t n, float clip) {
  constexpr int64_t kBlock = 512;
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t size = n - start < kBlock ? n - start : kBlock;
    const float *g = grad + start, *v = x + start;
    float* to = out + start;
    int outside = 0;
    for (int64_t i = 0; i < size; ++i) outside |= !(std::fabs(v[i]) <= clip);
    if (!outside && out == grad) continue;
    for (int64_t i = 0; i < size; ++i) to[i] = g[i] * (std::fabs(v[i]) <= clip ? 1.0f : 0.0f);
  }
}

// Bi-Real's piecewise polynomial: grad * max(0, 2 - 2|x|).
void approx_sign(const float* grad, const float* x, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float factor = 2.0f - 2.0f * std::fabs(x[i]);
    out[i] = grad[i] * (factor < 0.0f ? 0.0f : factor);
  }
}

void even_polynomial(const float* grad, const float* x, float* out, int64_t n, const float* c, int terms,
                     float window) {
  constexpr int64_t kBlock = 256;  // the polynomial is evaluated term by term over a block held in cache
  float square[kBlock], value[kBlock];
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t size = n - start < kBlock ? n - start : kBlock;
    const float* xs = x + start;
    for (int64_t i = 0; i < size; ++i) {
      square[i] = xs[i] * xs[i];
      value[i] = c[terms - 1];
    }
    for (int k = terms - 2; k >= 0; --k) {
      const float coefficient = c[k];
      for (int64_t i = 0; i < size; ++i) {
        const float product = value[i] * square[i];
        value[i] = product + coefficient;
      }
    }
    for (int64_t i = 0; i < size; ++i) {
      const float factor = std::fabs(xs[i]) > window ? 0.0f : value[i];
      out[start + i] = grad[start + i] * factor;
    }
  }
}

// Signs as bytes: +1 where x + shift >= 0, else -1. `shift` may be null; otherwise it has a value for each x
// (shift_step 1) or one for all (shift_step 0).
void to_bytes(const float* __restrict x, const float* shift, int64_t shift_step, int64_t n, int8_t* __restrict out) {
  if (!shift)
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] >= 0.0f ? 1 : -1;
  else if (shift_step == 0)
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] + shift[0] >= 0.0f ? 1 : -1;
  else
    for (int64_t i = 0; i < n; ++i) out[i] = x[i] + shift[i] >= 0.0f ? 1 : -1;
}

// sums[i] += a[i * step] * w
void add_tap(const int8_t* __restrict a, int64_t step, int8_t w, int64_t n, int16_t* __restrict sums) {
  if (step == 1)
    for (int64_t i = 0; i < n; ++i) sums[i] = static_cast<int16_t>(sums[i] + a[i] * w);
  else
    for (int64_t i = 0; i < n; ++i) sums[i] = static_cast<int16_t>(sums[i] + a[i * step] * w);
}

// sums[i] += a[i] * w[i]
void add_products(const int8_t* __restrict a, const int8_t* __restrict w, int64_t n, int16_t* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] = static_cast<int16_t>(sums[i] + a[i] * w[i]);
}

// out[i] = sums[i] * scale + bias; scale and bias (may be null) have a value for each i (step 1) or one for all (0).
void finish_sums(const int16_t* __restrict sums, const float* scale, const float* bias, int64_t step, int64_t n,
                 float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(sums[i]);
  if (scale)
    for (int64_t i = 0; i < n; ++i) out[i] *= scale[i * step];
  if (bias)
    for (int64_t i = 0; i < n; ++i) out[i] += bias[i * step];
}

template <class Body>
void each(int64_t n, const Operand& operand, Body&& body) {
  if (!operand.data) return;
  const float one = *operand.data;
  if (operand.step)
    for (int64_t i = 0; i < n; ++i) body(i, operand.data[i]);
  else
    for (int64_t i = 0; i < n; ++i) body(i, one);
}

// The residual and the activation, in one pass over the line.
template <bool add, Activation activation, bool slopes = false>
void finish_last(float* __restrict out, int64_t n, const Line& line) {
  const float *__restrict residual = line.residual, *__restrict slope = line.slope.data;
  const float low = line.low, high = line.high, one = slope && !slopes ? *slope : 0.0f;
  for (int64_t i = 0; i < n; ++i) {
    float v = out[i];
    if constexpr (add) v += residual[i];
    if constexpr (activation == Activation::kRelu) v = v < 0.0f ? 0.0f : v;
    if constexpr (activation == Activation::kPrelu) {
      const float scaled = v * (slopes ? slope[i] : one);
      v = v < 0.0f ? scaled : v;
    }
    if constexpr (activation == Activation::kClip) {
      v = v < low ? low : v;
      v = v > high ? high : v;
    }
    out[i] = v;
  }
}

template <bool add>
void finish_activation(float* out, int64_t n, const Line& line) {
  switch (line.activation) {
    case Activation::kNone:
      if (add) finish_last<add, Activation::kNone>(out, n, line);
      return;
    case Activation::kRelu: return finish_last<add, Activation::kRelu>(out, n, line);
    case Activation::kClip: return finish_last<add, Activation::kClip>(out, n, line);
    case Activation::kPrelu:
      if (line.slope.step) return finish_last<add, Activation::kPrelu, true>(out, n, line);
      return finish_last<add, Activation::kPrelu>(out, n, line);
  }
}

void finish_line(float* out, int64_t n, const Line& line) {
  if (line.channel.data || line.column.data || line.row != 1.0f) {
    const float one = 1.0f;
    const Operand channel = line.channel.data ? line.channel : Operand{&one, 0};
    const Operand column = line.column.data ? line.column : Operand{&one, 0};
    const float row = line.row;
    for (int64_t i = 0; i < n; ++i) {
      const float factor = (channel.data[i * channel.step] * row) * column.data[i * column.step];
      out[i] *= factor;
    }
  }
  each(n, line.pixel, [&](int64_t i, float v) { out[i] *= v; });
  each(n, line.post, [&](int64_t i, float v) { out[i] *= v; });
  each(n, line.bias, [&](int64_t i, float v) { out[i] += v; });
  if (line.residual) return finish_activation<true>(out, n, line);
  finish_activation<false>(out, n, line);
}

void add_abs(const float* __restrict x, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] += std::fabs(x[i]);
}

// Sum of n values by folding: the upper half is added to the lower until one is left. The order is one that
// PyTorch can follow with slices, so both give the same bits; `values` is overwritten.
float fold(float* values, int64_t n) {
  while (n > 1) {
    const int64_t half = (n + 1) / 2;
    for (int64_t i = 0; i < n - half; ++i) values[i] += values[half + i];
    n = half;
  }
  return values[0];
}

// See normalize.h. `buffer` has room for n values; stats = mean, factor, variance + eps, sum of |out|.
void normalize_row(const float* x, int64_t n, const Normalization& how, float* __restrict out,
                   float* __restrict buffer, float* stats) {
  for (int64_t i = 0; i < n; ++i) buffer[i] = x[i];
  const float mean = fold(buffer, n) / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) {
    const float centred = x[i] - mean;
    buffer[i] = centred * centred;
  }
  const float variance = fold(buffer, n) / how.degrees + how.eps;
  const float factor = 1.0f / std::sqrt(variance) * how.deviation;
  const float origin = how.centre ? mean : 0.0f;
  for (int64_t i = 0; i < n; ++i) {
    out[i] = (x[i] - origin) * factor;
    buffer[i] = std::fabs(out[i]);
  }
  stats[0] = mean, stats[1] = factor, stats[2] = variance, stats[3] = fold(buffer, n);
}

void normalize_row_backward(const float* __restrict grad, const float* __restrict x, const float* stats, int64_t n,
                            const Normalization& how, float limit, float* __restrict out, float* __restrict buffer) {
  const float mean = stats[0], factor = stats[1], variance = stats[2];
  const float origin = how.centre ? mean : 0.0f;
  for (int64_t i = 0; i < n; ++i) {
    const float value = x[i] - origin;
    out[i] = grad[i] * (std::fabs(value * factor) < limit ? 1.0f : 0.0f);
    buffer[i] = out[i] * value;
  }
  const float spread = fold(buffer, n) * factor / (variance * how.degrees);
  float shift = 0.0f;
  if (how.centre) {
    for (int64_t i = 0; i < n; ++i) buffer[i] = out[i];
    shift = fold(buffer, n) * factor / static_cast<float>(n);
  }
  for (int64_t i = 0; i < n; ++i) {
    const float along = spread * (x[i] - mean);
    const float direct = out[i] * factor - along;
    out[i] = direct - shift;
  }
}

// Gradients of y = x * gamma over `count` rows of n values, `step` floats apart: out = grad * gamma, and, folded
// over the rows, total = sum of grad * x. `buffer` has room for count * n values.
void rescale_backward(const float* grad, const float* x, const float* __restrict gamma, int64_t count, int64_t n,
                      int64_t step, float* out, float* __restrict total, float* __restrict buffer) {
  for (int64_t r = 0; r < count; ++r) {
    const float *g = grad + r * step, *v = x + r * step;
    float *to = out + r * step, *products = buffer + r * n;
    for (int64_t i = 0; i < n; ++i) {
      products[i] = g[i] * v[i];
      to[i] = g[i] * gamma[i];
    }
  }
  for (int64_t rows = count; rows > 1;) {
    const int64_t half = (rows + 1) / 2;
    for (int64_t i = 0; i < (rows - half) * n; ++i) buffer[i] += buffer[half * n + i];
    rows = half;
  }
  for (int64_t i = 0; i < n; ++i) total[i] = buffer[i];
}
