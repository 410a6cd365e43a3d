// The other way round (see convolution/planar.h): sixteen outputs of a channel in the lanes of a register, weights
// broadcast to all.
//
// Included inside the anonymous namespace of avx512.cpp, whose `add_triple` and `first` it calls.

void gather_lanes(const Lanes& lanes) {
  const int64_t tile = (3 * lanes.triples + lanes.count) * 2 * kLanes;
  uint32_t* panel = lanes.panel;
  int at = 0;
  for (int64_t s = 0; s < lanes.stretch_count; ++s) {
    const Stretch stretch = lanes.stretches[s];
    for (int i = 0; i < stretch.count; i += kLanes) {
      // Beyond the stretch, a copy takes what does not belong here: the next one is written over it.
      const __mmask16 mask = first(2 * kLanes - at - i);
      const uint32_t* words = lanes.words + stretch.first + i;
      const int32_t* offset = lanes.offsets;
      uint32_t* to = panel + at + i;
      const auto put = [&](__m512i v) {
        _mm512_mask_storeu_epi32(to, mask, v);
        to += 2 * kLanes;
      };
      for (int64_t t = 0; t < lanes.triples; ++t, offset += 3) {
        const __m512i a = _mm512_loadu_si512(words + offset[0]), b = _mm512_loadu_si512(words + offset[1]);
        put(a);
        put(b);
        put(_mm512_ternarylogic_epi32(a, b, _mm512_loadu_si512(words + offset[2]), 0x96));
      }
      for (int64_t t = 0; t < lanes.count; ++t) put(_mm512_loadu_si512(words + offset[t]));
    }
    at += stretch.count;
    if (at == 2 * kLanes) at = 0, panel += tile;
  }
}

// B registers of outputs of one channel get their residual and activation and are stored.
template <int B>
[[gnu::always_inline]] inline void store_lanes(__m512 (&v)[B], const __mmask16 (&mask)[B], bool full, const Planes& planes,
                                               int c) {
  const int64_t at = c * planes.stride;
  const __m512 zero = _mm512_setzero_ps();
  if (planes.residual)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b)
      v[b] = _mm512_add_ps(v[b], _mm512_maskz_loadu_ps(mask[b], planes.residual + at + b * kLanes));
  if (planes.activation == Activation::kPrelu) {
    const __m512 slope = _mm512_set1_ps(planes.slope.data[c * planes.slope.step]);
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) v[b] = _mm512_mask_mul_ps(v[b], _mm512_cmp_ps_mask(v[b], zero, _CMP_LT_OQ), v[b], slope);
  } else if (planes.activation != Activation::kNone) {  // NaN stays NaN: it is the second operand
    const bool clips = planes.activation == Activation::kClip;
    const __m512 low = clips ? _mm512_set1_ps(planes.low) : zero;
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) {
      v[b] = _mm512_max_ps(low, v[b]);
      if (clips) v[b] = _mm512_min_ps(_mm512_set1_ps(planes.high), v[b]);
    }
  }
  float* out = planes.out + at;
  if (full)
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) _mm512_storeu_ps(out + b * kLanes, v[b]);
  else
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) _mm512_mask_storeu_ps(out + b * kLanes, mask[b], v[b]);
}

// Memory that will be written and read comes while bits are counted.
template <int C>
[[gnu::always_inline]] inline void prefetch_planes(const Planes& planes) {
  for (int c = 0; c < C; ++c) {
    const int64_t last = c * planes.stride + 2 * kLanes - 1;
    _mm_prefetch(reinterpret_cast<const char*>(planes.out + last - kLanes), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(planes.out + last), _MM_HINT_T0);
    if (!planes.residual) continue;
    _mm_prefetch(reinterpret_cast<const char*>(planes.residual + last - kLanes), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(planes.residual + last), _MM_HINT_T0);
  }
}

// C channels of B registers of outputs. Sums start with what remains when no bit is set, so that they end as the dot
// products.
template <int C, int B>
[[gnu::always_inline]] inline void lanes_tile(const Lanes& lanes, const uint32_t* weights, const int32_t* corrections,
                                              int32_t sum_of_all, Operand scales, Operand biases,
                                              const Planes& planes) {
  const __m512i once = _mm512_set1_epi32(0xfffe), twice = _mm512_set1_epi32(0xfffc);  // -2 and -4 in the lower half
  const __m512i total = _mm512_set1_epi32(sum_of_all);
  __m512i sum[C][B];
  if (corrections) {
    __m512i kind[B];
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) kind[b] = _mm512_loadu_si512(lanes.classes + b * kLanes);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m512i table = _mm512_sub_epi32(total, _mm512_loadu_si512(corrections + c * kLanes));
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) sum[c][b] = _mm512_permutexvar_epi32(kind[b], table);
    }
  } else {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c)
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) sum[c][b] = total;
  }
  if (lanes.outputs > 2 * kLanes) {  // of the next tile
    Planes next = planes;
    next.out += 2 * kLanes;
    if (next.residual) next.residual += 2 * kLanes;
    prefetch_planes<C>(next);
  }
  const uint32_t *w = weights, *words = lanes.panel;
  const int64_t block = (3 * lanes.triples + lanes.count) * kLanes;
  for (int64_t i = 0; i < lanes.triples; ++i, w += 3 * kLanes, words += 6 * kLanes) {
    __m512i a[3][B];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) _mm_prefetch(reinterpret_cast<const char*>(w + block + j * kLanes), _MM_HINT_T1);
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j)
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) a[j][b] = _mm512_loadu_si512(words + (2 * j + b) * kLanes);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m512i one = _mm512_set1_epi32(static_cast<int>(w[c]));
      const __m512i two = _mm512_set1_epi32(static_cast<int>(w[kLanes + c]));
      const __m512i all = _mm512_set1_epi32(static_cast<int>(w[2 * kLanes + c]));
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b)
        add_triple(sum[c][b], _mm512_xor_si512(a[0][b], one), _mm512_xor_si512(a[1][b], two),
                   _mm512_xor_si512(a[2][b], all), once, twice);
    }
  }
  for (int64_t i = 0; i < lanes.count; ++i, w += kLanes, words += 2 * kLanes) {
    __m512i a[B];
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) a[b] = _mm512_loadu_si512(words + b * kLanes);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m512i weight = _mm512_set1_epi32(static_cast<int>(w[c]));
#pragma GCC unroll 2
      for (int b = 0; b < B; ++b) {
        sum[c][b] = _mm512_dpwssd_epi32(sum[c][b], _mm512_popcnt_epi32(_mm512_xor_si512(a[b], weight)), once);
        __asm__("" : "+v"(sum[c][b]));  // as in `add_triple`
      }
    }
  }
  __mmask16 mask[B];
#pragma GCC unroll 2
  for (int b = 0; b < B; ++b) mask[b] = first(lanes.outputs - b * kLanes);
  const bool full = lanes.outputs >= B * kLanes;
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) {
    const __m512 scale = _mm512_set1_ps(scales.data[c * scales.step]), bias = _mm512_set1_ps(biases.data[c * biases.step]);
    __m512 value[B];
#pragma GCC unroll 2
    for (int b = 0; b < B; ++b) value[b] = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum[c][b]), scale), bias);
    store_lanes(value, mask, full, planes, c);
  }
}

// All tiles of C channels.
template <int C>
void lanes_tiles(Lanes lanes, const uint32_t* weights, const int32_t* corrections, int32_t total, Operand scale,
                 Operand bias, Planes planes) {
  const int64_t tile = (3 * lanes.triples + lanes.count) * 2 * kLanes;
  prefetch_planes<C>(planes);
  for (;;) {
    if (lanes.outputs <= kLanes) return lanes_tile<C, 1>(lanes, weights, corrections, total, scale, bias, planes);
    lanes_tile<C, 2>(lanes, weights, corrections, total, scale, bias, planes);
    lanes.outputs -= 2 * kLanes;
    if (lanes.outputs <= 0) return;
    lanes.panel += tile;
    if (lanes.classes) lanes.classes += 2 * kLanes;
    planes.out += 2 * kLanes;
    if (planes.residual) planes.residual += 2 * kLanes;
  }
}

// Eight channels at a time, and what is left one by one.
void product_lanes(const Lanes& lanes, const uint32_t* weights, int channels, const int32_t* corrections,
                   const Epilogue& e, const Planes& where) {
  static const float one = 1.0f, nothing = -0.0f;  // change no value
  Operand scale = e.scale ? Operand{e.scale, 1} : Operand{&one, 0};
  Operand bias = e.bias ? Operand{e.bias, 1} : Operand{&nothing, 0};
  constexpr int C = kLanes / 2;
  const int64_t block = (3 * lanes.triples + lanes.count) * kLanes;
  Planes planes = where;
  for (int c = 0; c < channels;) {
    const int count = c + C <= channels ? C : 1;
    (count == C ? lanes_tiles<C> : lanes_tiles<1>)(lanes, weights, corrections, e.total, scale, bias, planes);
    c += count;
    weights += count;
    if (c % kLanes == 0) weights += block - kLanes;
    if (corrections) corrections += count * kLanes;
    scale.data += count * scale.step, bias.data += count * bias.step;
    if (planes.residual) planes.residual += count * planes.stride;
    planes.out += count * planes.stride;
    if (planes.slope.step) planes.slope.data += count;
  }
}
