// The outputs of a unit, in tiles that a kernel computes at once.
//
// Included inside the anonymous namespace of convolution.cpp.

// Some channels of the unit's pixels.
struct Tile {
  int64_t channel, block;
  int blocks, channels;
  const uint32_t* weights;
  int64_t next_words;  // weights that come after these
  Epilogue epilogue;
};

// Returns where these lines of weights end.
inline const uint32_t* prefetch(const uint32_t* weights, int64_t lines) {
  for (int64_t i = 0; i < lines; ++i, weights += kLanes) __builtin_prefetch(weights, 0, 2);
  return weights;
}

// Calls product(bases, pixels, epilogue, first pixel) over pixels [begin, end), in equal steps.
template <class Product>
inline void over_pixels(const Convolution& c, const Tile& t, int64_t begin, int64_t end, Product&& product) {
  const uint32_t* const* bases = scratch.bases.data();
  const int32_t* const* corrected = scratch.corrected.empty() ? nullptr : scratch.corrected.data();
  const int64_t step = divide_up(end - begin, divide_up(end - begin, c.k.tile_pixels)), offset = t.block * kLanes;
  // The weights of the next tile come from memory while these are used.
  const uint32_t* next = t.weights + t.blocks * c.s.words() * kLanes;
  const int64_t lines = divide_up(t.next_words / kLanes * step, end - begin);
  Epilogue epilogue = t.epilogue;
  const int32_t* corrections[kMaxTilePixels];
  for (int64_t p = begin; p < end; p += step) {
    const int count = static_cast<int>(std::min(step, end - p));
    epilogue.corrections = nullptr;
    if (corrected)
      for (int i = 0; i < count; ++i) {
        corrections[i] = corrected[p + i] ? corrected[p + i] + offset : c.zeros.data();
        if (corrected[p + i]) epilogue.corrections = corrections;
      }
    next = prefetch(next, lines);
    product(bases + p, count, epilogue, p - begin);
  }
}

// Channels-last output is written where it belongs: pixels of consecutive rows and images are evenly spaced.
inline void write_pixels(const Convolution& c, const Tile& t, float* out, int64_t stride) {
  over_pixels(c, t, 0, static_cast<int64_t>(scratch.bases.size()),
              [&](const uint32_t* const* bases, int count, const Epilogue& epilogue, int64_t p) {
                c.k.product_xor(bases, count, t.weights, t.blocks, c.plan.runs, t.channels, epilogue, out + p * stride,
                                stride);
              });
}

inline void write_planes(const Convolution& c, const Tile& t, int64_t image, int64_t first, int64_t images,
                         int64_t rows) {
  const int64_t per_image = rows * c.s.out_w();
  const int64_t step = c.finish.slope_per_channel ? 1 : 0;
  for (int64_t i = 0; i < images; ++i) {
    const int64_t offset = (image + i) * c.os.n + t.channel * c.os.c + first * c.os.h;
    over_pixels(c, t, i * per_image, (i + 1) * per_image,
                [&](const uint32_t* const* bases, int count, const Epilogue& epilogue, int64_t p) {
                  const float* residual = c.finish.residual ? c.finish.residual + offset + p : nullptr;
                  const float* slope = c.finish.slope ? c.finish.slope + step * t.channel : nullptr;
                  const Planes planes = {c.out + offset + p, c.os.c, residual, c.finish.activation, {slope, step},
                                         c.finish.low, c.finish.high};
                  c.k.product_planes(bases, count, t.weights, t.blocks, c.plan.runs, t.channels, epilogue, planes);
                });
  }
}

// Planar output through a buffer with channels last.
inline void write_staged(const Convolution& c, const Tile& t, int64_t image, int64_t first, int64_t images,
                         int64_t rows) {
  const int64_t stride = t.blocks * kLanes, per_image = rows * c.s.out_w();
  write_pixels(c, t, scratch.staged.data(), stride);
  for (int64_t i = 0; i < images; ++i) {
    c.k.transpose(scratch.staged.data() + i * per_image * stride, per_image, t.channels, stride,
                  c.out + (image + i) * c.os.n + t.channel * c.os.c + first * c.os.h, c.os.c);
    if (c.finish.late()) finish_rows(c.k, c.s, c.finish, c.out, c.os, image + i, first, rows, t.channel, t.channels);
  }
}

// These tiles of a group's channels.
inline void group(const Convolution& c, int64_t g, int64_t image, int64_t first, int64_t images, int64_t rows, int64_t tile,
                  int64_t tiles) {
  const float* bias = c.finish.bias_early() ? c.finish.bias : nullptr;
  const float* scale = c.finish.scale_early() ? c.finish.scale : nullptr;
  const int64_t blocks = c.s.blocks(), start = tile * c.k.tile_blocks * kLanes, block = c.s.words() * kLanes;
  for (; tile < tiles; ++tile) {
    const int64_t b = tile * c.k.tile_blocks, channel = g * c.s.group_out() + b * kLanes;
    Tile t;
    t.blocks = static_cast<int>(std::min<int64_t>(c.k.tile_blocks, blocks - b));
    t.channel = channel, t.block = b;
    t.channels = static_cast<int>(std::min<int64_t>(t.blocks * kLanes, c.s.group_out() - b * kLanes));
    t.weights = c.plan.weights.data() + (g * blocks + b) * block;
    t.next_words = std::min<int64_t>(c.k.tile_blocks, blocks - b - t.blocks) * block;
    t.epilogue = {static_cast<int32_t>(c.s.group_in() * c.s.taps()), nullptr, nullptr, scale ? scale + channel : nullptr,
                  bias ? bias + channel : nullptr};
    if (c.os.c == 1)
      write_pixels(c, t, c.out + image * c.os.n + first * c.os.h + channel, c.os.w);
    else if (c.k.product_planes && c.finish.bias_early())
      write_planes(c, t, image, first, images, rows);
    else
      write_staged(c, t, image, first, images, rows);
  }
  if (c.os.c != 1 || !c.finish.late()) return;
  const int64_t stop = std::min(tiles * c.k.tile_blocks * kLanes, c.s.group_out()), channel = g * c.s.group_out() + start;
  for (int64_t i = 0; i < images; ++i)
    finish_rows(c.k, c.s, c.finish, c.out, c.os, image + i, first, rows, channel, stop - start);
}
