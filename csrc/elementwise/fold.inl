// Sums in an order that PyTorch's slices can follow.

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
