// What has a value for each column of a matrix: learned scales and thresholds.

#include "arguments.h"

#include <vector>

namespace bibench::python {
namespace {

// x as a matrix whose columns have values to sum.
template <class A>
Matrix columns_of(const A& x) {
  const Matrix m = matrix(x);
  check(m.rows >= 1, "x must have rows");
  return m;
}

// What multiplies (or is added to) every row of a matrix: the gradient of the matrix in `out`, of the row in `total`.
template <class Values, class Kernel>
void per_row_backward(const Array& grad, const Values& x, const Array& row, const char* name, const Output& out,
                      const Output& total, int threads, Kernel kernel) {
  const Matrix m = columns_of(x);
  const int64_t rows = m.rows, n = m.n;
  const float *g = matrix_data(grad, m, "grad"), *values = matrix_data(row, {1, n}, name);
  const auto* v = x.data();
  float *to = matrix_data(out, m, "out"), *sums = matrix_data(total, {1, n}, "total");
  // A thread takes rows that follow each other, as the passes before and after do, so that they are in its cache; sums
  // over 2^k such rows are the same for any k. Of these rows, columns that the cache holds are done one after another;
  // the more of them, the longer the stretches of memory that are read.
  int64_t part = 1;
  while (part * 2 * std::max(1, threads) <= rows) part *= 2;
  const int64_t parts = (rows + part - 1) / part, half = (part + 1) / 2;
  const int64_t columns = std::clamp<int64_t>((1 << 17) / part / 64 * 64, 64, 4096), blocks = (n + columns - 1) / columns;
  nb::gil_scoped_release release;
  std::vector<float> part_sums(parts > 1 ? parts * n : 0);
  float* part_sum = parts > 1 ? part_sums.data() : sums;
  parallel_for(parts * blocks, threads, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(half * columns);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t p = unit / blocks, first = unit % blocks * columns, size = std::min(n - first, columns);
      const int64_t start = p * part * n + first;
      kernel(g + start, v + start, values + first, std::min(part, rows - p * part), size, n, to + start,
             part_sum + p * n + first, buffer.data());
    }
  });
  if (parts > 1) kernels().sum_neighbours(part_sums.data(), parts, n, sums);
}

void rescale_backward(const Array& grad, const Array& x, const Array& gamma, const Output& out, const Output& total,
                      int threads) {
  per_row_backward(grad, x, gamma, "gamma", out, total, threads, kernels().rescale_backward);
}

void rescale_kept_backward(const Array& grad, const KeptInput& x, const Array& gamma, const Output& out,
                           const Output& total, int threads) {
  per_row_backward(grad, x, gamma, "gamma", out, total, threads, kernels().rescale_kept_backward);
}

void approx_sign_shifted(const Array& grad, const Array& x, const Array& shift, const Output& out, const Output& total,
                         int threads) {
  per_row_backward(grad, x, shift, "shift", out, total, threads, kernels().approx_sign_shifted);
}

void sign_shifted(const Array& x, const Array& shift, const Output& out, int threads) {
  const Matrix m = matrix(x);
  const float *from = x.data(), *row = matrix_data(shift, {1, m.n}, "shift");
  float* to = matrix_data(out, m, "out");
  const Kernels& k = kernels();
  nb::gil_scoped_release release;
  over_rows(m.rows, m.n, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) k.sign_shifted(from + r * m.n, row, to + r * m.n, m.n);
  });
}

// The rows are pixels, the columns channels.
void sign_shifted_rows(const Array& x, const Array& shift, const Output& out, int threads) {
  const Matrix m = matrix(x);
  const float *from = x.data(), *values = channel_values(shift, m.n, "shift");
  float* to = matrix_data(out, m, "out");
  const Kernels& k = kernels();
  nb::gil_scoped_release release;
  over_rows(m.rows, m.n, threads, [&](int64_t begin, int64_t end) {
    k.sign_shifted_rows(from + begin * m.n, values, end - begin, m.n, to + begin * m.n);
  });
}

void approx_sign_shifted_rows(const Array& grad, const Array& x, const Array& shift, const Output& out,
                              const Output& total, int threads) {
  const Matrix m = columns_of(x);
  const int64_t rows = m.rows, n = m.n;
  const float *g = matrix_data(grad, m, "grad"), *v = x.data(), *values = channel_values(shift, n, "shift");
  float *to = matrix_data(out, m, "out"), *sums = matrix_data(total, {1, n}, "total");
  const Kernels& k = kernels();
  constexpr int64_t kPart = 1 << 9;  // a power of two: sums over parts, added, are those over all rows in order
  const int64_t parts = (rows + kPart - 1) / kPart;
  nb::gil_scoped_release release;
  std::vector<float> part_sums(parts * n);
  const int used = static_cast<int>(std::clamp<int64_t>(rows * n >> 15, 1, std::max(1, threads)));
  parallel_for(parts, used, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(kPart / 8 * n);
    for (int64_t p = begin; p < end; ++p) {
      const int64_t start = p * kPart * n;
      k.approx_sign_shifted_rows(g + start, v + start, values, std::min(kPart, rows - p * kPart), n, to + start,
                                 part_sums.data() + p * n, buffer.data());
    }
  });
  k.sum_neighbours(part_sums.data(), parts, n, sums);
}

}  // namespace

void register_columns(nb::module_& m) {
  m.def("rescale_backward", &rescale_backward, "grad"_array, "x"_array, "gamma"_array, "out"_array, "total"_array, "threads"_a,
        "Gradients of x * gamma: out = grad * gamma, total = sum over rows of grad * x.");
  m.def("rescale_kept_backward", &rescale_kept_backward, "grad"_array, "x"_array, "gamma"_array, "out"_array,
        "total"_array, "threads"_a, "The same of integers x.");
  m.def("approx_sign_shifted", &approx_sign_shifted, "grad"_array, "x"_array, "shift"_array, "out"_array, "total"_array,
        "threads"_a, "out = grad * max(0, 2 - 2|x + shift|), total = sum over rows of out.");
  m.def("sign_shifted", &sign_shifted, "x"_array, "shift"_array, "out"_array, "threads"_a,
        "out = +1 where x + shift >= 0, else -1; the shift has a value for each column.");
  m.def("sign_shifted_rows", &sign_shifted_rows, "x"_array, "shift"_array, "out"_array, "threads"_a,
        "The same of a vector of shifts, whatever the number of rows.");
  m.def("approx_sign_shifted_rows", &approx_sign_shifted_rows, "grad"_array, "x"_array, "shift"_array, "out"_array,
        "total"_array, "threads"_a, "approx_sign_shifted of a vector of shifts; the sums are over all rows, in their order.");
}

}  // namespace bibench::python
