// Magnitudes: added to sums, and their means over rows.

void add_abs(const float* __restrict x, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] += std::fabs(x[i]);
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
