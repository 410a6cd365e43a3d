// AVX2: bits are counted per byte by a table look-up and summed per byte, widened before a byte overflows.

#include "kernels.h"

#include <cmath>
#include <immintrin.h>

namespace bibench {
namespace {

#include "elementwise/elementwise.inl"

constexpr int kMaxSteps = 31;  // a byte gains at most 8 a step

struct Xor {
  static __m256i apply(__m256i a, __m256i b) { return _mm256_xor_si256(a, b); }
};
struct And {
  static __m256i apply(__m256i a, __m256i b) { return _mm256_and_si256(a, b); }
};

__m256i bits_per_byte(__m256i v) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2,
                                         3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(0x0f);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(v, low)),
                         _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low)));
}

void flush(__m256i bytes, int32_t* counts) {
  const __m256i pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
  const __m256i words = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  __m256i* target = reinterpret_cast<__m256i*>(counts);
  _mm256_storeu_si256(target, _mm256_add_epi32(_mm256_loadu_si256(target), words));
}

template <class Op, int P>
void tile(const uint32_t* const* bases, const uint32_t* weights, Runs runs, int32_t* counts) {
  for (int i = 0; i < P * kLanes; ++i) counts[i] = 0;
  __m256i sum[P][2];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) sum[p][0] = sum[p][1] = _mm256_setzero_si256();
  const uint32_t* w = weights;
  int64_t steps = 0;
  for (int64_t r = 0; r < runs.count; ++r) {
    const int64_t offset = runs.offsets[r];
    for (int64_t j = 0; j < runs.words;) {
      int64_t stop = j + kMaxSteps - steps;
      if (stop > runs.words) stop = runs.words;
      steps += stop - j;
      for (; j < stop; ++j, w += kLanes) {
        const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
        const __m256i w1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 8));
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) {
          const __m256i a = _mm256_set1_epi32(static_cast<int>(bases[p][offset + j]));
          sum[p][0] = _mm256_add_epi8(sum[p][0], bits_per_byte(Op::apply(a, w0)));
          sum[p][1] = _mm256_add_epi8(sum[p][1], bits_per_byte(Op::apply(a, w1)));
        }
      }
      if (steps == kMaxSteps) {
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) {
          flush(sum[p][0], counts + p * kLanes);
          flush(sum[p][1], counts + p * kLanes + 8);
          sum[p][0] = sum[p][1] = _mm256_setzero_si256();
        }
        steps = 0;
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    flush(sum[p][0], counts + p * kLanes);
    flush(sum[p][1], counts + p * kLanes + 8);
  }
}

template <class Op>
void count(const uint32_t* const* bases, int pixels, const uint32_t* weights, int, Runs runs, int32_t* counts) {
  switch (pixels) {
    case 4: return tile<Op, 4>(bases, weights, runs, counts);
    case 3: return tile<Op, 3>(bases, weights, runs, counts);
    case 2: return tile<Op, 2>(bases, weights, runs, counts);
    default: return tile<Op, 1>(bases, weights, runs, counts);
  }
}

void finish(const int32_t* counts, int pixels, int count_stride, int channels, const Epilogue& e, float* out,
            int64_t out_stride) {
  for (int p = 0; p < pixels; ++p, counts += count_stride, out += out_stride) {
    const int32_t total = e.totals ? e.totals[p] : e.total;
    const int32_t* correction = e.corrections ? e.corrections[p] : nullptr;
    const __m256i totals = _mm256_set1_epi32(total);
    int c = 0;
    for (; c + 8 <= channels; c += 8) {
      const __m256i sum = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(counts + c));
      __m256i dot = _mm256_sub_epi32(totals, _mm256_add_epi32(sum, sum));
      if (correction) dot = _mm256_sub_epi32(dot, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(correction + c)));
      __m256 value = _mm256_cvtepi32_ps(dot);
      if (e.scale) value = _mm256_mul_ps(value, _mm256_loadu_ps(e.scale + c));
      if (e.bias) value = _mm256_add_ps(value, _mm256_loadu_ps(e.bias + c));
      _mm256_storeu_ps(out + c, value);
    }
    for (; c < channels; ++c) {
      int32_t dot = total - 2 * counts[c];
      if (correction) dot -= correction[c];
      float value = static_cast<float>(dot);
      if (e.scale) value *= e.scale[c];
      if (e.bias) value += e.bias[c];
      out[c] = value;
    }
  }
}

// Eight rows of eight floats, transposed in registers.
void transpose8(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(in + i * in_stride);
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(out + i * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * out_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

void transpose(const float* in, int64_t rows, int64_t columns, int64_t in_stride, float* out, int64_t out_stride) {
  for (int64_t c = 0; c < columns; c += 8) {
    int64_t r = 0;
    if (c + 8 <= columns)
      for (; r + 8 <= rows; r += 8) transpose8(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
    for (int64_t k = c; k < columns && k < c + 8; ++k)
      for (int64_t i = r; i < rows; ++i) out[k * out_stride + i] = in[i * in_stride + k];
  }
}

unsigned negative(__m256 x) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NGE_UQ)));
}

void pack_row(const float* x, const float* shift, int64_t channels, uint32_t* words) {
  for (int64_t c = 0; c < channels; c += kWordBits) {
    uint32_t word = 0;
    for (int bit = 0; bit < kWordBits && c + bit < channels;) {
      if (c + bit + 8 <= channels) {
        __m256 value = _mm256_loadu_ps(x + c + bit);
        if (shift) value = _mm256_add_ps(value, _mm256_loadu_ps(shift + c + bit));
        word |= negative(value) << bit;
        bit += 8;
      } else {
        const float value = shift ? x[c + bit] + shift[c + bit] : x[c + bit];
        word |= static_cast<uint32_t>(!(value >= 0.0f)) << bit;
        ++bit;
      }
    }
    words[c / kWordBits] = word;
  }
}

void pack_rows(const float* x, const float* shift, int64_t channels, int64_t count, int64_t step, uint32_t* words,
               int64_t word_step) {
  for (int64_t i = 0; i < count; ++i) pack_row(x + i * step, shift, channels, words + i * word_step);
}

void pack_plane(const float* x, const float* shift, int channels, int64_t stride, int64_t pixels, uint32_t* words,
                int64_t step) {
  int64_t p = 0;
  for (; p + 8 <= pixels; p += 8) {
    __m256i word = _mm256_setzero_si256();
    for (int c = 0; c < channels; ++c) {
      __m256 value = _mm256_loadu_ps(x + c * stride + p);
      if (shift) value = _mm256_add_ps(value, _mm256_set1_ps(shift[c]));
      const __m256i mask = _mm256_castps_si256(_mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_NGE_UQ));
      word = _mm256_or_si256(word, _mm256_and_si256(mask, _mm256_set1_epi32(static_cast<int>(1u << c))));
    }
    alignas(32) uint32_t out[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), word);
    for (int i = 0; i < 8; ++i) words[(p + i) * step] = out[i];
  }
  for (; p < pixels; ++p) {
    uint32_t word = 0;
    for (int c = 0; c < channels; ++c) {
      const float value = shift ? x[c * stride + p] + shift[c] : x[c * stride + p];
      word |= static_cast<uint32_t>(!(value >= 0.0f)) << c;
    }
    words[p * step] = word;
  }
}

int64_t probe(int64_t rounds, uint32_t* sink) {
  constexpr int kSums = 8;
  __m256i sum[kSums];
  const __m256i weight = _mm256_set1_epi32(0x5a5a1234);
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) sum[i] = _mm256_set1_epi32(i);
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 8
    for (int i = 0; i < kSums; ++i) sum[i] = _mm256_add_epi8(sum[i], bits_per_byte(_mm256_xor_si256(sum[i], weight)));
  for (int i = 1; i < kSums; ++i) sum[0] = _mm256_xor_si256(sum[0], sum[i]);
  *sink = static_cast<uint32_t>(_mm256_extract_epi32(sum[0], 0));
  return rounds * kSums * 256;
}

#include "table.inl"

}  // namespace

const Kernels kAvx2 = table("avx2", 4, 1);

}  // namespace bibench
