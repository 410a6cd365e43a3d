// See convolution.h. Work is split into units, each some rows of one image or some whole images; a unit packs
// the input it reads into bits, so units need nothing of each other.

#include "convolution.h"

#include "threads.h"

#include <algorithm>

namespace bibench {
namespace {

constexpr int64_t kUnitPixels = 512;  // outputs of a unit: enough to fill tiles, few enough for the cache

// Class of a filter position along one axis by which of its taps fall outside the input, and for each class
// those taps. Interior positions share class 0.
struct Border {
  std::vector<int32_t> class_of;             // per output position
  std::vector<std::vector<uint8_t>> outside;  // per class and tap
};

Border border(int64_t out, int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t before) {
  Border result;
  result.outside.emplace_back(kernel, 0);
  for (int64_t o = 0; o < out; ++o) {
    std::vector<uint8_t> taps(kernel);
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t i = o * stride + k * dilation - before;
      taps[k] = i < 0 || i >= in;
    }
    auto found = std::find(result.outside.begin(), result.outside.end(), taps);
    if (found == result.outside.end()) found = result.outside.insert(found, taps);
    result.class_of.push_back(static_cast<int32_t>(found - result.outside.begin()));
  }
  return result;
}

// Padding is packed as zero bits, that is as +1. What the taps outside then contribute too much, by class:
// their weights' signs once where padding is 0, twice where it is -1.
struct Corrections {
  Border rows, columns;
  int64_t width = 0;           // values per class and group
  std::vector<int32_t> table;  // [group][row class][column class][width], empty when nothing is padded

  // The first column's values in an output row; those of column c are `columns.class_of[c] * width` further.
  const int32_t* row(int64_t group, int64_t row) const {
    const int64_t classes = static_cast<int64_t>(rows.outside.size());
    return table.data() + (group * classes + rows.class_of[row]) * static_cast<int64_t>(columns.outside.size()) * width;
  }
};

Corrections corrections(const Shape& s, const PackedWeight& weight) {
  Corrections result;
  const bool padded = s.top || s.bottom || s.left || s.right;
  if (!padded || s.pad_value == 1) return result;
  result.rows = border(s.out_h(), s.h, s.kh, s.stride_h, s.dilation_h, s.top);
  result.columns = border(s.out_w(), s.w, s.kw, s.stride_w, s.dilation_w, s.left);
  result.width = s.blocks() * kLanes;
  const int32_t factor = s.pad_value == 0 ? 1 : 2;
  result.table.assign(s.groups * result.rows.outside.size() * result.columns.outside.size() * result.width, 0);
  int32_t* entry = result.table.data();
  for (int64_t g = 0; g < s.groups; ++g)
    for (const auto& row : result.rows.outside)
      for (const auto& column : result.columns.outside) {
        for (int64_t ky = 0; ky < s.kh; ++ky)
          for (int64_t kx = 0; kx < s.kw; ++kx)
            if (row[ky] || column[kx]) {
              const int32_t* sums = weight.tap_sums.data() + (g * s.taps() + ky * s.kw + kx) * result.width;
              for (int64_t c = 0; c < result.width; ++c) entry[c] += factor * sums[c];
            }
        entry += result.width;
      }
  return result;
}

// Geometry of a packed image: [padded row][padded column][group][tap word].
struct Packed {
  int64_t columns, pixel_words, row_words;
};

class Convolution {
 public:
  Convolution(const Kernels& kernels, const Shape& shape, const float* x, Strides xs, const PackedWeight& weight,
              const float* shift, const float* scale, const float* bias, float* out, Strides os)
      : k_(kernels), s_(shape), x_(x), xs_(xs), weight_(weight), shift_(shift), scale_(scale), bias_(bias), out_(out),
        os_(os), corrections_(corrections(shape, weight)) {
    packed_.columns = s_.w + s_.left + s_.right;
    packed_.pixel_words = s_.groups * s_.tap_words();
    packed_.row_words = packed_.columns * packed_.pixel_words;
    // Taps of a filter row are adjacent in memory unless dilation or groups part them.
    const bool adjacent = s_.dilation_w == 1 && s_.groups == 1;
    for (int64_t ky = 0; ky < s_.kh; ++ky)
      for (int64_t kx = 0; kx < (adjacent ? 1 : s_.kw); ++kx)
        offsets_.push_back(static_cast<int32_t>(ky * s_.dilation_h * packed_.row_words +
                                                kx * s_.dilation_w * packed_.pixel_words));
    runs_ = {offsets_.data(), static_cast<int64_t>(offsets_.size()), adjacent ? s_.kw * s_.tap_words() : s_.tap_words()};
  }

  void run(int threads) {
    const int64_t image = s_.out_h() * s_.out_w();
    if (image >= kUnitPixels || s_.n < 2 * threads) {
      int64_t rows = std::max<int64_t>(1, kUnitPixels / std::max<int64_t>(1, s_.out_w()));
      rows = std::min(rows, (s_.out_h() * s_.n + threads - 1) / threads);  // leave no thread without work
      rows = std::clamp<int64_t>(rows, 1, s_.out_h());
      const int64_t bands = (s_.out_h() + rows - 1) / rows;
      parallel_for(s_.n * bands, threads, [&](int64_t begin, int64_t end) {
        for (int64_t u = begin; u < end; ++u) {
          const int64_t first = u % bands * rows;
          unit(u / bands, 1, first, std::min(rows, s_.out_h() - first));
        }
      });
    } else {
      const int64_t images = std::max<int64_t>(1, kUnitPixels / image);
      const int64_t units = (s_.n + images - 1) / images;
      parallel_for(units, threads, [&](int64_t begin, int64_t end) {
        for (int64_t u = begin; u < end; ++u)
          unit(u * images, std::min(images, s_.n - u * images), 0, s_.out_h());
      });
    }
  }

 private:
  // Output rows [first, first + rows) of `images` images.
  void unit(int64_t image, int64_t images, int64_t first, int64_t rows) {
    thread_local std::vector<uint32_t> bits;
    thread_local std::vector<const uint32_t*> bases;
    thread_local std::vector<const int32_t*> corrected;
    const int64_t in_first = first * s_.stride_h;  // in padded rows
    const int64_t in_rows = (rows - 1) * s_.stride_h + (s_.kh - 1) * s_.dilation_h + 1;
    const int64_t image_words = in_rows * packed_.row_words;
    bits.assign(images * image_words, 0);
    bases.resize(images * rows * s_.out_w());
    const uint32_t** base = bases.data();
    const int64_t out_w = s_.out_w(), step = s_.stride_w * packed_.pixel_words;
    for (int64_t i = 0; i < images; ++i) {
      uint32_t* target = bits.data() + i * image_words;
      pack(image + i, in_first, in_rows, target);
      for (int64_t r = 0; r < rows; ++r) {
        const uint32_t* start = target + r * s_.stride_h * packed_.row_words;
        for (int64_t c = 0; c < out_w; ++c) *base++ = start + c * step;
      }
    }
    for (int64_t g = 0; g < s_.groups; ++g) {
      corrected.clear();
      if (!corrections_.table.empty()) {
        corrected.resize(bases.size());
        const int32_t** correction = corrected.data();
        for (int64_t i = 0; i < images; ++i)
          for (int64_t r = first; r < first + rows; ++r) {
            const int32_t *start = corrections_.row(g, r), *classes = corrections_.columns.class_of.data();
            for (int64_t c = 0; c < out_w; ++c) *correction++ = start + classes[c] * corrections_.width;
          }
      }
      group(g, image, first, images, rows, bases, corrected);
      for (auto& base : bases) base += s_.tap_words();
    }
  }

  void pack(int64_t image, int64_t in_first, int64_t in_rows, uint32_t* target) const {
    const int64_t tap_words = s_.tap_words();
    for (int64_t r = 0; r < in_rows; ++r) {
      const int64_t y = in_first + r - s_.top;
      if (y < 0 || y >= s_.h) continue;
      const float* row = x_ + image * xs_.n + y * xs_.h;
      uint32_t* words = target + r * packed_.row_words + s_.left * packed_.pixel_words;
      for (int64_t g = 0; g < s_.groups; ++g) {
        const float* shift = shift_ ? shift_ + g * s_.group_in() : nullptr;
        const float* x = row + g * s_.group_in() * xs_.c;
        if (xs_.c == 1) {
          k_.pack_rows(x, shift, s_.group_in(), s_.w, xs_.w, words + g * tap_words, packed_.pixel_words);
        } else {
          for (int64_t t = 0; t < tap_words; ++t) {
            const int64_t channel = t * kWordBits;
            const int channels = static_cast<int>(std::min<int64_t>(kWordBits, s_.group_in() - channel));
            k_.pack_plane(x + channel * xs_.c, shift ? shift + channel : nullptr, channels, xs_.c, s_.w,
                          words + g * tap_words + t, packed_.pixel_words);
          }
        }
      }
    }
  }

  void group(int64_t g, int64_t image, int64_t first, int64_t images, int64_t rows,
             const std::vector<const uint32_t*>& bases, const std::vector<const int32_t*>& corrected) {
    thread_local std::vector<float> staged;
    const int64_t pixels = static_cast<int64_t>(bases.size()), per_image = rows * s_.out_w();
    const int64_t blocks = s_.blocks(), words = s_.words();
    // Channels-last output is written where it belongs (pixels of consecutive rows and images are evenly
    // spaced); planar output is staged with channels last and transposed.
    const bool direct = os_.c == 1;
    for (int64_t b = 0; b < blocks; b += k_.tile_blocks) {
      const int tile_blocks = static_cast<int>(std::min<int64_t>(k_.tile_blocks, blocks - b));
      const int64_t channel = g * s_.group_out() + b * kLanes;
      const int channels = static_cast<int>(std::min<int64_t>(tile_blocks * kLanes, s_.group_out() - b * kLanes));
      const uint32_t* w = weight_.words.data() + (g * blocks + b) * words * kLanes;
      float* target = out_ + image * os_.n + first * os_.h + channel;
      int64_t stride = os_.w;
      if (!direct) {
        staged.resize(pixels * tile_blocks * kLanes);
        target = staged.data();
        stride = tile_blocks * kLanes;
      }
      Epilogue epilogue = {static_cast<int32_t>(s_.group_in() * s_.taps()), nullptr, nullptr,
                           scale_ ? scale_ + channel : nullptr, bias_ ? bias_ + channel : nullptr};
      const int32_t* corrections[kMaxTilePixels];
      for (int64_t p = 0; p < pixels; p += k_.tile_pixels) {
        const int size = static_cast<int>(std::min<int64_t>(k_.tile_pixels, pixels - p));
        if (!corrected.empty()) {
          for (int i = 0; i < size; ++i) corrections[i] = corrected[p + i] + b * kLanes;
          epilogue.corrections = corrections;
        }
        k_.product_xor(bases.data() + p, size, w, tile_blocks, runs_, channels, epilogue, target + p * stride, stride);
      }
      if (!direct)
        for (int64_t i = 0; i < images; ++i)
          k_.transpose(staged.data() + i * per_image * stride, per_image, channels, stride,
                       out_ + (image + i) * os_.n + channel * os_.c + first * os_.h, os_.c);
    }
  }

  const Kernels& k_;
  const Shape& s_;
  const float* x_;
  Strides xs_;
  const PackedWeight& weight_;
  const float *shift_, *scale_, *bias_;
  float* out_;
  Strides os_;
  Corrections corrections_;
  Packed packed_;
  std::vector<int32_t> offsets_;
  Runs runs_;
};

}  // namespace

int32_t bits_set(uint32_t v) {
  v = v - ((v >> 1) & 0x55555555u);
  v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
  return static_cast<int32_t>((((v + (v >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24);
}

PackedWeight pack_weight(const Kernels& kernels, const Shape& s, const float* weight, Strides strides) {
  PackedWeight result;
  const int64_t words = s.words(), tap_words = s.tap_words(), taps = s.taps(), blocks = s.blocks();
  result.words.assign(s.groups * blocks * words * kLanes, 0);
  std::vector<uint32_t> filter(words);
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t o = 0; o < s.group_out(); ++o) {
      const float* w = weight + (g * s.group_out() + o) * strides.n;
      if (strides.c == 1 && taps > 1) {
        for (int64_t ky = 0; ky < s.kh; ++ky)
          for (int64_t kx = 0; kx < s.kw; ++kx)
            kernels.pack_rows(w + ky * strides.h + kx * strides.w, nullptr, s.group_in(), 1, 0,
                              filter.data() + (ky * s.kw + kx) * tap_words, 0);
      } else if (taps == 1) {
        kernels.pack_rows(w, nullptr, s.group_in(), 1, 0, filter.data(), 0);
      } else {
        for (int64_t t = 0; t < tap_words; ++t) {
          const int channels = static_cast<int>(std::min<int64_t>(kWordBits, s.group_in() - t * kWordBits));
          kernels.pack_plane(w + t * kWordBits * strides.c, nullptr, channels, strides.c, taps, filter.data() + t,
                             tap_words);
        }
      }
      uint32_t* target = result.words.data() + ((g * blocks + o / kLanes) * words) * kLanes + o % kLanes;
      for (int64_t i = 0; i < words; ++i) target[i * kLanes] = filter[i];
    }
  const bool padded = s.top || s.bottom || s.left || s.right;
  if (padded && s.pad_value != 1) {
    result.tap_sums.assign(s.groups * taps * blocks * kLanes, 0);
    for (int64_t g = 0; g < s.groups; ++g)
      for (int64_t b = 0; b < blocks; ++b)
        for (int64_t tap = 0; tap < taps; ++tap)
          for (int64_t lane = 0; lane < kLanes; ++lane) {
            const uint32_t* w = result.words.data() + ((g * blocks + b) * words + tap * tap_words) * kLanes + lane;
            int32_t sum = static_cast<int32_t>(s.group_in());
            for (int64_t t = 0; t < tap_words; ++t) sum -= 2 * bits_set(w[t * kLanes]);
            result.tap_sums[(g * taps + tap) * blocks * kLanes + b * kLanes + lane] = sum;
          }
  }
  return result;
}

void convolve(const Kernels& kernels, const Shape& shape, const float* x, Strides x_strides, const PackedWeight& weight,
              const float* shift, const float* scale, const float* bias, float* out, Strides out_strides, int threads) {
  if (shape.n == 0 || shape.co == 0 || shape.out_h() <= 0 || shape.out_w() <= 0) return;
  Convolution(kernels, shape, x, x_strides, weight, shift, scale, bias, out, out_strides).run(threads);
}

}  // namespace bibench
