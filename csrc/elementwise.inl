// Elementwise kernels, compiled once for each instruction set and vectorized by the compiler.
//
// The arithmetic is that of the PyTorch expressions they replace, operation by operation, so results are
// bit-identical to the pure path: compile with -ffp-contract=off.
//
// Included inside an anonymous namespace of each translation unit.

// Returns whether all magnitudes are at most `limit`: then a straight-through gradient need not read x again.
bool sign(const float* __restrict x, float* __restrict out, int64_t n, float limit) {
  int outside = 0;
  for (int64_t i = 0; i < n; ++i) {
    outside |= !(std::fabs(x[i]) <= limit);
    out[i] = x[i] >= 0.0f ? 1.0f : -1.0f;
  }
  return !outside;
}

// Signs of x + shift.
void sign_shifted(const float* __restrict x, const float* __restrict shift, float* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] + shift[i] >= 0.0f ? 1.0f : -1.0f;
}

// The same for `count` rows of n values with one shift for each column (the channels of pixels).
void sign_shifted_rows(const float* __restrict x, const float* __restrict shift, int64_t count, int64_t n,
                       float* __restrict out) {
  if (n % 16 == 0) {
    for (int64_t r = 0; r < count; ++r, x += n, out += n)
      for (int64_t i = 0; i < n; i += 16)
        for (int k = 0; k < 16; ++k) out[i + k] = x[i + k] + shift[i + k] >= 0.0f ? 1.0f : -1.0f;
    return;
  }
  for (int64_t r = 0; r < count; ++r) sign_shifted(x + r * n, shift, out + r * n, n);
}

// Signs of one filter, times its scale; returns what `sign` does.
bool sign_scaled(const float* __restrict x, float scale, float* __restrict out, int64_t n, float limit) {
  int outside = 0;
  for (int64_t i = 0; i < n; ++i) {
    outside |= !(std::fabs(x[i]) <= limit);
    out[i] = x[i] >= 0.0f ? scale : -scale;
  }
  return !outside;
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

// sum_k c[k] square^k by Horner's scheme, without a loop, which would keep the compiler from vectorizing the one around.
template <int terms>
inline float horner(const float* c, float square) {
  if constexpr (terms == 1) {
    return c[0];
  } else {
    const float product = horner<terms - 1>(c + 1, square) * square;
    return product + c[0];
  }
}

// Calls body<terms>() for a number of terms that is known when the program runs.
template <int terms = 1, class Body>
void with_terms(int wanted, Body&& body) {
  if (wanted == terms) return body.template operator()<terms>();
  if constexpr (terms < kMaxTerms) with_terms<terms + 1>(wanted, body);
}

// Calls finish(i, value of the polynomial at x[i]) for every i. Values are made in blocks held in cache: were they
// discarded in the same loop, the compiler would branch around making them.
template <class Finish>
void polynomial_of(const float* x, int64_t n, const float* c, int terms, Finish finish) {
  constexpr int64_t kBlock = 256;
  with_terms(terms, [=]<int count>() {
    float value[kBlock];
    for (int64_t start = 0; start < n; start += kBlock) {
      const int64_t size = n - start < kBlock ? n - start : kBlock;
      for (int64_t i = 0; i < size; ++i) value[i] = horner<count>(c, x[start + i] * x[start + i]);
#pragma GCC ivdep
      for (int64_t i = 0; i < size; ++i) finish(start + i, value[i]);
    }
  });
}

void even_polynomial(const float* grad, const float* x, float* out, int64_t n, const float* c, int terms,
                     float window) {
  polynomial_of(x, n, c, terms, [=](int64_t i, float value) {
    out[i] = grad[i] * (std::fabs(x[i]) > window ? 0.0f : value);
  });
}

// Sine and cosine as bibench.kernels.noise has them: x = half_turns * pi + rest with the rest within a quarter turn, where
// polynomials are accurate to float32. Pi is split into parts whose products with half_turns are exact.
constexpr float kSine[] = {1.0f, -0.16666658222675323f, 0.008333049714565277f, -0.00019809004152193666f,
                           2.6050781798403477e-06f};
constexpr float kCosine[] = {1.0f, -0.5f, 0.04166663438081741f, -0.0013888359535485506f, 2.4760092856013216e-05f,
                             -2.605036399927485e-07f};
constexpr float kFarthest = 8192.0f;

struct Turned {
  float rest, sign;
};

inline Turned half_turns(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer, the nearest (even when in doubt)
  const float size = std::fabs(x), v = std::copysign(size > kFarthest ? kFarthest : size, x);
  const float count = (v * 0.31830987334251404f + kRound) - kRound;
  const float odd = count - 2.0f * ((count * 0.5f + kRound) - kRound);  // 0, or 1 or -1
  return {((v - count * 3.140625f) - count * 0.0009675025939941406f) - count * 1.5099580252808664e-07f,
          1.0f - 2.0f * (odd * odd)};
}

// Whether all magnitudes are at most `limit`.
bool within(const float* __restrict x, int64_t n, float limit) {
  int outside = 0;
  for (int64_t i = 0; i < n; ++i) outside |= !(std::fabs(x[i]) <= limit);
  return !outside;
}

// out = ±1 by the sign of x, + amount * sin(x). Where a block needs no half turns, they are left out.
void sign_sine(const float* __restrict x, float amount, float* __restrict out, int64_t n) {
  constexpr int64_t kBlock = 512;
  constexpr float kQuarter = 1.5f;  // below a quarter turn
  for (int64_t start = 0; start < n; start += kBlock, x += kBlock, out += kBlock) {
    const int64_t size = n - start < kBlock ? n - start : kBlock;
    if (within(x, size, kQuarter)) {
      for (int64_t i = 0; i < size; ++i)
        out[i] = (x[i] >= 0.0f ? 1.0f : -1.0f) + amount * (x[i] * horner<5>(kSine, x[i] * x[i]));
      continue;
    }
    for (int64_t i = 0; i < size; ++i) {
      const Turned t = half_turns(x[i]);
      const float sine = t.sign * (t.rest * horner<5>(kSine, t.rest * t.rest));
      out[i] = (x[i] >= 0.0f ? 1.0f : -1.0f) + amount * sine;
    }
  }
}

// grad * even polynomial up to `window`, and beyond it grad * (amount * cos(x)).
void even_polynomial_cosine(const float* grad, const float* x, float* out, int64_t n, const float* c, int terms,
                            float window, float amount) {
  constexpr int64_t kBlock = 512;
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t size = n - start < kBlock ? n - start : kBlock;
    const float *g = grad + start, *v = x + start;
    float* to = out + start;
    if (within(v, size, window)) {
      even_polynomial(g, v, to, size, c, terms, window);
      continue;
    }
    float cosine[kBlock];
    for (int64_t i = 0; i < size; ++i) {
      const Turned t = half_turns(v[i]);
      cosine[i] = amount * (t.sign * horner<6>(kCosine, t.rest * t.rest));
    }
    const float* beyond = cosine;
    polynomial_of(v, size, c, terms, [=](int64_t i, float value) {
      to[i] = g[i] * (std::fabs(v[i]) > window ? beyond[i] : value);
    });
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

// The fold of value(0) … value(n - 1): the first levels are added while the values are made. `buffer` has room for
// n / 2 + 1 values.
template <class Value>
float fold_of(Value value, int64_t n, float* __restrict buffer) {
  if (n % 8 == 0) {
    const int64_t k = n / 8;
    for (int64_t i = 0; i < k; ++i) {
      const float even = (value(i) + value(i + 4 * k)) + (value(i + 2 * k) + value(i + 6 * k));
      const float odd = (value(i + k) + value(i + 5 * k)) + (value(i + 3 * k) + value(i + 7 * k));
      buffer[i] = even + odd;
    }
    return fold(buffer, k);
  }
  const int64_t half = (n + 1) / 2;
  for (int64_t i = 0; i < n - half; ++i) buffer[i] = value(i) + value(half + i);
  if (n % 2) buffer[half - 1] = value(half - 1);
  return fold(buffer, half);
}

float fold_magnitudes(const float* __restrict x, int64_t n, float* __restrict buffer) {
  return fold_of([=](int64_t i) { return std::fabs(x[i]); }, n, buffer);
}

// mean, factor and variance + eps of one row: the first three of its statistics.
void describe_row(const float* __restrict x, int64_t n, const Normalization& how, float* __restrict buffer,
                  float* stats) {
  const float mean = fold_of([=](int64_t i) { return x[i]; }, n, buffer) / static_cast<float>(n);
  const auto square = [=](int64_t i) {
    const float centred = x[i] - mean;
    return centred * centred;
  };
  const float variance = fold_of(square, n, buffer) / how.degrees + how.eps;
  stats[0] = mean, stats[1] = 1.0f / std::sqrt(variance) * how.deviation, stats[2] = variance;
}

// stats = mean, factor, variance + eps, sum of |out|.
void normalize_row(const float* __restrict x, int64_t n, const Normalization& how, float* __restrict out,
                   float* __restrict buffer, float* stats) {
  describe_row(x, n, how, buffer, stats);
  const float factor = stats[1], origin = how.centre ? stats[0] : 0.0f;
  for (int64_t i = 0; i < n; ++i) out[i] = (x[i] - origin) * factor;
  stats[3] = fold_magnitudes(out, n, buffer);
}

// The same without what is scaled.
void describe_filter(const float* __restrict x, int64_t n, const Normalization& how, float* __restrict buffer,
                     float* stats) {
  describe_row(x, n, how, buffer, stats);
  const float factor = stats[1], origin = how.centre ? stats[0] : 0.0f;
  stats[3] = fold_of([=](int64_t i) { return std::fabs((x[i] - origin) * factor); }, n, buffer);
}

// Signs of a centred filter, times its scale.
void sign_centred(const float* __restrict x, float centre, float scale, float* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = x[i] - centre >= 0.0f ? scale : -scale;
}

// Gradient with respect to a row of what was made of it by `how`; passed(i) is the one with respect to the result.
template <class Passed>
void unscale_row(Passed passed, const float* __restrict x, const float* stats, int64_t n, const Normalization& how,
                 float* out, float* __restrict buffer) {
  const float mean = stats[0], factor = stats[1], variance = stats[2];
  const float origin = how.centre ? mean : 0.0f;
  const auto product = [=](int64_t i) { return passed(i) * (x[i] - origin); };
  const float spread = fold_of(product, n, buffer) * factor / (variance * how.degrees);
  const float shift = how.centre ? fold_of(passed, n, buffer) * factor / static_cast<float>(n) : 0.0f;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float along = spread * (x[i] - mean);
    const float direct = passed(i) * factor - along;
    out[i] = how.centre ? direct - shift : direct;
  }
}

void normalize_row_backward(const float* __restrict grad, const float* __restrict x, const float* stats, int64_t n,
                            const Normalization& how, float limit, float* __restrict out, float* __restrict buffer) {
  const float factor = stats[1], origin = how.centre ? stats[0] : 0.0f;
  const auto passed = [=](int64_t i) {
    return grad[i] * (std::fabs((x[i] - origin) * factor) < limit ? 1.0f : 0.0f);
  };
  unscale_row(passed, x, stats, n, how, out, buffer);
}

// The gradient of the sign of a scaled row, by Bi-Real's polynomial, with respect to the row; `out` may be `grad`.
void approx_sign_row(const float* grad, const float* __restrict x, int64_t n, const Normalization& how, float* out,
                     float* __restrict buffer) {
  float stats[3];
  describe_row(x, n, how, buffer, stats);
  const float factor = stats[1], origin = how.centre ? stats[0] : 0.0f;
  const auto passed = [=](int64_t i) {
    const float slope = 2.0f - 2.0f * std::fabs((x[i] - origin) * factor);
    return grad[i] * (slope < 0.0f ? 0.0f : slope);
  };
  unscale_row(passed, x, stats, n, how, out, buffer);
}

// The sum of grad * sign(x) over a filter, folded; grad is multiplied by `scale`.
float filter_scale_gradient(float* __restrict grad, const float* __restrict x, float scale, int64_t n,
                            float* __restrict buffer) {
  const float total = fold_of([=](int64_t i) { return grad[i] * (x[i] >= 0.0f ? 1.0f : -1.0f); }, n, buffer);
  for (int64_t i = 0; i < n; ++i) grad[i] *= scale;
  return total;
}

// A filter whose sign, scaled by `scale`, has the gradient `grad`: returns that of the scale, and leaves in `grad` that of
// the filter through its scaling by `how`, passed where what is scaled is smaller than `limit`.
float rectify_row(float* grad, const float* __restrict x, const float* stats, float scale, int64_t n,
                  const Normalization& how, float limit, float* __restrict buffer) {
  const float factor = stats[1], origin = how.centre ? stats[0] : 0.0f;
  const float total = fold_of([=](int64_t i) { return grad[i] * (x[i] - origin >= 0.0f ? 1.0f : -1.0f); }, n, buffer);
  const auto passed = [=](int64_t i) {
    return (grad[i] * scale) * (std::fabs((x[i] - origin) * factor) < limit ? 1.0f : 0.0f);
  };
  unscale_row(passed, x, stats, n, how, grad, buffer);
  return total;
}

// total = the sum of `rows` rows of n values, which are overwritten: neighbours are added until one row is left.
void sum_neighbours(float* __restrict values, int64_t rows, int64_t n, float* __restrict total) {
  for (; rows > 1; rows = (rows + 1) / 2) {
    for (int64_t r = 0; r < rows / 2; ++r) {
      const float *low = values + 2 * r * n, *high = low + n;
      float* to = values + r * n;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) to[i] = low[i] + high[i];
    }
    if (rows % 2)
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) values[rows / 2 * n + i] = values[(rows - 1) * n + i];
  }
  for (int64_t i = 0; i < n; ++i) total[i] = values[i];
}

// Gradients of y = x * gamma over `count` rows of n values, `step` values apart: out = grad * gamma, and, summed as
// above over the rows, total = sum of grad * x. `buffer` has room for (count + 1) / 2 * n values.
template <class T>
void rescale_backward_of(const float* __restrict grad, const T* __restrict x, const float* __restrict gamma,
                         int64_t count, int64_t n, int64_t step, float* __restrict out, float* __restrict total,
                         float* __restrict buffer) {
  for (int64_t r = 0; r < count; r += 2) {
    const float* g = grad + r * step;
    const T* v = x + r * step;
    float *__restrict to = out + r * step, *__restrict sum = buffer + r / 2 * n;
    if (r + 1 < count)
      for (int64_t i = 0; i < n; ++i) {
        const float low = g[i] * static_cast<float>(v[i]), high = g[i + step] * static_cast<float>(v[i + step]);
        sum[i] = low + high;
        to[i] = g[i] * gamma[i];
        to[i + step] = g[i + step] * gamma[i];
      }
    else
      for (int64_t i = 0; i < n; ++i) {
        sum[i] = g[i] * static_cast<float>(v[i]);
        to[i] = g[i] * gamma[i];
      }
  }
  sum_neighbours(buffer, (count + 1) / 2, n, total);
}

void rescale_backward(const float* grad, const float* x, const float* gamma, int64_t count, int64_t n, int64_t step,
                      float* out, float* total, float* buffer) {
  rescale_backward_of(grad, x, gamma, count, n, step, out, total, buffer);
}

void rescale_kept_backward(const float* grad, const int16_t* x, const float* gamma, int64_t count, int64_t n,
                           int64_t step, float* out, float* total, float* buffer) {
  rescale_backward_of(grad, x, gamma, count, n, step, out, total, buffer);
}

// The gradient of sign(x + shift) by Bi-Real's polynomial over `count` rows of n values, `step` floats apart, and,
// over the rows, its sum: the one of the shift. `out` may be `grad`; `buffer` as above.
void approx_sign_shifted(const float* grad, const float* __restrict x, const float* __restrict shift, int64_t count,
                         int64_t n, int64_t step, float* out, float* __restrict total, float* __restrict buffer) {
  const auto passed = [](float g, float v) {
    const float factor = 2.0f - 2.0f * std::fabs(v);
    return g * (factor < 0.0f ? 0.0f : factor);
  };
  for (int64_t r = 0; r < count; r += 2) {
    const float *g = grad + r * step, *__restrict v = x + r * step;
    float *to = out + r * step, *__restrict sum = buffer + r / 2 * n;
    if (r + 1 < count) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        const float low = passed(g[i], v[i] + shift[i]), high = passed(g[i + step], v[i + step] + shift[i]);
        sum[i] = low + high;
        to[i] = low;
        to[i + step] = high;
      }
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) sum[i] = to[i] = passed(g[i], v[i] + shift[i]);
    }
  }
  sum_neighbours(buffer, (count + 1) / 2, n, total);
}

// The same with one shift for each column of `count` rows of n values, which follow each other. Eight rows are added
// before anything is stored; `buffer` has room for (count + 7) / 8 * n values.
void approx_sign_shifted_rows(const float* grad, const float* __restrict x, const float* __restrict shift,
                              int64_t count, int64_t n, float* out, float* __restrict total,
                              float* __restrict buffer) {
  const auto passed = [=](int64_t at, int64_t i) {
    const float factor = 2.0f - 2.0f * std::fabs(x[at] + shift[i]);
    const float value = grad[at] * (factor < 0.0f ? 0.0f : factor);
    out[at] = value;
    return value;
  };
  const int64_t eights = count / 8;
  for (int64_t r = 0; r < eights; ++r) {
    const int64_t start = r * 8 * n;
    float* sum = buffer + r * n;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = start + i;
      const float a = passed(at, i) + passed(at + n, i), b = passed(at + 2 * n, i) + passed(at + 3 * n, i);
      const float c = passed(at + 4 * n, i) + passed(at + 5 * n, i), d = passed(at + 6 * n, i) + passed(at + 7 * n, i);
      sum[i] = (a + b) + (c + d);
    }
  }
  const int64_t rest = count % 8, start = eights * 8 * n;
  if (rest) {  // row by row, in the same order
    float *sum = buffer + eights * n, parts[8];
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t r = 0; r < rest; ++r) parts[r] = passed(start + r * n + i, i);
      for (int64_t left = rest; left > 1; left = (left + 1) / 2) {
        for (int64_t r = 0; r < left / 2; ++r) parts[r] = parts[2 * r] + parts[2 * r + 1];
        if (left % 2) parts[left / 2] = parts[left - 1];
      }
      sum[i] = parts[0];
    }
  }
  sum_neighbours(buffer, (count + 7) / 8, n, total);
}

#ifdef __AVX512F__
// Sixteen means of rows of `vectors` times sixteen values, sixteen rows at once: the last four levels of their folds are
// sums of halves of registers.
template <int vectors, int level = 1>
inline __m512 folded(const float* x) {
  if constexpr (level == vectors) {
    return _mm512_abs_ps(_mm512_loadu_ps(x));
  } else {
    return _mm512_add_ps(folded<vectors, 2 * level>(x), folded<vectors, 2 * level>(x + 16 * level));
  }
}

inline __m512 pairs(__m512 a, __m512 b, __m512i low, __m512i high) {
  return _mm512_add_ps(_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b));
}

template <int vectors>
int64_t mean_magnitudes_16(const float* __restrict x, int64_t count, float* __restrict out) {
  const int64_t n = 16 * vectors;
  __m512i low[4], high[4];
  for (int level = 0; level < 4; ++level) {
    int32_t at[16], beside[16];
    const int half = 8 >> level;
    for (int i = 0; i < 16; ++i) at[i] = i / half * 2 * half + i % half, beside[i] = at[i] + half;
    low[level] = _mm512_loadu_si512(at), high[level] = _mm512_loadu_si512(beside);
  }
  const __m512 size = _mm512_set1_ps(static_cast<float>(n));
  int64_t r = 0;
  for (; r + 16 <= count; r += 16, x += 16 * n) {
    __m512 v[16];
    for (int i = 0; i < 8; ++i) v[i] = pairs(folded<vectors>(x + 2 * i * n), folded<vectors>(x + (2 * i + 1) * n), low[0], high[0]);
    for (int level = 1, left = 4; level < 4; ++level, left /= 2)
      for (int i = 0; i < left; ++i) v[i] = pairs(v[2 * i], v[2 * i + 1], low[level], high[level]);
    _mm512_storeu_ps(out + r, _mm512_div_ps(v[0], size));
  }
  return r;
}
#endif

// out[r] = mean of |x| over n values, for `count` rows. Rows are short (the channels of a pixel): the last four levels
// of the fold are written out.
void mean_magnitudes(const float* __restrict x, int64_t count, int64_t n, float* __restrict out,
                     float* __restrict buffer) {
  int64_t done = 0;
#ifdef __AVX512F__
  switch (n) {
    case 16: done = mean_magnitudes_16<1>(x, count, out); break;
    case 32: done = mean_magnitudes_16<2>(x, count, out); break;
    case 64: done = mean_magnitudes_16<4>(x, count, out); break;
    case 128: done = mean_magnitudes_16<8>(x, count, out); break;
    case 256: done = mean_magnitudes_16<16>(x, count, out); break;
    case 512: done = mean_magnitudes_16<32>(x, count, out); break;
  }
  x += done * n;
#endif
  for (int64_t r = done; r < count; ++r, x += n) {
    int64_t size = n;
    const float* v = x;
    if (n > 16 && n % 16 == 0 && (n & (n - 1)) == 0) {
      size = n / 2;
      for (int64_t i = 0; i < size; ++i) buffer[i] = std::fabs(x[i]) + std::fabs(x[size + i]);
      for (; size > 16; size /= 2)
        for (int64_t i = 0; i < size / 2; ++i) buffer[i] += buffer[size / 2 + i];
      v = buffer;
    }
    float sum;
    if (size == 16) {
      float a[8], b[4];
      for (int i = 0; i < 8; ++i) a[i] = std::fabs(v[i]) + std::fabs(v[i + 8]);
      for (int i = 0; i < 4; ++i) b[i] = a[i] + a[i + 4];
      sum = (b[0] + b[2]) + (b[1] + b[3]);
    } else {
      sum = fold_magnitudes(x, n, buffer);
    }
    out[r] = sum / static_cast<float>(n);
  }
}

// Rows of n values times a factor each.
void multiply_rows(const float* __restrict x, const float* __restrict factors, int64_t count, int64_t n,
                   float* __restrict out) {
  if (n % 16 == 0) {
    for (int64_t r = 0; r < count; ++r, x += n, out += n)
      for (int64_t i = 0; i < n; i += 16)
        for (int k = 0; k < 16; ++k) out[i + k] = x[i + k] * factors[r];
    return;
  }
  for (int64_t r = 0; r < count; ++r)
    for (int64_t i = 0; i < n; ++i) out[r * n + i] = x[r * n + i] * factors[r];
}

// The same in place.
void scale_lines(float* __restrict out, const float* __restrict factors, int64_t count, int64_t n) {
  for (int64_t r = 0; r < count; ++r, out += n) {
    const float factor = factors[r];
    for (int64_t i = 0; i < n; ++i) out[i] *= factor;
  }
}

// Integers times gamma, in place; `kept` (may be null) takes the integers.
void scale_keeping(float* __restrict out, const float* __restrict gamma, int64_t n, int16_t* __restrict kept) {
  if (!kept)
    for (int64_t i = 0; i < n; ++i) out[i] *= gamma[i];
  else
    for (int64_t i = 0; i < n; ++i) {
      kept[i] = static_cast<int16_t>(static_cast<int32_t>(out[i]));
      out[i] *= gamma[i];
    }
}
