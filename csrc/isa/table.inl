// What every instruction set ends with: products from its own `count` and `finish` (unless it has
// its own `product`), and the table of its kernels.
// Included last inside an anonymous namespace.

#ifndef BIBENCH_OWN_PRODUCT
template <class Op>
void product(const uint32_t* const* bases, int pixels, const uint32_t* weights, int blocks, Runs runs, int channels,
             const Epilogue& epilogue, float* out, int64_t out_stride) {
  alignas(64) int32_t counts[kMaxTilePixels * kMaxTileBlocks * kLanes];
  count<Op>(bases, pixels, weights, blocks, runs, counts);
  finish(counts, pixels, blocks * kLanes, channels, epilogue, out, out_stride);
}
#endif

constexpr Kernels table(const char* name, int tile_pixels, int tile_blocks, bool triples = false,
                        decltype(Kernels::product_planes) product_planes = nullptr,
                        decltype(Kernels::gather_lanes) gather_lanes = nullptr,
                        decltype(Kernels::product_lanes) product_lanes = nullptr) {
  return {
      .name = name,
      .tile_pixels = tile_pixels,
      .tile_blocks = tile_blocks,
      .triples = triples,
      .product_xor = product<Xor>,
      .product_and = product<And>,
      .product_planes = product_planes,
      .gather_lanes = gather_lanes,
      .product_lanes = product_lanes,
      .transpose = transpose,
      .pack_rows = pack_rows,
      .pack_plane = pack_plane,
      .sign = sign,
      .sign_shifted = sign_shifted,
      .sign_shifted_rows = sign_shifted_rows,
      .ste = ste,
      .approx_sign = approx_sign,
      .even_polynomial = even_polynomial,
      .sign_sine = sign_sine,
      .even_polynomial_cosine = even_polynomial_cosine,
      .sign_scaled = sign_scaled,
      .to_bytes = to_bytes,
      .add_tap = add_tap,
      .add_products = add_products,
      .finish_sums = finish_sums,
      .finish_line = finish_line,
      .add_abs = add_abs,
      .normalize_row = normalize_row,
      .describe_filter = describe_filter,
      .sign_centred = sign_centred,
      .rectify_row = rectify_row,
      .normalize_row_backward = normalize_row_backward,
      .approx_sign_row = approx_sign_row,
      .filter_scale_gradient = filter_scale_gradient,
      .sum_neighbours = sum_neighbours,
      .rescale_backward = rescale_backward,
      .rescale_kept_backward = rescale_kept_backward,
      .approx_sign_shifted = approx_sign_shifted,
      .approx_sign_shifted_rows = approx_sign_shifted_rows,
      .mean_magnitudes = mean_magnitudes,
      .multiply_rows = multiply_rows,
      .scale_lines = scale_lines,
      .scale_keeping = scale_keeping,
      .probe = probe,
  };
}
