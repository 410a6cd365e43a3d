// Gradients by table lookup against their definition, on random shapes with a fixed seed.
//
// Gradients that are small integers have exact sums in any order: there every bit is checked against scalar loops. With
// real numbers every instruction set and number of threads must give the bits of the portable steps on one thread, close to
// the sums in double precision. All buffers have exactly the size that may be touched, for AddressSanitizer.
//
//   lookup_test [cases] [seed]

#include "foundation/testing.h"
#include "gradients.h"
#include "isa/dispatch.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>

namespace {

using namespace bibench;
using testing::between, testing::random_bits;

struct Values {
  explicit Values(int64_t count) : size(count), data(new float[count]) { std::fill_n(data.get(), count, -7.0f); }
  int64_t size;
  std::unique_ptr<float[]> data;
  float* get() const { return data.get(); }
  float& operator[](int64_t i) const { return data[i]; }
  bool operator==(const Values& other) const { return !std::memcmp(get(), other.get(), size * sizeof(float)); }
};

struct Case {
  Shape s;
  Values x, grad, weight, shift, scale;
  explicit Case(const Shape& shape)
      : s(shape), x(s.n * s.h * s.w * s.c), grad(s.n * s.out_h() * s.out_w() * s.co), weight(s.co * s.taps() * s.c),
        shift(s.c), scale(s.co) {}
};

Shape random_shape() {
  Shape s;
  for (;;) {
    const bool row = !between(0, 4);  // rows of a matrix
    s.n = between(0, row ? 70 : 6), s.c = between(1, 120), s.co = between(1, 40);
    s.h = row ? 1 : between(1, 9), s.w = row ? 1 : between(1, 40);
    s.kh = row ? 1 : between(1, 4), s.kw = row ? 1 : between(1, 4);
    s.stride_h = row ? 1 : between(1, 3), s.stride_w = row ? 1 : between(1, 3);
    s.dilation_h = between(1, 2), s.dilation_w = between(1, 2);
    s.top = row ? 0 : between(0, 2), s.bottom = row ? 0 : between(0, 2);
    s.left = row ? 0 : between(0, 2), s.right = row ? 0 : between(0, 2);
    s.groups = 1, s.pad_value = static_cast<int>(between(-1, 1));
    if (s.h + s.top + s.bottom > s.dilation_h * (s.kh - 1) && s.w + s.left + s.right > s.dilation_w * (s.kw - 1)) return s;
  }
}

void fill(const Values& values, bool integers) {
  for (int64_t i = 0; i < values.size; ++i) {
    values[i] = integers ? static_cast<float>(between(-9, 9)) : std::normal_distribution<float>()(random_bits);
    if (!between(0, 20)) values[i] = between(0, 1) ? -0.0f : 0.0f;
  }
}

double sign(float v) { return v >= 0.0f ? 1.0 : -1.0; }

// Both gradients in double precision, and the sums of magnitudes.
struct Expected {
  explicit Expected(const Case& c) : input(c.x.size), weight(c.weight.size), input_size(c.x.size), weight_size(c.weight.size) {
    const Shape& s = c.s;
    std::fill_n(input.get(), input.size, 0.0f), std::fill_n(weight.get(), weight.size, 0.0f);
    std::unique_ptr<double[]> in(new double[4 * (input.size + weight.size) + 1]());
    double *in_size = in.get() + input.size, *w = in_size + input.size, *w_size = w + weight.size;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t y = 0; y < s.out_h(); ++y)
        for (int64_t x = 0; x < s.out_w(); ++x)
          for (int64_t i = 0; i < s.taps(); ++i) {
            const int64_t iy = y * s.stride_h + i / s.kw * s.dilation_h - s.top;
            const int64_t ix = x * s.stride_w + i % s.kw * s.dilation_w - s.left;
            const bool inside = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w;
            for (int64_t o = 0; o < s.co; ++o) {
              const double g = c.grad[((n * s.out_h() + y) * s.out_w() + x) * s.co + o];
              const double scaled = static_cast<float>(g) * c.scale[o];
              for (int64_t k = 0; k < s.c; ++k) {
                const int64_t at = ((n * s.h + iy) * s.w + ix) * s.c + k, tap = (o * s.taps() + i) * s.c + k;
                w[tap] += g * (inside ? sign(c.x[at] + c.shift[k]) : s.pad_value);
                if (inside || s.pad_value) w_size[tap] += std::fabs(g);
                if (inside) in[at] += scaled * sign(c.weight[tap]), in_size[at] += std::fabs(scaled);
              }
            }
          }
    for (int64_t i = 0; i < input.size; ++i) input[i] = in[i], input_size[i] = in_size[i];
    for (int64_t i = 0; i < weight.size; ++i) weight[i] = w[i], weight_size[i] = w_size[i];
  }
  Values input, weight, input_size, weight_size;
};

[[noreturn]] void fail(const Shape& s, const std::string& what) {
  std::printf("DIFFERENT: %s: n %ld c %ld h %ld w %ld co %ld filter %ldx%ld stride %ldx%ld dilation %ldx%ld padding %ld %ld %ld %ld (%d)\n",
              what.c_str(), long(s.n), long(s.c), long(s.h), long(s.w), long(s.co), long(s.kh), long(s.kw), long(s.stride_h),
              long(s.stride_w), long(s.dilation_h), long(s.dilation_w), long(s.top), long(s.bottom), long(s.left), long(s.right),
              s.pad_value);
  std::exit(1);
}

void compare(const Case& c, const char* what, const Values& got, const Values& expected, const Values& size, bool exact) {
  for (int64_t i = 0; i < got.size; ++i)
    if (!(std::fabs(got[i] - expected[i]) <= (exact ? 0.0 : 1e-6 * size[i])))
      fail(c.s, std::string(what) + " at " + std::to_string(i) + ": " + std::to_string(got[i]) + ", expected " + std::to_string(expected[i]));
}

void check(const Case& c, bool integers) {
  const Expected expected(c);
  const Values first_input(c.x.size), first_weight(c.weight.size);
  bool done = false;
  const auto with = [&](const Lookup& lookup, int threads) {
    const Values input(c.x.size), weight(c.weight.size);
    lookup_input_gradient(lookup, c.s, c.grad.get(), c.weight.get(), c.scale.get(), input.get(), threads);
    lookup_weight_gradient(lookup, c.s, c.grad.get(), c.x.get(), c.shift.get(), weight.get(), threads);
    compare(c, "input", input, expected.input, expected.input_size, integers);
    compare(c, "weight", weight, expected.weight, expected.weight_size, integers);
    if (!done) std::copy_n(input.get(), input.size, first_input.get()), std::copy_n(weight.get(), weight.size, first_weight.get());
    done = true;
    if (!(input == first_input && weight == first_weight)) fail(c.s, std::string(lookup.name) + ": other bits");
  };
  for (const int threads : {1, 2, 5}) with(kLookupPortable, threads);
  for (const Kernels* kernels : available_kernels())
    if (lookup_pays(*kernels))
      for (const int threads : {1, 3}) with(lookup_for(*kernels), threads);
}

}  // namespace

int main(int count, char** arguments) {
  const int64_t cases = count > 1 ? std::atoll(arguments[1]) : 300;
  random_bits.seed(count > 2 ? std::atoll(arguments[2]) : 0);
  for (int64_t i = 0; i < cases; ++i) {
    const Case c(random_shape());
    const bool integers = i % 2;
    fill(c.x, integers), fill(c.grad, integers), fill(c.weight, integers), fill(c.shift, integers), fill(c.scale, integers);
    check(c, integers);
  }
  std::printf("lookup: %ld cases\n", long(cases));
}
