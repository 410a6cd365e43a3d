// Sums of floats with signs by table lookup: the steps that each instruction set provides.
//
// Only plain old data and declarations, for the reason that kernels.h gives.
//
// The gradients of a product of signs are products of floats with signs. Four floats have sixteen signed sums, which are as
// many as an AVX-512 register holds: one permutation looks sixteen of them up by codes of four bits, and does what takes
// four multiply-adds otherwise. The order of a sum is part of the definition, so that every instruction set gives the same
// bits: ((±a ± b) + (±c ± d)) for each four terms, and those one after the other.
#pragma once

#include <cstdint>

namespace bibench {

inline constexpr int kTerms = 4;     // summed by one lookup
inline constexpr int kEntries = 16;  // of a table, 2^kTerms; also the sums of a block, in the lanes of a register

// Consecutive terms of a sum: `count` tables and blocks of codes at the same distances.
struct LookupRun {
  const float* tables;
  const int32_t* codes;
  int64_t count;
};

struct LookupSteps {
  int64_t table, code;  // from one term of a run to the next
  int64_t row;          // from the tables of a row of sums to the next one's
};

// Where the sums go: `rows` of those computed, `step` apart; of the last block `lanes` values.
struct LookupSums {
  float* data;
  int64_t step;
  int rows, lanes;
  bool add;  // to what is there, when all terms are summed: with less error than one after the other
};

struct Lookup {
  const char* name;
  // Bit j of codes[c] says whether rows[j][c] + shift[c] has the sign -1, c < channels; 0 up to the next multiple of
  // kEntries. A missing row (null) is all 0; `shift` may be null.
  void (*codes)(const float* const* rows, const float* shift, int64_t channels, int32_t* codes);
  // Table i of `count`: the signed sums of rows[0 … 3][i], `step` floats behind table i - 1. A missing row is all 0.
  void (*across)(const float* const* rows, int64_t count, int64_t step, float* tables);
  // Table i: the signed sums of values[4 i … 4 i + 3], times their scale if that is not null; 0 beyond `count` values.
  void (*along)(const float* values, const float* scale, int64_t count, float* tables);
  // Sums over all runs, for `rows` (4 or 8) rows of tables and `blocks` blocks of codes, which follow each other:
  // rows * blocks <= 24, and of 8 rows at most 2 blocks.
  void (*sums)(const LookupRun* runs, int64_t count, const LookupSteps& steps, int rows, int blocks, const LookupSums& sums);
};

extern const Lookup kLookupPortable;
extern const Lookup kLookupAvx512;

}  // namespace bibench
