// Portable C++: the definition of each step; see lookup.h.

#include "lookup.h"

namespace bibench {
namespace {

void fill(const float (&terms)[kTerms], float* table) {
  for (int code = 0; code < kEntries; ++code) {
    float t[kTerms];
    for (int j = 0; j < kTerms; ++j) t[j] = code >> j & 1 ? -terms[j] : terms[j];
    table[code] = (t[0] + t[1]) + (t[2] + t[3]);
  }
}

void make_codes(const float* const* rows, const float* shift, int64_t channels, int32_t* codes) {
  for (int64_t c = 0; c < (channels + kEntries - 1) / kEntries * kEntries; ++c) {
    codes[c] = 0;
    for (int j = 0; j < kTerms && c < channels; ++j)
      if (rows[j] && !((shift ? rows[j][c] + shift[c] : rows[j][c]) >= 0.0f)) codes[c] |= 1 << j;
  }
}

void across(const float* const* rows, int64_t count, int64_t step, float* tables) {
  for (int64_t i = 0; i < count; ++i) {
    float terms[kTerms];
    for (int j = 0; j < kTerms; ++j) terms[j] = rows[j] ? rows[j][i] : 0.0f;
    fill(terms, tables + i * step);
  }
}

void along(const float* values, const float* scale, int64_t count, float* tables) {
  for (int64_t i = 0; i < count; i += kTerms, tables += kEntries) {
    float terms[kTerms];
    for (int64_t j = 0; j < kTerms; ++j) terms[j] = i + j < count ? values[i + j] * (scale ? scale[i + j] : 1.0f) : 0.0f;
    fill(terms, tables);
  }
}

void sums(const LookupRun* runs, int64_t count, const LookupSteps& steps, int, int blocks, const LookupSums& to) {
  for (int m = 0; m < to.rows; ++m)
    for (int c = 0; c < (blocks - 1) * kEntries + to.lanes; ++c) {
      float* out = to.data + m * to.step + c;
      float sum = 0.0f;
      for (int64_t r = 0; r < count; ++r)
        for (int64_t k = 0; k < runs[r].count; ++k)
          sum += runs[r].tables[k * steps.table + m * steps.row + runs[r].codes[k * steps.code + c]];
      *out = to.add ? *out + sum : sum;
    }
}

}  // namespace

const Lookup kLookupPortable = {"portable", make_codes, across, along, sums};

}  // namespace bibench
