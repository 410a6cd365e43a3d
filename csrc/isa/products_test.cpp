// Counting, and what the epilogue makes of counts, against its definition. See kernels_test.cpp.

#include "kernels_test.h"

namespace bibench::testing {
namespace {

void finished(const int32_t* counts, int pixels, int count_stride, int channels, const Epilogue& e, float* out,
              int64_t out_stride) {
  for (int p = 0; p < pixels; ++p)
    for (int c = 0; c < channels; ++c) {
      float v = static_cast<float>((e.totals ? e.totals[p] : e.total) - 2 * counts[p * count_stride + c] -
                                   (e.corrections ? e.corrections[p][c] : 0));
      if (e.scale) v *= e.scale[c];
      if (e.bias) v += e.bias[c];
      out[p * out_stride + c] = v;
    }
}

}  // namespace

void check_products(const Kernels& k) {
  const int pixels = static_cast<int>(between(1, k.tile_pixels)), blocks = static_cast<int>(between(1, k.tile_blocks));
  const int64_t runs = between(1, 9), words = between(0, 3) ? between(1, 20) : between(30, 200);
  current = std::string(k.name) + " count pixels,blocks,runs,words=" + text(pixels, blocks, runs, words);
  Buffer<int32_t> offsets(runs);
  for (int64_t r = 0; r < runs; ++r) offsets[r] = static_cast<int32_t>(r * (words + 3));
  Buffer<uint32_t> bits((runs - 1) * (words + 3) + words + pixels - 1), weights(blocks * runs * words * kLanes);
  const bool full = between(0, 3) == 0;  // all bits differ: what overflows, overflows here
  for (uint32_t& v : bits) v = full ? ~0u : static_cast<uint32_t>(random_bits());
  for (uint32_t& v : weights) v = full ? 0u : static_cast<uint32_t>(random_bits());
  Buffer<const uint32_t*> bases(pixels);
  for (int p = 0; p < pixels; ++p) bases[p] = bits.data() + p;
  const auto count = [](uint32_t v) {
    int32_t ones = 0;
    for (; v; v >>= 1) ones += v & 1;
    return ones;
  };
  for (const bool both : {false, true}) {
    Buffer<int32_t> wanted(pixels * blocks * kLanes);
    for (int p = 0; p < pixels; ++p)
      for (int b = 0; b < blocks; ++b)
        for (int64_t r = 0; r < runs; ++r)
          for (int64_t j = 0; j < words; ++j)
            for (int lane = 0; lane < kLanes; ++lane) {
              const uint32_t a = bases[p][offsets[r] + j], w = weights[((b * runs + r) * words + j) * kLanes + lane];
              wanted[(p * blocks + b) * kLanes + lane] += count(both ? a & w : a ^ w);
            }
    const int channels = static_cast<int>(between((blocks - 1) * kLanes + 1, blocks * kLanes));
    const int64_t out_stride = channels + between(0, 3);
    const Floats scale = normal(channels), bias = normal(channels);
    Buffer<int32_t> totals(pixels), table(pixels * channels);
    for (int32_t& v : totals) v = static_cast<int32_t>(between(0, 1 << 20));
    for (int32_t& v : table) v = static_cast<int32_t>(between(-99, 99));
    Buffer<const int32_t*> corrections(pixels);
    for (int p = 0; p < pixels; ++p) corrections[p] = table.data() + p * channels;
    const Epilogue e = {static_cast<int32_t>(between(0, 1 << 20)), coin() ? totals.data() : nullptr,
                        coin() ? corrections.data() : nullptr, coin() ? scale.data() : nullptr,
                        coin() ? bias.data() : nullptr};
    Floats out((pixels - 1) * out_stride + channels, 7.0f), wanted_out((pixels - 1) * out_stride + channels, 7.0f);
    (both ? k.product_and : k.product_xor)(bases.data(), pixels, weights.data(), blocks, {offsets.data(), runs, words},
                                           channels, e, out.data(), out_stride);
    finished(wanted.data(), pixels, blocks * kLanes, channels, e, wanted_out.data(), out_stride);
    expect(out, wanted_out);
  }
}

}  // namespace bibench::testing
