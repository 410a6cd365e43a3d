// How the outputs of a convolution are cut into units of work.
#pragma once

#include "foundation/division.h"
#include "shape.h"

#include <algorithm>
#include <cstdint>

namespace bibench {

inline constexpr int64_t kUnitPixels = 512;  // outputs of a unit at most: enough to fill tiles, few enough for the cache
inline constexpr int64_t kLeastPixels = 64;  // outputs of a unit at least, where there is a choice

// How outputs are cut into units: whole images, or bands of rows of one image, and these into parts by channels where
// there would be too few. Parts of a band follow each other, so that mostly one thread has them all.
struct Cut {
  int64_t images, rows;  // of a unit; `rows` is all of them unless `images` is 1
  int64_t bands, parts;
  int64_t units;

  Cut(const Shape& s, int64_t tiles, int64_t wanted) {
    const int64_t high = s.out_h(), image = high * s.out_w();
    images = bands = parts = 1, rows = high;
    if (image >= kUnitPixels || s.n < wanted) {
      bands = best_bands(high, image, divide_up(wanted, s.n));
      rows = divide_up(high, bands);
      bands = divide_up(high, rows);
    } else {
      images = std::clamp<int64_t>(divide_up(s.n, wanted), divide_up(kLeastPixels, image), kUnitPixels / image);
    }
    const int64_t pieces = divide_up(s.n, images) * bands;
    parts = std::clamp<int64_t>(divide_up(wanted, pieces), 1, tiles);
    units = pieces * parts;
  }

  // As many bands as wanted, or fewer if those are more equal; more where they would be too large.
  static int64_t best_bands(int64_t high, int64_t image, int64_t wanted) {
    const int64_t needed = divide_up(image, kUnitPixels);
    if (needed >= wanted) return std::min(high, divide_up(needed, wanted) * wanted);
    const int64_t most = std::clamp<int64_t>(image / kLeastPixels, 1, std::min(high, wanted));
    int64_t best = needed;
    for (int64_t bands = most; bands >= needed; --bands)
      if (20 * divide_up(high, bands) * bands <= 21 * high) return bands;
    return best;
  }
};

}  // namespace bibench
