// Finishing and packing without vector instructions of their own, for the portable and the NEON kernels.
// Included inside an anonymous namespace.

void finish(const int32_t* counts, int pixels, int count_stride, int channels, const Epilogue& e, float* out,
            int64_t out_stride) {
  for (int p = 0; p < pixels; ++p, counts += count_stride, out += out_stride) {
    const int32_t total = e.totals ? e.totals[p] : e.total;
    const int32_t* correction = e.corrections ? e.corrections[p] : nullptr;
    for (int c = 0; c < channels; ++c) {
      int32_t dot = total - 2 * counts[c];
      if (correction) dot -= correction[c];
      float value = static_cast<float>(dot);
      if (e.scale) value *= e.scale[c];
      if (e.bias) value += e.bias[c];
      out[c] = value;
    }
  }
}

void transpose(const float* in, int64_t rows, int64_t columns, int64_t in_stride, float* out, int64_t out_stride) {
  constexpr int64_t kTile = 8;
  for (int64_t r = 0; r < rows; r += kTile)
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t i = r; i < rows && i < r + kTile; ++i) out[c * out_stride + i] = in[i * in_stride + c];
}

void pack_row(const float* x, const float* shift, int64_t channels, uint32_t* words) {
  for (int64_t c = 0; c < channels; c += kWordBits) {
    const int64_t size = channels - c < kWordBits ? channels - c : kWordBits;
    uint32_t word = 0;
    for (int64_t bit = 0; bit < size; ++bit) {
      const float value = shift ? x[c + bit] + shift[c + bit] : x[c + bit];
      word |= static_cast<uint32_t>(!(value >= 0.0f)) << bit;
    }
    words[c / kWordBits] = word;
  }
}

void pack_rows(const float* x, const float* shift, int64_t channels, int64_t count, int64_t step, uint32_t* words,
               int64_t word_step) {
  for (int64_t i = 0; i < count; ++i) pack_row(x + i * step, shift, channels, words + i * word_step);
}

void pack_plane(const float* x, const float* shift, int channels, int64_t stride, int64_t pixels, uint32_t* words,
                int64_t step) {
  constexpr int64_t kBlock = 64;
  uint32_t block[kBlock];
  for (int64_t start = 0; start < pixels; start += kBlock) {
    const int64_t size = pixels - start < kBlock ? pixels - start : kBlock;
    for (int64_t i = 0; i < size; ++i) block[i] = 0;
    for (int c = 0; c < channels; ++c) {
      const float* plane = x + c * stride + start;
      const float offset = shift ? shift[c] : 0.0f;
      for (int64_t i = 0; i < size; ++i) {
        const float value = shift ? plane[i] + offset : plane[i];
        block[i] |= static_cast<uint32_t>(!(value >= 0.0f)) << c;
      }
    }
    for (int64_t i = 0; i < size; ++i) words[(start + i) * step] = block[i];
  }
}
