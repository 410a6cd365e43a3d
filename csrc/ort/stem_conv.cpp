// StemConv: a float convolution of few channels and, where asked for, the max pooling behind it (docs: the op domain,
// version 1).

#include "epilogue.h"
#include "isa/dispatch.h"
#include "operator.h"
#include "stem/stem.h"

namespace bibench::ort {
namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;
constexpr int64_t kMostStride = 4;
constexpr int64_t kMostInputs = 1024;  // channels of all phases

class StemConv {
 public:
  static constexpr const char* kName = "StemConv";
  enum Places : size_t { kX, kW, kBias, kSlope, kNowhere };
  static constexpr Input kInputs[] = {{kFloat, kRequired}, {kFloat, kRequired}, {kFloat, kOptional}, {kFloat, kOptional}};

  explicit StemConv(const Node& node) : place_(node.place()), ending_(node) {
    StemShape& s = shape_;
    const std::vector<int64_t> strides = node.integers("strides", 2, 1, 1, kMostStride);
    const std::vector<int64_t> pads = node.integers("pads", 4, 0, 0, kMost);
    s.stride_h = strides[0], s.stride_w = strides[1];
    s.top = pads[0], s.left = pads[1], s.bottom = pads[2], s.right = pads[3];
    read_pooling(node);
    const Tensor<float> weight = node.constant_floats(kW, "W");
    const std::vector<int64_t>& w = weight.sizes;
    place_.check(w.size() == 4 && weight.size() > 0, "W", "shape (C_o, C_i, kH, kW)", text(w));
    s.co = w[0], s.c = w[1], s.kh = w[2], s.kw = w[3];
    place_.check(s.kh <= kMostTaps * s.stride_h && s.kw <= kMostTaps * s.stride_w, "W",
                 "filters of at most " + std::to_string(kMostTaps) + " times strides " + text(strides), text(w));
    place_.check(s.c <= kMostInputs / s.phases(), "W",
                 "at most " + std::to_string(kMostInputs / s.phases()) + " channels with strides " + text(strides), text(w));
    const std::vector<int64_t> kernel = node.integers("kernel_shape");
    place_.check(kernel.empty() || kernel == std::vector<int64_t>{s.kh, s.kw}, "kernel_shape", text({s.kh, s.kw}) + " as W",
                 text(kernel));
    constexpr double kLimit = static_cast<double>(int64_t{1} << 30);
    place_.check(static_cast<double>(s.co + 64) * static_cast<double>(s.c * s.phases() * kProducts) < kLimit, "W",
                 "fewer than 2^30 transformed weights", text(w));
    weight_ = transform_stem(winograd_for(current_kernels()), s, weight.data);
  }

  void compute(const Call& call) const {
    const Tensor<float> x = call.floats(kX, "X");
    const StemShape s = shape_of(x.sizes);
    const std::vector<int64_t> sizes = {s.n, s.co, s.out_h(), s.out_w()};
    checked_size(place_, "Y", sizes);
    const Finish finish = ending_.finish(call, {kNowhere, kBias, kNowhere, kSlope, kNowhere}, s.co, sizes);
    float* y = call.output(sizes);
    if (s.n == 0) return;
    convolve_stem(current_kernels(), s, x.data, weight_, finish, y, call.threads());
  }

  const Place& place() const { return place_; }

 private:
  void read_pooling(const Node& node) {
    StemShape& s = shape_;
    const std::vector<int64_t> size = node.integers("pool_shape", 2, 1, 1, kMostPool);
    const std::vector<int64_t> strides = node.integers("pool_strides", 2, 1, 1, kMostPool);
    const std::vector<int64_t> pads = node.integers("pool_pads", 4, 0, 0, kMostPool - 1);
    for (size_t i = 0; i < 4; ++i)
      place_.check(pads[i] < size[i % 2], "pool_pads", "less than pool_shape " + text(size), text(pads));
    s.pool_h = size[0], s.pool_w = size[1], s.pool_stride_h = strides[0], s.pool_stride_w = strides[1];
    s.pool_top = pads[0], s.pool_left = pads[1], s.pool_bottom = pads[2], s.pool_right = pads[3];
  }

  // The shape with this input, every size of it checked.
  StemShape shape_of(const std::vector<int64_t>& x) const {
    StemShape s = shape_;
    place_.check(x.size() == 4, "X", "shape (N, C, H, W)", text(x));
    place_.check(x[1] == s.c, "X", std::to_string(s.c) + " channels", text(x));
    s.n = x[0], s.h = x[2], s.w = x[3];
    // Each is below 2^31, so no sum or product of two here overflows.
    place_.check(s.h + s.top + s.bottom >= s.kh && s.w + s.left + s.right >= s.kw, "X",
                 "at least the filter's size with padding", text(x));
    place_.check(s.high() + s.pool_top + s.pool_bottom >= s.pool_h && s.wide() + s.pool_left + s.pool_right >= s.pool_w,
                 "X", "outputs of at least pool_shape", text({s.high(), s.wide()}));
    // A thread holds some rows of all channels and of all outputs.
    const auto number = [](int64_t v) { return static_cast<double>(v); };
    const double high = number(s.h + s.top + s.bottom), wide = number(s.w + s.left + s.right);
    constexpr double kLimit = static_cast<double>(int64_t{1} << 28);
    place_.check(high * wide < kLimit && wide * number((s.c * s.phases() + s.co + 64) * (s.pool_h + kPoints)) < kLimit, "X",
                 "fewer than 2^28 values in a padded channel and in a few rows", text(x));
    return s;
  }

  Place place_;
  Ending ending_;
  StemShape shape_ = {};
  StemWeight weight_ = {};
};

}  // namespace

const CustomOp& stem_conv() {
  static const Operator<StemConv> op;
  return op;
}

}  // namespace bibench::ort
