// The steps of winograd.h on vectors of kLanes floats, for any instruction set: vectors of GCC and Clang, or single
// floats for other compilers. Products and sums may be fused here (-ffp-contract=fast).
//
// Included inside an anonymous namespace, after kVectorBytes, kTiles and kBlocks.

#if defined(__GNUC__)
typedef float Vector __attribute__((vector_size(kVectorBytes)));
#define BIBENCH_UNROLL _Pragma("GCC unroll 8")
#else
using Vector = float;
#define BIBENCH_UNROLL
#endif
constexpr int kLanes = sizeof(Vector) / sizeof(float);

inline Vector load(const float* from) {
  Vector v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
inline void store(float* to, Vector v) { std::memcpy(to, &v, sizeof v); }

// NaN as the first argument stays NaN.
inline Vector larger(Vector v, Vector other) { return v < other ? other : v; }
inline Vector smaller(Vector v, Vector other) { return v > other ? other : v; }

// Rows are polynomials with roots at all finite points but one, and at all.
inline void transform(const Vector* d, Vector* out) {
  constexpr float near = kNear * kNear, far = kFar * kFar;
  const Vector even_near = d[4] - far * d[2], odd_near = d[3] - far * d[1];
  const Vector even_far = d[4] - near * d[2], odd_far = d[3] - near * d[1];
  out[0] = (d[4] - (near + far) * d[2]) + near * far * d[0];
  out[1] = even_near + kNear * odd_near;
  out[2] = even_near - kNear * odd_near;
  out[3] = even_far + kFar * odd_far;
  out[4] = even_far - kFar * odd_far;
  out[5] = (d[5] - (near + far) * d[3]) + near * far * d[1];
}

// Sums of powers of the points: the outputs.
template <int size>
inline void untransform(const Vector* d, Vector* out) {
  constexpr float near = kNear * kNear, far = kFar * kFar;
  const Vector near_sum = d[1] + d[2], near_difference = d[1] - d[2];
  const Vector far_sum = d[3] + d[4], far_difference = d[3] - d[4];
  out[0] = (d[0] + near_sum) + far_sum;
  out[1] = kNear * near_difference + kFar * far_difference;
  out[2] = near * near_sum + far * far_sum;
  if constexpr (size > 3) out[3] = (kNear * near) * near_difference + (kFar * far) * far_difference;
  if constexpr (size > 4) out[4] = (near * near) * near_sum + (far * far) * far_sum;
  out[size - 1] += d[5];
}

void columns(const float* const* rows, int64_t n, float* out, int64_t step) {
  for (int64_t i = 0; i < n; i += kLanes) {
    Vector d[kPoints], t[kPoints];
    for (int p = 0; p < kPoints; ++p) d[p] = load(rows[p] + i);
    transform(d, t);
    for (int p = 0; p < kPoints; ++p) store(out + p * step + i, t[p]);
  }
}

void rows(const float* in, int64_t step, int tiles, int64_t advance, int64_t depth, float* out) {
  const int64_t product = tiles * depth;
  for (int p = 0; p < kPoints; ++p)
    for (int tile = 0; tile < tiles; ++tile)
      for (int64_t i = 0; i < depth; i += kLanes) {
        const float* from = in + p * step + tile * advance + i;
        Vector d[kPoints], t[kPoints];
        for (int q = 0; q < kPoints; ++q) d[q] = load(from + q * depth);
        transform(d, t);
        float* to = out + p * kPoints * product + tile * depth + i;
        for (int q = 0; q < kPoints; ++q) store(to + q * product, t[q]);
      }
}

template <int tiles, int blocks>
void multiply_tiles(const float* in, int64_t depth, const WinogradInputs& inputs, const float* weights,
                    int64_t weight_step, float* out) {
  const int32_t* input = inputs.list;
  for (int p = 0; p < kProducts; ++p) {
    Vector sum[tiles][blocks] = {};
    const float* values = in + p * tiles * depth;
    for (const int32_t* end = input + inputs.count[p]; input < end; ++input, weights += kLanes) {
      Vector factor[blocks];
      BIBENCH_UNROLL
      for (int b = 0; b < blocks; ++b) factor[b] = load(weights + b * weight_step);
      BIBENCH_UNROLL
      for (int t = 0; t < tiles; ++t) {
        const float value = values[t * depth + *input];
        BIBENCH_UNROLL
        for (int b = 0; b < blocks; ++b) sum[t][b] += value * factor[b];
      }
    }
    BIBENCH_UNROLL
    for (int t = 0; t < tiles; ++t)
      BIBENCH_UNROLL
      for (int b = 0; b < blocks; ++b) store(out + ((t * blocks + b) * kProducts + p) * kLanes, sum[t][b]);
  }
}

template <int blocks, int tiles = kTiles>
void multiply_blocks(const float* in, int count, int64_t depth, const WinogradInputs& inputs, const float* weights,
                     int64_t weight_step, float* out) {
  if constexpr (tiles > 1)
    if (count < tiles) return multiply_blocks<blocks, tiles - 1>(in, count, depth, inputs, weights, weight_step, out);
  multiply_tiles<tiles, blocks>(in, depth, inputs, weights, weight_step, out);
}

void multiply(const float* in, int tiles, int64_t depth, const WinogradInputs& inputs, const float* weights,
              int64_t weight_step, int blocks, float* out) {
  if (blocks == kBlocks) return multiply_blocks<kBlocks>(in, tiles, depth, inputs, weights, weight_step, out);
  multiply_blocks<1>(in, tiles, depth, inputs, weights, weight_step, out);
}

template <int size, bool slopes>
void finish_tiles(const float* in, int tiles, int blocks, const WinogradEnd& end, float* const* out,
                  int64_t pixel_step) {
  const Vector low = end.low + Vector{}, high = end.high + Vector{};
  for (int tile = 0; tile < tiles; ++tile)
    for (int b = 0; b < blocks; ++b) {
      const float* from = in + (tile * blocks + b) * kProducts * kLanes;
      Vector part[kPoints][size];
      BIBENCH_UNROLL
      for (int p = 0; p < kPoints; ++p) {
        Vector d[kPoints];
        BIBENCH_UNROLL
        for (int q = 0; q < kPoints; ++q) d[q] = load(from + (p * kPoints + q) * kLanes);
        untransform<size>(d, part[p]);
      }
      const Vector bias = load(end.bias + b * kLanes);
      const int64_t start = tile * size * pixel_step + b * kLanes;
      BIBENCH_UNROLL
      for (int x = 0; x < size; ++x) {
        Vector d[kPoints], y[size];
        BIBENCH_UNROLL
        for (int p = 0; p < kPoints; ++p) d[p] = part[p][x];
        untransform<size>(d, y);
        BIBENCH_UNROLL
        for (int r = 0; r < size; ++r) {
          Vector v = y[r] + bias;
          if constexpr (slopes) v = v < 0.0f ? v * load(end.slope + b * kLanes) : v;
          v = smaller(larger(v, low), high);
          store(out[r] + start + x * pixel_step, v);
        }
      }
    }
}

template <int size>
void finish_size(const float* in, int tiles, int blocks, const WinogradEnd& end, float* const* out,
                 int64_t pixel_step) {
  if (end.slope) return finish_tiles<size, true>(in, tiles, blocks, end, out, pixel_step);
  finish_tiles<size, false>(in, tiles, blocks, end, out, pixel_step);
}

void finish(const float* in, int tiles, int blocks, int size, const WinogradEnd& end, float* const* out,
            int64_t pixel_step) {
  switch (size) {
    case 3: return finish_size<3>(in, tiles, blocks, end, out, pixel_step);
    case 4: return finish_size<4>(in, tiles, blocks, end, out, pixel_step);
    default: return finish_size<5>(in, tiles, blocks, end, out, pixel_step);
  }
}

void largest_of_three(const float* a, const float* b, const float* c, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kLanes) store(out + i, larger(load(a + i), larger(load(b + i), load(c + i))));
}

void largest(const float* const* rows, int64_t count, int64_t n, float* out) {
  if (count == 3) return largest_of_three(rows[0], rows[1], rows[2], n, out);
  for (int64_t i = 0; i < n; i += kLanes) {
    Vector most = load(rows[0] + i);
    for (int64_t r = 1; r < count; ++r) most = larger(load(rows[r] + i), most);
    store(out + i, most);
  }
}

constexpr Winograd winograd(const char* name) {
  return {name, kLanes, kTiles, kBlocks, columns, rows, multiply, finish, largest};
}
