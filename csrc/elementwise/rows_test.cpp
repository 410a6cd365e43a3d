// Rows of values, such as filters, and their gradients against their definition. See kernels_test.cpp.

#include "kernels_test.h"
#include "sums.h"

#include <vector>

namespace bibench::testing {

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
