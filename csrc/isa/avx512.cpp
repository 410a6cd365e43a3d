// AVX-512 with VPOPCNTDQ and VNNI: sixteen output channels to a register, one popcount instruction for all.

#include "kernels.h"

#include <cmath>
#include <immintrin.h>

namespace bibench {
namespace {

#include "elementwise/elementwise.inl"

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

#include "avx512/ends.inl"

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

#include "avx512/lanes.inl"
#include "avx512/packing.inl"

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
