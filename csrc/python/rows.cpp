// Rows of a matrix, such as filters: their statistics, and what one factor for each row does.

#include "python/arguments.h"

#include <atomic>
#include <vector>

namespace bibench::python {
namespace {

Normalization normalization(int64_t n, bool unbiased, float eps, float deviation, bool centre) {
  return {static_cast<float>(unbiased && n > 1 ? n - 1 : n), eps, deviation, centre};
}

constexpr int64_t kStats = 4;

// The sum over rows of the last of their statistics, folded as bibench.rows does.
float folded_sum(const float* facts, int64_t rows) {
  std::vector<float> sums(rows);
  for (int64_t r = 0; r < rows; ++r) sums[r] = facts[r * kStats + 3];
  for (int64_t size = rows; size > 1;) {
    const int64_t half = (size + 1) / 2;
    for (int64_t i = 0; i < size - half; ++i) sums[i] += sums[half + i];
    size = half;
  }
  return rows ? sums[0] : 0.0f;
}

float normalize(const Array& x, const Output& out, const Output& stats, float eps, float deviation, bool centre,
               int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out"), check_matrix(stats, rows, kStats, "stats");
  const Kernels& k = kernels();
  const Normalization how = normalization(n, true, eps, deviation, centre);
  const float* from = x.data();
  float *to = out.data(), *facts = stats.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r)
      k.normalize_row(from + r * n, n, how, to + r * n, buffer.data(), facts + r * kStats);
  });
  return folded_sum(facts, rows);
}

// Statistics of filters; returns the bound on what is scaled: the mean magnitude of all of it, times `clip`.
float describe(const Array& x, const Output& stats, float eps, float deviation, bool centre, float clip, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(x, rows, n, "x"), check_matrix(stats, rows, kStats, "stats");
  const Kernels& k = kernels();
  const Normalization how = normalization(n, true, eps, deviation, centre);
  const float* from = x.data();
  float* facts = stats.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r)
      k.describe_filter(from + r * n, n, how, buffer.data(), facts + r * kStats);
  });
  return folded_sum(facts, rows) / static_cast<float>(rows * n) * clip;
}

void sign_centred(const Array& x, const Array& stats, const Array& scale, const Output& out, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out"), check_matrix(stats, rows, kStats, "stats");
  const float *from = x.data(), *facts = stats.data(), *factors = channel_values(scale, rows, "scale");
  const Kernels& k = kernels();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) k.sign_centred(from + r * n, facts[r * kStats], factors[r], to + r * n, n);
  });
}

void rectify(const Output& grad, const Array& x, const Array& stats, const Array& scale, const Output& total, float eps,
             float deviation, bool centre, float limit, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x"), check_matrix(stats, rows, kStats, "stats");
  const float *v = x.data(), *facts = stats.data(), *factors = channel_values(scale, rows, "scale");
  check(total.ndim() == 1 && static_cast<int64_t>(total.shape(0)) == rows && (rows <= 1 || total.stride(0) == 1),
        "total must be contiguous with a value for each row");
  const Kernels& k = kernels();
  const Normalization how = normalization(n, true, eps, deviation, centre);
  float *g = grad.data(), *sums = total.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r)
      sums[r] = k.rectify_row(g + r * n, v + r * n, facts + r * kStats, factors[r], n, how, limit, buffer.data());
  });
}

void normalize_backward(const Array& grad, const Array& x, const Array& stats, const Output& out, float eps,
                        float deviation, bool centre, float limit, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  check_matrix(stats, rows, kStats, "stats");
  const Kernels& k = kernels();
  const Normalization how = normalization(n, true, eps, deviation, centre);
  const float *g = grad.data(), *v = x.data(), *facts = stats.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r)
      k.normalize_row_backward(g + r * n, v + r * n, facts + r * kStats, n, how, limit, to + r * n, buffer.data());
  });
}

void approx_sign_rows(const Array& grad, const Array& x, const Output& out, float eps, float deviation, bool centre,
                      int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  const Kernels& k = kernels();
  const Normalization how = normalization(n, true, eps, deviation, centre);
  const float *g = grad.data(), *v = x.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n);
    for (int64_t r = begin; r < end; ++r) k.approx_sign_row(g + r * n, v + r * n, n, how, to + r * n, buffer.data());
  });
}

bool sign_scaled(const Array& x, const Array& scale, const Output& out, float limit, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  const float* factors = channel_values(scale, rows, "scale");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  std::atomic<bool> within{true};
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    bool all = true;
    for (int64_t r = begin; r < end; ++r) all &= k.sign_scaled(from + r * n, factors[r], to + r * n, n, limit);
    if (!all) within.store(false, std::memory_order_relaxed);
  });
  return within.load();
}

void filter_scale_gradients(const Output& grad, const Array& x, const Array& scale, const Output& total, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(grad, rows, n, "grad"), check_matrix(x, rows, n, "x");
  const float* factors = channel_values(scale, rows, "scale");
  check(total.ndim() == 1 && static_cast<int64_t>(total.shape(0)) == rows && (rows <= 1 || total.stride(0) == 1),
        "total must be contiguous with a value for each row");
  const Kernels& k = kernels();
  float *g = grad.data(), *sums = total.data();
  const float* v = x.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n / 2 + 1);
    for (int64_t r = begin; r < end; ++r)
      sums[r] = k.filter_scale_gradient(g + r * n, v + r * n, factors[r], n, buffer.data());
  });
}

void multiply_rows(const Array& x, const Array& factors, const Output& out, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check_matrix(x, rows, n, "x"), check_matrix(out, rows, n, "out");
  const float* f = channel_values(factors, rows, "factors");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    k.multiply_rows(from + begin * n, f + begin, end - begin, n, to + begin * n);
  });
}

void mean_magnitudes(const Array& x, const Output& out, int threads) {
  check(x.ndim() == 2, "x must be a matrix");
  const int64_t rows = x.shape(0), n = x.shape(1);
  check(n >= 1, "rows must not be empty");
  check_matrix(x, rows, n, "x");
  check(out.ndim() == 1 && static_cast<int64_t>(out.shape(0)) == rows && (rows <= 1 || out.stride(0) == 1),
        "out must be contiguous with a value for each row");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  nb::gil_scoped_release release;
  over_rows(rows, n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(n / 2 + 1);
    k.mean_magnitudes(from + begin * n, end - begin, n, to + begin, buffer.data());
  });
}

}  // namespace

void register_rows(nb::module_& m) {
  m.def("normalize", &normalize, "x"_array, "out"_array, "stats"_array, "eps"_a, "deviation"_a, "centre"_a,
        "threads"_a, "Rows of x scaled to standard deviation `deviation`; stats: mean, factor, variance + eps, sum of |out|. "
        "Returns the sum of |out| over all rows.");
  m.def("normalize_backward", &normalize_backward, "grad"_array, "x"_array, "stats"_array, "out"_array, "eps"_a,
        "deviation"_a, "centre"_a, "limit"_a, "threads"_a, "Gradient of normalize where |out| < limit.");
  m.def("describe", &describe, "x"_array, "stats"_array, "eps"_a, "deviation"_a, "centre"_a, "clip"_a, "threads"_a,
        "The statistics of normalize alone; returns the mean of its |out|, times `clip`.");
  m.def("sign_centred", &sign_centred, "x"_array, "stats"_array, "scale"_array, "out"_array, "threads"_a,
        "Rows of out = scale where x - mean >= 0, else -scale.");
  m.def("rectify", &rectify, "grad"_array, "x"_array, "stats"_array, "scale"_array, "total"_array, "eps"_a, "deviation"_a,
        "centre"_a, "limit"_a, "threads"_a,
        "grad, of scale * sign(x - mean), becomes that of x through normalize, passed where |out| < limit; total that of "
        "the scale.");
  m.def("approx_sign_rows", &approx_sign_rows, "grad"_array, "x"_array, "out"_array, "eps"_a, "deviation"_a, "centre"_a,
        "threads"_a, "grad * max(0, 2 - 2|s|), s the scaled rows of x, and from there the gradient of x.");
  m.def("sign_scaled", &sign_scaled, "x"_array, "scale"_array, "out"_array, "limit"_a, "threads"_a,
        "Rows of out = scale where x >= 0, else -scale. Returns whether |x| <= limit everywhere.");
  m.def("filter_scale_gradients", &filter_scale_gradients, "grad"_array, "x"_array, "scale"_array, "total"_array,
        "threads"_a, "total = sum of grad * sign(x) over each row; grad is multiplied by the scale of its row.");
  m.def("multiply_rows", &multiply_rows, "x"_array, "factors"_array, "out"_array, "threads"_a,
        "Rows of x, each times its factor.");
  m.def("mean_magnitudes", &mean_magnitudes, "x"_array, "out"_array, "threads"_a, "Mean of |x| over each row.");
}

}  // namespace bibench::python
