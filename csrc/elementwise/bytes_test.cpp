// Signs as bytes and sums of their products against their definition. See kernels_test.cpp.

#include "kernels_test.h"

namespace bibench::testing {

void check_bytes(const Kernels& k) {
  const int64_t n = between(1, 100), step = between(1, 3);
  current = std::string(k.name) + " bytes n,step=" + text(n, step);
  const Floats x = values(n), shift = normal(n);
  const int kind = static_cast<int>(between(0, 2));  // no shift, one for all, one each
  Buffer<int8_t> bytes(n), wanted_bytes(n), a((n - 1) * step + 1), w(n);
  k.to_bytes(x.data(), kind ? shift.data() : nullptr, kind == 2, n, bytes.data());
  for (int64_t i = 0; i < n; ++i)
    wanted_bytes[i] = static_cast<int8_t>(sign_of(kind == 0 ? x[i] : x[i] + shift[kind == 2 ? i : 0]));
  expect(bytes, wanted_bytes);
  for (int8_t& v : a) v = static_cast<int8_t>(between(-1, 1));
  for (int8_t& v : w) v = coin() ? 1 : -1;
  Buffer<int16_t> tap(n), products(n), wanted_tap(n), wanted_products(n);
  for (int64_t i = 0; i < n; ++i) tap[i] = products[i] = static_cast<int16_t>(between(-16000, 16000));
  for (int64_t i = 0; i < n; ++i) {
    wanted_tap[i] = static_cast<int16_t>(tap[i] + a[i * step] * w[0]);
    wanted_products[i] = static_cast<int16_t>(products[i] + a[i] * w[i]);
  }
  k.add_tap(a.data(), step, w[0], n, tap.data());
  k.add_products(a.data(), w.data(), n, products.data());
  expect(tap, wanted_tap), expect(products, wanted_products);
  const int64_t each = between(0, 1);
  const Floats scale = normal(each ? n : 1), bias = normal(each ? n : 1);
  const bool scaled = coin(), biased = coin();
  Floats out(n), wanted(n);
  k.finish_sums(tap.data(), scaled ? scale.data() : nullptr, biased ? bias.data() : nullptr, each, n, out.data());
  for (int64_t i = 0; i < n; ++i) {
    wanted[i] = static_cast<float>(tap[i]);
    if (scaled) wanted[i] *= scale[i * each];
    if (biased) wanted[i] += bias[i * each];
  }
  expect(out, wanted);
}

}  // namespace bibench::testing
