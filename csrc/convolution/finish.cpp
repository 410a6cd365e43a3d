// See finish.h. Lines of memory are finished one by one: a channel's band of pixels, or a pixel's channels.

#include "finish.h"

#include "shape.h"

namespace bibench {
namespace {

const float* at(const float* values, int64_t index) { return values ? values + index : nullptr; }

// What depends on the channel, for lines along channels (step 1) or of one channel (step 0).
Line line_of(const Finish& f, int64_t channel, int64_t step) {
  Line line = {};
  line.channel = {at(f.scale_early() || f.gamma ? nullptr : f.scale, channel), step};
  line.post = {at(f.post_scale, channel), step};
  line.bias = {at(f.bias_early() ? nullptr : f.bias, channel), step};
  line.slope = f.slope_per_channel ? Operand{at(f.slope, channel), step} : Operand{f.slope, 0};
  line.row = 1.0f;
  line.activation = f.activation;
  line.low = f.low, line.high = f.high;
  return line;
}

// Gamma, over whole lines of memory where all channels are there.
void multiply_gamma(const Kernels& k, const Shape& s, const Finish& f, float* out, const Strides& os, int64_t image,
                    int64_t first, int64_t rows, int64_t channel, int64_t channels) {
  const int64_t width = s.out_w(), start = channel * os.c + first * os.h, skipped = image * os.n;
  const auto line = [&](int64_t offset, int64_t n) {
    k.scale_keeping(out + skipped + offset, f.gamma + offset, n, f.kept ? f.kept + skipped + offset : nullptr);
  };
  if (os.c != 1)
    for (int64_t c = 0; c < channels; ++c) line(start + c * os.c, rows * width);
  else if (channels == s.co)
    line(start, rows * width * channels);
  else
    for (int64_t p = 0; p < rows * width; ++p) line(start + p * os.w, channels);
}

}  // namespace

void finish_rows(const Kernels& k, const Shape& s, const Finish& f, float* out, const Strides& os, int64_t image,
                 int64_t first, int64_t rows, int64_t channel, int64_t channels) {
  const int64_t width = s.out_w(), per_group = s.group_out();
  const int64_t group = f.pixel_groups > 1 ? channel / per_group : 0;
  const float* pixels = at(f.pixels, ((image * f.pixel_groups + group) * s.out_h() + first) * width);
  const int64_t start = image * os.n + channel * os.c + first * os.h;
  const bool last = os.c == 1;
  if (f.gamma) {
    multiply_gamma(k, s, f, out, os, image, first, rows, channel, channels);
    if (!f.after_gamma()) return;
  } else if (last && channels == s.co && f.pixels_alone()) {
    k.scale_lines(out + start, pixels, rows * width, channels);
    return;
  }
  Line line = line_of(f, channel, last ? 1 : 0);
  if (last) {
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t x = 0; x < width; ++x) {
        const int64_t offset = start + y * os.h + x * os.w;
        if (f.rows) line.row = f.rows[first + y];
        line.column = {at(f.columns, x), 0};
        line.pixel = {at(pixels, y * width + x), 0};
        line.residual = at(f.residual, offset);
        k.finish_line(out + offset, channels, line);
      }
    return;
  }
  const bool whole = !f.rows && !f.columns;  // no factor changes from row to row
  const int64_t lines = whole ? 1 : rows, size = whole ? rows * width : width;
  for (int64_t c = 0; c < channels; ++c) {
    line = line_of(f, channel + c, 0);
    for (int64_t y = 0; y < lines; ++y) {
      const int64_t offset = start + c * os.c + y * os.h;
      if (f.rows) line.row = f.rows[first + y];
      line.column = {f.columns, 1};
      line.pixel = {at(pixels, y * width), 1};
      line.residual = at(f.residual, offset);
      k.finish_line(out + offset, size, line);
    }
  }
}

}  // namespace bibench
