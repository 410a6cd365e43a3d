// See box.h.

#include "box.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bibench {
namespace {

// Mean magnitudes over `channels` planes of `pixels` values: folded, as mean_magnitudes does. `buffer` has room for
// (channels + 1) / 2 planes.
void plane_means(const float* x, int64_t channels, int64_t pixels, float* out, float* buffer) {
  int64_t half = (channels + 1) / 2;
  for (int64_t i = 0; i < half * pixels; ++i) buffer[i] = std::fabs(x[i]);
  for (int64_t i = half * pixels; i < channels * pixels; ++i) buffer[i - half * pixels] += std::fabs(x[i]);
  for (int64_t left = half; left > 1; left = half) {
    half = (left + 1) / 2;
    for (int64_t i = half * pixels; i < left * pixels; ++i) buffer[i - half * pixels] += buffer[i];
  }
  for (int64_t i = 0; i < pixels; ++i) out[i] = buffer[i] / static_cast<float>(channels);
}

}  // namespace

void box_means(const Kernels& kernels, const Shape& s, const float* x, bool planar, float* out,
               const Threads& threads) {
  const int64_t wide = s.w + s.left + s.right, high = s.out_h(), across = s.out_w(), pixels = s.h * s.w;
  const float size = static_cast<float>(s.kh * s.kw);
  // Below this many values waking a thread costs more than it saves.
  constexpr int64_t kLeast = 1 << 15;
  const int parts = static_cast<int>(std::clamp<int64_t>(s.n * pixels * s.c / kLeast, 1, std::max(1, threads.count)));
  parallel_for(s.n, parts, [&](int64_t begin, int64_t end) {
    std::vector<float> means(pixels), buffer((s.c + 1) / 2 * (planar ? pixels : 1) + 1), column_sums(wide);
    for (int64_t n = begin; n < end; ++n) {
      const float* image = x + n * pixels * s.c;
      if (planar)
        plane_means(image, s.c, pixels, means.data(), buffer.data());
      else
        kernels.mean_magnitudes(image, pixels, s.c, means.data(), buffer.data());
      for (int64_t y = 0; y < high; ++y) {
        std::fill(column_sums.begin(), column_sums.end(), 0.0f);
        float* inside = column_sums.data() + s.left;
        for (int64_t ky = 0; ky < s.kh; ++ky) {
          const int64_t row = y * s.stride_h + ky * s.dilation_h - s.top;
          if (row < 0 || row >= s.h) continue;
          for (int64_t i = 0; i < s.w; ++i) inside[i] += means[row * s.w + i];
        }
        float* to = out + (n * high + y) * across;
        std::fill(to, to + across, 0.0f);
        for (int64_t kx = 0; kx < s.kw; ++kx) {
          const float* from = column_sums.data() + kx * s.dilation_w;
          for (int64_t i = 0; i < across; ++i) to[i] += from[i * s.stride_w];
        }
        for (int64_t i = 0; i < across; ++i) to[i] /= size;
      }
    }
  });
}

}  // namespace bibench
