// AVX-512 with VPOPCNTDQ: sixteen output channels to a register, one popcount instruction for all.

#include "kernels.h"

#include <cmath>
#include <immintrin.h>

namespace bibench {
namespace {

#include "elementwise.inl"

struct Xor {
  static __m512i apply(__m512i a, __m512i b) { return _mm512_xor_si512(a, b); }
};
struct And {
  static __m512i apply(__m512i a, __m512i b) { return _mm512_and_si512(a, b); }
};

template <class Op, int P, int B>
void tile(const uint32_t* const* bases, const uint32_t* weights, Runs runs, int32_t* counts) {
  const int64_t block = runs.count * runs.words * kLanes;
  __m512i sum[P][B];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) sum[p][b] = _mm512_setzero_si512();
  const uint32_t* w = weights;
  for (int64_t r = 0; r < runs.count; ++r) {
    const int64_t offset = runs.offsets[r];
    for (int64_t j = 0; j < runs.words; ++j, w += kLanes) {
      __m512i lane[B];
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) lane[b] = _mm512_loadu_si512(w + b * block);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const __m512i a = _mm512_set1_epi32(static_cast<int>(bases[p][offset + j]));
#pragma GCC unroll 2
        for (int b = 0; b < B; ++b)
          sum[p][b] = _mm512_add_epi32(sum[p][b], _mm512_popcnt_epi32(Op::apply(a, lane[b])));
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) _mm512_storeu_si512(counts + (p * B + b) * kLanes, sum[p][b]);
}

template <class Op, int B>
void tiles(const uint32_t* const* bases, int pixels, const uint32_t* weights, Runs runs, int32_t* counts) {
  switch (pixels) {
    case 8: return tile<Op, 8, B>(bases, weights, runs, counts);
    case 7: return tile<Op, 7, B>(bases, weights, runs, counts);
    case 6: return tile<Op, 6, B>(bases, weights, runs, counts);
    case 5: return tile<Op, 5, B>(bases, weights, runs, counts);
    case 4: return tile<Op, 4, B>(bases, weights, runs, counts);
    case 3: return tile<Op, 3, B>(bases, weights, runs, counts);
    case 2: return tile<Op, 2, B>(bases, weights, runs, counts);
    default: return tile<Op, 1, B>(bases, weights, runs, counts);
  }
}

template <class Op>
void count(const uint32_t* const* bases, int pixels, const uint32_t* weights, int blocks, Runs runs, int32_t* counts) {
  if (blocks == 2) return tiles<Op, 2>(bases, pixels, weights, runs, counts);
  tiles<Op, 1>(bases, pixels, weights, runs, counts);
}

__mmask16 first(int64_t count) { return count >= 16 ? 0xffff : static_cast<__mmask16>((1u << count) - 1); }

// Counts of one pixel and sixteen channels, from channel c on, to floats.
[[gnu::always_inline]] inline void finish_vector(__m512i count, const Epilogue& e, int pixel, int c, __mmask16 mask,
                                                 float* out) {
  const int32_t total = e.totals ? e.totals[pixel] : e.total;
  __m512i dot = _mm512_sub_epi32(_mm512_set1_epi32(total), _mm512_add_epi32(count, count));
  if (e.corrections) dot = _mm512_sub_epi32(dot, _mm512_maskz_loadu_epi32(mask, e.corrections[pixel] + c));
  __m512 value = _mm512_cvtepi32_ps(dot);
  if (e.scale) value = _mm512_mul_ps(value, _mm512_maskz_loadu_ps(mask, e.scale + c));
  if (e.bias) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, e.bias + c));
  _mm512_mask_storeu_ps(out + c, mask, value);
}

void finish(const int32_t* counts, int pixels, int count_stride, int channels, const Epilogue& e, float* out,
            int64_t out_stride) {
  for (int c = 0; c < channels; c += kLanes) {
    const __mmask16 mask = first(channels - c);
    for (int p = 0; p < pixels; ++p)
      finish_vector(_mm512_loadu_si512(counts + p * count_stride + c), e, p, c, mask, out + p * out_stride);
  }
}

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

void pack_plane(const float* x, const float* shift, int channels, int64_t stride, int64_t pixels, uint32_t* words,
                int64_t step) {
  for (int64_t p = 0; p < pixels; p += 16) {
    const int64_t left = pixels - p;
    const __mmask16 mask = first(left);
    __m512i word = _mm512_setzero_si512();
    for (int c = 0; c < channels; ++c) {
      __m512 value = _mm512_maskz_loadu_ps(mask, x + c * stride + p);
      if (shift) value = _mm512_add_ps(value, _mm512_set1_ps(shift[c]));
      word = _mm512_mask_or_epi32(word, negative(value, mask), word, _mm512_set1_epi32(static_cast<int>(1u << c)));
    }
    alignas(64) uint32_t out[16];
    _mm512_store_si512(out, word);
    for (int64_t i = 0; i < 16 && i < left; ++i) words[(p + i) * step] = out[i];
  }
}

int64_t probe(int64_t rounds, uint32_t* sink) {
  constexpr int kSums = 16;
  __m512i sum[kSums];
  const __m512i weight = _mm512_set1_epi32(0x5a5a1234);
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) sum[i] = _mm512_set1_epi32(i);
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i)
      sum[i] = _mm512_add_epi32(sum[i], _mm512_popcnt_epi32(_mm512_xor_si512(sum[i], weight)));
  for (int i = 1; i < kSums; ++i) sum[0] = _mm512_xor_si512(sum[0], sum[i]);
  *sink = static_cast<uint32_t>(_mm512_reduce_add_epi32(sum[0]));
  return rounds * kSums * 512;
}

#include "table.inl"

}  // namespace

const Kernels kAvx512 = table("avx512", 8, 2);

}  // namespace bibench
