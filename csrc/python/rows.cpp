// Rows of a matrix, such as filters: their statistics, and what one factor for each row does.

#include "arguments.h"

#include <atomic>
#include <vector>

namespace bibench::python {
namespace {

constexpr int64_t kStats = 4;

// x as a matrix whose rows have values, as is needed where something is divided by their number.
Matrix rows_of(const Array& x) {
  const Matrix m = matrix(x);
  check(m.n >= 1, "rows must not be empty");
  return m;
}

template <class A>
auto stats_of(const A& stats, Matrix m) {
  return matrix_data(stats, {m.rows, kStats}, "stats");
}

float* value_per_row(const Output& out, Matrix m, const char* name) {
  check(out.ndim() == 1 && static_cast<int64_t>(out.shape(0)) == m.rows && (m.rows <= 1 || out.stride(0) == 1),
        std::string(name) + " must be contiguous with a value for each row");
  return out.data();
}

Normalization normalization(Matrix m, float eps, float deviation, bool centre) {
  return {static_cast<float>(m.n > 1 ? m.n - 1 : m.n), eps, deviation, centre};
}

// body(first row, how many, where the first begins, scratch) for parts of the rows; each has `scratch` floats of its own.
template <class Body>
void each_part(Matrix m, int threads, int64_t scratch, Body&& body) {
  nb::gil_scoped_release release;
  over_rows(m.rows, m.n, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(scratch);
    body(begin, end - begin, begin * m.n, buffer.data());
  });
}

// body(row, where it begins, scratch) for every row.
template <class Body>
void each_row(Matrix m, int threads, int64_t scratch, Body&& body) {
  each_part(m, threads, scratch, [&](int64_t first, int64_t count, int64_t, float* buffer) {
    for (int64_t r = first; r < first + count; ++r) body(r, r * m.n, buffer);
  });
}

// The sum over rows of the last of their statistics, folded as bibench.kernels.rows does.
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
  const Matrix m = rows_of(x);
  float *to = matrix_data(out, m, "out"), *facts = stats_of(stats, m);
  const float* from = x.data();
  const Kernels& k = kernels();
  const Normalization how = normalization(m, eps, deviation, centre);
  each_row(m, threads, m.n, [&](int64_t r, int64_t at, float* scratch) {
    k.normalize_row(from + at, m.n, how, to + at, scratch, facts + r * kStats);
  });
  return folded_sum(facts, m.rows);
}

// Statistics of filters; returns the bound on what is scaled: the mean magnitude of all of it, times `clip`.
float describe(const Array& x, const Output& stats, float eps, float deviation, bool centre, float clip, int threads) {
  const Matrix m = rows_of(x);
  float* facts = stats_of(stats, m);
  const float* from = x.data();
  const Kernels& k = kernels();
  const Normalization how = normalization(m, eps, deviation, centre);
  each_row(m, threads, m.n, [&](int64_t r, int64_t at, float* scratch) {
    k.describe_filter(from + at, m.n, how, scratch, facts + r * kStats);
  });
  return folded_sum(facts, m.rows) / static_cast<float>(m.rows * m.n) * clip;
}

void sign_centred(const Array& x, const Array& stats, const Array& scale, const Output& out, int threads) {
  const Matrix m = matrix(x);
  float* to = matrix_data(out, m, "out");
  const float *from = x.data(), *facts = stats_of(stats, m), *factors = channel_values(scale, m.rows, "scale");
  const Kernels& k = kernels();
  each_row(m, threads, 0, [&](int64_t r, int64_t at, float*) {
    k.sign_centred(from + at, facts[r * kStats], factors[r], to + at, m.n);
  });
}

void rectify(const Output& grad, const Array& x, const Array& stats, const Array& scale, const Output& total, float eps,
             float deviation, bool centre, float limit, int threads) {
  const Matrix m = rows_of(x);
  float *g = matrix_data(grad, m, "grad"), *sums = value_per_row(total, m, "total");
  const float *v = x.data(), *facts = stats_of(stats, m), *factors = channel_values(scale, m.rows, "scale");
  const Kernels& k = kernels();
  const Normalization how = normalization(m, eps, deviation, centre);
  each_row(m, threads, m.n, [&](int64_t r, int64_t at, float* scratch) {
    sums[r] = k.rectify_row(g + at, v + at, facts + r * kStats, factors[r], m.n, how, limit, scratch);
  });
}

void normalize_backward(const Array& grad, const Array& x, const Array& stats, const Output& out, float eps,
                        float deviation, bool centre, float limit, int threads) {
  const Matrix m = rows_of(x);
  const float *g = matrix_data(grad, m, "grad"), *v = x.data(), *facts = stats_of(stats, m);
  float* to = matrix_data(out, m, "out");
  const Kernels& k = kernels();
  const Normalization how = normalization(m, eps, deviation, centre);
  each_row(m, threads, m.n, [&](int64_t r, int64_t at, float* scratch) {
    k.normalize_row_backward(g + at, v + at, facts + r * kStats, m.n, how, limit, to + at, scratch);
  });
}

void approx_sign_rows(const Array& grad, const Array& x, const Output& out, float eps, float deviation, bool centre,
                      int threads) {
  const Matrix m = rows_of(x);
  const float *g = matrix_data(grad, m, "grad"), *v = x.data();
  float* to = matrix_data(out, m, "out");
  const Kernels& k = kernels();
  const Normalization how = normalization(m, eps, deviation, centre);
  each_row(m, threads, m.n, [&](int64_t, int64_t at, float* scratch) {
    k.approx_sign_row(g + at, v + at, m.n, how, to + at, scratch);
  });
}

bool sign_scaled(const Array& x, const Array& scale, const Output& out, float limit, int threads) {
  const Matrix m = matrix(x);
  const float *from = x.data(), *factors = channel_values(scale, m.rows, "scale");
  float* to = matrix_data(out, m, "out");
  const Kernels& k = kernels();
  std::atomic<bool> within{true};
  each_part(m, threads, 0, [&](int64_t first, int64_t count, int64_t at, float*) {
    bool all = true;
    for (int64_t r = 0; r < count; ++r, at += m.n) all &= k.sign_scaled(from + at, factors[first + r], to + at, m.n, limit);
    if (!all) within.store(false, std::memory_order_relaxed);
  });
  return within.load();
}

void filter_scale_gradients(const Output& grad, const Array& x, const Array& scale, const Output& total, int threads) {
  const Matrix m = rows_of(x);
  float *g = matrix_data(grad, m, "grad"), *sums = value_per_row(total, m, "total");
  const float *v = x.data(), *factors = channel_values(scale, m.rows, "scale");
  const Kernels& k = kernels();
  each_row(m, threads, m.n / 2 + 1, [&](int64_t r, int64_t at, float* scratch) {
    sums[r] = k.filter_scale_gradient(g + at, v + at, factors[r], m.n, scratch);
  });
}

void multiply_rows(const Array& x, const Array& factors, const Output& out, int threads) {
  const Matrix m = matrix(x);
  const float *from = x.data(), *f = channel_values(factors, m.rows, "factors");
  float* to = matrix_data(out, m, "out");
  const Kernels& k = kernels();
  each_part(m, threads, 0, [&](int64_t first, int64_t count, int64_t at, float*) {
    k.multiply_rows(from + at, f + first, count, m.n, to + at);
  });
}

void mean_magnitudes(const Array& x, const Output& out, int threads) {
  const Matrix m = rows_of(x);
  const float* from = x.data();
  float* to = value_per_row(out, m, "out");
  const Kernels& k = kernels();
  each_part(m, threads, m.n / 2 + 1, [&](int64_t first, int64_t count, int64_t at, float* scratch) {
    k.mean_magnitudes(from + at, count, m.n, to + first, scratch);
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
