// AVX-512: see lookup.h.

#include "lookup.h"

#include <immintrin.h>

namespace bibench {
namespace {

__mmask16 first(int64_t count) { return count >= 16 ? 0xffff : static_cast<__mmask16>((1u << count) - 1); }

// Sign of term `bit` in each entry of a table.
template <int bit>
__m512 signs() {
  return _mm512_mask_blend_ps(bit == 0 ? 0xaaaa : bit == 1 ? 0xcccc : bit == 2 ? 0xf0f0 : 0xff00, _mm512_set1_ps(1.0f),
                              _mm512_set1_ps(-1.0f));
}

// Products with ±1 are exact, so that a multiply-add rounds as a sum does.
__m512 signed_sums(float a, float b, float c, float d) {
  const __m512 low = _mm512_fmadd_ps(_mm512_set1_ps(b), signs<1>(), _mm512_mul_ps(_mm512_set1_ps(a), signs<0>()));
  const __m512 high = _mm512_fmadd_ps(_mm512_set1_ps(d), signs<3>(), _mm512_mul_ps(_mm512_set1_ps(c), signs<2>()));
  return _mm512_add_ps(low, high);
}

void make_codes(const float* const* rows, const float* shift, int64_t channels, int32_t* codes) {
  for (int64_t c = 0; c < channels; c += 16) {
    const __mmask16 mask = first(channels - c);
    const __m512 moved = shift ? _mm512_maskz_loadu_ps(mask, shift + c) : _mm512_set1_ps(-0.0f);
    __m512i code = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int j = 0; j < kTerms; ++j) {
      if (!rows[j]) continue;
      const __m512 x = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, rows[j] + c), moved);
      const __mmask16 negative = _mm512_mask_cmp_ps_mask(mask, x, _mm512_setzero_ps(), _CMP_NGE_UQ);
      code = _mm512_mask_or_epi32(code, negative, code, _mm512_set1_epi32(1 << j));
    }
    _mm512_storeu_si512(codes + c, code);
  }
}

void across(const float* const* rows, int64_t count, int64_t step, float* tables) {
  const auto at = [&](int j, int64_t i) { return rows[j] ? rows[j][i] : 0.0f; };
  for (int64_t i = 0; i < count; ++i)
    _mm512_storeu_ps(tables + i * step, signed_sums(at(0, i), at(1, i), at(2, i), at(3, i)));
}

void along(const float* values, const float* scale, int64_t count, float* tables) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = first(count - i);
    __m512 v = _mm512_maskz_loadu_ps(mask, values + i);
    if (scale) v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, scale + i));
    alignas(64) float scaled[16];
    _mm512_store_ps(scaled, v);
    for (int64_t k = 0; k < 16 && i + k < count; k += kTerms, tables += kEntries)
      _mm512_storeu_ps(tables, signed_sums(scaled[k], scaled[k + 1], scaled[k + 2], scaled[k + 3]));
  }
}

template <int M, int N>
void sums(const LookupRun* runs, int64_t count, const LookupSteps& steps, const LookupSums& to) {
  __m512 sum[M][N];
  const __mmask16 last = first(to.lanes);
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 6
    for (int n = 0; n < N; ++n) sum[m][n] = _mm512_setzero_ps();
  for (const LookupRun* run = runs; run != runs + count; ++run) {
    const float* tables = run->tables;
    const int32_t* codes = run->codes;
    for (int64_t k = run->count; k > 0; --k, tables += steps.table, codes += steps.code) {
      __m512i code[N];
#pragma GCC unroll 6
      for (int n = 0; n < N; ++n) code[n] = _mm512_loadu_si512(codes + n * kEntries);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const __m512 table = _mm512_loadu_ps(tables + m * steps.row);
#pragma GCC unroll 6
        for (int n = 0; n < N; ++n) sum[m][n] = _mm512_add_ps(sum[m][n], _mm512_permutexvar_ps(code[n], table));
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    if (m >= to.rows) break;
#pragma GCC unroll 6
    for (int n = 0; n < N; ++n) {
      float* out = to.data + m * to.step + n * kEntries;
      const __mmask16 mask = n == N - 1 ? last : 0xffff;
      if (to.add) sum[m][n] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), sum[m][n]);
      _mm512_mask_storeu_ps(out, mask, sum[m][n]);
    }
  }
}

void all_sums(const LookupRun* runs, int64_t count, const LookupSteps& steps, int rows, int blocks, const LookupSums& to) {
  static constexpr decltype(&sums<4, 1>) four[] = {sums<4, 1>, sums<4, 2>, sums<4, 3>, sums<4, 4>, sums<4, 5>, sums<4, 6>};
  static constexpr decltype(&sums<4, 1>) eight[] = {sums<8, 1>, sums<8, 2>};
  (rows == 4 ? four : eight)[blocks - 1](runs, count, steps, to);
}

}  // namespace

const Lookup kLookupAvx512 = {"avx512", make_codes, across, along, all_sums};

}  // namespace bibench
