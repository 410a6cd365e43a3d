// Counts, then outputs. Included after `count` and `finish`.
template <class Op>
void product(const uint32_t* const* bases, int pixels, const uint32_t* weights, int blocks, Runs runs, int channels,
             const Epilogue& epilogue, float* out, int64_t out_stride) {
  alignas(64) int32_t counts[kMaxTilePixels * kMaxTileBlocks * kLanes];
  count<Op>(bases, pixels, weights, blocks, runs, counts);
  finish(counts, pixels, blocks * kLanes, channels, epilogue, out, out_stride);
}
