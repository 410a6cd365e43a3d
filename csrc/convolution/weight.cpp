// See weight.h.

#include "weight.h"

#include <algorithm>

namespace bibench {
namespace {

// Sums of the signs under each tap, where padding needs them.
void sum_taps(const Shape& s, PackedWeight& result) {
  const int64_t words = s.words(), tap_words = s.tap_words(), taps = s.taps(), blocks = s.blocks();
  const bool padded = s.top || s.bottom || s.left || s.right;
  if (!padded || s.pad_value == 1) return;
  result.tap_sums.assign(s.groups * taps * blocks * kLanes, 0);
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          const uint32_t* w = result.words.data() + ((g * blocks + b) * words + tap * tap_words) * kLanes + lane;
          int32_t sum = static_cast<int32_t>(s.group_in());
          for (int64_t t = 0; t < tap_words; ++t) sum -= 2 * bits_set(w[t * kLanes]);
          result.tap_sums[(g * taps + tap) * blocks * kLanes + b * kLanes + lane] = sum;
        }
}

}  // namespace

int32_t bits_set(uint32_t v) {
  v = v - ((v >> 1) & 0x55555555u);
  v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
  return static_cast<int32_t>((((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24);
}

PackedWeight pack_weight(const Kernels& kernels, const Shape& s, const float* weight, Strides strides,
                         const Threads& threads) {
  PackedWeight result;
  const int64_t words = s.words(), tap_words = s.tap_words(), taps = s.taps(), blocks = s.blocks();
  result.words.assign(s.groups * blocks * words * kLanes, 0);
  // Blocks of lanes are memory of their own, and below this many weights waking a thread costs more than it saves.
  constexpr int64_t kLeast = 1 << 15;
  const int64_t all = s.co * s.group_in() * taps, parts = all / kLeast;
  auto pack = [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> filter(words);
    for (int64_t i = begin * kLanes; i < end * kLanes; ++i) {
      const int64_t g = i / (blocks * kLanes), o = i % (blocks * kLanes);
      if (o >= s.group_out()) continue;
      const float* w = weight + (g * s.group_out() + o) * strides.n;
      if (strides.c == 1 && taps > 1) {
        for (int64_t ky = 0; ky < s.kh; ++ky)
          for (int64_t kx = 0; kx < s.kw; ++kx)
            kernels.pack_rows(w + ky * strides.h + kx * strides.w, nullptr, s.group_in(), 1, 0,
                              filter.data() + (ky * s.kw + kx) * tap_words, 0);
      } else if (taps == 1) {
        kernels.pack_rows(w, nullptr, s.group_in(), 1, 0, filter.data(), 0);
      } else {
        for (int64_t t = 0; t < tap_words; ++t) {
          const int channels = static_cast<int>(std::min<int64_t>(kWordBits, s.group_in() - t * kWordBits));
          kernels.pack_plane(w + t * kWordBits * strides.c, nullptr, channels, strides.c, taps, filter.data() + t,
                             tap_words);
        }
      }
      uint32_t* target = result.words.data() + ((g * blocks + o / kLanes) * words) * kLanes + o % kLanes;
      for (int64_t word = 0; word < words; ++word) target[word * kLanes] = filter[word];
    }
  };
  if (parts < 2)
    pack(0, s.groups * blocks);
  else
    parallel_for(s.groups * blocks, threads, pack);
  sum_taps(s, result);
  return result;
}

PackedWeight pack_weight(const Shape& s, const uint8_t* bits) {
  PackedWeight result;
  const int64_t words = s.words(), tap_words = s.tap_words(), taps = s.taps(), blocks = s.blocks();
  const int64_t bytes = (s.group_in() * taps + 7) / 8;
  result.words.assign(s.groups * blocks * words * kLanes, 0);
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t o = 0; o < s.group_out(); ++o) {
      const uint8_t* row = bits + (g * s.group_out() + o) * bytes;
      uint32_t* target = result.words.data() + ((g * blocks + o / kLanes) * words) * kLanes + o % kLanes;
      for (int64_t c = 0, i = 0; c < s.group_in(); ++c)
        for (int64_t tap = 0; tap < taps; ++tap, ++i)
          target[(tap * tap_words + c / kWordBits) * kLanes] |= static_cast<uint32_t>(row[i / 8] >> (i % 8) & 1)
                                                               << (c % kWordBits);
    }
  sum_taps(s, result);
  return result;
}

}  // namespace bibench
