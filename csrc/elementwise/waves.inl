// FDA's noise: signs plus a sine, and the gradient that follows from it.

// Sine and cosine as bibench.kernels.noise has them: x = half_turns * pi + rest with the rest within a quarter turn, where
// polynomials are accurate to float32. Pi is split into parts whose products with half_turns are exact.
constexpr float kSine[] = {1.0f, -0.16666658222675323f, 0.008333049714565277f, -0.00019809004152193666f,
                           2.6050781798403477e-06f};
constexpr float kCosine[] = {1.0f, -0.5f, 0.04166663438081741f, -0.0013888359535485506f, 2.4760092856013216e-05f,
                             -2.605036399927485e-07f};
constexpr float kFarthest = 8192.0f;

struct Turned {
  float rest, sign;
};

inline Turned half_turns(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer, the nearest (even when in doubt)
  const float size = std::fabs(x), v = std::copysign(size > kFarthest ? kFarthest : size, x);
  const float count = (v * 0.31830987334251404f + kRound) - kRound;
  const float odd = count - 2.0f * ((count * 0.5f + kRound) - kRound);  // 0, or 1 or -1
  return {((v - count * 3.140625f) - count * 0.0009675025939941406f) - count * 1.5099580252808664e-07f,
          1.0f - 2.0f * (odd * odd)};
}

// Whether all magnitudes are at most `limit`.
bool within(const float* __restrict x, int64_t n, float limit) {
  int outside = 0;
  for (int64_t i = 0; i < n; ++i) outside |= !(std::fabs(x[i]) <= limit);
  return !outside;
}

// out = ±1 by the sign of x, + amount * sin(x). Where a block needs no half turns, they are left out.
void sign_sine(const float* __restrict x, float amount, float* __restrict out, int64_t n) {
  constexpr int64_t kBlock = 512;
  constexpr float kQuarter = 1.5f;  // below a quarter turn
  for (int64_t start = 0; start < n; start += kBlock, x += kBlock, out += kBlock) {
    const int64_t size = n - start < kBlock ? n - start : kBlock;
    if (within(x, size, kQuarter)) {
      for (int64_t i = 0; i < size; ++i)
        out[i] = (x[i] >= 0.0f ? 1.0f : -1.0f) + amount * (x[i] * horner<5>(kSine, x[i] * x[i]));
      continue;
    }
    for (int64_t i = 0; i < size; ++i) {
      const Turned t = half_turns(x[i]);
      const float sine = t.sign * (t.rest * horner<5>(kSine, t.rest * t.rest));
      out[i] = (x[i] >= 0.0f ? 1.0f : -1.0f) + amount * sine;
    }
  }
}

// grad * even polynomial up to `window`, and beyond it grad * (amount * cos(x)).
void even_polynomial_cosine(const float* grad, const float* x, float* out, int64_t n, const float* c, int terms,
                            float window, float amount) {
  constexpr int64_t kBlock = 512;
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t size = n - start < kBlock ? n - start : kBlock;
    const float *g = grad + start, *v = x + start;
    float* to = out + start;
    if (within(v, size, window)) {
      even_polynomial(g, v, to, size, c, terms, window);
      continue;
    }
    float cosine[kBlock];
    for (int64_t i = 0; i < size; ++i) {
      const Turned t = half_turns(v[i]);
      cosine[i] = amount * (t.sign * horner<6>(kCosine, t.rest * t.rest));
    }
    const float* beyond = cosine;
    polynomial_of(v, size, c, terms, [=](int64_t i, float value) {
      to[i] = g[i] * (std::fabs(v[i]) > window ? beyond[i] : value);
    });
  }
}
