// NEON (aarch64): bits are counted per byte by one instruction and summed per byte, widened before overflow.

#include "kernels.h"

#include <arm_neon.h>
#include <cmath>

namespace bibench {
namespace {

#include "elementwise/elementwise.inl"
#include "scalar.inl"

constexpr int kMaxSteps = 31;  // a byte gains at most 8 a step

struct Xor {
  static uint32x4_t apply(uint32x4_t a, uint32x4_t b) { return veorq_u32(a, b); }
};
struct And {
  static uint32x4_t apply(uint32x4_t a, uint32x4_t b) { return vandq_u32(a, b); }
};

template <class Op, int P>
void tile(const uint32_t* const* bases, const uint32_t* weights, Runs runs, int32_t* counts) {
  for (int i = 0; i < P * kLanes; ++i) counts[i] = 0;
  uint8x16_t sum[P][4];
  for (int p = 0; p < P; ++p)
    for (int q = 0; q < 4; ++q) sum[p][q] = vdupq_n_u8(0);
  int64_t steps = 0;
  const auto flush = [&] {
    for (int p = 0; p < P; ++p) {
      for (int q = 0; q < 4; ++q) {
        uint32_t* target = reinterpret_cast<uint32_t*>(counts + p * kLanes + 4 * q);
        vst1q_u32(target, vpadalq_u16(vld1q_u32(target), vpaddlq_u8(sum[p][q])));
        sum[p][q] = vdupq_n_u8(0);
      }
    }
    steps = 0;
  };
  for (int64_t r = 0; r < runs.count; ++r) {
    const int64_t offset = runs.offsets[r];
    for (int64_t j = 0; j < runs.words; ++j, weights += kLanes) {
      uint32x4_t lane[4];
      for (int q = 0; q < 4; ++q) lane[q] = vld1q_u32(weights + 4 * q);
      for (int p = 0; p < P; ++p) {
        const uint32x4_t a = vdupq_n_u32(bases[p][offset + j]);
        for (int q = 0; q < 4; ++q)
          sum[p][q] = vaddq_u8(sum[p][q], vcntq_u8(vreinterpretq_u8_u32(Op::apply(a, lane[q]))));
      }
      if (++steps == kMaxSteps) flush();
    }
  }
  flush();
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

int64_t probe(int64_t rounds, uint32_t* sink) {
  constexpr int kSums = 16;
  uint8x16_t sum[kSums];
  const uint8x16_t weight = vdupq_n_u8(0x5a);
  for (int i = 0; i < kSums; ++i) sum[i] = vdupq_n_u8(static_cast<uint8_t>(i));
  for (int64_t r = 0; r < rounds; ++r)
    for (int i = 0; i < kSums; ++i) sum[i] = vaddq_u8(sum[i], vcntq_u8(veorq_u8(sum[i], weight)));
  for (int i = 1; i < kSums; ++i) sum[0] = veorq_u8(sum[0], sum[i]);
  *sink = vaddlvq_u8(sum[0]);
  return rounds * kSums * 128;
}

#include "table.inl"

}  // namespace

const Kernels kNeon = table("neon", 4, 1);

}  // namespace bibench
