// Rows times factors.

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
