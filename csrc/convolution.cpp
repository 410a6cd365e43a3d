// See convolution.h. Work is split into units, each some rows of one image or some whole images; a unit packs
// the input it reads into bits, so units need nothing of each other.

#include "convolution.h"

#include "borders.h"
#include "planar.h"
#include "threads.h"
#include "triples.h"

#include <algorithm>
#include <array>
#include <atomic>

namespace bibench {

// A packed image is [padded row][padded column][group][tap word]; where threes of words are neighbouring taps, the
// columns of a row are followed by as many parities: of each column and the next two that a filter reads.
struct Plan {
  const Kernels& kernels;
  Corrections corrections;
  Triples triples;
  AlignedVector<uint32_t> arranged;
  const AlignedVector<uint32_t>& weights;  // those, or the weight's own, which outlives its plans
  int64_t columns, pixel_words, row_words;
  std::vector<int32_t> offsets;
  Runs runs;

  Plan(const Kernels& k, const Shape& s, const PackedWeight& weight)
      : kernels(k), corrections(bibench::corrections(s, weight)), triples(k, s),
        arranged(triples.arrange(s, weight.words)), weights(arranged.empty() ? weight.words : arranged) {
    columns = s.w + s.left + s.right;
    pixel_words = s.groups * s.tap_words();
    row_words = columns * pixel_words * (triples.sideways ? 2 : 1);
    const auto place = [&](int64_t ky, int64_t column, int64_t word) {
      offsets.push_back(static_cast<int32_t>(ky * s.dilation_h * row_words + column * pixel_words + word));
    };
    runs.triple_words = triples.sideways ? s.tap_words() : triples.inward;
    for (int64_t ky = 0; ky < s.kh; ++ky) {
      for (int64_t t = 0; t < triples.sideways; ++t) {
        const int64_t column = 3 * t * s.dilation_w;
        place(ky, column, 0), place(ky, column + s.dilation_w, 0), place(ky, columns + column, 0);
      }
      for (int64_t kx = 0; kx < (triples.inward ? s.kw : 0); ++kx)
        for (int i = 0; i < 3; ++i) place(ky, kx * s.dilation_w, i * triples.inward);
    }
    runs.triples = static_cast<int64_t>(offsets.size()) / 3;
    // Taps of a filter row are adjacent in memory unless dilation, groups or threes part them.
    const int64_t first = 3 * triples.sideways, left = s.tap_words() - 3 * triples.inward;
    const bool adjacent = s.dilation_w == 1 && s.groups == 1 && !triples.inward;
    if (first < s.kw && left)
      for (int64_t ky = 0; ky < s.kh; ++ky)
        for (int64_t kx = first; kx < (adjacent ? first + 1 : s.kw); ++kx) place(ky, kx * s.dilation_w, 3 * triples.inward);
    runs.offsets = offsets.data();
    runs.count = static_cast<int64_t>(offsets.size()) - 3 * runs.triples;
    runs.words = adjacent ? (s.kw - first) * left : left;
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
};

namespace {

constexpr int64_t kUnitPixels = 512;      // outputs of a unit at most: enough to fill tiles, few enough for the cache
constexpr int64_t kLeastPixels = 64;      // outputs of a unit at least, where there is a choice
constexpr size_t kKeptBytes = 16 << 20;  // what a thread keeps of its buffers

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

// What a thread keeps between the units of one convolution. The next unit often needs the same packed input (another
// part of its channels) or starts with rows of the last one (where filters overlap).
struct Scratch {
  uint64_t owner = 0;  // the convolution whose input is packed here; 0 while that is incomplete
  int64_t image = 0, images = 0, first = 0, rows = 0;
  AlignedVector<uint32_t> bits, line;
  std::vector<const uint32_t*> bases;
  std::vector<const int32_t*> corrected;
  AlignedVector<float> staged;

  void trim() {
    const size_t bytes = (bits.capacity() + line.capacity()) * 4 + (bases.capacity() + corrected.capacity()) * 8 + staged.capacity() * 4;
    if (bytes > kKeptBytes) *this = Scratch();
  }
};

thread_local Scratch scratch;
std::atomic<uint64_t> convolutions{0};

class Convolution {
 public:
  Convolution(const Kernels& kernels, const Shape& shape, const float* x, Strides xs, const float* shift,
              const Finish& finish, float* out, Strides os, const Plan& plan)
      : k_(kernels), s_(shape), x_(x), xs_(xs), shift_(shift), finish_(finish), out_(out), os_(os),
        plan_(plan), id_(++convolutions), group_tiles_(divide_up(shape.blocks(), kernels.tile_blocks)) {}

  void run(const Threads& threads) const {
    const Cut cut(s_, s_.groups * group_tiles_, std::max(1, threads.count));
    parallel_for(cut.units, threads, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) {
        const int64_t piece = u / cut.parts, part = u % cut.parts, tiles = s_.groups * group_tiles_;
        const int64_t image = piece / cut.bands * cut.images, first = piece % cut.bands * cut.rows;
        unit(image, std::min(cut.images, s_.n - image), first, std::min(cut.rows, s_.out_h() - first),
             tiles * part / cut.parts, tiles * (part + 1) / cut.parts);
      }
      scratch.trim();
    });
  }

 private:
  // Output rows [first, first + rows) of `images` images, in these tiles of channels.
  void unit(int64_t image, int64_t images, int64_t first, int64_t rows, int64_t tile, int64_t tiles) const {
    prefetch(plan_.weights.data() + tile * k_.tile_blocks * s_.words() * kLanes,
             s_.groups == 1 ? std::min<int64_t>(k_.tile_blocks, s_.blocks()) * s_.words() : 0);
    gather(image, images, first, rows);
    if (os_.c != 1) scratch.staged.resize(scratch.bases.size() * k_.tile_blocks * kLanes);
    for (int64_t g = tile / group_tiles_; tile < tiles; ++g) {
      const int64_t stop = std::min(tiles, (g + 1) * group_tiles_);
      correct(g, images, first, rows);
      const int64_t skipped = g * s_.tap_words();
      for (auto& base : scratch.bases) base += skipped;
      group(g, image, first, images, rows, tile - g * group_tiles_, stop - g * group_tiles_);
      for (auto& base : scratch.bases) base -= skipped;
      tile = stop;
    }
  }

  // Packs the input of the unit, unless the last unit has.
  void gather(int64_t image, int64_t images, int64_t first, int64_t rows) const {
    Scratch& t = scratch;
    const bool mine = t.owner == id_ && t.image == image && t.images == images;
    if (mine && t.first == first && t.rows == rows) return;
    const int64_t in_first = first * s_.stride_h, in_rows = input_rows(rows);  // padded
    const int64_t image_words = in_rows * plan_.row_words;
    int64_t kept = 0;
    if (mine && images == 1 && t.first < first) {
      const int64_t had_first = t.first * s_.stride_h, had = input_rows(t.rows);
      kept = std::clamp<int64_t>(had_first + had - in_first, 0, in_rows);
      if (kept) std::copy_n(t.bits.begin() + (in_first - had_first) * plan_.row_words, kept * plan_.row_words, t.bits.begin());
    }
    t.owner = 0;
    t.bits.resize(images * image_words);
    std::fill(t.bits.begin() + kept * plan_.row_words, t.bits.end(), 0u);
    t.bases.resize(images * rows * s_.out_w());
    const uint32_t** base = t.bases.data();
    const int64_t out_w = s_.out_w(), step = s_.stride_w * plan_.pixel_words;
    for (int64_t i = 0; i < images; ++i) {
      uint32_t* target = t.bits.data() + i * image_words;
      pack(image + i, in_first + kept, in_rows - kept, target + kept * plan_.row_words);
      for (int64_t r = 0; r < rows; ++r) {
        const uint32_t* start = target + r * s_.stride_h * plan_.row_words;
        for (int64_t c = 0; c < out_w; ++c) *base++ = start + c * step;
      }
    }
    t.owner = id_, t.image = image, t.images = images, t.first = first, t.rows = rows;
  }

  int64_t input_rows(int64_t rows) const { return (rows - 1) * s_.stride_h + (s_.kh - 1) * s_.dilation_h + 1; }

  void correct(int64_t g, int64_t images, int64_t first, int64_t rows) const {
    auto& corrected = scratch.corrected;
    corrected.clear();
    const Corrections& table = plan_.corrections;
    if (table.table.empty()) return;
    corrected.resize(scratch.bases.size());
    const int32_t** correction = corrected.data();
    for (int64_t i = 0; i < images; ++i)
      for (int64_t r = first; r < first + rows; ++r) {
        const int32_t *start = table.row(g, r), *classes = table.columns.class_of.data();
        const bool inside = table.rows.class_of[r] == 0;
        for (int64_t c = 0; c < s_.out_w(); ++c)
          *correction++ = inside && classes[c] == 0 ? nullptr : start + classes[c] * table.width;
      }
  }

  void pack(int64_t image, int64_t in_first, int64_t in_rows, uint32_t* target) const {
    const int64_t tap_words = s_.tap_words();
    if (xs_.c != 1 && s_.groups == 1 && xs_.h == s_.w) return pack_planes(image, in_first, in_rows, target);
    for (int64_t r = 0; r < in_rows; ++r) {
      const int64_t y = in_first + r - s_.top;
      if (y < 0 || y >= s_.h) continue;
      const float* row = x_ + image * xs_.n + y * xs_.h;
      uint32_t* words = target + r * plan_.row_words + s_.left * plan_.pixel_words;
      for (int64_t g = 0; g < s_.groups; ++g) {
        const float* shift = shift_ ? shift_ + g * s_.group_in() : nullptr;
        const float* x = row + g * s_.group_in() * xs_.c;
        if (xs_.c == 1) {
          k_.pack_rows(x, shift, s_.group_in(), s_.w, xs_.w, words + g * tap_words, plan_.pixel_words);
        } else {
          for (int64_t t = 0; t < tap_words; ++t) {
            const int64_t channel = t * kWordBits;
            const int channels = static_cast<int>(std::min<int64_t>(kWordBits, s_.group_in() - channel));
            k_.pack_plane(x + channel * xs_.c, shift ? shift + channel : nullptr, channels, xs_.c, s_.w,
                          words + g * tap_words + t, plan_.pixel_words);
          }
        }
      }
      take_parities(target + r * plan_.row_words);
    }
  }

  // Rows that lie together in memory are packed together.
  void pack_planes(int64_t image, int64_t in_first, int64_t in_rows, uint32_t* target) const {
    const int64_t top = std::max<int64_t>(0, in_first - s_.top), bottom = std::min(s_.h, in_first + in_rows - s_.top);
    if (top >= bottom) return;
    auto& line = scratch.line;
    line.resize((bottom - top) * s_.w);
    target += (top - (in_first - s_.top)) * plan_.row_words;
    for (int64_t t = 0; t < s_.tap_words(); ++t) {
      const int64_t channel = t * kWordBits;
      const int channels = static_cast<int>(std::min<int64_t>(kWordBits, s_.c - channel));
      k_.pack_plane(x_ + image * xs_.n + top * xs_.h + channel * xs_.c, shift_ ? shift_ + channel : nullptr, channels,
                    xs_.c, static_cast<int64_t>(line.size()), line.data(), 1);
      for (int64_t y = 0; y < bottom - top; ++y) {
        uint32_t* words = target + y * plan_.row_words + s_.left * plan_.pixel_words + t;
        for (int64_t i = 0; i < s_.w; ++i) words[i * plan_.pixel_words] = line[y * s_.w + i];
      }
    }
    for (int64_t y = 0; y < bottom - top; ++y) take_parities(target + y * plan_.row_words);
  }

  // What the threes need, in a packed row.
  void take_parities(uint32_t* row) const {
    const Triples& t = plan_.triples;
    if (t.inward) merge_thirds(row, plan_.columns * s_.groups, s_.tap_words(), t.inward);
    if (!t.sideways) return;
    const int64_t all = plan_.columns * plan_.pixel_words, step = s_.dilation_w * plan_.pixel_words;
    parity(row, row + step, row + 2 * step, all - 2 * step, row + all);
  }

  // These tiles of a group's channels.
  void group(int64_t g, int64_t image, int64_t first, int64_t images, int64_t rows, int64_t tile, int64_t tiles) const {
    const float* bias = finish_.bias_early() ? finish_.bias : nullptr;
    const float* scale = finish_.scale_early() ? finish_.scale : nullptr;
    const int64_t blocks = s_.blocks(), start = tile * k_.tile_blocks * kLanes, block = s_.words() * kLanes;
    for (; tile < tiles; ++tile) {
      const int64_t b = tile * k_.tile_blocks, channel = g * s_.group_out() + b * kLanes;
      Tile t;
      t.blocks = static_cast<int>(std::min<int64_t>(k_.tile_blocks, blocks - b));
      t.channel = channel, t.block = b;
      t.channels = static_cast<int>(std::min<int64_t>(t.blocks * kLanes, s_.group_out() - b * kLanes));
      t.weights = plan_.weights.data() + (g * blocks + b) * block;
      t.next_words = std::min<int64_t>(k_.tile_blocks, blocks - b - t.blocks) * block;
      t.epilogue = {static_cast<int32_t>(s_.group_in() * s_.taps()), nullptr, nullptr, scale ? scale + channel : nullptr,
                    bias ? bias + channel : nullptr};
      if (os_.c == 1)
        write_pixels(t, out_ + image * os_.n + first * os_.h + channel, os_.w);
      else if (k_.product_planes && finish_.bias_early())
        write_planes(t, image, first, images, rows);
      else
        write_staged(t, image, first, images, rows);
    }
    if (os_.c != 1 || !finish_.late()) return;
    const int64_t stop = std::min(tiles * k_.tile_blocks * kLanes, s_.group_out()), channel = g * s_.group_out() + start;
    for (int64_t i = 0; i < images; ++i)
      finish_rows(k_, s_, finish_, out_, os_, image + i, first, rows, channel, stop - start);
  }

  // Some channels of the unit's pixels.
  struct Tile {
    int64_t channel, block;
    int blocks, channels;
    const uint32_t* weights;
    int64_t next_words;  // weights that come after these
    Epilogue epilogue;
  };

  // Calls product(bases, pixels, epilogue, first pixel) over pixels [begin, end), in equal steps.
  template <class Product>
  void over_pixels(const Tile& t, int64_t begin, int64_t end, Product&& product) const {
    const uint32_t* const* bases = scratch.bases.data();
    const int32_t* const* corrected = scratch.corrected.empty() ? nullptr : scratch.corrected.data();
    const int64_t step = divide_up(end - begin, divide_up(end - begin, k_.tile_pixels)), offset = t.block * kLanes;
    // The weights of the next tile come from memory while these are used.
    const uint32_t* next = t.weights + t.blocks * s_.words() * kLanes;
    const int64_t lines = divide_up(t.next_words / kLanes * step, end - begin);
    Epilogue epilogue = t.epilogue;
    const int32_t* corrections[kMaxTilePixels];
    for (int64_t p = begin; p < end; p += step) {
      const int count = static_cast<int>(std::min(step, end - p));
      epilogue.corrections = nullptr;
      if (corrected)
        for (int i = 0; i < count; ++i) {
          corrections[i] = corrected[p + i] ? corrected[p + i] + offset : zeros_.data();
          if (corrected[p + i]) epilogue.corrections = corrections;
        }
      next = prefetch(next, lines);
      product(bases + p, count, epilogue, p - begin);
    }
  }

  // Returns where these lines of weights end.
  static const uint32_t* prefetch(const uint32_t* weights, int64_t lines) {
    for (int64_t i = 0; i < lines; ++i, weights += kLanes) __builtin_prefetch(weights, 0, 2);
    return weights;
  }

  // Channels-last output is written where it belongs: pixels of consecutive rows and images are evenly spaced.
  void write_pixels(const Tile& t, float* out, int64_t stride) const {
    over_pixels(t, 0, static_cast<int64_t>(scratch.bases.size()),
                [&](const uint32_t* const* bases, int count, const Epilogue& epilogue, int64_t p) {
                  k_.product_xor(bases, count, t.weights, t.blocks, plan_.runs, t.channels, epilogue, out + p * stride,
                                 stride);
                });
  }

  void write_planes(const Tile& t, int64_t image, int64_t first, int64_t images, int64_t rows) const {
    const int64_t per_image = rows * s_.out_w();
    const int64_t step = finish_.slope_per_channel ? 1 : 0;
    for (int64_t i = 0; i < images; ++i) {
      const int64_t offset = (image + i) * os_.n + t.channel * os_.c + first * os_.h;
      over_pixels(t, i * per_image, (i + 1) * per_image,
                  [&](const uint32_t* const* bases, int count, const Epilogue& epilogue, int64_t p) {
                    const float* residual = finish_.residual ? finish_.residual + offset + p : nullptr;
                    const float* slope = finish_.slope ? finish_.slope + step * t.channel : nullptr;
                    const Planes planes = {out_ + offset + p, os_.c, residual, finish_.activation, {slope, step},
                                           finish_.low, finish_.high};
                    k_.product_planes(bases, count, t.weights, t.blocks, plan_.runs, t.channels, epilogue, planes);
                  });
    }
  }

  // Planar output through a buffer with channels last.
  void write_staged(const Tile& t, int64_t image, int64_t first, int64_t images, int64_t rows) const {
    const int64_t stride = t.blocks * kLanes, per_image = rows * s_.out_w();
    write_pixels(t, scratch.staged.data(), stride);
    for (int64_t i = 0; i < images; ++i) {
      k_.transpose(scratch.staged.data() + i * per_image * stride, per_image, t.channels, stride,
                   out_ + (image + i) * os_.n + t.channel * os_.c + first * os_.h, os_.c);
      if (finish_.late()) finish_rows(k_, s_, finish_, out_, os_, image + i, first, rows, t.channel, t.channels);
    }
  }

  const Kernels& k_;
  const Shape& s_;
  const float* x_;
  Strides xs_;
  const float* shift_;
  const Finish& finish_;
  float* out_;
  Strides os_;
  const Plan& plan_;
  uint64_t id_;
  int64_t group_tiles_;
  std::array<int32_t, kMaxTileBlocks * kLanes> zeros_ = {};  // the corrections of pixels that need none
};

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

std::shared_ptr<const Plan> make_plan(const Kernels& kernels, const Shape& shape, const PackedWeight& weight) {
  return std::make_shared<const Plan>(kernels, shape, weight);
}

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
  Convolution(kernels, shape, x, x_strides, shift, finish, out, out_strides, p).run(threads);
}

}  // namespace bibench
