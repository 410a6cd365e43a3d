// Signs, and the gradients of their estimators, value by value.

#include "arguments.h"

#include <atomic>
#include <utility>
#include <vector>

namespace bibench::python {
namespace {

// Elementwise kernels work on the memory of dense arrays of equal layout, whatever the order of their axes.
template <class A, class B>
int64_t same_memory(const A& a, const B& b, const char* names) {
  check(a.ndim() == b.ndim(), std::string(names) + " must have the same shape");
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride and size, where there is more than one element
  for (size_t i = 0; i < a.ndim(); ++i) {
    check(a.shape(i) == b.shape(i), std::string(names) + " must have the same shape, got " + shape_of(a) + " and " + shape_of(b));
    check(a.shape(i) <= 1 || a.stride(i) == b.stride(i), std::string(names) + " must have the same strides");
    if (a.shape(i) > 1) axes.emplace_back(a.stride(i), static_cast<int64_t>(a.shape(i)));
  }
  if (is_empty(a)) return 0;
  std::sort(axes.begin(), axes.end());
  int64_t size = 1;
  for (const auto& [stride, count] : axes) {
    check(stride == size, std::string(names) + " must be dense in memory");
    size *= count;
  }
  return size;
}

template <class Body>
void elementwise(int64_t size, int threads, Body&& body) {
  constexpr int64_t kGrain = 1 << 15;  // below this, waking a thread costs more than it saves
  nb::gil_scoped_release release;
  const int64_t parts = (size + kGrain - 1) / kGrain;
  parallel_for(parts, threads, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kGrain, last = end * kGrain < size ? end * kGrain : size;
    body(first, last - first);
  });
}

bool sign(const Array& x, const Output& out, float limit, int threads) {
  const int64_t size = same_memory(x, out, "x and out");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  std::atomic<bool> within{true};
  elementwise(size, threads, [&](int64_t i, int64_t n) {
    if (!k.sign(from + i, to + i, n, limit)) within.store(false, std::memory_order_relaxed);
  });
  return within.load();
}

void sign_sine(const Array& x, float amount, const Output& out, int threads) {
  const int64_t size = same_memory(x, out, "x and out");
  const Kernels& k = kernels();
  const float* from = x.data();
  float* to = out.data();
  elementwise(size, threads, [&](int64_t i, int64_t n) { k.sign_sine(from + i, amount, to + i, n); });
}

template <class Kernel>
void gradient(const Array& grad, const Array& x, const Output& out, int threads, Kernel&& kernel) {
  const int64_t size = same_memory(grad, x, "grad and x");
  same_memory(x, out, "x and out");
  const float *g = grad.data(), *v = x.data();
  float* to = out.data();
  elementwise(size, threads, [&](int64_t i, int64_t n) { kernel(g + i, v + i, to + i, n); });
}

void check_terms(const std::vector<float>& c) {
  check(!c.empty() && c.size() <= kMaxTerms,
        "coefficients must be 1 to " + std::to_string(kMaxTerms) + ", got " + std::to_string(c.size()));
}

}  // namespace

void register_elementwise(nb::module_& m) {
  m.def("sign", &sign, "x"_array, "out"_array, "limit"_a, "threads"_a,
        "out = +1 where x >= 0, else -1. Returns whether |x| <= limit everywhere.");
  m.def("sign_sine", &sign_sine, "x"_array, "amount"_a, "out"_array, "threads"_a,
        "out = +1 where x >= 0, else -1; plus amount * sin(x).");
  m.def(
      "ste",
      [](const Array& grad, const Array& x, const Output& out, float clip, int threads) {
        const Kernels& k = kernels();
        gradient(grad, x, out, threads,
                 [&](const float* g, const float* v, float* to, int64_t n) { k.ste(g, v, to, n, clip); });
      },
      "grad"_array, "x"_array, "out"_array, "clip"_a, "threads"_a, "out = grad where |x| <= clip, else 0.");
  m.def(
      "approx_sign",
      [](const Array& grad, const Array& x, const Output& out, int threads) {
        const Kernels& k = kernels();
        gradient(grad, x, out, threads,
                 [&](const float* g, const float* v, float* to, int64_t n) { k.approx_sign(g, v, to, n); });
      },
      "grad"_array, "x"_array, "out"_array, "threads"_a, "out = grad * max(0, 2 - 2|x|).");
  m.def(
      "even_polynomial",
      [](const Array& grad, const Array& x, const Output& out, const std::vector<float>& c, float window, int threads) {
        check_terms(c);
        const Kernels& k = kernels();
        gradient(grad, x, out, threads, [&](const float* g, const float* v, float* to, int64_t n) {
          k.even_polynomial(g, v, to, n, c.data(), static_cast<int>(c.size()), window);
        });
      },
      "grad"_array, "x"_array, "out"_array, "coefficients"_a, "window"_a, "threads"_a,
      "out = grad * sum_k c[k] x^(2k) where |x| <= window, else 0.");
  m.def(
      "even_polynomial_cosine",
      [](const Array& grad, const Array& x, const Output& out, const std::vector<float>& c, float window, float amount,
         int threads) {
        check_terms(c);
        const Kernels& k = kernels();
        gradient(grad, x, out, threads, [&](const float* g, const float* v, float* to, int64_t n) {
          k.even_polynomial_cosine(g, v, to, n, c.data(), static_cast<int>(c.size()), window, amount);
        });
      },
      "grad"_array, "x"_array, "out"_array, "coefficients"_a, "window"_a, "amount"_a, "threads"_a,
      "out = grad * (sum_k c[k] x^(2k) where |x| <= window, else amount * cos(x)).");
}

}  // namespace bibench::python
