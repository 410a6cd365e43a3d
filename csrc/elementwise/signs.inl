// Signs of values, shifted or scaled, as floats.

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
