// Packing and transposing against their definition. See kernels_test.cpp.

#include "kernels_test.h"

#include <algorithm>

namespace bibench::testing {

void check_packing(const Kernels& k) {
  const int64_t channels = between(0, 4) ? between(1, 100) : 16, count = between(1, 40), step = channels + between(0, 3);
  const int64_t words = (channels + kWordBits - 1) / kWordBits, word_step = words + between(0, 2);
  const Floats shift = normal(std::max<int64_t>(channels, kWordBits));
  const bool shifted = coin();
  const auto bit = [&](float v, int64_t c) { return !((shifted ? v + shift[c] : v) >= 0.0f); };
  {
    current = std::string(k.name) + " pack_rows channels,count,step=" + text(channels, count, step);
    Floats b(channels), x = values((count - 1) * step + channels);
    for (int64_t c = 0; c < channels; ++c) b[c] = shift[c];
    Buffer<uint32_t> got((count - 1) * word_step + words, 9), wanted((count - 1) * word_step + words, 9);
    k.pack_rows(x.data(), shifted ? b.data() : nullptr, channels, count, step, got.data(), word_step);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t c = 0; c < channels; ++c) {
        uint32_t& word = wanted[i * word_step + c / kWordBits];
        if (c % kWordBits == 0) word = 0;
        if (bit(x[i * step + c], c)) word |= 1u << (c % kWordBits);
      }
    expect(got, wanted);
  }
  const int few = static_cast<int>(between(1, kWordBits));
  const int64_t stride = count + between(0, 3);
  current = std::string(k.name) + " pack_plane channels,pixels,stride=" + text(few, count, stride);
  Floats b(few), x = values((few - 1) * stride + count);
  for (int c = 0; c < few; ++c) b[c] = shift[c];
  Buffer<uint32_t> got((count - 1) * word_step + 1, 9), wanted((count - 1) * word_step + 1, 9);
  k.pack_plane(x.data(), shifted ? b.data() : nullptr, few, stride, count, got.data(), word_step);
  for (int64_t i = 0; i < count; ++i) {
    wanted[i * word_step] = 0;
    for (int c = 0; c < few; ++c)
      if (bit(x[c * stride + i], c)) wanted[i * word_step] |= 1u << c;
  }
  expect(got, wanted);
}

void check_transpose(const Kernels& k) {
  const int64_t rows = between(1, 50), columns = between(1, 50), in_stride = columns + between(0, 3),
                out_stride = rows + between(0, 3);
  current = std::string(k.name) + " transpose rows,columns=" + text(rows, columns);
  const Floats in = values((rows - 1) * in_stride + columns);
  Floats got((columns - 1) * out_stride + rows, 7.0f), wanted((columns - 1) * out_stride + rows, 7.0f);
  k.transpose(in.data(), rows, columns, in_stride, got.data(), out_stride);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) wanted[c * out_stride + r] = in[r * in_stride + c];
  expect(got, wanted);
}

}  // namespace bibench::testing
