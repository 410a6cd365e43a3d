// Matrix products against their definition. See kernels_test.cpp.

#include "kernels_test.h"
#include "matmul.h"

namespace bibench::testing {

void check_matmul(const Kernels& k) {
  const bool mask = coin(), last = coin();
  const int threads = static_cast<int>(between(1, 4));
  const int64_t outer = between(0, 3), inner = between(1, 3), m = between(0, 30), n = between(1, 40);
  const int64_t length = between(0, 3) ? between(1, 100) : between(900, 1200);
  current = std::string(k.name) + (mask ? " matmul mask" : " matmul signs") + " outer,inner,m,n,length=" +
            text(outer, inner, m, n, length) + " last=" + text(last) + " threads=" + text(threads);
  Floats a = values(outer * inner * m * length), b = values(outer * inner * n * length);
  if (mask)
    for (float& v : a) v = v > 0 ? 1.0f : 0.0f;
  // Batch axes in either order of memory: (outer, inner, row, value) or (outer, row, inner, value).
  const Vectors left = {a.data(), m, inner * m * length, last ? m * length : length, last ? length : inner * length, 1};
  const Vectors right = mask ? Vectors{b.data(), n, inner * n * length, n * length, 1, n}
                             : Vectors{b.data(), n, inner * n * length, last ? n * length : length,
                                       last ? length : inner * length, 1};
  Floats out(outer * inner * m * n, -12345.0f), wanted(outer * inner * m * n);
  matmul(k, mask ? Product::kMask : Product::kSigns, outer, inner, length, left, right, out.data(), threads);
  for (int64_t e = 0; e < outer * inner; ++e)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        int64_t dot = 0;
        for (int64_t t = 0; t < length; ++t) {
          const float u = a[e / inner * left.batch_outer + e % inner * left.batch_inner + i * left.row + t * left.value];
          const float v = b[e / inner * right.batch_outer + e % inner * right.batch_inner + j * right.row + t * right.value];
          dot += (mask ? static_cast<int>(u) : sign_of(u)) * sign_of(v);
        }
        wanted[(e * m + i) * n + j] = static_cast<float>(dot);
      }
  expect(out, wanted);
}

}  // namespace bibench::testing
