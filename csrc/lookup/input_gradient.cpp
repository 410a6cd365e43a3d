// See gradients.h. The terms of a sum are filters: the tables are signed sums of four outputs' gradients at a pixel, the codes
// the signs of four filters, and the sixteen lanes sixteen input channels.

#include "foundation/aligned.h"
#include "gradients.h"
#include "scratch.h"

#include <algorithm>
#include <vector>

namespace bibench {
namespace {

constexpr int64_t kTableBytes = 384 << 10;  // of a unit of work: most of a core's second-level cache
constexpr int64_t kLeastWide = 8;           // columns of a unit

class InputGradient {
 public:
  InputGradient(const Lookup& lookup, const Shape& shape, const float* grad, const float* scale, float* out)
      : l_(lookup), s_(shape), grad_(grad), scale_(scale), out_(out), fours_((s_.co + kTerms - 1) / kTerms),
        blocks_{(s_.c + kEntries - 1) / kEntries}, oh_(s_.out_h()), ow_(s_.out_w()),
        span_h_(ceil_div((s_.kh - 1) * s_.dilation_h, s_.stride_h) + 1),
        span_w_(ceil_div((s_.kw - 1) * s_.dilation_w, s_.stride_w) + 1) {}

  void run(const float* weight, const Threads& threads) {
    pack(weight, threads);
    divide(threads.count);
    const int64_t bands = ceil_div(s_.h, high_), chunks = ceil_div(s_.w, wide_);
    parallel_for(s_.n * bands * chunks, threads, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      for (int64_t u = begin; u < end; ++u) {
        const int64_t y = u / chunks % bands * high_, x = u % chunks * wide_;
        unit(u / (bands * chunks), y, std::min(s_.h, y + high_), x, std::min(s_.w, x + wide_), scratch);
      }
    });
  }

 private:
  struct Scratch {
    Aligned<float> tables;
    int64_t size = 0;
    std::vector<LookupRun> runs;
    float* room(int64_t wanted) {
      if (wanted > size) tables = aligned<float>(wanted), size = wanted;
      return tables.get();
    }
  };

  // Codes of the filters, [group of blocks][tap][four filters][block][lane].
  void pack(const float* weight, const Threads& threads) {
    const int64_t lanes = blocks_.count * kEntries;
    codes_ = aligned<int32_t>(s_.taps() * fours_ * lanes);
    parallel_for(s_.taps() * fours_, threads, [&](int64_t begin, int64_t end) {
      std::vector<int32_t> line(lanes);
      for (int64_t i = begin; i < end; ++i) {  // i = tap * fours + four
        const float* rows[kTerms];
        for (int64_t j = 0; j < kTerms; ++j) {
          const int64_t filter = i % fours_ * kTerms + j;
          rows[j] = filter < s_.co ? weight + (filter * s_.taps() + i / fours_) * s_.c : nullptr;
        }
        l_.codes(rows, nullptr, s_.c, line.data());
        for (int64_t g = 0; g < blocks_.groups(); ++g) {
          const int64_t width = (blocks_.begin(g + 1) - blocks_.begin(g)) * kEntries;
          std::copy_n(line.data() + blocks_.begin(g) * kEntries, width, codes_of(g) + i * width);
        }
      }
    });
  }

  int32_t* codes_of(int64_t group) const { return codes_.get() + s_.taps() * fours_ * blocks_.begin(group) * kEntries; }

  // Sizes of a unit: tables that fit the cache, enough units for all threads.
  void divide(int threads) {
    const int64_t pixel = fours_ * kEntries * static_cast<int64_t>(sizeof(float));
    const int64_t row = kTableBytes / (pixel * (span_h_ + 1));  // columns of outputs, if there are few rows
    wide_ = std::min(s_.w, std::max(kLeastWide, row - span_w_) * s_.stride_w);
    const int64_t rows = kTableBytes / (pixel * (ceil_div(wide_, s_.stride_w) + span_w_));
    high_ = std::min(s_.h, std::max<int64_t>(1, rows - span_h_) * s_.stride_h);
    const int64_t others = s_.n * ceil_div(s_.w, wide_), wanted = std::max(1, threads);
    if (others * ceil_div(s_.h, high_) < wanted) high_ = std::max<int64_t>(1, ceil_div(s_.h * others, wanted));
  }

  // Inputs [y0, y1) x [x0, x1) of one image.
  void unit(int64_t image, int64_t y0, int64_t y1, int64_t x0, int64_t x1, Scratch& scratch) const {
    const int64_t first = std::max<int64_t>(0, ceil_div(y0 + s_.top - (s_.kh - 1) * s_.dilation_h, s_.stride_h));
    const int64_t last = std::min(oh_ - 1, floor_div(y1 - 1 + s_.top, s_.stride_h));
    Region r;
    r.end = x1, r.top = first;
    r.left = floor_div(x0 + s_.left - (s_.kw - 1) * s_.dilation_w, s_.stride_w);
    const int64_t end = floor_div(x1 - 1 + s_.left, s_.stride_w) + 1, pixel = fours_ * kEntries;
    // Fewer pixels than a tile has: it looks beyond the last, at sums that are thrown away.
    r.width = end + std::max<int64_t>(0, rows_for(blocks_.count) - (x1 - x0) / s_.stride_w) - r.left;
    float* tables = scratch.room(std::max<int64_t>(1, last - first + 1) * r.width * pixel);
    r.tables = tables;
    for (int64_t y = first; y <= last; ++y)
      for (int64_t x = r.left; x < r.left + r.width; ++x, tables += pixel)
        if (x >= 0 && x < std::min(ow_, end))
          l_.along(grad_ + ((image * oh_ + y) * ow_ + x) * s_.co, scale_, s_.co, tables);
        else
          std::fill_n(tables, pixel, 0.0f);
    for (int64_t g = 0; g < blocks_.groups(); ++g)
      for (int64_t y = y0; y < y1; ++y)
        for (int64_t phase = 0; phase < s_.stride_w && x0 + phase < x1; ++phase)
          line(image, g, y, x0 + phase, r, scratch.runs);
  }

  struct Region {
    int64_t end;               // of the columns
    int64_t top, left, width;  // of the tables
    const float* tables;
  };

  // Every stride-th input of a row from x0 on: they meet the same taps, at outputs that follow each other.
  void line(int64_t image, int64_t group, int64_t y, int64_t x0, const Region& r, std::vector<LookupRun>& runs) const {
    const int64_t block = blocks_.begin(group), blocks = blocks_.begin(group + 1) - block, pixel = fours_ * kEntries;
    runs.clear();
    for (int64_t i = 0; i < s_.kh; ++i) {
      const int64_t down = y + s_.top - i * s_.dilation_h;
      if (down < 0 || down % s_.stride_h || down / s_.stride_h >= oh_) continue;
      for (int64_t j = 0; j < s_.kw; ++j) {
        const int64_t right = x0 + s_.left - j * s_.dilation_w;
        if (right != floor_div(right, s_.stride_w) * s_.stride_w) continue;
        const int64_t at = (down / s_.stride_h - r.top) * r.width + floor_div(right, s_.stride_w) - r.left;
        runs.push_back({r.tables + at * pixel, codes_of(group) + (i * s_.kw + j) * fours_ * blocks * kEntries, fours_});
      }
    }
    const LookupSteps steps = {kEntries, blocks * kEntries, pixel};
    const int64_t count = ceil_div(r.end - x0, s_.stride_w), from = block * kEntries;
    const int64_t rows = rows_for(blocks), lanes = std::min<int64_t>(kEntries, s_.c - from - (blocks - 1) * kEntries);
    for (int64_t done = 0, t = 0; done < count; done = t + rows) {
      const int64_t next = std::max<int64_t>(0, std::min(done, count - rows));  // the last tile overlaps the one before
      for (LookupRun& run : runs) run.tables += (next - t) * pixel;
      t = next;
      float* out = out_ + ((image * s_.h + y) * s_.w + x0 + t * s_.stride_w) * s_.c + from;
      const LookupSums to = {out, s_.stride_w * s_.c, static_cast<int>(std::min(rows, count)), static_cast<int>(lanes), false};
      l_.sums(runs.data(), static_cast<int64_t>(runs.size()), steps, static_cast<int>(rows), static_cast<int>(blocks), to);
    }
  }

  const Lookup& l_;
  const Shape& s_;
  const float *grad_, *scale_;
  float* out_;
  int64_t fours_;
  BlockGroups blocks_;
  int64_t oh_, ow_, span_h_, span_w_;
  int64_t high_ = 0, wide_ = 0;
  Aligned<int32_t> codes_;
};

}  // namespace

void lookup_input_gradient(const Lookup& lookup, const Shape& shape, const float* grad, const float* weight,
                           const float* scale, float* out, const Threads& threads) {
  Shape s = shape;
  if (s.pointwise()) s.w *= s.n * s.h, s.n = s.h = 1;
  if (s.n * s.h * s.w == 0) return;
  InputGradient(lookup, s, grad, scale, out).run(weight, threads);
}

}  // namespace bibench
