// What has a value for each column or row, shifts and scales, against its definition. See kernels_test.cpp.

#include "kernels_test.h"
#include "sums.h"

#include <vector>

namespace bibench::testing {

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

}  // namespace bibench::testing
