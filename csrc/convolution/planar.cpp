// See planar.h. The signs of an image are packed as planes of words, [word][row phase][column phase][row][pitch]: with a
// stride, the rows (columns) that a tap reads lie together. One position then serves all: the words that meet in the
// output at position p are at p + offset. The kernel gathers them for two registers of outputs at a time.

#include "planar.h"

#include "foundation/division.h"

#include <algorithm>
#include <atomic>
#include <vector>

namespace bibench {
namespace {

constexpr double kLeastUse = 0.9;           // share of the lanes that hold outputs; below, channels fill them better
constexpr int64_t kTile = 2 * kLanes;       // outputs of one call of the kernel
constexpr int64_t kUnitTiles = 16;          // calls for a unit, where there is a choice: their input stays in a first cache
constexpr int64_t kLeastTiles = 2;
constexpr int64_t kLineFloats = 16;         // of a line of the cache
constexpr size_t kKeptBytes = 16 << 20;     // what a thread keeps of its buffers

// Convolutions of single pixels have no rows.
Shape flattened(Shape s) {
  if (s.pointwise()) s.w *= s.h, s.h = 1;
  return s;
}

// Along one axis: which remainders by the stride the taps have, and where in the packed planes each tap reads.
struct Phases {
  std::vector<int64_t> index;                // of each remainder; -1 where no tap reads it
  std::vector<int64_t> of_tap, step_of_tap;  // of each tap: its phase's index, and how far its first word is
  int64_t count = 0;

  Phases(int64_t taps, int64_t stride, int64_t dilation) : index(stride, -1) {
    for (int64_t k = 0; k < taps; ++k) {
      int64_t& phase = index[k * dilation % stride];
      if (phase < 0) phase = count++;
      of_tap.push_back(phase);
      step_of_tap.push_back(k * dilation / stride);
    }
  }
};

// What a thread keeps between the units of one convolution: the image whose input is packed here, and which rows of it.
struct Scratch {
  uint64_t owner = 0;  // 0 while that is incomplete
  int64_t image = 0, begin = 0, end = 0;
  AlignedVector<uint32_t> words, line, panel;
  std::vector<int32_t> classes;
  std::vector<Stretch> stretches;

  void trim() {
    if ((words.capacity() + line.capacity() + panel.capacity() + classes.capacity()) * 4 > kKeptBytes) *this = Scratch();
  }
};

thread_local Scratch scratch;
std::atomic<uint64_t> convolutions{0};

class Convolution {
 public:
  Convolution(const Kernels& kernels, const Shape& shape, const float* x, Strides xs,
              const AlignedVector<uint32_t>& weights, const Triples& triples, const Corrections& corrections,
              const float* shift, const Finish& finish, float* out, Strides os)
      : k_(kernels), s_(shape), x_(x), xs_(xs), weights_(weights), triples_(triples), corrections_(corrections),
        shift_(shift), finish_(finish), out_(out), os_(os), id_(++convolutions),
        high_(shape.kh, shape.stride_h, shape.dilation_h), wide_(shape.kw, shape.stride_w, shape.dilation_w),
        pitch_(divide_up(s_.w + s_.left + s_.right, s_.stride_w)),
        plane_(divide_up(s_.h + s_.top + s_.bottom, s_.stride_h) * pitch_) {
    triples_.visit(
        s_,
        [&](int64_t ky, int64_t x0, int64_t w0, int64_t x1, int64_t w1, int64_t x2, int64_t w2) {
          place(ky, x0, w0), place(ky, x1, w1), place(ky, x2, w2);
        },
        [&](int64_t ky, int64_t kx, int64_t w) { place(ky, kx, w); });
  }

  // Units are stretches of an image's outputs in the order of memory.
  void run(const Threads& threads) const {
    const int64_t tiles = divide_up(s_.out_h() * s_.out_w(), kTile);
    const int64_t wanted = std::max(divide_up(std::max(1, threads.count), s_.n), divide_up(tiles, kUnitTiles));
    const int64_t size = divide_up(tiles, std::clamp<int64_t>(tiles / kLeastTiles, 1, wanted));
    const int64_t units = divide_up(tiles, size);
    parallel_for(s_.n * units, threads, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) unit(u / units, u % units * size * kTile, size * kTile);
      scratch.trim();
    });
  }

 private:
  // The words that taps read, in the order of the weights.
  void place(int64_t ky, int64_t kx, int64_t w) {
    offsets_.push_back(static_cast<int32_t>(
        ((w * high_.count + high_.of_tap[ky]) * wide_.count + wide_.of_tap[kx]) * plane_ +
        high_.step_of_tap[ky] * pitch_ + wide_.step_of_tap[kx]));
  }

  void unit(int64_t image, int64_t first, int64_t count) const {
    const int64_t end = std::min(s_.out_h() * s_.out_w(), first + count);
    pack(image, first, end);
    place_outputs(first, end);
    Scratch& t = scratch;
    t.panel.resize(divide_up(end - first, kTile) * kTile * s_.words());
    const bool corrected = !corrections_.table.empty();
    const Lanes lanes = {t.words.data(), offsets_.data(), triples_.threes(s_), triples_.others(s_), t.stretches.data(),
                         static_cast<int64_t>(t.stretches.size()), end - first, corrected ? t.classes.data() : nullptr,
                         t.panel.data()};
    k_.gather_lanes(lanes);
    const int64_t start = image * os_.n + first, step = finish_.slope_per_channel ? 1 : 0;
    for (int64_t c = 0; c < s_.co; c += kLanes) {
      const int64_t channels = std::min<int64_t>(kLanes, s_.co - c);
      prefetch(image, end, count, c, channels);
      const Epilogue epilogue = {static_cast<int32_t>(s_.group_in() * s_.taps()), nullptr, nullptr,
                                 finish_.scale ? finish_.scale + c : nullptr, finish_.bias ? finish_.bias + c : nullptr};
      const Planes planes = {out_ + start + c * os_.c, os_.c,
                             finish_.residual ? finish_.residual + start + c * os_.c : nullptr, finish_.activation,
                             {finish_.slope ? finish_.slope + step * c : nullptr, step}, finish_.low, finish_.high};
      k_.product_lanes(lanes, weights_.data() + c * s_.words(), static_cast<int>(channels),
                       corrected ? corrections_.by_channel.data() + c * kLanes : nullptr, epilogue, planes);
    }
  }

  // Where the outputs are, and what kind of border each is at.
  void place_outputs(int64_t first, int64_t end) const {
    auto &stretches = scratch.stretches;
    auto &classes = scratch.classes;
    const int64_t width = s_.out_w(), columns = static_cast<int64_t>(corrections_.columns.outside.size());
    stretches.clear();
    classes.resize(divide_up(end - first, kTile) * kTile);
    for (int64_t p = first; p < end;) {
      const int64_t row = p / width, column = p % width;
      const int64_t count = std::min({width - column, end - p, kTile - (p - first) % kTile});
      stretches.push_back({static_cast<int32_t>(row * pitch_ + column), static_cast<int32_t>(count)});
      if (!corrections_.table.empty()) {
        const int32_t kind = static_cast<int32_t>(corrections_.rows.class_of[row] * columns);
        const int32_t* kinds = corrections_.columns.class_of.data() + column;
        for (int64_t i = 0; i < count; ++i) classes[p - first + i] = kind + kinds[i];
      }
      p += count;
    }
  }

  // The input that the next unit will pack is on its way while this one counts: a part for each call of the kernel.
  void prefetch(int64_t image, int64_t first, int64_t count, int64_t channel, int64_t channels) const {
    const int64_t width = s_.out_w(), outputs = s_.out_h() * width;
    if (first >= outputs || s_.out_h() == 1) return;
    const int64_t end = std::min(outputs, first + count), rows = s_.dilation_h * (s_.kh - 1) + 1;
    const int64_t bottom = std::min(s_.h, (end - 1) / width * s_.stride_h - s_.top + rows), top = scratch.end;
    const float* x = x_ + image * xs_.n + top * xs_.h;
    for (int64_t c = s_.c * channel / s_.co; c < s_.c * (channel + channels) / s_.co; ++c)
      for (int64_t i = 0; i < (bottom - top) * s_.w; i += kLineFloats) __builtin_prefetch(x + c * xs_.c + i, 0, 2);
  }

  // The signs of what outputs [first, end) read, with zeros around, unless they are there.
  void pack(int64_t image, int64_t first, int64_t end) const {
    Scratch& t = scratch;
    const bool flat = s_.out_h() == 1;
    const int64_t width = s_.out_w(), rows = s_.dilation_h * (s_.kh - 1) + 1, columns = s_.dilation_w * (s_.kw - 1) + 1;
    if (t.owner != id_ || t.image != image) {
      t.owner = 0;
      t.words.assign(s_.tap_words() * high_.count * wide_.count * plane_ + kLanes, 0u);
      t.owner = id_, t.image = image, t.begin = t.end = 0;
    }
    // Of rows, those that are new. One row is packed where it is read, however often.
    int64_t top = std::max<int64_t>(0, first / width * s_.stride_h - s_.top);
    const int64_t bottom = std::min(s_.h, (end - 1) / width * s_.stride_h - s_.top + rows);
    int64_t left = 0, right = s_.w;
    if (flat) {
      left = std::max<int64_t>(0, first * s_.stride_w - s_.left);
      right = std::min(s_.w, (end - 1) * s_.stride_w - s_.left + columns);
    } else {
      if (t.begin <= top && top < t.end) top = t.end;
      else t.begin = top;
      t.end = std::max(t.end, bottom);
    }
    if (top < bottom && left < right) pack(image, top, bottom, left, right);
  }

  // Input rows [top, bottom), which lie together in memory when all columns are wanted.
  void pack(int64_t image, int64_t top, int64_t bottom, int64_t left, int64_t right) const {
    auto& line = scratch.line;
    const int64_t columns = right - left;
    line.resize((bottom - top) * columns);
    for (int64_t w = 0; w < s_.tap_words(); ++w) {
      const int64_t channel = w * kWordBits;
      const int channels = static_cast<int>(std::min<int64_t>(kWordBits, s_.c - channel));
      k_.pack_plane(x_ + image * xs_.n + top * xs_.h + channel * xs_.c + left, shift_ ? shift_ + channel : nullptr,
                    channels, xs_.c, (bottom - top) * columns, line.data(), 1);
      for (int64_t y = top; y < bottom; ++y) {
        const int64_t row = y + s_.top, phase = high_.index[row % s_.stride_h];
        if (phase >= 0)
          spread(line.data() + (y - top) * columns, columns, s_.left + left,
                 scratch.words.data() + (w * high_.count + phase) * wide_.count * plane_ + row / s_.stride_h * pitch_);
      }
    }
  }

  // Words of consecutive columns, the first of which is (padded) column `start`, to the planes of their phases.
  void spread(const uint32_t* words, int64_t count, int64_t start, uint32_t* row) const {
    if (s_.stride_w == 1) {
      std::copy_n(words, count, row + start);
      return;
    }
    for (int64_t remainder = 0; remainder < s_.stride_w; ++remainder) {
      if (wide_.index[remainder] < 0) continue;
      uint32_t* to = row + wide_.index[remainder] * plane_;
      int64_t i = (remainder - start) % s_.stride_w;
      if (i < 0) i += s_.stride_w;
      for (int64_t at = (start + i) / s_.stride_w; i < count; i += s_.stride_w) to[at++] = words[i];
    }
  }

  const Kernels& k_;
  const Shape& s_;
  const float* x_;
  Strides xs_;
  const AlignedVector<uint32_t>& weights_;
  const Triples& triples_;
  const Corrections& corrections_;
  const float* shift_;
  const Finish& finish_;
  float* out_;
  Strides os_;
  uint64_t id_;
  Phases high_, wide_;
  int64_t pitch_, plane_;
  std::vector<int32_t> offsets_;
};

bool dense(const Strides& strides, int64_t h, int64_t w) {
  return (w == 1 || strides.w == 1) && (h == 1 || strides.h == w) && strides.c == h * w;
}

}  // namespace

bool suits_planar(const Kernels& kernels, const Shape& s, const Strides& x, const Finish& finish, const Strides& out,
                  const Corrections& corrections) {
  if (!kernels.product_lanes || s.groups != 1 || !finish.bias_early()) return false;
  if (!dense(x, s.h, s.w) || !dense(out, s.out_h(), s.out_w())) return false;
  if (!corrections.table.empty() && corrections.by_channel.empty()) return false;
  const int64_t outputs = s.out_h() * s.out_w(), lanes = divide_up(outputs, kLanes) * kLanes;
  return static_cast<double>(outputs) >= kLeastUse * static_cast<double>(lanes);
}

void convolve_planar(const Kernels& kernels, const Shape& shape, const float* x, Strides x_strides,
                     const AlignedVector<uint32_t>& weights, const Triples& triples, const Corrections& corrections,
                     const float* shift, const Finish& finish, float* out, Strides out_strides, const Threads& threads) {
  const Shape s = flattened(shape);
  if (s.h != shape.h) x_strides.h = out_strides.h = s.w;
  Convolution(kernels, s, x, x_strides, weights, triples, corrections, shift, finish, out, out_strides).run(threads);
}

}  // namespace bibench
