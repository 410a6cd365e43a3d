// The input of a unit, packed into bits. A packed image is laid out as the plan says (plan.h).
//
// Included inside the anonymous namespace of convolution.cpp.

constexpr size_t kKeptBytes = 16 << 20;  // what a thread keeps of its buffers

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
    const size_t bytes = (bits.capacity() + line.capacity()) * 4 + (bases.capacity() + corrected.capacity()) * 8 +
                         staged.capacity() * 4;
    if (bytes > kKeptBytes) *this = Scratch();
  }
};

thread_local Scratch scratch;

// Rows of the padded input that so many output rows read.
inline int64_t input_rows(const Shape& s, int64_t rows) { return (rows - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1; }

// What the threes need, in a packed row.
inline void take_parities(const Convolution& c, uint32_t* row) {
  const Triples& t = c.plan.triples;
  if (t.inward) merge_thirds(row, c.plan.columns * c.s.groups, c.s.tap_words(), t.inward);
  if (!t.sideways) return;
  const int64_t all = c.plan.columns * c.plan.pixel_words, step = c.s.dilation_w * c.plan.pixel_words;
  parity(row, row + step, row + 2 * step, all - 2 * step, row + all);
}

// Rows that lie together in memory are packed together.
inline void pack_planes(const Convolution& c, int64_t image, int64_t in_first, int64_t in_rows, uint32_t* target) {
  const int64_t top = std::max<int64_t>(0, in_first - c.s.top), bottom = std::min(c.s.h, in_first + in_rows - c.s.top);
  if (top >= bottom) return;
  auto& line = scratch.line;
  line.resize((bottom - top) * c.s.w);
  target += (top - (in_first - c.s.top)) * c.plan.row_words;
  for (int64_t t = 0; t < c.s.tap_words(); ++t) {
    const int64_t channel = t * kWordBits;
    const int channels = static_cast<int>(std::min<int64_t>(kWordBits, c.s.c - channel));
    c.k.pack_plane(c.x + image * c.xs.n + top * c.xs.h + channel * c.xs.c, c.shift ? c.shift + channel : nullptr,
                   channels, c.xs.c, static_cast<int64_t>(line.size()), line.data(), 1);
    for (int64_t y = 0; y < bottom - top; ++y) {
      uint32_t* words = target + y * c.plan.row_words + c.s.left * c.plan.pixel_words + t;
      for (int64_t i = 0; i < c.s.w; ++i) words[i * c.plan.pixel_words] = line[y * c.s.w + i];
    }
  }
  for (int64_t y = 0; y < bottom - top; ++y) take_parities(c, target + y * c.plan.row_words);
}

inline void pack(const Convolution& c, int64_t image, int64_t in_first, int64_t in_rows, uint32_t* target) {
  const int64_t tap_words = c.s.tap_words();
  if (c.xs.c != 1 && c.s.groups == 1 && c.xs.h == c.s.w) return pack_planes(c, image, in_first, in_rows, target);
  for (int64_t r = 0; r < in_rows; ++r) {
    const int64_t y = in_first + r - c.s.top;
    if (y < 0 || y >= c.s.h) continue;
    const float* row = c.x + image * c.xs.n + y * c.xs.h;
    uint32_t* words = target + r * c.plan.row_words + c.s.left * c.plan.pixel_words;
    for (int64_t g = 0; g < c.s.groups; ++g) {
      const float* shift = c.shift ? c.shift + g * c.s.group_in() : nullptr;
      const float* x = row + g * c.s.group_in() * c.xs.c;
      if (c.xs.c == 1) {
        c.k.pack_rows(x, shift, c.s.group_in(), c.s.w, c.xs.w, words + g * tap_words, c.plan.pixel_words);
      } else {
        for (int64_t t = 0; t < tap_words; ++t) {
          const int64_t channel = t * kWordBits;
          const int channels = static_cast<int>(std::min<int64_t>(kWordBits, c.s.group_in() - channel));
          c.k.pack_plane(x + channel * c.xs.c, shift ? shift + channel : nullptr, channels, c.xs.c, c.s.w,
                         words + g * tap_words + t, c.plan.pixel_words);
        }
      }
    }
    take_parities(c, target + r * c.plan.row_words);
  }
}

// Packs the input of the unit, unless the last unit has.
inline void gather(const Convolution& c, int64_t image, int64_t images, int64_t first, int64_t rows) {
  Scratch& t = scratch;
  const bool mine = t.owner == c.id && t.image == image && t.images == images;
  if (mine && t.first == first && t.rows == rows) return;
  const int64_t in_first = first * c.s.stride_h, in_rows = input_rows(c.s, rows);  // padded
  const int64_t image_words = in_rows * c.plan.row_words;
  int64_t kept = 0;
  if (mine && images == 1 && t.first < first) {
    const int64_t had_first = t.first * c.s.stride_h, had = input_rows(c.s, t.rows);
    kept = std::clamp<int64_t>(had_first + had - in_first, 0, in_rows);
    if (kept)
      std::copy_n(t.bits.begin() + (in_first - had_first) * c.plan.row_words, kept * c.plan.row_words, t.bits.begin());
  }
  t.owner = 0;
  t.bits.resize(images * image_words);
  std::fill(t.bits.begin() + kept * c.plan.row_words, t.bits.end(), 0u);
  t.bases.resize(images * rows * c.s.out_w());
  const uint32_t** base = t.bases.data();
  const int64_t out_w = c.s.out_w(), step = c.s.stride_w * c.plan.pixel_words;
  for (int64_t i = 0; i < images; ++i) {
    uint32_t* target = t.bits.data() + i * image_words;
    pack(c, image + i, in_first + kept, in_rows - kept, target + kept * c.plan.row_words);
    for (int64_t r = 0; r < rows; ++r) {
      const uint32_t* start = target + r * c.s.stride_h * c.plan.row_words;
      for (int64_t v = 0; v < out_w; ++v) *base++ = start + v * step;
    }
  }
  t.owner = c.id, t.image = image, t.images = images, t.first = first, t.rows = rows;
}
