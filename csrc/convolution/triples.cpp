// See triples.h.

#include "triples.h"

namespace bibench {

// The way that leaves fewer words out; inward where both are alike, because it needs no words of its own.
Triples::Triples(const Kernels& kernels, const Shape& s) {
  if (!kernels.triples) return;
  const int64_t words = s.tap_words();
  const int64_t left_sideways = s.kw % 3 * words, left_inward = s.kw * (words % 3);
  if (s.kw >= 3 && left_sideways < left_inward)
    sideways = s.kw / 3;
  else
    inward = words / 3;
}

AlignedVector<uint32_t> Triples::arrange(const Shape& s, const AlignedVector<uint32_t>& weights) const {
  if (!sideways && !inward) return {};
  AlignedVector<uint32_t> result(weights.size());
  const int64_t words = s.words(), filters = static_cast<int64_t>(weights.size()) / (words * kLanes);
  for (int64_t f = 0; f < filters; ++f) {
    const uint32_t* from = weights.data() + f * words * kLanes;
    uint32_t* to = result.data() + f * words * kLanes;
    const auto word = [&](int64_t ky, int64_t kx, int64_t w) { return from + ((ky * s.kw + kx) * s.tap_words() + w) * kLanes; };
    visit(
        s,
        [&](int64_t ky, int64_t x0, int64_t w0, int64_t x1, int64_t w1, int64_t x2, int64_t w2) {
          const uint32_t *a = word(ky, x0, w0), *b = word(ky, x1, w1), *c = word(ky, x2, w2);
          for (int i = 0; i < kLanes; ++i) to[i] = a[i], to[kLanes + i] = b[i], to[2 * kLanes + i] = a[i] ^ b[i] ^ c[i];
          to += 3 * kLanes;
        },
        [&](int64_t ky, int64_t kx, int64_t w) {
          const uint32_t* a = word(ky, kx, w);
          for (int i = 0; i < kLanes; ++i) to[i] = a[i];
          to += kLanes;
        });
  }
  return result;
}

void parity(const uint32_t* a, const uint32_t* b, const uint32_t* c, int64_t n, uint32_t* out) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] ^ b[i] ^ c[i];
}

void merge_thirds(uint32_t* records, int64_t count, int64_t step, int64_t third) {
  if (third >= 8) {
    for (int64_t i = 0; i < count; ++i, records += step)
      parity(records, records + third, records + 2 * third, third, records + 2 * third);
    return;
  }
  for (int64_t j = 0; j < third; ++j)  // too few for vectors
    for (int64_t i = j; i < count * step; i += step) records[i + 2 * third] ^= records[i] ^ records[i + third];
}

}  // namespace bibench
