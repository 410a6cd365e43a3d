// Gradients of what has a value for each column, scales and thresholds: sums over the rows.

// total = the sum of `rows` rows of n values, which are overwritten: neighbours are added until one row is left.
void sum_neighbours(float* __restrict values, int64_t rows, int64_t n, float* __restrict total) {
  for (; rows > 1; rows = (rows + 1) / 2) {
    for (int64_t r = 0; r < rows / 2; ++r) {
      const float *low = values + 2 * r * n, *high = low + n;
      float* to = values + r * n;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) to[i] = low[i] + high[i];
    }
    if (rows % 2)
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) values[rows / 2 * n + i] = values[(rows - 1) * n + i];
  }
  for (int64_t i = 0; i < n; ++i) total[i] = values[i];
}

// Gradients of y = x * gamma over `count` rows of n values, `step` values apart: out = grad * gamma, and, summed as
// above over the rows, total = sum of grad * x. `buffer` has room for (count + 1) / 2 * n values.
template <class T>
void rescale_backward_of(const float* __restrict grad, const T* __restrict x, const float* __restrict gamma,
                         int64_t count, int64_t n, int64_t step, float* __restrict out, float* __restrict total,
                         float* __restrict buffer) {
  for (int64_t r = 0; r < count; r += 2) {
    const float* g = grad + r * step;
    const T* v = x + r * step;
    float *__restrict to = out + r * step, *__restrict sum = buffer + r / 2 * n;
    if (r + 1 < count)
      for (int64_t i = 0; i < n; ++i) {
        const float low = g[i] * static_cast<float>(v[i]), high = g[i + step] * static_cast<float>(v[i + step]);
        sum[i] = low + high;
        to[i] = g[i] * gamma[i];
        to[i + step] = g[i + step] * gamma[i];
      }
    else
      for (int64_t i = 0; i < n; ++i) {
        sum[i] = g[i] * static_cast<float>(v[i]);
        to[i] = g[i] * gamma[i];
      }
  }
  sum_neighbours(buffer, (count + 1) / 2, n, total);
}

void rescale_backward(const float* grad, const float* x, const float* gamma, int64_t count, int64_t n, int64_t step,
                      float* out, float* total, float* buffer) {
  rescale_backward_of(grad, x, gamma, count, n, step, out, total, buffer);
}

void rescale_kept_backward(const float* grad, const int16_t* x, const float* gamma, int64_t count, int64_t n,
                           int64_t step, float* out, float* total, float* buffer) {
  rescale_backward_of(grad, x, gamma, count, n, step, out, total, buffer);
}

// The gradient of sign(x + shift) by Bi-Real's polynomial over `count` rows of n values, `step` floats apart, and,
// over the rows, its sum: the one of the shift. `out` may be `grad`; `buffer` as above.
void approx_sign_shifted(const float* grad, const float* __restrict x, const float* __restrict shift, int64_t count,
                         int64_t n, int64_t step, float* out, float* __restrict total, float* __restrict buffer) {
  const auto passed = [](float g, float v) {
    const float factor = 2.0f - 2.0f * std::fabs(v);
    return g * (factor < 0.0f ? 0.0f : factor);
  };
  for (int64_t r = 0; r < count; r += 2) {
    const float *g = grad + r * step, *__restrict v = x + r * step;
    float *to = out + r * step, *__restrict sum = buffer + r / 2 * n;
    if (r + 1 < count) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        const float low = passed(g[i], v[i] + shift[i]), high = passed(g[i + step], v[i + step] + shift[i]);
        sum[i] = low + high;
        to[i] = low;
        to[i + step] = high;
      }
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) sum[i] = to[i] = passed(g[i], v[i] + shift[i]);
    }
  }
  sum_neighbours(buffer, (count + 1) / 2, n, total);
}

// The same with one shift for each column of `count` rows of n values, which follow each other. Eight rows are added
// before anything is stored; `buffer` has room for (count + 7) / 8 * n values.
void approx_sign_shifted_rows(const float* grad, const float* __restrict x, const float* __restrict shift,
                              int64_t count, int64_t n, float* out, float* __restrict total,
                              float* __restrict buffer) {
  const auto passed = [=](int64_t at, int64_t i) {
    const float factor = 2.0f - 2.0f * std::fabs(x[at] + shift[i]);
    const float value = grad[at] * (factor < 0.0f ? 0.0f : factor);
    out[at] = value;
    return value;
  };
  const int64_t eights = count / 8;
  for (int64_t r = 0; r < eights; ++r) {
    const int64_t start = r * 8 * n;
    float* sum = buffer + r * n;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = start + i;
      const float a = passed(at, i) + passed(at + n, i), b = passed(at + 2 * n, i) + passed(at + 3 * n, i);
      const float c = passed(at + 4 * n, i) + passed(at + 5 * n, i), d = passed(at + 6 * n, i) + passed(at + 7 * n, i);
      sum[i] = (a + b) + (c + d);
    }
  }
  const int64_t rest = count % 8, start = eights * 8 * n;
  if (rest) {  // row by row, in the same order
    float *sum = buffer + eights * n, parts[8];
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t r = 0; r < rest; ++r) parts[r] = passed(start + r * n + i, i);
      for (int64_t left = rest; left > 1; left = (left + 1) / 2) {
        for (int64_t r = 0; r < left / 2; ++r) parts[r] = parts[2 * r] + parts[2 * r + 1];
        if (left % 2) parts[left / 2] = parts[left - 1];
      }
      sum[i] = parts[0];
    }
  }
  sum_neighbours(buffer, (count + 7) / 8, n, total);
}
