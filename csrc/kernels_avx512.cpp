// AVX-512 with VPOPCNTDQ and VNNI: sixteen output channels to a register, one popcount instruction for all.

#include "kernels.h"

#include <cmath>
#include <immintrin.h>

namespace bibench {
namespace {

#include "elementwise.inl"

struct Xor {
  static constexpr bool kTriples = true;
  static __m512i apply(__m512i a, __m512i b) { return _mm512_xor_si512(a, b); }
};
struct And {
  static constexpr bool kTriples = false;  // a parity of "and"s is none of words
  static __m512i apply(__m512i a, __m512i b) { return _mm512_and_si512(a, b); }
};

// Adds the bits set in three words, given two of them and the parity of all. Parity and majority are the low and the high
// bit of their sums: two words to count instead of three, for one more instruction of logic. The third word is
// first ^ second ^ parity, so the majority is "or" where the parity is 0 and "and" where it is 1.
//
// Adding is a product with `once` and `twice` that weight: counts are below 2^15, so a product of lower halves is the word's.
[[gnu::always_inline]] inline void add_triple(__m512i& sum, __m512i first, __m512i second, __m512i parity, __m512i once,
                                              __m512i twice) {
  const __m512i majority = _mm512_ternarylogic_epi32(first, second, parity, 0xd4);
  sum = _mm512_dpwssd_epi32(sum, _mm512_popcnt_epi32(parity), once);
  sum = _mm512_dpwssd_epi32(sum, _mm512_popcnt_epi32(majority), twice);
  // Says that the sum is needed here: else the compiler first makes the xors of all pixels, and spills.
  __asm__("" : "+v"(sum));
}

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

template <class Op, int P, int B, class End>
void tile(const uint32_t* const* bases, const uint32_t* weights, Runs runs, const End& end) {
  const int64_t block = (3 * runs.triples * runs.triple_words + runs.count * runs.words) * kLanes;
  __m512i sum[P][B];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) sum[p][b] = _mm512_setzero_si512();
  const uint32_t* w = weights;
  const uint32_t* base[P];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) base[p] = bases[p];
  for (int64_t r = 0; Op::kTriples && r < runs.triples; ++r) {
    const int32_t* offset = runs.offsets + 3 * r;
    const int64_t second = offset[1] - offset[0], third = offset[2] - offset[0];
    const int64_t stop = offset[0] + runs.triple_words;
    for (int64_t j = offset[0]; j < stop; ++j, w += 3 * kLanes) {
      __m512i lane[B][3];
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b)
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) lane[b][i] = _mm512_loadu_si512(w + b * block + i * kLanes);
      const int64_t j1 = j + second, j2 = j + third;
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const __m512i one = _mm512_set1_epi32(static_cast<int>(base[p][j]));
        const __m512i two = _mm512_set1_epi32(static_cast<int>(base[p][j1]));
        const __m512i all = _mm512_set1_epi32(static_cast<int>(base[p][j2]));
#pragma GCC unroll 2
        for (int b = 0; b < B; ++b)
          add_triple(sum[p][b], _mm512_xor_si512(one, lane[b][0]), _mm512_xor_si512(two, lane[b][1]),
                     _mm512_xor_si512(all, lane[b][2]), _mm512_set1_epi32(1), _mm512_set1_epi32(2));
      }
    }
  }
  const int32_t* offsets = runs.offsets + 3 * runs.triples;
  for (int64_t r = 0; r < runs.count; ++r) {
    const int64_t offset = offsets[r];
    for (int64_t j = 0; j < runs.words; ++j, w += kLanes) {
      __m512i lane[B];
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) lane[b] = _mm512_loadu_si512(w + b * block);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const __m512i a = _mm512_set1_epi32(static_cast<int>(bases[p][offset + j]));
#pragma GCC unroll 2
        for (int b = 0; b < B; ++b) {
          sum[p][b] = _mm512_add_epi32(sum[p][b], _mm512_popcnt_epi32(Op::apply(a, lane[b])));
          __asm__("" : "+v"(sum[p][b]));  // as in `add_triple`
        }
      }
    }
  }
  end.template operator()<P, B>(sum);
}

template <class Op, int B, class End>
void tiles(const uint32_t* const* bases, int pixels, const uint32_t* weights, Runs runs, const End& end) {
  switch (pixels) {
    case 8: return tile<Op, 8, B>(bases, weights, runs, end);
    case 7: return tile<Op, 7, B>(bases, weights, runs, end);
    case 6: return tile<Op, 6, B>(bases, weights, runs, end);
    case 5: return tile<Op, 5, B>(bases, weights, runs, end);
    case 4: return tile<Op, 4, B>(bases, weights, runs, end);
    case 3: return tile<Op, 3, B>(bases, weights, runs, end);
    case 2: return tile<Op, 2, B>(bases, weights, runs, end);
    default: return tile<Op, 1, B>(bases, weights, runs, end);
  }
}

template <class Op>
void product(const uint32_t* const* bases, int pixels, const uint32_t* weights, int blocks, Runs runs, int channels,
             const Epilogue& epilogue, float* out, int64_t out_stride) {
  const ByPixel end = {{epilogue, channels}, out, out_stride};
  if (blocks == 2) return tiles<Op, 2>(bases, pixels, weights, runs, end);
  tiles<Op, 1>(bases, pixels, weights, runs, end);
}

void product_planes(const uint32_t* const* bases, int pixels, const uint32_t* weights, int blocks, Runs runs,
                    int channels, const Epilogue& epilogue, const Planes& planes) {
  const ByChannel end = {{epilogue, channels}, planes};
  if (blocks == 2) return tiles<Xor, 2>(bases, pixels, weights, runs, end);
  tiles<Xor, 1>(bases, pixels, weights, runs, end);
}

#include "lanes_avx512.inl"

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

#define BIBENCH_OWN_PRODUCT
#include "table.inl"

}  // namespace

const Kernels kAvx512 = table("avx512", 8, 2, true, product_planes, gather_lanes, product_lanes);

}  // namespace bibench
