// Winograd's minimal filtering on float vectors: the steps that each instruction set provides (winograd.inl).
//
// Only plain old data and declarations, for the reason that kernels.h gives.
//
// A tile is kPoints x kPoints values of an image. Its transform is multiplied with the filter's, value by value, and summed
// over inputs; the transform of that has kPoints - r + 1 outputs along an axis, for filters of r taps. The points 0, ±3/4,
// ±3/2 and infinity were chosen by error: 1.7 times that of the direct sum for r = 4, where 0, ±1, ±2 gives 4.4 times and
// 0, ±1, ±1/2 8 times (largest errors against float64). Their powers are exact floats.
#pragma once

#include <cstdint>

namespace bibench {

inline constexpr int kPoints = 6;
inline constexpr int kProducts = kPoints * kPoints;
inline constexpr float kNear = 0.75f, kFar = 1.5f;

// Which inputs have a weight in each product: `count` of them, all lists after each other. At infinity only the last tap
// counts, so that phases whose filter is shorter have none.
struct WinogradInputs {
  const int32_t* list;
  int32_t count[kProducts];
};

// Per channel, as many as the blocks of outputs have, and bounds that may be infinite.
struct WinogradEnd {
  const float* bias;
  const float* slope;  // v < 0 ? v * slope : v; null for none
  float low, high;
};

struct Winograd {
  const char* name;
  int lanes;   // outputs of a block; the depth of an image's pixels is a multiple of it
  int tiles;   // of one call, at most
  int blocks;  // of one call: so many, or one
  // Transforms down the columns: of kPoints rows of n values, kPoints rows at out + i * step.
  void (*columns)(const float* const* rows, int64_t n, float* out, int64_t step);
  // Transforms along the rows that `columns` gave (row i at in + i * step) of tiles that are `advance` values apart, with
  // `depth` values for each pixel, to [product][tile][depth].
  void (*rows)(const float* in, int64_t step, int tiles, int64_t advance, int64_t depth, float* out);
  // [product][tile][depth] times [product][input][lane] (each block `weight_step` after the last), summed over the inputs
  // of the product, to [tile][block][product][lane].
  void (*multiply)(const float* in, int tiles, int64_t depth, const WinogradInputs& inputs, const float* weights,
                   int64_t weight_step, int blocks, float* out);
  // The outputs of what `multiply` gave, `size` along an axis (3 to 5), with bias and activation. Row i of them starts at
  // out[i]; the channels of a pixel follow each other.
  void (*finish)(const float* in, int tiles, int blocks, int size, const WinogradEnd& end, float* const* out,
                 int64_t pixel_step);
  // out[i] = the largest of rows[0 … count)[i], n values.
  void (*largest)(const float* const* rows, int64_t count, int64_t n, float* out);
};

extern const Winograd kWinogradPortable;
extern const Winograd kWinogradAvx2;
extern const Winograd kWinogradAvx512;
extern const Winograd kWinogradNeon;

}  // namespace bibench
