// Of depthwise convolutions, whose filters are too short for words of bits: signs as bytes, and sums of their products.

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
