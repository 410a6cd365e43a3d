// What goes over values or rows of them against its definition: signs, surrogate gradients, factors, filters' statistics.
// See kernels_test.cpp.

#include "kernels_test.h"

#include <utility>
#include <vector>

namespace bibench::testing {
namespace {

// Sum by folding, written from its description: element i of the first half meets element half + i.
float folded(std::vector<float> v) {
  while (v.size() > 1) {
    const size_t half = (v.size() + 1) / 2;
    for (size_t i = half; i < v.size(); ++i) v[i - half] += v[i];
    v.resize(half);
  }
  return v[0];
}

// Sum over rows, written from its description: neighbours are added, the last of an odd number is left as it is.
float sum_of_neighbours(std::vector<float> v) {
  while (v.size() > 1) {
    std::vector<float> next;
    for (size_t i = 0; i + 1 < v.size(); i += 2) next.push_back(v[i] + v[i + 1]);
    if (v.size() % 2) next.push_back(v.back());
    v = next;
  }
  return v[0];
}

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

// What is done along with a product: shifts before the sign, and scales of filters, pixels and channels after it.
void check_factors(const Kernels& k) {
  const int64_t rows = between(1, 12), n = between(1, 80), step = n + between(0, 3), size = (rows - 1) * step + n;
  current = std::string(k.name) + " sign_shifted, approx_sign_shifted rows,n=" + text(rows, n);
  const Floats x = values(size), shift = normal(n), grad = values(size), gamma = normal(n);
  Floats signs(n), wanted_signs(n), back(size), wanted_back(size), total(n), wanted_total(n), apart(size, 7.0f),
      scratch((rows + 1) / 2 * n);
  for (int64_t i = 0; i < size; ++i) back[i] = wanted_back[i] = grad[i];  // in place
  k.sign_shifted(x.data(), shift.data(), signs.data(), n);
  k.approx_sign_shifted(back.data(), x.data(), shift.data(), rows, n, step, back.data(), total.data(), scratch.data());
  k.approx_sign_shifted(grad.data(), x.data(), shift.data(), rows, n, step, apart.data(), total.data(), scratch.data());
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> column(rows);
    wanted_signs[i] = static_cast<float>(sign_of(x[i] + shift[i]));
    for (int64_t r = 0; r < rows; ++r) {
      const float slope = 2.0f - 2.0f * std::fabs(x[r * step + i] + shift[i]);
      column[r] = wanted_back[r * step + i] = grad[r * step + i] * (slope < 0.0f ? 0.0f : slope);
    }
    wanted_total[i] = sum_of_neighbours(column);
  }
  expect(signs, wanted_signs), expect(back, wanted_back), expect(total, wanted_total);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = n; i < step && r * step + i < size; ++i) wanted_back[r * step + i] = 7.0f;  // between the rows
  expect(apart, wanted_back);

  const int64_t pixels = between(1, 40), across = between(1, 5) == 1 ? 16 * between(1, 3) : between(1, 40);
  current = std::string(k.name) + " sign_shifted_rows, approx_sign_shifted_rows rows,n=" + text(pixels, across);
  const Floats map = values(pixels * across), up = values(pixels * across), shifts = normal(across);
  Floats map_signs(pixels * across), wanted_map(pixels * across), down(pixels * across), wanted_down(pixels * across),
      sums(across), wanted_sums(across), room((pixels + 7) / 8 * across);
  for (int64_t i = 0; i < pixels * across; ++i) down[i] = up[i];  // in place
  k.sign_shifted_rows(map.data(), shifts.data(), pixels, across, map_signs.data());
  k.approx_sign_shifted_rows(down.data(), map.data(), shifts.data(), pixels, across, down.data(), sums.data(), room.data());
  for (int64_t i = 0; i < across; ++i) {
    std::vector<float> column(pixels);
    for (int64_t r = 0; r < pixels; ++r) {
      const int64_t at = r * across + i;
      const float slope = 2.0f - 2.0f * std::fabs(map[at] + shifts[i]);
      wanted_map[at] = static_cast<float>(sign_of(map[at] + shifts[i]));
      column[r] = wanted_down[at] = up[at] * (slope < 0.0f ? 0.0f : slope);
    }
    wanted_sums[i] = sum_of_neighbours(column);
  }
  expect(map_signs, wanted_map), expect(down, wanted_down), expect(sums, wanted_sums);

  current = std::string(k.name) + " rescale_kept_backward, scale_keeping rows,n=" + text(rows, n);
  Buffer<int16_t> integers(size), kept(n), wanted_kept(n);
  for (int16_t& v : integers) v = static_cast<int16_t>(between(-32767, 32767));
  Floats to(size, 7.0f), wanted_to(size, 7.0f), line(n), alone(n), wanted_line(n);
  k.rescale_kept_backward(grad.data(), integers.data(), gamma.data(), rows, n, step, to.data(), total.data(),
                          scratch.data());
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> column(rows);
    for (int64_t r = 0; r < rows; ++r) {
      wanted_to[r * step + i] = grad[r * step + i] * gamma[i];
      column[r] = grad[r * step + i] * static_cast<float>(integers[r * step + i]);
    }
    wanted_total[i] = sum_of_neighbours(column);
    line[i] = alone[i] = integers[i];
    wanted_kept[i] = integers[i];
    wanted_line[i] = line[i] * gamma[i];
  }
  k.scale_keeping(line.data(), gamma.data(), n, kept.data());
  k.scale_keeping(alone.data(), gamma.data(), n, nullptr);
  expect(to, wanted_to), expect(total, wanted_total);
  expect(line, wanted_line), expect(alone, wanted_line), expect(kept, wanted_kept);

  current = std::string(k.name) + " scale_lines, sum_neighbours, filter_scale_gradient rows,n=" + text(rows, n);
  Floats lines = values(rows * n), factors = normal(rows), wanted_lines(rows * n), summed(rows * n), sum(n), wanted_sum(n);
  for (int64_t i = 0; i < rows * n; ++i) wanted_lines[i] = lines[i] * factors[i / n], summed[i] = lines[i];
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> column(rows);
    for (int64_t r = 0; r < rows; ++r) column[r] = lines[r * n + i];
    wanted_sum[i] = sum_of_neighbours(column);
  }
  k.scale_lines(lines.data(), factors.data(), rows, n);
  k.sum_neighbours(summed.data(), rows, n, sum.data());
  expect(lines, wanted_lines), expect(sum, wanted_sum);
  const int64_t length = between(0, 3) ? n : 8 * n;
  Floats filter = values(length), latent = values(length), wanted_filter(length), buffer(length / 2 + 1), got(1), one(1);
  std::vector<float> terms(length);
  for (int64_t i = 0; i < length; ++i) {
    terms[i] = filter[i] * static_cast<float>(sign_of(latent[i]));
    wanted_filter[i] = filter[i] * factors[0];
  }
  got[0] = k.filter_scale_gradient(filter.data(), latent.data(), factors[0], length, buffer.data());
  one[0] = folded(terms);
  expect(got, one), expect(filter, wanted_filter);
}

void check_rows(const Kernels& k) {
  const int64_t n = between(0, 5) ? between(1, 100) : between(200, 1200);
  current = std::string(k.name) + " normalize n=" + text(n);
  const Normalization how = {static_cast<float>(n > 1 ? n - 1 : 1), 1e-5f, 2.5f, coin()};
  const float limit = coin() ? std::numeric_limits<float>::infinity() : 2.0f;
  const Floats x = between(0, 7) ? normal(n) : values(n), grad = normal(n);
  Floats out(n), stats(4), buffer(n), back(n), wanted(n), wanted_stats(4), wanted_back(n);
  k.normalize_row(x.data(), n, how, out.data(), buffer.data(), stats.data());
  std::vector<float> terms(x.data(), x.data() + n);
  const float mean = folded(terms) / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) terms[i] = (x[i] - mean) * (x[i] - mean);
  const float variance = folded(terms) / how.degrees + how.eps;
  const float factor = 1.0f / std::sqrt(variance) * how.deviation;
  for (int64_t i = 0; i < n; ++i) {
    wanted[i] = (how.centre ? x[i] - mean : x[i]) * factor;
    terms[i] = std::fabs(wanted[i]);
  }
  wanted_stats[0] = mean, wanted_stats[1] = factor, wanted_stats[2] = variance, wanted_stats[3] = folded(terms);
  expect(out, wanted), expect(stats, wanted_stats);
  k.normalize_row_backward(grad.data(), x.data(), stats.data(), n, how, limit, back.data(), buffer.data());
  const float origin = how.centre ? mean : 0.0f;
  std::vector<float> passed(n);
  // The gradient of x, from that of what the row became, as `passed` holds it.
  const auto through_the_norm = [&](Floats& result) {
    for (int64_t i = 0; i < n; ++i) terms[i] = passed[i] * (x[i] - origin);
    const float spread = folded(terms) * factor / (variance * how.degrees);
    const float shared = folded(passed) * factor / static_cast<float>(n);
    for (int64_t i = 0; i < n; ++i) {
      result[i] = passed[i] * factor - spread * (x[i] - mean);
      if (how.centre) result[i] -= shared;
    }
  };
  for (int64_t i = 0; i < n; ++i) passed[i] = grad[i] * (std::fabs(wanted[i]) < limit ? 1.0f : 0.0f);
  through_the_norm(wanted_back);
  expect(back, wanted_back);

  current = std::string(k.name) + " describe_filter, sign_centred, rectify_row n=" + text(n);
  const float scale = value();
  Floats facts(4), signs(n), wanted_signs(n), rectified(n), wanted_rectified(n), sum(1), wanted_sum(1);
  k.describe_filter(x.data(), n, how, buffer.data(), facts.data());
  k.sign_centred(x.data(), mean, scale, signs.data(), n);
  for (int64_t i = 0; i < n; ++i) {
    rectified[i] = grad[i];  // in place
    wanted_signs[i] = x[i] - mean >= 0.0f ? scale : -scale;
    terms[i] = grad[i] * (x[i] - origin >= 0.0f ? 1.0f : -1.0f);
  }
  sum[0] = k.rectify_row(rectified.data(), x.data(), stats.data(), scale, n, how, limit, buffer.data());
  wanted_sum[0] = folded(terms);
  for (int64_t i = 0; i < n; ++i) passed[i] = (grad[i] * scale) * (std::fabs(wanted[i]) < limit ? 1.0f : 0.0f);
  through_the_norm(wanted_rectified);
  expect(facts, wanted_stats), expect(signs, wanted_signs), expect(sum, wanted_sum), expect(rectified, wanted_rectified);

  current = std::string(k.name) + " approx_sign_row n=" + text(n);
  k.approx_sign_row(grad.data(), x.data(), n, how, back.data(), buffer.data());
  for (int64_t i = 0; i < n; ++i) {
    const float slope = 2.0f - 2.0f * std::fabs(wanted[i]);
    passed[i] = grad[i] * (slope < 0.0f ? 0.0f : slope);
  }
  through_the_norm(wanted_back);
  expect(back, wanted_back);

  const int64_t lines = between(1, 9);
  current = std::string(k.name) + " mean_magnitudes, multiply_rows rows,n=" + text(lines, n);
  const Floats many = normal(lines * n), factors = normal(lines);
  Floats means(lines), wanted_means(lines), multiplied(lines * n), wanted_multiplied(lines * n);
  k.mean_magnitudes(many.data(), lines, n, means.data(), buffer.data());
  k.multiply_rows(many.data(), factors.data(), lines, n, multiplied.data());
  for (int64_t r = 0; r < lines; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      terms[i] = std::fabs(many[r * n + i]);
      wanted_multiplied[r * n + i] = many[r * n + i] * factors[r];
    }
    wanted_means[r] = folded(terms) / static_cast<float>(n);
  }
  expect(means, wanted_means), expect(multiplied, wanted_multiplied);

  const int64_t rows = between(1, 12), columns = between(1, 80), step = columns + between(0, 3);
  current = std::string(k.name) + " rescale_backward rows,columns=" + text(rows, columns);
  const int64_t size = (rows - 1) * step + columns;
  const Floats g = normal(size), v = normal(size), gamma = normal(columns);
  Floats to(size, 7.0f), total(columns), scratch((rows + 1) / 2 * columns), wanted_to(size, 7.0f),
      wanted_total(columns);
  k.rescale_backward(g.data(), v.data(), gamma.data(), rows, columns, step, to.data(), total.data(), scratch.data());
  for (int64_t c = 0; c < columns; ++c) {
    std::vector<float> column(rows);
    for (int64_t r = 0; r < rows; ++r) {
      wanted_to[r * step + c] = g[r * step + c] * gamma[c];
      column[r] = g[r * step + c] * v[r * step + c];
    }
    wanted_total[c] = sum_of_neighbours(column);
  }
  expect(to, wanted_to), expect(total, wanted_total);
}

}  // namespace bibench::testing
