// See convolution.h. Work is split into units, each some rows of one image or some whole images; a unit packs
// the input it reads into bits, so units need nothing of each other.

#include "convolution.h"

#include "borders.h"
#include "cut.h"
#include "foundation/division.h"
#include "plan.h"
#include "planar.h"
#include "triples.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

namespace bibench {
namespace {

std::atomic<uint64_t> convolutions{0};

// One call of `convolve`.
struct Convolution {
  const Kernels& k;
  const Shape& s;
  const float* x;
  Strides xs;
  const float* shift;
  const Finish& finish;
  float* out;
  Strides os;
  const Plan& plan;
  uint64_t id;
  int64_t group_tiles;
  std::array<int32_t, kMaxTileBlocks * kLanes> zeros = {};  // the corrections of pixels that need none

  Convolution(const Kernels& kernels, const Shape& shape, const float* input, Strides x_strides, const float* shifts,
              const Finish& finishes, float* output, Strides out_strides, const Plan& made)
      : k(kernels), s(shape), x(input), xs(x_strides), shift(shifts), finish(finishes), out(output), os(out_strides),
        plan(made), id(++convolutions), group_tiles(divide_up(shape.blocks(), kernels.tile_blocks)) {}
};

#include "packing.inl"
#include "tiles.inl"

// Where the corrections of the unit's pixels lie, for a group's channels; null for pixels that need none.
inline void correct(const Convolution& c, int64_t g, int64_t images, int64_t first, int64_t rows) {
  auto& corrected = scratch.corrected;
  corrected.clear();
  const Corrections& table = c.plan.corrections;
  if (table.table.empty()) return;
  corrected.resize(scratch.bases.size());
  const int32_t** correction = corrected.data();
  for (int64_t i = 0; i < images; ++i)
    for (int64_t r = first; r < first + rows; ++r) {
      const int32_t *start = table.row(g, r), *classes = table.columns.class_of.data();
      const bool inside = table.rows.class_of[r] == 0;
      for (int64_t v = 0; v < c.s.out_w(); ++v)
        *correction++ = inside && classes[v] == 0 ? nullptr : start + classes[v] * table.width;
    }
}

// Output rows [first, first + rows) of `images` images, in these tiles of channels.
inline void unit(const Convolution& c, int64_t image, int64_t images, int64_t first, int64_t rows, int64_t tile,
                 int64_t tiles) {
  prefetch(c.plan.weights.data() + tile * c.k.tile_blocks * c.s.words() * kLanes,
           c.s.groups == 1 ? std::min<int64_t>(c.k.tile_blocks, c.s.blocks()) * c.s.words() : 0);
  gather(c, image, images, first, rows);
  if (c.os.c != 1) scratch.staged.resize(scratch.bases.size() * c.k.tile_blocks * kLanes);
  for (int64_t g = tile / c.group_tiles; tile < tiles; ++g) {
    const int64_t stop = std::min(tiles, (g + 1) * c.group_tiles);
    correct(c, g, images, first, rows);
    const int64_t skipped = g * c.s.tap_words();
    for (auto& base : scratch.bases) base += skipped;
    group(c, g, image, first, images, rows, tile - g * c.group_tiles, stop - g * c.group_tiles);
    for (auto& base : scratch.bases) base -= skipped;
    tile = stop;
  }
}

inline void run(const Convolution& c, const Threads& threads) {
  const Cut cut(c.s, c.s.groups * c.group_tiles, std::max(1, threads.count));
  parallel_for(cut.units, threads, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t piece = u / cut.parts, part = u % cut.parts, tiles = c.s.groups * c.group_tiles;
      const int64_t image = piece / cut.bands * cut.images, first = piece % cut.bands * cut.rows;
      unit(c, image, std::min(cut.images, c.s.n - image), first, std::min(cut.rows, c.s.out_h() - first),
           tiles * part / cut.parts, tiles * (part + 1) / cut.parts);
    }
    scratch.trim();
  });
}

}  // namespace

void convolve(const Kernels& kernels, const Shape& shape, const float* x, Strides x_strides, const PackedWeight& weight,
              const float* shift, const Finish& finish, float* out, Strides out_strides, const Threads& threads,
              const Plan* plan) {
  if (shape.n == 0 || shape.co == 0 || shape.out_h() <= 0 || shape.out_w() <= 0) return;
  const bool usable = plan && &plan->kernels == &kernels;
  const auto made = usable ? nullptr : make_plan(kernels, shape, weight);
  const Plan& p = usable ? *plan : *made;
  if (suits_planar(kernels, shape, x_strides, finish, out_strides, p.corrections))
    return convolve_planar(kernels, shape, x, x_strides, p.weights, p.triples, p.corrections, shift, finish, out,
                           out_strides, threads);
  run(Convolution(kernels, shape, x, x_strides, shift, finish, out, out_strides, p), threads);
}

}  // namespace bibench
