// The table of kernels that each instruction set provides, and the plain data they work on.
//
// Only plain old data and declarations here: this header is included by translation units compiled for
// different instruction sets, and inline code shared between them could end up compiled for the wrong one.
//
// Bits: bit = 1 where the value is negative (or NaN), so that sign(0) = sign(-0) = +1. 32 channels share
// one 32-bit word, least significant first; bits beyond the last channel are 0 in activations and weights.
//
// Weights are laid out [block][word][lane], where a block is kLanes output channels and `word` runs over
// the words that meet in one output. A kernel holds lanes in vector registers and broadcasts activation
// words, so a dot product needs no shuffling and the packed activations are read where they are.
#pragma once

#include <cstdint>

namespace bibench {

inline constexpr int kWordBits = 32;
inline constexpr int kLanes = 16;
inline constexpr int kMaxTilePixels = 8;
inline constexpr int kMaxTileBlocks = 2;
inline constexpr int kMaxTerms = 20;

// The words of one output: `count` stretches of `words` consecutive words, at these offsets from the
// output's base pointer (one run for each row of a filter, or for each tap).
//
// Before them may come `triples` times three stretches of `triple_words` words (see convolution/triples.h), whose
// weights lie [word][three]: the words of the third stretch are the parity of three words, of which the first two
// stretches have two.
struct Runs {
  const int32_t* offsets;
  int64_t count;
  int64_t words;
  int64_t triples = 0;
  int64_t triple_words = 0;
};

// How counts become outputs: value = (total - 2 count - correction[c]) * scale[c] + bias[c].
// `scale` and `bias` (per channel) and `corrections` (per pixel, a pointer to one value per channel) may be
// null; `totals` (per pixel) replaces `total` where it is given.
struct Epilogue {
  int32_t total;
  const int32_t* totals;
  const int32_t* const* corrections;
  const float* scale;
  const float* bias;
};

// out = (x - mean) * deviation / sqrt(variance + eps) for each row, or x * … when not `centre`; the variance has
// `degrees` of freedom.
struct Normalization {
  float degrees, eps, deviation;
  bool centre;
};

enum class Activation { kNone, kRelu, kPrelu, kClip };

// Values along a line of outputs: one for each (step 1) or one for all (step 0); null where there are none.
struct Operand {
  const float* data;
  int64_t step;
};

// What is done to a line of outputs that is in the cache: v * ((channel * row) * column) where `channel` or `column` is
// given or `row` is not 1, then * pixel, * post, + bias, + residual, and the activation. NaN stays NaN.
struct Line {
  Operand channel, column;
  float row;
  Operand pixel, post, bias;
  const float* residual;
  Activation activation;
  Operand slope;    // of kPrelu: v >= 0 ? v : slope * v
  float low, high;  // of kClip
};

// Outputs with pixels adjacent, `stride` from a channel's to the next one's, and what is done to them after the
// epilogue, as in `Line`. What is given per channel starts at the first.
struct Planes {
  float* out;
  int64_t stride;
  const float* residual;  // null, or laid out as `out`
  Activation activation;
  Operand slope;
  float low, high;
};

// `count` positions from `first` on.
struct Stretch {
  int32_t first, count;
};

// Outputs in the lanes of registers, in tiles of 2 kLanes, at the positions in these stretches, which end where a tile does
// (kLanes - 1 words beyond a position's can be read). The words that meet in the output at position p are
// words[p + offsets[i]]: first `triples` times three, then `count`. `classes` (for each output of whole tiles, below
// kLanes; or null) tells its correction. `panel` has room for 2 kLanes words for each tile and offset.
struct Lanes {
  const uint32_t* words;
  const int32_t* offsets;
  int64_t triples, count;
  const Stretch* stretches;
  int64_t stretch_count;
  int64_t outputs;
  const int32_t* classes;
  uint32_t* panel;
};

struct Kernels {
  const char* name;
  int tile_pixels;
  int tile_blocks;
  bool triples;  // whether product_xor, product_planes and product_lanes take words in threes
  // The outputs of a tile: counts the set bits of (activation xor weight), or `and`, for `pixels` <= tile_pixels
  // base pointers and `blocks` <= tile_blocks consecutive weight blocks, and finishes them: `channels` contiguous
  // values for each pixel, at out + pixel * out_stride. What the epilogue gives per channel starts at the first.
  void (*product_xor)(const uint32_t* const* bases, int pixels, const uint32_t* weights, int blocks, Runs runs,
                      int channels, const Epilogue& epilogue, float* out, int64_t out_stride);
  void (*product_and)(const uint32_t* const* bases, int pixels, const uint32_t* weights, int blocks, Runs runs,
                      int channels, const Epilogue& epilogue, float* out, int64_t out_stride);
  // As product_xor, for planes. Null where transposing many tiles at once is as good.
  void (*product_planes)(const uint32_t* const* bases, int pixels, const uint32_t* weights, int blocks, Runs runs,
                         int channels, const Epilogue& epilogue, const Planes& planes);
  // The panel: [tile][offset][2 kLanes], where the third word of three is the parity of all (see `Runs`).
  void (*gather_lanes)(const Lanes& lanes);
  // Outputs that follow each other in planes. `weights` is the first channel's lane, one of every eighth, of a block;
  // `corrections` are kLanes for each channel, or null. The epilogue gives total, scale and bias. Null where there is no
  // such kernel.
  void (*product_lanes)(const Lanes& lanes, const uint32_t* weights, int channels, const int32_t* corrections,
                        const Epilogue& epilogue, const Planes& planes);
  // out[column * out_stride + row] = in[row * in_stride + column].
  void (*transpose)(const float* in, int64_t rows, int64_t columns, int64_t in_stride, float* out, int64_t out_stride);
  // `count` rows of `channels` consecutive floats, `step` floats apart, to ceil(channels / 32) words each,
  // `word_step` words apart; `shift` (per channel) may be null.
  void (*pack_rows)(const float* x, const float* shift, int64_t channels, int64_t count, int64_t step, uint32_t* words,
                    int64_t word_step);
  // One word (up to 32 channels, `stride` floats apart) of `pixels` consecutive pixels, `step` words apart.
  void (*pack_plane)(const float* x, const float* shift, int channels, int64_t stride, int64_t pixels, uint32_t* words,
                     int64_t step);
  // out = sign(x), n values; returns whether |x| <= limit everywhere.
  bool (*sign)(const float* x, float* out, int64_t n, float limit);
  // out = sign(x + shift), n values.
  void (*sign_shifted)(const float* x, const float* shift, float* out, int64_t n);
  // The same for `count` rows of n values, one shift for each column.
  void (*sign_shifted_rows)(const float* x, const float* shift, int64_t count, int64_t n, float* out);
  // out = grad * surrogate'(x), n values; `out` may be `grad`.
  void (*ste)(const float* grad, const float* x, float* out, int64_t n, float clip);
  void (*approx_sign)(const float* grad, const float* x, float* out, int64_t n);
  // The factor is an even polynomial sum_k c[k] x^(2k) of up to kMaxTerms terms (Horner's scheme, no fused
  // multiply-add), 0 beyond `window`.
  void (*even_polynomial)(const float* grad, const float* x, float* out, int64_t n, const float* c, int terms,
                          float window);
  // out = sign(x) + amount * sin(x), and its gradient: grad * the polynomial, or * amount * cos(x) beyond `window`.
  void (*sign_sine)(const float* x, float amount, float* out, int64_t n);
  void (*even_polynomial_cosine)(const float* grad, const float* x, float* out, int64_t n, const float* c, int terms,
                                 float window, float amount);
  // out = scale where x >= 0, else -scale, n values; returns whether |x| <= limit everywhere.
  bool (*sign_scaled)(const float* x, float scale, float* out, int64_t n, float limit);
  // For depthwise convolutions, whose filters are too short for words of bits: signs as bytes, sums of their
  // products, and what the epilogue makes of these (see elementwise/bytes.inl).
  void (*to_bytes)(const float* x, const float* shift, int64_t shift_step, int64_t n, int8_t* out);
  void (*add_tap)(const int8_t* a, int64_t step, int8_t w, int64_t n, int16_t* sums);
  void (*add_products)(const int8_t* a, const int8_t* w, int64_t n, int16_t* sums);
  void (*finish_sums)(const int16_t* sums, const float* scale, const float* bias, int64_t step, int64_t n, float* out);
  // See `Line`; n values in place.
  void (*finish_line)(float* out, int64_t n, const Line& line);
  // out[i] += |x[i]|.
  void (*add_abs)(const float* x, int64_t n, float* out);
  // One row of n values; see elementwise/rows.inl. The gradient passes where |out| < limit.
  void (*normalize_row)(const float* x, int64_t n, const Normalization& how, float* out, float* buffer, float* stats);
  // What describes a row without making it; the signs of one that is centred; and, in place, the gradient of a filter
  // whose centred sign is scaled by `scale`, of which the gradient is returned.
  void (*describe_filter)(const float* x, int64_t n, const Normalization& how, float* buffer, float* stats);
  void (*sign_centred)(const float* x, float centre, float scale, float* out, int64_t n);
  float (*rectify_row)(float* grad, const float* x, const float* stats, float scale, int64_t n,
                       const Normalization& how, float limit, float* buffer);
  void (*normalize_row_backward)(const float* grad, const float* x, const float* stats, int64_t n,
                                 const Normalization& how, float limit, float* out, float* buffer);
  // A row's gradient through scaling, sign and Bi-Real's polynomial; `out` may be `grad`.
  void (*approx_sign_row)(const float* grad, const float* x, int64_t n, const Normalization& how, float* out,
                          float* buffer);
  // The gradients of a filter's scale (returned) and, in place, of its signs; `buffer` has room for n / 2 + 1 values.
  float (*filter_scale_gradient)(float* grad, const float* x, float scale, int64_t n, float* buffer);
  // `rows` rows of n values, which are overwritten: their sum, neighbours first.
  void (*sum_neighbours)(float* values, int64_t rows, int64_t n, float* total);
  // Gradients of rows times gamma; see elementwise/columns.inl.
  void (*rescale_backward)(const float* grad, const float* x, const float* gamma, int64_t count, int64_t n, int64_t step,
                           float* out, float* total, float* buffer);
  // The same of integers, and the gradients of sign(x + shift); `out` may be `grad` in the latter.
  void (*rescale_kept_backward)(const float* grad, const int16_t* x, const float* gamma, int64_t count, int64_t n,
                                int64_t step, float* out, float* total, float* buffer);
  void (*approx_sign_shifted)(const float* grad, const float* x, const float* shift, int64_t count, int64_t n,
                              int64_t step, float* out, float* total, float* buffer);
  void (*approx_sign_shifted_rows)(const float* grad, const float* x, const float* shift, int64_t count, int64_t n,
                                   float* out, float* total, float* buffer);
  // `count` rows of n values: the mean of their magnitudes; each times its factor.
  void (*mean_magnitudes)(const float* x, int64_t count, int64_t n, float* out, float* buffer);
  void (*multiply_rows)(const float* x, const float* factors, int64_t count, int64_t n, float* out);
  // In place: rows times a factor each; n integers times gamma, of which `kept` (may be null) is a copy.
  void (*scale_lines)(float* out, const float* factors, int64_t count, int64_t n);
  void (*scale_keeping)(float* out, const float* gamma, int64_t n, int16_t* kept);
  // `rounds` rounds of xor, count and add on registers alone, all units busy: what this processor can do at most.
  // Returns the number of bits counted; `sink` takes the sums, so that none is left out.
  int64_t (*probe)(int64_t rounds, uint32_t* sink);
};

extern const Kernels kPortable;
extern const Kernels kAvx2;
extern const Kernels kAvx512;
extern const Kernels kNeon;

}  // namespace bibench
