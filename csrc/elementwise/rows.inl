// Rows of values, such as filters: their statistics, scaling by these, and the gradients.

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
