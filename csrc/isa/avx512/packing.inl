// Transposing in registers, and packing signs into words.
//
// Included inside the anonymous namespace of avx512.cpp.

// Sixteen rows of sixteen floats, transposed in registers: pairs, quads, then the four 128-bit quarters.
void transpose16(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  __m512 r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(in + i * in_stride);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 a = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88), d = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    _mm512_storeu_ps(out + i * out_stride, _mm512_shuffle_f32x4(a, c, 0x88));
    _mm512_storeu_ps(out + (i + 4) * out_stride, _mm512_shuffle_f32x4(b, d, 0x88));
    _mm512_storeu_ps(out + (i + 8) * out_stride, _mm512_shuffle_f32x4(a, c, 0xdd));
    _mm512_storeu_ps(out + (i + 12) * out_stride, _mm512_shuffle_f32x4(b, d, 0xdd));
  }
}

void transpose(const float* in, int64_t rows, int64_t columns, int64_t in_stride, float* out, int64_t out_stride) {
  for (int64_t c = 0; c < columns; c += 16) {
    int64_t r = 0;
    if (c + 16 <= columns)
      for (; r + 16 <= rows; r += 16) transpose16(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
    for (int64_t k = c; k < columns && k < c + 16; ++k)
      for (int64_t i = r; i < rows; ++i) out[k * out_stride + i] = in[i * in_stride + k];
  }
}

// 1 where x is negative or NaN: "not greater than or equal to zero".
__mmask16 negative(__m512 x, __mmask16 mask) { return _mm512_mask_cmp_ps_mask(mask, x, _mm512_setzero_ps(), _CMP_NGE_UQ); }

__attribute__((always_inline)) inline void pack_row(const float* x, const float* shift, int64_t channels, uint32_t* words) {
  for (int64_t c = 0; c < channels; c += kWordBits) {
    uint32_t word = 0;
    for (int half = 0; half < 2; ++half) {
      const int64_t left = channels - c - 16 * half;
      if (left <= 0) break;
      const __mmask16 mask = first(left);
      __m512 value = _mm512_maskz_loadu_ps(mask, x + c + 16 * half);
      if (shift) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, shift + c + 16 * half));
      word |= static_cast<uint32_t>(negative(value, mask)) << (16 * half);
    }
    words[c / kWordBits] = word;
  }
}

void pack_rows(const float* x, const float* shift, int64_t channels, int64_t count, int64_t step, uint32_t* words,
               int64_t word_step) {
  if (channels == 16 && !shift) {  // one register holds a whole pixel
    for (int64_t i = 0; i < count; ++i) words[i * word_step] = negative(_mm512_loadu_ps(x + i * step), 0xffff);
    return;
  }
  for (int64_t i = 0; i < count; ++i) pack_row(x + i * step, shift, channels, words + i * word_step);
}

struct Bits {
  uint32_t of[kWordBits];
};
constexpr Bits kBits = [] {
  Bits bits = {};
  for (int c = 0; c < kWordBits; ++c) bits.of[c] = 1u << c;
  return bits;
}();

// The words of V registers of pixels.
template <int V, bool shifted>
[[gnu::always_inline]] inline void pack_pixels(const float* x, const float* shift, int channels, int64_t stride,
                                               const __mmask16 (&mask)[V], __m512i (&word)[V]) {
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) word[v] = _mm512_setzero_si512();
  for (int c = 0; c < channels; ++c, x += stride) {
    const __m512i bit = _mm512_set1_epi32(static_cast<int>(kBits.of[c]));
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      __m512 value = _mm512_maskz_loadu_ps(mask[v], x + v * kLanes);
      // So many planes are more than the processor's own prefetching follows.
      _mm_prefetch(reinterpret_cast<const char*>(x + (V + v) * kLanes), _MM_HINT_T0);
      if (shifted) value = _mm512_add_ps(value, _mm512_set1_ps(shift[c]));
      word[v] = _mm512_mask_or_epi32(word[v], negative(value, mask[v]), word[v], bit);
    }
  }
}

template <int V>
[[gnu::always_inline]] inline void pack_piece(const float* x, const float* shift, int channels, int64_t stride, int64_t left,
                                              uint32_t* words, int64_t step) {
  __mmask16 mask[V];
  __m512i word[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) mask[v] = first(left - v * kLanes);
  if (shift)
    pack_pixels<V, true>(x, shift, channels, stride, mask, word);
  else
    pack_pixels<V, false>(x, shift, channels, stride, mask, word);
  for (int v = 0; v < V; ++v, words += kLanes * step, left -= kLanes) {
    if (step == 1) {
      _mm512_mask_storeu_epi32(words, mask[v], word[v]);
      continue;
    }
    alignas(64) uint32_t out[kLanes];
    _mm512_store_si512(out, word[v]);
    for (int64_t i = 0; i < kLanes && i < left; ++i) words[i * step] = out[i];
  }
}

void pack_plane(const float* x, const float* shift, int channels, int64_t stride, int64_t pixels, uint32_t* words,
                int64_t step) {
  constexpr int V = 4;
  int64_t p = 0;
  for (; p + V * kLanes <= pixels; p += V * kLanes)
    pack_piece<V>(x + p, shift, channels, stride, V * kLanes, words + p * step, step);
  const int64_t left = pixels - p;
  if (left > 2 * kLanes)
    pack_piece<4>(x + p, shift, channels, stride, left, words + p * step, step);
  else if (left > kLanes)
    pack_piece<2>(x + p, shift, channels, stride, left, words + p * step, step);
  else if (left > 0)
    pack_piece<1>(x + p, shift, channels, stride, left, words + p * step, step);
}
