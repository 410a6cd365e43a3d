// See planar.h. The signs of a unit's input are packed as planes of words, [word][row phase][column phase][row][pitch]:
// with a stride, the rows (columns) that a tap reads lie together. One position then serves all: the words that meet in
// the output at position p are at p + offset, and sixteen outputs are sixteen adjacent words. Positions at the end of
// a row, where the padded input is wider than the output, are computed and dropped.

#include "planar.h"

#include <algorithm>
#include <vector>

namespace bibench {
namespace {

constexpr double kLeastUse = 0.9;           // share of the lanes that hold outputs; below, channels fill them better
constexpr int64_t kUnitWords = 4096;        // packed input of a unit, where there is a choice: half of a first cache
constexpr int64_t kLeastPixels = 64;        // outputs of a unit at least, where there is a choice
constexpr size_t kKeptBytes = 16 << 20;     // what a thread keeps of its buffers
constexpr int64_t kChannels = kLanes / 2;   // of one call of the kernel

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Convolutions of single pixels have no rows.
Shape flattened(Shape s) {
  const bool pointwise = s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1;
  if (pointwise && !s.top && !s.bottom && !s.left && !s.right) s.w *= s.h, s.h = 1;
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

struct Unit {
  int64_t image, row, rows, column, columns;  // of outputs
};

struct Scratch {
  std::vector<uint32_t> words, line;
  std::vector<int32_t> offsets, classes;
  std::vector<uint16_t> valid;

  void trim() {
    if (words.capacity() * 4 + classes.capacity() * 4 + valid.capacity() * 2 > kKeptBytes) *this = Scratch();
  }
};

thread_local Scratch scratch;

class Convolution {
 public:
  Convolution(const Kernels& kernels, const Shape& shape, const float* x, Strides xs, const PackedWeight& weight,
              const Corrections& corrections, const float* shift, const Finish& finish, float* out, Strides os)
      : k_(kernels), s_(shape), x_(x), xs_(xs), weight_(weight), corrections_(corrections), shift_(shift),
        finish_(finish), out_(out), os_(os), high_(shape.kh, shape.stride_h, shape.dilation_h),
        wide_(shape.kw, shape.stride_w, shape.dilation_w) {}

  void run(const Threads& threads) const {
    // Bands of rows, or of columns where there is one row.
    const bool flat = s_.out_h() == 1;
    const int64_t length = flat ? s_.out_w() : s_.out_h(), pixels = s_.out_h() * s_.out_w();
    const int64_t words = (s_.h + s_.top + s_.bottom) * (s_.w + s_.left + s_.right) * s_.tap_words();
    const int64_t wanted = std::max(divide_up(std::max(1, threads.count), s_.n), divide_up(words, kUnitWords));
    const int64_t most = std::clamp<int64_t>(pixels / kLeastPixels, 1, length);
    const int64_t size = divide_up(length, std::min(wanted, most)), bands = divide_up(length, size);
    parallel_for(s_.n * bands, threads, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) {
        const int64_t first = u % bands * size, count = std::min(size, length - first);
        unit(flat ? Unit{u / bands, 0, 1, first, count} : Unit{u / bands, first, count, 0, s_.out_w()});
      }
      scratch.trim();
    });
  }

 private:
  void unit(const Unit& u) const {
    const int64_t pitch = divide_up((u.columns - 1) * s_.stride_w + (s_.kw - 1) * s_.dilation_w + 1, s_.stride_w);
    const int64_t rows = divide_up((u.rows - 1) * s_.stride_h + (s_.kh - 1) * s_.dilation_h + 1, s_.stride_h);
    pack(u, pitch, rows * pitch);
    place_taps(pitch, rows * pitch);
    place_outputs(u, pitch);
    Scratch& t = scratch;
    const Lanes lanes = {t.words.data(), t.offsets.data(), s_.words(), static_cast<int64_t>(t.valid.size()),
                         t.valid.data(), corrections_.table.empty() ? nullptr : t.classes.data()};
    const int64_t offset = u.image * os_.n + u.row * os_.h + u.column, step = finish_.slope_per_channel ? 1 : 0;
    for (int64_t c = 0; c < s_.co; c += kChannels) {
      const uint32_t* weights = weight_.words.data() + c / kLanes * s_.words() * kLanes + c % kLanes;
      const Epilogue epilogue = {static_cast<int32_t>(s_.group_in() * s_.taps()), nullptr, nullptr,
                                 finish_.scale ? finish_.scale + c : nullptr, finish_.bias ? finish_.bias + c : nullptr};
      const int64_t start = offset + c * os_.c;
      const Planes planes = {out_ + start, os_.c, finish_.residual ? finish_.residual + start : nullptr,
                             finish_.activation, {finish_.slope ? finish_.slope + step * c : nullptr, step},
                             finish_.low, finish_.high};
      k_.product_lanes(lanes, weights, static_cast<int>(std::min(kChannels, s_.co - c)),
                       lanes.classes ? corrections_.by_channel.data() + c * kLanes : nullptr, epilogue, planes);
    }
  }

  // The signs of the unit's input, with zeros around.
  void pack(const Unit& u, int64_t pitch, int64_t plane) const {
    Scratch& t = scratch;
    const int64_t tap_words = s_.tap_words();
    t.words.assign(tap_words * high_.count * wide_.count * plane + kLanes, 0u);
    t.line.resize(s_.w);
    // Input columns of the unit, without padding.
    const int64_t left = u.column * s_.stride_w - s_.left;
    const int64_t begin = std::max<int64_t>(0, left);
    const int64_t end = std::min(s_.w, left + (u.columns - 1) * s_.stride_w + (s_.kw - 1) * s_.dilation_w + 1);
    const int64_t top = u.row * s_.stride_h - s_.top;
    const int64_t in_rows = (u.rows - 1) * s_.stride_h + (s_.kh - 1) * s_.dilation_h + 1;
    if (begin >= end) return;
    for (int64_t w = 0; w < tap_words; ++w) {
      const int64_t channel = w * kWordBits;
      const int channels = static_cast<int>(std::min<int64_t>(kWordBits, s_.c - channel));
      const float* shift = shift_ ? shift_ + channel : nullptr;
      for (int64_t r = std::max<int64_t>(0, -top); r < std::min(in_rows, s_.h - top); ++r) {
        const int64_t phase = high_.index[r % s_.stride_h];
        if (phase < 0) continue;
        const float* row = x_ + u.image * xs_.n + (top + r) * xs_.h + channel * xs_.c + begin;
        uint32_t* target = t.words.data() + (w * high_.count + phase) * wide_.count * plane + r / s_.stride_h * pitch;
        if (s_.stride_w == 1) {
          k_.pack_plane(row, shift, channels, xs_.c, end - begin, target + begin - left, 1);
          continue;
        }
        k_.pack_plane(row, shift, channels, xs_.c, end - begin, t.line.data(), 1);
        for (int64_t remainder = 0; remainder < s_.stride_w; ++remainder) {
          if (wide_.index[remainder] < 0) continue;
          uint32_t* to = target + wide_.index[remainder] * plane;
          int64_t i = (remainder - (begin - left)) % s_.stride_w;
          if (i < 0) i += s_.stride_w;
          for (int64_t at = (begin - left + i) / s_.stride_w; i < end - begin; i += s_.stride_w) to[at++] = t.line[i];
        }
      }
    }
  }

  void place_taps(int64_t pitch, int64_t plane) const {
    auto& offsets = scratch.offsets;
    offsets.clear();
    for (int64_t ky = 0; ky < s_.kh; ++ky)
      for (int64_t kx = 0; kx < s_.kw; ++kx)
        for (int64_t w = 0; w < s_.tap_words(); ++w)
          offsets.push_back(static_cast<int32_t>(
              ((w * high_.count + high_.of_tap[ky]) * wide_.count + wide_.of_tap[kx]) * plane +
              high_.step_of_tap[ky] * pitch + wide_.step_of_tap[kx]));
  }

  // Which positions are outputs, and what kind of border each is at.
  void place_outputs(const Unit& u, int64_t pitch) const {
    auto& [words, line, offsets, classes, valid] = scratch;
    const int64_t groups = divide_up((u.rows - 1) * pitch + u.columns, kLanes);
    valid.assign(groups, pitch == u.columns ? 0xffff : 0);
    if (pitch == u.columns) {
      const int64_t last = u.rows * pitch - (groups - 1) * kLanes;
      valid.back() = static_cast<uint16_t>((1u << last) - 1);
    } else {
      for (int64_t r = 0; r < u.rows; ++r)
        for (int64_t p = r * pitch; p < r * pitch + u.columns;) {
          const int64_t count = std::min(kLanes - p % kLanes, r * pitch + u.columns - p);
          valid[p / kLanes] |= static_cast<uint16_t>(((1u << count) - 1) << (p % kLanes));
          p += count;
        }
    }
    if (corrections_.table.empty()) return;
    classes.assign(groups * kLanes, 0);
    const int32_t* column = corrections_.columns.class_of.data() + u.column;
    for (int64_t r = 0; r < u.rows; ++r) {
      const int32_t row = corrections_.rows.class_of[u.row + r] * static_cast<int32_t>(corrections_.columns.outside.size());
      int32_t* to = classes.data() + r * pitch;
      for (int64_t c = 0; c < u.columns; ++c) to[c] = row + column[c];
    }
  }

  const Kernels& k_;
  const Shape& s_;
  const float* x_;
  Strides xs_;
  const PackedWeight& weight_;
  const Corrections& corrections_;
  const float* shift_;
  const Finish& finish_;
  float* out_;
  Strides os_;
  Phases high_, wide_;
};

bool dense(const Strides& strides, int64_t h, int64_t w) {
  return (w == 1 || strides.w == 1) && (h == 1 || strides.h == w) && strides.c == h * w;
}

}  // namespace

bool suits_planar(const Kernels& kernels, const Shape& shape, const Strides& x, const Finish& finish, const Strides& out,
                  const Corrections& corrections) {
  if (!kernels.product_lanes || shape.groups != 1 || !finish.bias_early()) return false;
  if (!dense(x, shape.h, shape.w) || !dense(out, shape.out_h(), shape.out_w())) return false;
  if (!corrections.table.empty() && corrections.by_channel.empty()) return false;
  const Shape s = flattened(shape);
  const int64_t pitch = s.out_h() == 1 ? s.out_w() : divide_up((s.out_w() - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1, s.stride_w);
  const int64_t positions = (s.out_h() - 1) * pitch + s.out_w();
  const int64_t lanes = divide_up(positions, kLanes) * kLanes;
  return static_cast<double>(s.out_h() * s.out_w()) >= kLeastUse * static_cast<double>(lanes);
}

void convolve_planar(const Kernels& kernels, const Shape& shape, const float* x, Strides x_strides,
                     const PackedWeight& weight, const Corrections& corrections, const float* shift,
                     const Finish& finish, float* out, Strides out_strides, const Threads& threads) {
  const Shape s = flattened(shape);
  if (s.h != shape.h) x_strides.h = out_strides.h = s.w;
  Convolution(kernels, s, x, x_strides, weight, corrections, shift, finish, out, out_strides).run(threads);
}

}  // namespace bibench
