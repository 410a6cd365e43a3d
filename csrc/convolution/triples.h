// Words of a filter in threes: of each three, the parity (exclusive or) takes the third's place, in the weights as in the
// packed activations. Bits of `activation xor weight` are then counted as 2 majorities + 1 parity of three words, which
// spares a third of the counting where an instruction set has operations on three words (see isa/avx512.cpp).
//
// With filters three taps wide or wider, three are neighbours in a row of the filter: their parity is that of three
// neighbouring pixels, made once for each place in a row ("sideways"). Otherwise, from three words per tap on, the words
// of a tap are split into thirds and what is left ("inward"). Where words are gathered for lanes (planar.cpp), any three
// would do; they are the same, so that the weights are.
#pragma once

#include "foundation/aligned.h"
#include "isa/kernels.h"
#include "shape.h"

#include <cstdint>
#include <vector>

namespace bibench {

struct Triples {
  int64_t sideways = 0;  // threes of taps in a filter row
  int64_t inward = 0;    // threes of words in a tap

  Triples(const Kernels& kernels, const Shape& shape);

  // How many times three words there are, and how many others.
  int64_t threes(const Shape& s) const { return s.kh * (sideways * s.tap_words() + s.kw * inward); }
  int64_t others(const Shape& s) const { return s.words() - 3 * threes(s); }

  // Calls three(row, tap, word, tap, word, tap, word) for each three, then one(row, tap, word) for each other word, in the
  // order of the arranged weights. Taps are those within the filter's row.
  template <class Three, class One>
  void visit(const Shape& s, Three&& three, One&& one) const {
    const int64_t words = s.tap_words();
    for (int64_t ky = 0; ky < s.kh; ++ky) {
      for (int64_t t = 0; t < sideways; ++t)
        for (int64_t w = 0; w < words; ++w) three(ky, 3 * t, w, 3 * t + 1, w, 3 * t + 2, w);
      for (int64_t kx = 0; kx < (inward ? s.kw : 0); ++kx)
        for (int64_t w = 0; w < inward; ++w) three(ky, kx, w, kx, inward + w, kx, 2 * inward + w);
    }
    for (int64_t ky = 0; ky < s.kh; ++ky)
      for (int64_t kx = 3 * sideways; kx < s.kw; ++kx)
        for (int64_t w = 3 * inward; w < words; ++w) one(ky, kx, w);
  }

  // The weights in that order, of the same layout; empty where it is the order they have.
  AlignedVector<uint32_t> arrange(const Shape& shape, const AlignedVector<uint32_t>& weights) const;
};

// out = a ^ b ^ c, n words; `out` may be `c`.
void parity(const uint32_t* a, const uint32_t* b, const uint32_t* c, int64_t n, uint32_t* out);

// In each of `count` records, `step` words apart, the third stretch of `third` words becomes the parity of the first three.
void merge_thirds(uint32_t* records, int64_t count, int64_t step, int64_t third);

}  // namespace bibench
