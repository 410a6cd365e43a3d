// What the checks of rows and columns share: sums in the kernels' orders.
#pragma once

#include <vector>

namespace bibench::testing {

// Sum by folding, written from its description: element i of the first half meets element half + i.
inline float folded(std::vector<float> v) {
  while (v.size() > 1) {
    const size_t half = (v.size() + 1) / 2;
    for (size_t i = half; i < v.size(); ++i) v[i - half] += v[i];
    v.resize(half);
  }
  return v[0];
}

// Sum over rows, written from its description: neighbours are added, the last of an odd number is left as it is.
inline float sum_of_neighbours(std::vector<float> v) {
  while (v.size() > 1) {
    std::vector<float> next;
    for (size_t i = 0; i + 1 < v.size(); i += 2) next.push_back(v[i] + v[i + 1]);
    if (v.size() % 2) next.push_back(v.back());
    v = next;
  }
  return v[0];
}

}  // namespace bibench::testing
