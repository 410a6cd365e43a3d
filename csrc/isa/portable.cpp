// Portable C++: bits are counted per byte by arithmetic on whole words, which any compiler vectorizes.

#include "kernels.h"

#include <cmath>

namespace bibench {
namespace {

#include "elementwise/elementwise.inl"
#include "scalar.inl"

constexpr int kMaxSteps = 31;  // a byte gains at most 8 a step

struct Xor {
  static uint32_t apply(uint32_t a, uint32_t b) { return a ^ b; }
};
struct And {
  static uint32_t apply(uint32_t a, uint32_t b) { return a & b; }
};

uint32_t bits_per_byte(uint32_t v) {
  v = v - ((v >> 1) & 0x55555555u);
  v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
  return (v + (v >> 4)) & 0x0f0f0f0fu;
}

template <class Op>
void count_one(const uint32_t* base, const uint32_t* weights, Runs runs, int32_t* counts) {
  uint32_t sum[kLanes] = {};
  for (int lane = 0; lane < kLanes; ++lane) counts[lane] = 0;
  int64_t steps = 0;
  const auto flush = [&] {
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint32_t pairs = (sum[lane] & 0x00ff00ffu) + ((sum[lane] >> 8) & 0x00ff00ffu);
      counts[lane] += static_cast<int32_t>((pairs & 0xffffu) + (pairs >> 16));
      sum[lane] = 0;
    }
    steps = 0;
  };
  for (int64_t r = 0; r < runs.count; ++r) {
    const uint32_t* a = base + runs.offsets[r];
    for (int64_t j = 0; j < runs.words; ++j, weights += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] += bits_per_byte(Op::apply(a[j], weights[lane]));
      if (++steps == kMaxSteps) flush();
    }
  }
  flush();
}

template <class Op>
void count(const uint32_t* const* bases, int pixels, const uint32_t* weights, int, Runs runs, int32_t* counts) {
  for (int p = 0; p < pixels; ++p) count_one<Op>(bases[p], weights, runs, counts + p * kLanes);
}

int64_t probe(int64_t rounds, uint32_t* sink) {
  uint32_t sum[4 * kLanes];
  for (int i = 0; i < 4 * kLanes; ++i) sum[i] = static_cast<uint32_t>(i);
  for (int64_t r = 0; r < rounds; ++r)
    for (int i = 0; i < 4 * kLanes; ++i) sum[i] += bits_per_byte(sum[i] ^ 0x5a5a1234u);
  *sink = 0;
  for (const uint32_t s : sum) *sink ^= s;
  return rounds * 4 * kLanes * kWordBits;
}

#include "table.inl"

}  // namespace

const Kernels kPortable = table("portable", 4, 1);

}  // namespace bibench
