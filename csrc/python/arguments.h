// What the functions of bibench._core share: the types of their arguments, and the checks that run before a kernel does.
#pragma once

#include "convolution/convolution.h"
#include "foundation/threads.h"
#include "isa/dispatch.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

namespace bibench::python {

namespace nb = nanobind;
using namespace nb::literals;

using Array = nb::ndarray<const float, nb::device::cpu>;
using Output = nb::ndarray<float, nb::device::cpu>;
using Kept = nb::ndarray<int16_t, nb::device::cpu>;
using KeptInput = nb::ndarray<const int16_t, nb::device::cpu>;
using MaybeArray = std::optional<Array>;
using MaybeKept = std::optional<Kept>;

// An argument that is taken as it is or not at all: a converted `out` would be a copy that nobody sees.
inline auto operator""_array(const char* name, size_t) { return nb::arg(name).noconvert(); }

inline const Kernels& kernels() { return current_kernels(); }

inline void check(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

template <class T>
std::string shape_of(const T& array) {
  std::string text = "(";
  for (size_t i = 0; i < array.ndim(); ++i) text += (i ? ", " : "") + std::to_string(array.shape(i));
  return text + ")";
}

template <class T>
bool is_empty(const T& array) {
  for (size_t i = 0; i < array.ndim(); ++i)
    if (array.shape(i) == 0) return true;
  return false;
}

template <class T>
bool is_contiguous(const T& a) {
  int64_t size = 1;
  for (size_t i = a.ndim(); i-- > 0; size *= static_cast<int64_t>(a.shape(i)))
    if (a.shape(i) > 1 && a.stride(i) != size) return false;
  return true;
}

// Strides of a 4-d array that is contiguous or channels-last; axes of one element, and empty arrays, may have any.
template <class T>
Strides layout(const T& a, const char* name) {
  check(a.ndim() == 4, std::string(name) + " must have 4 axes, got " + shape_of(a));
  const int64_t n = a.shape(0), c = a.shape(1), h = a.shape(2), w = a.shape(3);
  const auto matches = [&](const Strides& s) {
    return (n <= 1 || a.stride(0) == s.n) && (c <= 1 || a.stride(1) == s.c) && (h <= 1 || a.stride(2) == s.h) &&
           (w <= 1 || a.stride(3) == s.w);
  };
  const Strides last = {h * w * c, 1, w * c, c}, planar = {c * h * w, h * w, w, 1};
  if (is_empty(a) || matches(last)) return last;
  if (matches(planar)) return planar;
  throw std::invalid_argument(std::string(name) + " must be contiguous or channels-last");
}

inline const float* channel_values(const MaybeArray& values, int64_t channels, const char* name) {
  if (!values) return nullptr;
  check(values->ndim() == 1 && static_cast<int64_t>(values->shape(0)) == channels,
        std::string(name) + " must have shape (" + std::to_string(channels) + "), got " + shape_of(*values));
  check(channels <= 1 || values->stride(0) == 1, std::string(name) + " must be contiguous");
  return values->data();
}

// Rows of n values, one after the other.
struct Matrix {
  int64_t rows, n;
};

// The data of an array that must be such a matrix.
template <class A>
auto matrix_data(const A& a, Matrix m, const char* name) {
  check(a.ndim() == 2 && static_cast<int64_t>(a.shape(0)) == m.rows && static_cast<int64_t>(a.shape(1)) == m.n,
        std::string(name) + " has the wrong shape " + shape_of(a));
  check(is_empty(a) || is_contiguous(a), std::string(name) + " must be contiguous");
  return a.data();
}

// The sizes of x, which every other argument has to fit.
template <class A>
Matrix matrix(const A& x) {
  check(x.ndim() == 2, "x must be a matrix");
  const Matrix m = {static_cast<int64_t>(x.shape(0)), static_cast<int64_t>(x.shape(1))};
  matrix_data(x, m, "x");
  return m;
}

// A loop over rows of n values, which runs on one thread where there is little to do.
template <class Body>
void over_rows(int64_t rows, int64_t n, int threads, Body&& body) {
  constexpr int64_t kGrain = 1 << 15;
  const int64_t parts = std::clamp<int64_t>(rows * n / kGrain, 1, threads);
  parallel_for(rows, static_cast<int>(parts), [&](int64_t begin, int64_t end) { body(begin, end); });
}

// The functions of one kind, each in the file of its name.
void register_products(nb::module_& m);
void register_gradients(nb::module_& m);
void register_elementwise(nb::module_& m);
void register_rows(nb::module_& m);
void register_columns(nb::module_& m);
void register_probes(nb::module_& m);

}  // namespace bibench::python
