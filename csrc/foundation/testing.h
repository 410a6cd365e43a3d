// What the tests in C++ share: random values, arrays of exactly their size (so that AddressSanitizer sees a step
// beyond), and comparisons that end the program at the first difference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>

namespace bibench::testing {

inline std::mt19937_64 random_bits;
inline std::string current;  // what is being checked, for the message

inline int64_t between(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_bits); }
inline bool coin() { return between(0, 1) == 1; }

[[noreturn]] inline void fail(const std::string& what) {
  std::printf("WRONG: %s: %s\n", current.c_str(), what.c_str());
  std::exit(1);
}

template <class... Values>
std::string text(const Values&... values) {
  std::string result;
  ((result += (result.empty() ? "" : " ") + std::to_string(values)), ...);
  return result;
}

// An array of exactly this size on the heap (a vector may reserve more).
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t size, T value = T()) : size_(size), data_(new T[size]) { std::fill(begin(), end(), value); }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  int64_t size_;
  std::unique_ptr<T[]> data_;
};

using Floats = Buffer<float>;

inline float value() {
  static const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, std::numeric_limits<float>::denorm_min(),
                                  -std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::infinity(),
                                  -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
  if (between(0, 15) == 0) return special[between(0, 8)];
  return std::normal_distribution<float>()(random_bits);
}

inline Floats values(int64_t size) {
  Floats result(size);
  for (float& v : result) v = value();
  return result;
}

inline Floats normal(int64_t size) {
  Floats result(size);
  for (float& v : result) v = std::normal_distribution<float>()(random_bits);
  return result;
}

inline bool same(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::memcmp(&a, &b, sizeof a) == 0;
}

inline void expect(const Floats& got, const Floats& wanted) {
  for (int64_t i = 0; i < wanted.size(); ++i)
    if (!same(got[i], wanted[i])) fail(text(i) + ": got " + text(got[i]) + ", not " + text(wanted[i]));
}

template <class T>
void expect(const Buffer<T>& got, const Buffer<T>& wanted) {
  for (int64_t i = 0; i < wanted.size(); ++i)
    if (got[i] != wanted[i]) fail(text(i) + ": got " + text(got[i]) + ", not " + text(wanted[i]));
}

inline int sign_of(float v) { return v >= 0.0f ? 1 : -1; }

}  // namespace bibench::testing
