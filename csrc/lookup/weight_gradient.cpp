// See gradients.h. The terms of a sum are pixels: the tables are signed sums of an output's gradients in four images at a
// pixel, the codes the signs of an input in the same four images, and the sixteen lanes sixteen input channels. All taps
// share codes and tables.

#include "foundation/aligned.h"
#include "gradients.h"
#include "scratch.h"

#include <algorithm>
#include <vector>

namespace bibench {
namespace {

constexpr int64_t kLeastOutputs = 4, kOutputs = 16;  // whose tables are made at once; 16 are a cache line of gradients
constexpr int64_t kSumBytes = 256 << 10;             // of a unit, in the second cache
constexpr int64_t kPairs = 32;  // of a pixel and four images, whose tables are in the first caches together

class WeightGradient {
 public:
  WeightGradient(const Lookup& lookup, const Shape& shape, const float* grad, const float* x, const float* shift, float* out)
      : l_(lookup), s_(shape), grad_(grad), x_(x), shift_(shift), out_(out), fours_((s_.n + kTerms - 1) / kTerms),
        lanes_((s_.c + kEntries - 1) / kEntries * kEntries), oh_(s_.out_h()), ow_(s_.out_w()) {
    // Padding that counts is packed as pixels; zeros are left out of the sums.
    if (s_.pad_value) top_ = s_.top, left_ = s_.left;
    height_ = s_.h + (s_.pad_value ? s_.top + s_.bottom : 0);
    width_ = s_.w + (s_.pad_value ? s_.left + s_.right : 0);
  }

  void run(const Threads& threads) {
    pack(threads);
    const int64_t wanted = std::max(1, threads.count), blocks = lanes_ / kEntries;
    while (outputs_ > kLeastOutputs && (outputs_ / 2 >= s_.co || ceil_div(s_.co, outputs_) < wanted)) outputs_ /= 2;
    const int64_t fitting = kSumBytes / (outputs_ * s_.taps() * lanes_ * static_cast<int64_t>(sizeof(float)));
    const int64_t wide = outputs_ * std::clamp<int64_t>(fitting, 1, std::max<int64_t>(1, s_.co / (outputs_ * wanted)));
    const int64_t units = ceil_div(s_.co, wide), parts = std::clamp<int64_t>(ceil_div(wanted, units), 1, blocks);
    parallel_for(units * parts, threads, [&](int64_t begin, int64_t end) {
      Unit unit;
      for (int64_t u = begin; u < end; ++u) {
        unit.begin = u / parts * wide, unit.end = std::min(s_.co, unit.begin + wide);
        unit.first = blocks * (u % parts) / parts, unit.last = blocks * (u % parts + 1) / parts;
        sum(unit);
      }
    });
  }

 private:
  struct Unit {
    int64_t begin, end, first, last;  // outputs [begin, end), blocks of inputs [first, last)
    Aligned<float> tables, sums;
    std::vector<LookupRun> runs;
  };

  // Where the tables of a unit stand: images [four, four + fours) of four, rows [y, y + high) of outputs.
  struct Chunk {
    int64_t four, fours, y, high;
  };

  // Codes, [row][column][four images][channel].
  void pack(const Threads& threads) {
    codes_ = aligned<int32_t>(height_ * width_ * fours_ * lanes_);
    parallel_for(height_ * width_, threads, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t y = p / width_ - top_, x = p % width_ - left_;
        int32_t* codes = codes_.get() + p * fours_ * lanes_;
        if (y < 0 || y >= s_.h || x < 0 || x >= s_.w) {
          std::fill_n(codes, fours_ * lanes_, s_.pad_value < 0 ? kEntries - 1 : 0);
          continue;
        }
        for (int64_t four = 0; four < fours_; ++four, codes += lanes_) {
          const float* rows[kTerms];
          for (int64_t j = 0; j < kTerms; ++j)
            rows[j] = four * kTerms + j < s_.n ? x_ + (((four * kTerms + j) * s_.h + y) * s_.w + x) * s_.c : nullptr;
          l_.codes(rows, shift_, s_.c, codes);
        }
      }
    });
  }

  void sum(Unit& u) const {
    // Independent of the size of a unit, and so of the number of threads: it decides the order of the sums.
    const int64_t fours = std::clamp<int64_t>(kPairs / std::max<int64_t>(1, ow_), 1, std::max<int64_t>(1, fours_));
    const int64_t rows = std::clamp<int64_t>(kPairs / std::max<int64_t>(1, ow_ * fours), 1, std::max<int64_t>(1, oh_));
    const int64_t row = s_.taps() * (u.last - u.first) * kEntries, rounded = ceil_div(u.end - u.begin, outputs_) * outputs_;
    if (!u.tables) u.tables = aligned<float>(fours * rows * ow_ * outputs_ * kEntries);
    u.sums = aligned<float>(rounded * row);
    std::fill_n(u.sums.get(), rounded * row, 0.0f);
    for (int64_t y = 0; y < oh_; y += rows)
      for (int64_t four = 0; four < fours_; four += fours) {
        const Chunk chunk = {four, std::min(fours, fours_ - four), y, std::min(rows, oh_ - y)};
        for (int64_t output = u.begin; output < u.end; output += outputs_) {
          fill(u, chunk, output);
          for (int64_t tap = 0; tap < s_.taps(); ++tap) add(u, chunk, tap, u.sums.get() + (output - u.begin) * row, row);
        }
      }
    const int64_t inputs = std::min(s_.c, u.last * kEntries) - u.first * kEntries;
    for (int64_t o = u.begin; o < u.end; ++o)
      for (int64_t tap = 0; tap < s_.taps(); ++tap)
        std::copy_n(u.sums.get() + (o - u.begin) * row + tap * (u.last - u.first) * kEntries, inputs,
                    out_ + (o * s_.taps() + tap) * s_.c + u.first * kEntries);
  }

  // Tables of outputs from `output` on for a chunk, [row][column][four images][output].
  void fill(Unit& u, const Chunk& chunk, int64_t output) const {
    const int64_t outputs = std::min(outputs_, s_.co - output);
    float* tables = u.tables.get();
    for (int64_t p = chunk.y * ow_; p < (chunk.y + chunk.high) * ow_; ++p)
      for (int64_t four = chunk.four; four < chunk.four + chunk.fours; ++four, tables += outputs_ * kEntries) {
        const float* rows[kTerms];
        for (int64_t j = 0; j < kTerms; ++j)
          rows[j] = four * kTerms + j < s_.n ? grad_ + ((four * kTerms + j) * oh_ * ow_ + p) * s_.co + output : nullptr;
        l_.across(rows, outputs, kEntries, tables);
        std::fill_n(tables + outputs * kEntries, (outputs_ - outputs) * kEntries, 0.0f);
      }
  }

  // Outputs [begin, end) along an axis whose tap stands on a pixel.
  struct Range {
    int64_t begin, end;
  };
  static Range inside(int64_t offset, int64_t stride, int64_t size, Range within) {
    return {std::max(within.begin, ceil_div(-offset, stride)), std::min(within.end, floor_div(size - 1 - offset, stride) + 1)};
  }

  void add(Unit& u, const Chunk& chunk, int64_t tap, float* sums, int64_t row) const {
    const int64_t down = tap / s_.kw * s_.dilation_h - s_.top + top_, right = tap % s_.kw * s_.dilation_w - s_.left + left_;
    const Range ys = inside(down, s_.stride_h, height_, {chunk.y, chunk.y + chunk.high});
    const Range xs = inside(right, s_.stride_w, width_, {0, ow_});
    if (ys.begin >= ys.end || xs.begin >= xs.end) return;
    const int64_t step = outputs_ * kEntries;
    const auto tables = [&](int64_t y, int64_t x) { return u.tables.get() + ((y - chunk.y) * ow_ + x) * chunk.fours * step; };
    const auto codes = [&](int64_t y, int64_t x) {
      return codes_.get() + (((y * s_.stride_h + down) * width_ + x * s_.stride_w + right) * fours_ + chunk.four) * lanes_ +
             u.first * kEntries;
    };
    u.runs.clear();
    LookupSteps steps = {step, lanes_, kEntries};
    if (chunk.fours >= xs.end - xs.begin) {
      for (int64_t y = ys.begin; y < ys.end; ++y)
        for (int64_t x = xs.begin; x < xs.end; ++x) u.runs.push_back({tables(y, x), codes(y, x), chunk.fours});
    } else {
      steps.table = chunk.fours * step, steps.code = s_.stride_w * fours_ * lanes_;
      for (int64_t y = ys.begin; y < ys.end; ++y)
        for (int64_t f = 0; f < chunk.fours; ++f)
          u.runs.push_back({tables(y, xs.begin) + f * step, codes(y, xs.begin) + f * lanes_, xs.end - xs.begin});
    }
    const BlockGroups groups{u.last - u.first};
    for (int64_t g = 0; g < groups.groups(); ++g) {
      const int64_t blocks = groups.begin(g + 1) - groups.begin(g), at = tap * groups.count + groups.begin(g);
      const int rows = std::min<int>(rows_for(blocks), static_cast<int>(outputs_));
      for (int64_t o = 0; o < outputs_; o += rows) {
        const LookupSums to = {sums + o * row + at * kEntries, row, rows, kEntries, true};
        l_.sums(u.runs.data(), static_cast<int64_t>(u.runs.size()), steps, rows, static_cast<int>(blocks), to);
        for (LookupRun& run : u.runs) run.tables += rows * kEntries;
      }
      for (LookupRun& run : u.runs) run.tables -= step, run.codes += blocks * kEntries;
    }
  }

  const Lookup& l_;
  const Shape& s_;
  const float *grad_, *x_, *shift_;
  float* out_;
  int64_t fours_, lanes_, oh_, ow_, outputs_ = kOutputs;
  int64_t top_ = 0, left_ = 0, height_ = 0, width_ = 0;  // of the padding in the codes, and of these
  Aligned<int32_t> codes_;
};

}  // namespace

void lookup_weight_gradient(const Lookup& lookup, const Shape& shape, const float* grad, const float* x,
                            const float* shift, float* out, const Threads& threads) {
  Shape s = shape;
  if (s.pointwise()) s.n *= s.h * s.w, s.h = s.w = 1;
  WeightGradient(lookup, s, grad, x, shift, out).run(threads);
}

}  // namespace bibench
