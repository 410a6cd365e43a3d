// Signs, their surrogate gradients and FDA's noise against their definition. See kernels_test.cpp.

#include "kernels_test.h"

#include <utility>
#include <vector>

namespace bibench::testing {
namespace {

// Half turns away from x and what is left, which the polynomials of sine and cosine take.
std::pair<float, float> half_turned(float x) {
  const float v = x < -8192.0f ? -8192.0f : x > 8192.0f ? 8192.0f : x;
  const float count = std::nearbyint(v * 0.31830987334251404f);
  float rest = v;
  for (const float part : {3.140625f, 0.0009675025939941406f, 1.5099580252808664e-07f}) {
    const float product = count * part;
    rest -= product;
  }
  return {rest, std::fmod(count, 2.0f) == 0.0f ? 1.0f : -1.0f};
}

float polynomial(const std::vector<float>& c, float square) {
  float sum = c.back();
  for (size_t t = c.size() - 1; t-- > 0;) {
    const float product = sum * square;
    sum = product + c[t];
  }
  return sum;
}

}  // namespace

void check_gradients(const Kernels& k) {
  const int64_t n = between(0, 5) ? between(0, 100) : between(200, 900);
  current = std::string(k.name) + " elementwise n=" + text(n);
  const bool inside = between(0, 2) == 0;  // all in the window, which some kernels look for
  Floats x = values(n);
  const Floats grad = values(n);
  for (float& v : x)
    if (inside) v = 0.5f;
  const float clip = coin() ? 1.0f : std::numeric_limits<float>::infinity(), window = std::fabs(normal(1)[0]);
  const Floats c = normal(between(1, kMaxTerms));
  const float scale = value();
  Floats signs(n), scaled(n), ste(n), apart(n, 7.0f), approx(n), polynomial(n);
  for (int64_t i = 0; i < n; ++i) ste[i] = approx[i] = polynomial[i] = grad[i];  // in place
  const float limit = coin() ? 1.0f : std::numeric_limits<float>::infinity();
  const bool within = k.sign(x.data(), signs.data(), n, limit);
  if (k.sign_scaled(x.data(), scale, scaled.data(), n, limit) != within) fail("sign and sign_scaled differ in limits");
  k.ste(ste.data(), x.data(), ste.data(), n, clip);
  k.ste(grad.data(), x.data(), apart.data(), n, clip);
  k.approx_sign(approx.data(), x.data(), approx.data(), n);
  k.even_polynomial(polynomial.data(), x.data(), polynomial.data(), n, c.data(), static_cast<int>(c.size()), window);
  Floats wanted_signs(n), wanted_scaled(n), wanted_ste(n), wanted_approx(n), wanted_polynomial(n);
  for (int64_t i = 0; i < n; ++i) {
    wanted_signs[i] = static_cast<float>(sign_of(x[i]));
    wanted_scaled[i] = x[i] >= 0.0f ? scale : -scale;
    wanted_ste[i] = grad[i] * (std::fabs(x[i]) <= clip ? 1.0f : 0.0f);
    const float slope = 2.0f - 2.0f * std::fabs(x[i]);
    wanted_approx[i] = grad[i] * (slope < 0.0f ? 0.0f : slope);
    float sum = c[c.size() - 1];
    for (int64_t t = c.size() - 2; t >= 0; --t) {
      const float product = sum * (x[i] * x[i]);
      sum = product + c[t];
    }
    wanted_polynomial[i] = grad[i] * (std::fabs(x[i]) > window ? 0.0f : sum);
  }
  bool wanted_within = true;
  for (int64_t i = 0; i < n; ++i) wanted_within &= std::fabs(x[i]) <= limit;
  if (within != wanted_within) fail("magnitudes are said to be within a limit wrongly");
  expect(signs, wanted_signs), expect(scaled, wanted_scaled), expect(ste, wanted_ste), expect(apart, wanted_ste);
  expect(approx, wanted_approx);
  expect(polynomial, wanted_polynomial);
}

// FDA's noise: the polynomials against their definition, and sine and cosine against the library's.
void check_waves(const Kernels& k) {
  const int64_t n = between(0, 3) ? between(0, 100) : between(500, 1300);
  current = std::string(k.name) + " sign_sine, even_polynomial_cosine n=" + text(n);
  const std::vector<float> sine = {1.0f, -0.16666658222675323f, 0.008333049714565277f, -0.00019809004152193666f,
                                   2.6050781798403477e-06f};
  const std::vector<float> cosine = {1.0f, -0.5f, 0.04166663438081741f, -0.0013888359535485506f,
                                     2.4760092856013216e-05f, -2.605036399927485e-07f};
  const float stretch = coin() ? 0.2f : between(0, 3) ? 3.0f : 9000.0f, amount = normal(1)[0], window = 1.0f;
  const Floats grad = values(n), coefficients = normal(between(1, kMaxTerms));
  const std::vector<float> c(coefficients.data(), coefficients.data() + coefficients.size());
  Floats x = between(0, 3) ? normal(n) : values(n);
  for (float& v : x) v *= stretch;
  Floats out(n), back(n, 7.0f), in_place(n), wanted(n), wanted_back(n);
  for (int64_t i = 0; i < n; ++i) in_place[i] = grad[i];
  const int terms = static_cast<int>(c.size());
  k.sign_sine(x.data(), amount, out.data(), n);
  k.even_polynomial_cosine(grad.data(), x.data(), back.data(), n, c.data(), terms, window, amount);
  k.even_polynomial_cosine(in_place.data(), x.data(), in_place.data(), n, c.data(), terms, window, amount);
  for (int64_t i = 0; i < n; ++i) {
    const auto [rest, sign] = half_turned(x[i]);
    const float s = sign * (rest * polynomial(sine, rest * rest)), co = sign * polynomial(cosine, rest * rest);
    if (std::fabs(x[i]) <= 8192.0f && !(std::fabs(s - std::sin(static_cast<double>(x[i]))) < 3e-7 &&
                                        std::fabs(co - std::cos(static_cast<double>(x[i]))) < 3e-7))
      fail("sine or cosine of " + text(x[i]) + " is far off: " + text(s, co));
    const float scaled = amount * s, waved = amount * co;
    wanted[i] = static_cast<float>(sign_of(x[i])) + scaled;
    wanted_back[i] = grad[i] * (std::fabs(x[i]) > window ? waved : polynomial(c, x[i] * x[i]));
  }
  expect(out, wanted), expect(back, wanted_back), expect(in_place, wanted_back);
}

}  // namespace bibench::testing
