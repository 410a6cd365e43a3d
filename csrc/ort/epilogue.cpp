// See epilogue.h.

#include "epilogue.h"

#include <algorithm>
#include <limits>

namespace bibench::ort {

Ending::Ending(const Node& node) {
  const std::string name = node.choice("activation", {"", "relu", "prelu", "clip"});
  activation_ = name == "relu"    ? Activation::kRelu
                : name == "prelu" ? Activation::kPrelu
                : name == "clip"  ? Activation::kClip
                                  : Activation::kNone;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  low_ = node.real("clip_min", -kInfinity), high_ = node.real("clip_max", kInfinity);
  node.place().check(low_ <= high_, "clip_min", "at most clip_max", std::to_string(low_) + " > " + std::to_string(high_));
}

Finish Ending::finish(const Call& call, const Places& places, int64_t channels,
                      const std::vector<int64_t>& output) const {
  Finish f;
  f.scale = call.vector(places.scale, "scale", channels);
  f.bias = call.vector(places.bias, "bias", channels);
  f.post_scale = call.vector(places.post_scale, "post_scale", channels);
  const Tensor<float> residual = call.floats(places.residual, "residual", true);
  if (residual)
    call.place().check(residual.sizes == output, "residual", [&] { return "the output's shape " + text(output); },
                       [&] { return text(residual.sizes); });
  f.residual = residual.data;
  const Tensor<float> slope = call.floats(places.slope, "slope", true);
  f.activation = activation_;
  if (activation_ == Activation::kPrelu) {
    const bool fits = slope && slope.sizes.size() == 1 && (slope.sizes[0] == 1 || slope.sizes[0] == channels);
    call.place().check(fits, "slope", [&] { return "shape " + text({channels}) + " or (1)"; },
                       [&] { return slope ? text(slope.sizes) : "nothing"; });
    f.slope = slope.data;
    f.slope_per_channel = slope.sizes[0] != 1;
  }
  f.low = low_, f.high = high_;
  return f;
}

std::vector<float> shift_of(const Call& call, size_t index, int64_t channels) {
  const float* threshold = call.vector(index, "threshold", channels);
  if (!threshold) return {};
  constexpr float kMost = std::numeric_limits<float>::max();
  std::vector<float> shift(channels);
  for (int64_t c = 0; c < channels; ++c)
    shift[c] = threshold[c] > kMost ? -kMost : threshold[c] < -kMost ? kMost : -threshold[c];
  return shift;
}

void check_bits(const Place& place, const Tensor<uint8_t>& weight, int64_t size) {
  const int64_t bytes = (size + 7) / 8;
  place.check(weight.sizes.size() == 2 && weight.sizes[0] >= 1 && weight.sizes[1] == bytes, "W",
              "shape (C_o, " + std::to_string(bytes) + "), 8 weights to a byte", text(weight.sizes));
  if (size % 8 == 0) return;
  for (int64_t o = 0; o < weight.sizes[0]; ++o)
    place.check(weight.data[(o + 1) * bytes - 1] >> (size % 8) == 0, "W", "zeros after the last weight of each row",
                "other bits in row " + std::to_string(o));
}

std::vector<float> row_means(const Kernels& k, const float* x, int64_t rows, int64_t size, const Threads& threads) {
  constexpr int64_t kSums = 64;
  std::vector<float> means(rows);
  const int64_t grain = std::clamp<int64_t>((1 << 14) / std::max<int64_t>(1, size), 1, std::max<int64_t>(1, rows));
  parallel_for((rows + grain - 1) / grain, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin * grain; r < std::min(rows, end * grain); ++r) {
      float sums[kSums] = {}, total = 0.0f;
      for (int64_t i = 0; i < size; i += kSums) k.add_abs(x + r * size + i, std::min(kSums, size - i), sums);
      for (const float sum : sums) total += sum;
      means[r] = total / static_cast<float>(size);
    }
  });
  return means;
}

std::vector<float> repeated(const std::vector<float>& values, int64_t times) {
  std::vector<float> result;
  result.reserve(values.size() * times);
  for (const float v : values) result.insert(result.end(), times, v);
  return result;
}

std::vector<float> spatial_means(const Kernels& k, const Shape& s, const float* x, const Threads& threads) {
  const int64_t planes = s.n * s.groups, pixels = s.h * s.w, channels = s.group_in();
  std::vector<float> mean(planes * pixels, 0.0f), result(planes * s.out_h() * s.out_w());
  constexpr int64_t kPixels = 512;
  const int64_t pieces = (pixels + kPixels - 1) / kPixels;
  parallel_for(planes * pieces, threads, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t plane = u / pieces, first = u % pieces * kPixels, size = std::min(kPixels, pixels - first);
      float* sum = mean.data() + plane * pixels + first;
      for (int64_t c = 0; c < channels; ++c) k.add_abs(x + (plane * channels + c) * pixels + first, size, sum);
      for (int64_t i = 0; i < size; ++i) sum[i] /= static_cast<float>(channels);
    }
  });
  const float factor = 1.0f / static_cast<float>(s.taps());
  parallel_for(planes * s.out_h(), threads, [&](int64_t begin, int64_t end) {
    std::vector<float> columns(s.w);
    for (int64_t u = begin; u < end; ++u) {
      const int64_t plane = u / s.out_h(), row = u % s.out_h();
      std::fill(columns.begin(), columns.end(), 0.0f);
      for (int64_t ky = 0; ky < s.kh; ++ky) {
        const int64_t y = row * s.stride_h + ky * s.dilation_h - s.top;
        if (y < 0 || y >= s.h) continue;
        const float* from = mean.data() + plane * pixels + y * s.w;
        for (int64_t i = 0; i < s.w; ++i) columns[i] += from[i];
      }
      float* to = result.data() + u * s.out_w();
      for (int64_t column = 0; column < s.out_w(); ++column) {
        float sum = 0.0f;
        for (int64_t kx = 0; kx < s.kw; ++kx) {
          const int64_t i = column * s.stride_w + kx * s.dilation_w - s.left;
          if (i >= 0 && i < s.w) sum += columns[i];
        }
        to[column] = sum * factor;
      }
    }
  });
  return result;
}

}  // namespace bibench::ort
