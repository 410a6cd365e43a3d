// See stem.h.

#include "stem.h"

#include "foundation/division.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace bibench {
namespace {

constexpr int64_t kLeastTiles = 4;       // rows of them in a band, where there is a choice
constexpr size_t kKeptBytes = 16 << 20;  // what a thread keeps of its buffers

int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// The transform of filters with `taps` taps at one of the points: sum of taps times powers of the point, divided by the
// product of its distances to the other finite points; at infinity the last tap.
double filter_factor(int point, int64_t tap, int64_t taps) {
  static const double points[] = {0.0, kNear, -kNear, kFar, -kFar};
  if (point == kPoints - 1) return tap == taps - 1;
  double factor = 1.0;
  for (int64_t i = 0; i < tap; ++i) factor *= points[point];
  for (int other = 0; other < kPoints - 1; ++other)
    if (other != point) factor /= points[point] - points[other];
  return factor;
}

struct Scratch {
  AlignedVector<float> pixels, columns, rows, products, band, line, end;

  void trim() {
    size_t size = 0;
    for (const auto* v : {&pixels, &columns, &rows, &products, &band, &line, &end}) size += v->capacity() * sizeof(float);
    if (size > kKeptBytes) *this = Scratch();
  }
};

thread_local Scratch scratch;

// At least so many values.
float* room(AlignedVector<float>& buffer, int64_t size) {
  if (buffer.size() < static_cast<size_t>(size)) buffer.resize(size);
  return buffer.data();
}

class Stem {
 public:
  Stem(const Kernels& kernels, const StemShape& shape, const float* x, const StemWeight& weight,
       const Finish& finish, float* out)
      : k_(kernels), w_(*weight.steps), s_(shape), x_(x), weight_(weight), finish_(finish), out_(out),
        size_(kPoints + 1 - shape.taps()), inputs_(shape.phases() * shape.c), depth_(round_up(inputs_, w_.lanes)),
        channels_(round_up(shape.co, w_.lanes)), tiles_(divide_up(shape.wide(), size_)),
        width_(tiles_ * size_ + shape.taps() - 1), kept_(shape.pool_h + size_) {}

  void run(const Threads& threads) const {
    // Bands of rows, long enough that what they share with their neighbours costs little.
    const int64_t rows = s_.out_h(), most = std::max<int64_t>(1, s_.high() / (kLeastTiles * size_));
    const int64_t wanted = std::clamp<int64_t>(divide_up(std::max(1, threads.count), s_.n), 1, std::min(rows, most));
    int64_t band = divide_up(rows, wanted);
    if (!s_.pools()) band = std::min(rows, round_up(band, size_));
    const int64_t bands = divide_up(rows, band);
    parallel_for(s_.n * bands, threads, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) {
        const int64_t first = u % bands * band;
        unit(u / bands, first, std::min(rows, first + band));
      }
      scratch.trim();
    });
  }

 private:
  // Output rows [first, last) of one image, a row of tiles at a time.
  void unit(int64_t image, int64_t first, int64_t last) const {
    const int64_t begin = std::max<int64_t>(0, first * s_.pool_stride_h - s_.pool_top);
    const int64_t end = std::min(s_.high(), (last - 1) * s_.pool_stride_h - s_.pool_top + s_.pool_h);
    const WinogradEnd ending = prepare();
    float* pixels = room(scratch.pixels, kPoints * width_ * depth_);
    std::fill_n(pixels, kPoints * width_ * depth_, 0.0f);  // the values that make the depth full stay 0
    const int64_t overlap = s_.taps() - 1;
    int64_t packed = begin, row = first;
    for (int64_t y = begin; y < end; y += size_) {
      const float* lines[kPoints];
      for (; packed < y + size_ + overlap; ++packed) pack(image, packed, pixels + packed % kPoints * width_ * depth_);
      for (int p = 0; p < kPoints; ++p) lines[p] = pixels + (y + p) % kPoints * width_ * depth_;
      tile_row(y, lines, ending);
      for (; row < last && std::min(end, row * s_.pool_stride_h - s_.pool_top + s_.pool_h) <= y + size_; ++row)
        write(image, row);
    }
  }

  // What is given per channel, for all lanes.
  WinogradEnd prepare() const {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    float* bias = room(scratch.end, 2 * channels_);
    float* slope = bias + channels_;
    std::fill_n(bias, 2 * channels_, 0.0f);
    if (finish_.bias) std::copy_n(finish_.bias, s_.co, bias);
    WinogradEnd end = {bias, nullptr, -kInfinity, kInfinity};
    if (finish_.activation == Activation::kRelu) end.low = 0.0f;
    if (finish_.activation == Activation::kClip) end.low = finish_.low, end.high = finish_.high;
    if (finish_.activation == Activation::kPrelu) {
      for (int64_t c = 0; c < s_.co; ++c) slope[c] = finish_.slope[finish_.slope_per_channel ? c : 0];
      end.slope = slope;
    }
    return end;
  }

  // One row of pixels with the values of all phases, (phase row, channel, phase column), zeros outside the image.
  void pack(int64_t image, int64_t row, float* to) const {
    const int64_t sx = s_.stride_w, left = s_.left, depth = depth_, w = s_.w;
    // Pixels whose phases are all inside the image.
    const int64_t first = std::min(width_, divide_up(left, sx));
    const int64_t last = std::clamp((w + left) / sx, first, width_);
    for (int64_t py = 0; py < s_.stride_h; ++py)
      for (int64_t c = 0; c < s_.c; ++c) {
        const int64_t y = row * s_.stride_h + py - s_.top;
        float* target = to + (py * s_.c + c) * sx;
        const bool inside = y >= 0 && y < s_.h;
        const float* from = inside ? x_ + ((image * s_.c + c) * s_.h + y) * w : nullptr;
        const auto edge = [&](int64_t i) {
          for (int64_t px = 0; px < sx; ++px) {
            const int64_t at = i * sx + px - left;
            target[i * depth + px] = inside && at >= 0 && at < w ? from[at] : 0.0f;
          }
        };
        if (!inside) {
          for (int64_t i = 0; i < width_; ++i) edge(i);
          continue;
        }
        for (int64_t i = 0; i < first; ++i) edge(i);
        if (sx == 2)
          for (int64_t i = first; i < last; ++i) std::memcpy(target + i * depth, from + i * 2 - left, 2 * sizeof(float));
        else
          for (int64_t i = first; i < last; ++i) std::copy_n(from + i * sx - left, sx, target + i * depth);
        for (int64_t i = last; i < width_; ++i) edge(i);
      }
  }

  // Outputs before pooling of rows [y, y + size_), into the band.
  void tile_row(int64_t y, const float* const* lines, const WinogradEnd& ending) const {
    const int64_t step = width_ * depth_;
    float* columns = room(scratch.columns, kPoints * step);
    w_.columns(lines, step, columns, step);
    const int64_t groups = divide_up(tiles_, w_.tiles);
    float* rows = room(scratch.rows, kProducts * w_.tiles * depth_);
    float* products = room(scratch.products, kProducts * w_.tiles * w_.blocks * w_.lanes);
    float* band = room(scratch.band, kept_ * tiles_ * size_ * channels_);
    WinogradInputs inputs = {weight_.list.data(), {}};
    std::copy_n(weight_.count, kProducts, inputs.count);
    const int64_t weight_step = static_cast<int64_t>(weight_.list.size()) * w_.lanes;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = tiles_ * g / groups;
      const int tiles = static_cast<int>(tiles_ * (g + 1) / groups - first);
      w_.rows(columns + first * size_ * depth_, step, tiles, size_ * depth_, depth_, rows);
      for (int64_t c = 0; c < channels_;) {
        const int blocks = channels_ - c >= w_.blocks * w_.lanes ? w_.blocks : 1;
        w_.multiply(rows, tiles, depth_, inputs, weight_.values.data() + c / w_.lanes * weight_step, weight_step, blocks,
                    products);
        const WinogradEnd end = {ending.bias + c, ending.slope ? ending.slope + c : nullptr, ending.low, ending.high};
        float* targets[kPoints];
        for (int64_t r = 0; r < size_; ++r) targets[r] = band + line_of(y + r) + first * size_ * channels_ + c;
        w_.finish(products, tiles, blocks, static_cast<int>(size_), end, targets, channels_);
        c += blocks * w_.lanes;
      }
    }
  }

  int64_t line_of(int64_t y) const { return y % kept_ * tiles_ * size_ * channels_; }

  // One row of outputs, from rows of the band.
  void write(int64_t image, int64_t row) const {
    const float* band = room(scratch.band, kept_ * tiles_ * size_ * channels_);
    const int64_t wide = s_.wide(), out_w = s_.out_w();
    const float* line = band + line_of(row);
    if (s_.pools()) {
      float* tallest = room(scratch.line, (wide + out_w) * channels_);
      float* pooled = tallest + wide * channels_;
      const int64_t top = row * s_.pool_stride_h - s_.pool_top;
      const int64_t begin = std::max<int64_t>(0, top), end = std::min(s_.high(), top + s_.pool_h);
      const float* from[kMostPool];
      for (int64_t y = begin; y < end; ++y) from[y - begin] = band + line_of(y);
      w_.largest(from, end - begin, wide * channels_, tallest);
      for (int64_t i = 0; i < out_w; ++i) {
        const int64_t left = i * s_.pool_stride_w - s_.pool_left;
        const int64_t first = std::max<int64_t>(0, left), last = std::min(wide, left + s_.pool_w);
        for (int64_t x = first; x < last; ++x) from[x - first] = tallest + x * channels_;
        w_.largest(from, last - first, channels_, pooled + i * channels_);
      }
      line = pooled;
    }
    const int64_t plane = s_.out_h() * out_w;
    k_.transpose(line, out_w, s_.co, channels_, out_ + image * s_.co * plane + row * out_w, plane);
  }

  const Kernels& k_;
  const Winograd& w_;
  const StemShape& s_;
  const float* x_;
  const StemWeight& weight_;
  const Finish& finish_;
  float* out_;
  int64_t size_;      // of a tile's outputs
  int64_t inputs_, depth_, channels_;
  int64_t tiles_, width_;
  int64_t kept_;      // rows of outputs that are kept for pooling
};

}  // namespace

int64_t StemShape::taps() const {
  return std::max<int64_t>(2, std::max(divide_up(kh, stride_h), divide_up(kw, stride_w)));
}

const Winograd& winograd_for(const Kernels& kernels) {
#ifdef BIBENCH_X86
  if (&kernels == &kAvx512) return kWinogradAvx512;
  if (&kernels == &kAvx2 && __builtin_cpu_supports("fma")) return kWinogradAvx2;
#endif
#ifdef BIBENCH_NEON
  if (&kernels == &kNeon) return kWinogradNeon;
#endif
  return kWinogradPortable;
}

StemWeight transform_stem(const Winograd& steps, const StemShape& s, const float* weight) {
  const int64_t taps = s.taps(), lanes = steps.lanes;
  StemWeight made = {&steps, {}, {}, {}};
  double factors[kPoints][kMostTaps];
  for (int p = 0; p < kPoints; ++p)
    for (int64_t t = 0; t < taps; ++t) factors[p][t] = filter_factor(p, t, taps);
  // The taps of a phase; at infinity only the last counts.
  const auto has_weight = [taps](int point, int64_t size) { return size > 0 && (point < kPoints - 1 || size == taps); };
  for (int64_t o = 0; o < divide_up(s.co, lanes) * lanes; o += lanes)
    for (int product = 0; product < kProducts; ++product) {
      const double *down = factors[product / kPoints], *along = factors[product % kPoints];
      int32_t input = 0;
      for (int64_t py = 0; py < s.stride_h; ++py)
        for (int64_t c = 0; c < s.c; ++c)
          for (int64_t px = 0; px < s.stride_w; ++px, ++input) {
            const int64_t rows = (s.kh - py + s.stride_h - 1) / s.stride_h, columns = (s.kw - px + s.stride_w - 1) / s.stride_w;
            if (!has_weight(product / kPoints, rows) || !has_weight(product % kPoints, columns)) continue;
            if (o == 0) made.list.push_back(input), ++made.count[product];
            for (int64_t lane = o; lane < o + lanes; ++lane) {
              double sum = 0.0;
              for (int64_t a = 0; lane < s.co && a < rows; ++a)
                for (int64_t b = 0; b < columns; ++b)
                  sum += down[a] * along[b] *
                         static_cast<double>(weight[((lane * s.c + c) * s.kh + a * s.stride_h + py) * s.kw + b * s.stride_w + px]);
              made.values.push_back(static_cast<float>(sum));
            }
          }
    }
  return made;
}

void convolve_stem(const Kernels& kernels, const StemShape& shape, const float* x, const StemWeight& weight,
                   const Finish& finish, float* out, const Threads& threads) {
  Stem(kernels, shape, x, weight, finish, out).run(threads);
}

}  // namespace bibench
