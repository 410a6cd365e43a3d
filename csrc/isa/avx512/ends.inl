// What becomes of the counts of a tile while they are in registers: values, pixel by pixel or as planes of channels.
//
// Included inside the anonymous namespace of avx512.cpp.

__mmask16 first(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

// Turns counts into values while they are in registers. Where there is no scale it is 1, where there is no bias -0,
// which change no value.
struct Finisher {
  const Epilogue& e;
  int channels;

  template <int P, int B>
  [[gnu::always_inline]] void values(const __m512i (&sum)[P][B], __m512 (&value)[P][B]) const {
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) {
      const int c = b * kLanes;
      const __mmask16 mask = first(channels - c);
      const __m512 scale = e.scale ? _mm512_maskz_loadu_ps(mask, e.scale + c) : _mm512_set1_ps(1.0f);
      const __m512 bias = e.bias ? _mm512_maskz_loadu_ps(mask, e.bias + c) : _mm512_set1_ps(-0.0f);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const int32_t total = e.totals ? e.totals[p] : e.total;
        __m512 dot;
        if (e.corrections) {
          __m512i left = _mm512_sub_epi32(_mm512_set1_epi32(total), _mm512_maskz_loadu_epi32(mask, e.corrections[p] + c));
          left = _mm512_sub_epi32(left, _mm512_add_epi32(sum[p][b], sum[p][b]));
          dot = _mm512_cvtepi32_ps(left);
        } else {  // exact in float, because a filter has fewer than 2^24 weights
          dot = _mm512_fnmadd_ps(_mm512_set1_ps(2.0f), _mm512_cvtepi32_ps(sum[p][b]), _mm512_set1_ps(static_cast<float>(total)));
        }
        value[p][b] = _mm512_add_ps(_mm512_mul_ps(dot, scale), bias);
      }
    }
  }
};

// Pixels one after the other, channels adjacent.
struct ByPixel : Finisher {
  float* out;
  int64_t stride;

  template <int P, int B>
  [[gnu::always_inline]] void operator()(const __m512i (&sum)[P][B]) const {
    __m512 value[P][B];
    values<P, B>(sum, value);
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) {
      const __mmask16 mask = first(channels - b * kLanes);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) _mm512_mask_storeu_ps(out + p * stride + b * kLanes, mask, value[p][b]);
    }
  }
};

// Planes of channels: eight pixels of sixteen channels are transposed, two channels to a register, and get their
// residual and activation before they are stored.
struct ByChannel : Finisher {
  const Planes& planes;

  template <int P, int B>
  [[gnu::always_inline]] void operator()(const __m512i (&sum)[P][B]) const {
    __m512 value[P][B];
    values<P, B>(sum, value);
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) {
      __m512 r[8];
#pragma GCC unroll 8
      for (int p = 0; p < 8; ++p) r[p] = p < P ? value[p < P ? p : 0][b] : _mm512_setzero_ps();
      block<P>(r, b * kLanes);
    }
  }

  template <int P>
  [[gnu::always_inline]] void block(__m512 (&r)[8], int c) const {
    __m512 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    // Now r[4 h + i] has, in each quarter q, pixels 4 h to 4 h + 3 of channel 4 q + i.
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
      r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
      r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
      r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
      r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    }
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512d a = _mm512_castps_pd(r[i]), b = _mm512_castps_pd(r[i + 4]);
      store<P>(_mm512_castpd_ps(_mm512_permutex2var_pd(a, low, b)), c + i);
      store<P>(_mm512_castpd_ps(_mm512_permutex2var_pd(a, high, b)), c + i + 8);
    }
  }

  // Pixels of channels c and c + 4.
  template <int P>
  [[gnu::always_inline]] void store(__m512 two, int c) const {
    if (c < channels) plane<P>(_mm512_castps512_ps256(two), c);
    if (c + 4 < channels) plane<P>(_mm512_extractf32x8_ps(two, 1), c + 4);
  }

  template <int P>
  [[gnu::always_inline]] void plane(__m256 v, int c) const {
    const int64_t at = c * planes.stride;
    constexpr __mmask8 mask = static_cast<__mmask8>((1u << P) - 1);
    if (planes.residual) v = _mm256_add_ps(v, _mm256_maskz_loadu_ps(mask, planes.residual + at));
    const __m256 zero = _mm256_setzero_ps();
    switch (planes.activation) {
      case Activation::kNone: break;
      case Activation::kRelu:
        v = _mm256_max_ps(zero, v);  // NaN stays NaN: it is the second operand
        break;
      case Activation::kPrelu:
        v = _mm256_mask_mul_ps(v, _mm256_cmp_ps_mask(v, zero, _CMP_LT_OQ), v,
                               _mm256_set1_ps(planes.slope.data[c * planes.slope.step]));
        break;
      case Activation::kClip:
        v = _mm256_min_ps(_mm256_set1_ps(planes.high), _mm256_max_ps(_mm256_set1_ps(planes.low), v));
    }
    if constexpr (P == 8)
      _mm256_storeu_ps(planes.out + at, v);
    else
      _mm256_mask_storeu_ps(planes.out + at, mask, v);
  }
};
