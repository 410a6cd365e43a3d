// See centred.h.

#include "centred.h"

#include <algorithm>
#include <atomic>

namespace bibench {
namespace {

void centre(const float* from, int64_t filters, int64_t size, const float* centres, float* to) {
  for (int64_t o = 0; o < filters; ++o)
    for (int64_t i = 0; i < size; ++i) to[o * size + i] = from[o * size + i] - centres[o];
}

}  // namespace

// A block of filters at a time, which the cache holds: they are nowhere written all.
PackedWeight pack_centred(const Kernels& kernels, const Shape& s, const float* weight, Strides strides,
                          const float* centres, const Threads& threads) {
  const int64_t size = s.group_in() * s.taps(), taps = s.taps(), blocks = s.blocks(), words = s.words() * kLanes;
  PackedWeight result;
  result.words.assign(s.groups * blocks * words, 0);
  result.tap_sums.assign(s.groups * taps * blocks * kLanes, 0);
  std::atomic<bool> summed{false};
  auto pack = [&](int64_t begin, int64_t end) {
    std::vector<float> filters(kLanes * size);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t g = unit / blocks, b = unit % blocks, first = g * s.group_out() + b * kLanes;
      Shape part = s;
      part.groups = 1, part.c = s.group_in(), part.co = std::min<int64_t>(kLanes, s.group_out() - b * kLanes);
      centre(weight + first * size, part.co, size, centres + first, filters.data());
      const PackedWeight packed = pack_weight(kernels, part, filters.data(), strides, 1);
      std::copy(packed.words.begin(), packed.words.end(), result.words.begin() + unit * words);
      if (packed.tap_sums.empty()) continue;  // padding, if any, needs none
      summed.store(true, std::memory_order_relaxed);
      for (int64_t tap = 0; tap < taps; ++tap)
        std::copy_n(packed.tap_sums.begin() + tap * kLanes, kLanes,
                    result.tap_sums.begin() + ((g * taps + tap) * blocks + b) * kLanes);
    }
  };
  constexpr int64_t kLeast = 1 << 15;  // below this many weights waking a thread costs more than it saves
  const int64_t all = s.co * size;
  parallel_for(s.groups * blocks, all < 2 * kLeast ? Threads(1) : threads, pack);
  if (!summed.load()) result.tap_sums.clear();
  return result;
}

std::vector<float> centred(const Shape& s, const float* weight, const float* centres) {
  const int64_t size = s.group_in() * s.taps();
  std::vector<float> filters(s.co * size);
  centre(weight, s.co, size, centres, filters.data());
  return filters;
}

}  // namespace bibench
