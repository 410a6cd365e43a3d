// BinaryConv: convolutions of one and two spatial axes on packed weights (docs: the op domain, version 1).

#include "convolution/depthwise.h"
#include "epilogue.h"
#include "isa/dispatch.h"
#include "operator.h"

#include <memory>
#include <mutex>

namespace bibench::ort {
namespace {

constexpr int64_t kMost = (int64_t{1} << 31) - 1;

class BinaryConv {
 public:
  static constexpr const char* kName = "BinaryConv";
  enum Places : size_t { kX, kW, kScale, kBias, kThreshold, kRows, kColumns, kResidual, kSlope, kPostScale };
  static constexpr Input kInputs[] = {{kFloat, kRequired}, {kUint8, kRequired}, {kFloat, kOptional}, {kFloat, kOptional},
                                      {kFloat, kOptional}, {kFloat, kOptional}, {kFloat, kOptional}, {kFloat, kOptional},
                                      {kFloat, kOptional}, {kFloat, kOptional}};

  explicit BinaryConv(const Node& node) : place_(node.place()), ending_(node) {
    const std::vector<int64_t> kernel = node.integers("kernel_shape");
    axes_ = kernel.size();
    place_.check(axes_ == 1 || axes_ == 2, "kernel_shape", "1 or 2 sizes", text(kernel));
    const auto pair = [&](const std::vector<int64_t>& v, int64_t absent, int64_t& high, int64_t& wide) {
      high = axes_ == 2 ? v[0] : absent, wide = v[axes_ - 1];
    };
    pair(node.integers("kernel_shape", axes_, 1, 1, kMost), 1, shape_.kh, shape_.kw);
    pair(node.integers("strides", axes_, 1, 1, kMost), 1, shape_.stride_h, shape_.stride_w);
    pair(node.integers("dilations", axes_, 1, 1, kMost), 1, shape_.dilation_h, shape_.dilation_w);
    const std::vector<int64_t> pads = node.integers("pads", 2 * axes_, 0, 0, kMost);
    pair(pads, 0, shape_.top, shape_.left);
    pair({pads.begin() + static_cast<std::ptrdiff_t>(axes_), pads.end()}, 0, shape_.bottom, shape_.right);
    shape_.pad_value = static_cast<int>(node.integer("pad_value", 0, -1, 1));
    shape_.c = node.integer("channels", 0, 1, kMost);
    shape_.groups = node.integer("group", 1, 1, kMost);
    place_.check(shape_.c % shape_.groups == 0, "group", "a divisor of channels " + std::to_string(shape_.c),
                 std::to_string(shape_.groups));
    activation_scale_ = node.choice("activation_scale", {"", "spatial", "sample"});
    pack(node.constant_bytes(kW, "W"));
  }

  void compute(const Call& call) const {
    const Tensor<float> x = call.floats(kX, "X");
    const Shape s = shape_of(x.sizes);
    const std::vector<int64_t> sizes = axes_ == 2 ? std::vector<int64_t>{s.n, s.co, s.out_h(), s.out_w()}
                                                  : std::vector<int64_t>{s.n, s.co, s.out_w()};
    checked_size(place_, "Y", sizes);
    Finish finish = ending_.finish(call, {kScale, kBias, kResidual, kSlope, kPostScale}, s.co, sizes);
    finish.columns = call.vector(kColumns, "columns", s.out_w());
    if (axes_ == 2)
      finish.rows = call.vector(kRows, "rows", s.out_h());
    else
      place_.check(!call.floats(kRows, "rows", true), "rows", "nothing in one dimension", "a tensor");
    const std::vector<float> shift = shift_of(call, kThreshold, s.c);
    float* y = call.output(sizes);
    if (s.n == 0) return;
    const Kernels& k = current_kernels();
    const std::shared_ptr<const Plan> plan = depthwise_ ? nullptr : plan_of(k, s);
    const Threads threads = call.threads();
    std::vector<float> pixels;
    if (activation_scale_ == "spatial") {
      pixels = spatial_means(k, s, x.data, threads);
      finish.pixel_groups = s.groups;
    } else if (activation_scale_ == "sample") {
      pixels = repeated(row_means(k, x.data, s.n, s.c * s.h * s.w, threads), s.out_h() * s.out_w());
    }
    finish.pixels = pixels.empty() ? nullptr : pixels.data();
    const Strides xs = planar(s.c, s.h, s.w), ys = planar(s.co, s.out_h(), s.out_w());
    const float* shift_data = shift.empty() ? nullptr : shift.data();
    if (depthwise_)
      convolve_depthwise(k, s, x.data, xs, depthwise_weight_, shift_data, finish, y, ys, threads);
    else
      convolve(k, s, x.data, xs, weight_, shift_data, finish, y, ys, threads, plan.get());
  }

  const Place& place() const { return place_; }

 private:
  void pack(const Tensor<uint8_t>& weight) {
    Shape& s = shape_;
    place_.check(s.taps() < 1 << 24 && s.group_in() < 1 << 24 && s.group_in() * s.taps() < 1 << 24, "kernel_shape",
                 "fewer than 2^24 weights in a filter",
                 text({s.group_in(), s.kh, s.kw}));
    check_bits(place_, weight, s.group_in() * s.taps());
    s.co = weight.sizes[0];
    place_.check(s.co % s.groups == 0, "W", "a number of rows that group " + std::to_string(s.groups) + " divides",
                 text(weight.sizes));
    s.n = 1, s.h = s.w = 1;  // known with the input
    // Filters are laid out in words of channels and blocks of filters: small groups must not swell without bound.
    const double words = static_cast<double>(s.groups) * static_cast<double>(s.blocks() * kLanes) *
                         static_cast<double>(s.words());
    depthwise_ = is_depthwise(s);
    place_.check(depthwise_ || words <= static_cast<double>(int64_t{1} << 30), "group",
                 "at most 2^30 words of packed weights", std::to_string(words));
    if (depthwise_)
      depthwise_weight_ = pack_depthwise(s, weight.data);
    else
      weight_ = pack_weight(s, weight.data);
  }

  // The shape with this input, every size of it checked.
  Shape shape_of(const std::vector<int64_t>& x) const {
    Shape s = shape_;
    const auto got = [&] { return text(x); };
    place_.check(x.size() == axes_ + 2, "X", axes_ == 2 ? "shape (N, C, H, W)" : "shape (N, C, L)", got);
    place_.check(x[1] == s.c, "X", [&] { return std::to_string(s.c) + " channels"; }, got);
    s.n = x[0], s.h = axes_ == 2 ? x[2] : 1, s.w = x[axes_ + 1];
    // Each is below 2^31, so no sum or product of two here overflows.
    const int64_t high = s.h + s.top + s.bottom - s.dilation_h * (s.kh - 1) - 1;
    const int64_t wide = s.w + s.left + s.right - s.dilation_w * (s.kw - 1) - 1;
    place_.check(high >= 0 && wide >= 0, "X", "at least the filter's size with padding", got);
    const double positions = static_cast<double>(s.h + s.top + s.bottom) * static_cast<double>(s.w + s.left + s.right);
    const double words = positions * static_cast<double>(s.groups * s.tap_words());
    constexpr double kLimit = static_cast<double>(int64_t{1} << 28);
    place_.check(words < kLimit && positions < kLimit, "X", "fewer than 2^28 words in one padded image", got);
    return s;
  }

  // Made when a new size comes, or other kernels are chosen. A table of corrections of this size belongs to no real layer.
  std::shared_ptr<const Plan> plan_of(const Kernels& k, const Shape& s) const {
    const std::lock_guard lock(cache_->mutex);
    if (cache_->plan && cache_->kernels == &k && cache_->h == s.h && cache_->w == s.w) return cache_->plan;
    const bool padded = s.top || s.bottom || s.left || s.right;
    if (padded && s.pad_value != 1) {
      const double rows = static_cast<double>(std::min(s.out_h(), 2 * s.kh + 1));
      const double columns = static_cast<double>(std::min(s.out_w(), 2 * s.kw + 1));
      const double work = rows * columns * static_cast<double>(s.groups * s.blocks() * kLanes) * static_cast<double>(s.taps());
      const double search = static_cast<double>(s.out_h()) * rows * static_cast<double>(s.kh) +
                            static_cast<double>(s.out_w()) * columns * static_cast<double>(s.kw);
      place_.check(work + search < 1e9, "pads", "a border of reasonable size for kernel_shape " + text({s.kh, s.kw}),
                   text({s.top, s.left, s.bottom, s.right}));
    }
    cache_->plan = make_plan(k, s, weight_);
    cache_->kernels = &k, cache_->h = s.h, cache_->w = s.w;
    return cache_->plan;
  }

  struct Cache {
    std::mutex mutex;
    const Kernels* kernels = nullptr;
    int64_t h = 0, w = 0;
    std::shared_ptr<const Plan> plan;
  };

  Place place_;
  Ending ending_;
  size_t axes_ = 0;
  Shape shape_ = {};
  std::string activation_scale_;
  bool depthwise_ = false;
  PackedWeight weight_;
  DepthwiseWeight depthwise_weight_;
  std::unique_ptr<Cache> cache_ = std::make_unique<Cache>();
};

}  // namespace

const CustomOp& binary_conv() {
  static const Operator<BinaryConv> op;
  return op;
}

}  // namespace bibench::ort
