// How sums are divided into blocks.
#pragma once

#include <cstdint>

namespace bibench {

// Division that rounds up, and down below zero too.
inline int64_t ceil_div(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }
inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Blocks of sums [0, count) in groups of nearly equal size, at most 6.
struct BlockGroups {
  static constexpr int64_t kMost = 6;
  int64_t count;
  int64_t groups() const { return (count + kMost - 1) / kMost; }
  int64_t begin(int64_t group) const { return count * group / groups(); }
};

// Rows of tables that `Lookup::sums` takes at once for so many blocks.
inline int rows_for(int64_t blocks) { return blocks <= 2 ? 8 : 4; }

}  // namespace bibench
