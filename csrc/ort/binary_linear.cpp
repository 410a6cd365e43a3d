// BinaryLinear: (..., I) with packed weights (O, I). Rows are the images of a 1x1 convolution.

#include "epilogue.h"
#include "isa/dispatch.h"
#include "operator.h"

namespace bibench::ort {
namespace {

class BinaryLinear {
 public:
  static constexpr const char* kName = "BinaryLinear";
  enum Places : size_t { kX, kW, kScale, kBias, kThreshold, kResidual, kSlope, kPostScale };
  static constexpr Input kInputs[] = {{kFloat, kRequired}, {kUint8, kRequired}, {kFloat, kOptional}, {kFloat, kOptional},
                                      {kFloat, kOptional}, {kFloat, kOptional}, {kFloat, kOptional}, {kFloat, kOptional}};

  explicit BinaryLinear(const Node& node) : place_(node.place()), ending_(node) {
    shape_ = {1, node.integer("channels", 0, 1, (1 << 24) - 1), 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0};
    activation_scale_ = node.choice("activation_scale", {"", "token", "sample"});
    const Tensor<uint8_t> weight = node.constant_bytes(kW, "W");
    check_bits(place_, weight, shape_.c);
    shape_.co = weight.sizes[0];
    weight_ = pack_weight(shape_, weight.data);
    plan_ = make_plan(current_kernels(), shape_, weight_);
  }

  void compute(const Call& call) const {
    const Tensor<float> x = call.floats(kX, "X");
    place_.check(!x.sizes.empty() && x.sizes.back() == shape_.c, "X",
                 [&] { return "shape (..., " + std::to_string(shape_.c) + ")"; }, [&] { return text(x.sizes); });
    std::vector<int64_t> sizes = x.sizes;
    sizes.back() = shape_.co;
    Shape s = shape_;
    s.n = checked_size(place_, "X", x.sizes) / s.c;
    checked_size(place_, "Y", sizes);
    Finish finish = ending_.finish(call, {kScale, kBias, kResidual, kSlope, kPostScale}, s.co, sizes);
    const std::vector<float> shift = shift_of(call, kThreshold, s.c);
    float* y = call.output(sizes);
    if (s.n == 0) return;
    const Threads threads = call.threads();
    const Kernels& k = current_kernels();
    std::vector<float> pixels;
    if (activation_scale_ == "token") {
      pixels = row_means(k, x.data, s.n, s.c, threads);
    } else if (activation_scale_ == "sample") {
      const int64_t samples = x.sizes.size() > 1 ? x.sizes[0] : 1;
      pixels = repeated(row_means(k, x.data, samples, s.n / samples * s.c, threads), s.n / samples);
    }
    finish.pixels = pixels.empty() ? nullptr : pixels.data();
    convolve(k, s, x.data, planar(s.c, 1, 1), weight_, shift.empty() ? nullptr : shift.data(), finish, y,
             planar(s.co, 1, 1), threads, plan_.get());
  }

  const Place& place() const { return place_; }

 private:
  Place place_;
  Ending ending_;
  Shape shape_;
  std::string activation_scale_;
  PackedWeight weight_;
  std::shared_ptr<const Plan> plan_;
};

}  // namespace

const CustomOp& binary_linear() {
  static const Operator<BinaryLinear> op;
  return op;
}

}  // namespace bibench::ort
