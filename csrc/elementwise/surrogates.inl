// Gradients of signs by what stands in for their derivative: the straight-through window and polynomials.

// The straight-through estimator: grad * (|x| <= clip). The mask is a factor, as in the pure path, so that a
// gradient of infinity or NaN outside the window becomes NaN there too.
//
// Latent weights are mostly inside the window: in place, blocks that are need not be touched.
void ste(const float* grad, const float* x, float* out, int64_t n, float clip) {
  constexpr int64_t kBlock = 512;
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t size = n - start < kBlock ? n - start : kBlock;
    const float *g = grad + start, *v = x + start;
    float* to = out + start;
    int outside = 0;
    for (int64_t i = 0; i < size; ++i) outside |= !(std::fabs(v[i]) <= clip);
    if (!outside && out == grad) continue;
    for (int64_t i = 0; i < size; ++i) to[i] = g[i] * (std::fabs(v[i]) <= clip ? 1.0f : 0.0f);
  }
}

// Bi-Real's piecewise polynomial: grad * max(0, 2 - 2|x|).
void approx_sign(const float* grad, const float* x, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float factor = 2.0f - 2.0f * std::fabs(x[i]);
    out[i] = grad[i] * (factor < 0.0f ? 0.0f : factor);
  }
}

// sum_k c[k] square^k by Horner's scheme, without a loop, which would keep the compiler from vectorizing the one around.
template <int terms>
inline float horner(const float* c, float square) {
  if constexpr (terms == 1) {
    return c[0];
  } else {
    const float product = horner<terms - 1>(c + 1, square) * square;
    return product + c[0];
  }
}

// Calls body<terms>() for a number of terms that is known when the program runs.
template <int terms = 1, class Body>
void with_terms(int wanted, Body&& body) {
  if (wanted == terms) return body.template operator()<terms>();
  if constexpr (terms < kMaxTerms) with_terms<terms + 1>(wanted, body);
}

// Calls finish(i, value of the polynomial at x[i]) for every i. Values are made in blocks held in cache: were they
// discarded in the same loop, the compiler would branch around making them.
template <class Finish>
void polynomial_of(const float* x, int64_t n, const float* c, int terms, Finish finish) {
  constexpr int64_t kBlock = 256;
  with_terms(terms, [=]<int count>() {
    float value[kBlock];
    for (int64_t start = 0; start < n; start += kBlock) {
      const int64_t size = n - start < kBlock ? n - start : kBlock;
      for (int64_t i = 0; i < size; ++i) value[i] = horner<count>(c, x[start + i] * x[start + i]);
#pragma GCC ivdep
      for (int64_t i = 0; i < size; ++i) finish(start + i, value[i]);
    }
  });
}

void even_polynomial(const float* grad, const float* x, float* out, int64_t n, const float* c, int terms,
                     float window) {
  polynomial_of(x, n, c, terms, [=](int64_t i, float value) {
    out[i] = grad[i] * (std::fabs(x[i]) > window ? 0.0f : value);
  });
}
