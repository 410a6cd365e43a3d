// Inputs and attributes that convolutions and linear layers share: what follows the dot products, and K.
#pragma once

#include "convolution/convolution.h"
#include "node.h"

namespace bibench::ort {

// Attributes of the activation.
class Ending {
 public:
  explicit Ending(const Node& node);
  // Places of the inputs.
  struct Places {
    size_t scale, bias, residual, slope, post_scale;
  };
  Finish finish(const Call& call, const Places& places, int64_t channels, const std::vector<int64_t>& output) const;

 private:
  Activation activation_;
  float low_, high_;
};

// -threshold, to be added to the input before the sign. x - t >= 0 wherever x >= t, but for infinite thresholds, which
// become the largest finite ones.
std::vector<float> shift_of(const Call& call, size_t index, int64_t channels);

// Weights of one output channel are `size` bits in (out, bytes) bytes; the rest of the last byte must be 0.
void check_bits(const Place& place, const Tensor<uint8_t>& weight, int64_t size);

// mean |x| of `rows` rows of `size` values.
std::vector<float> row_means(const Kernels& kernels, const float* x, int64_t rows, int64_t size, const Threads& threads);

// Every value `times` times.
std::vector<float> repeated(const std::vector<float>& values, int64_t times);

// XNOR-Net's K (arXiv:1603.05279, Eq. 11) for each group, (n, groups, out_h, out_w): the mean of |x| over channels,
// averaged over the filter's window, with zeros around. x is contiguous.
std::vector<float> spatial_means(const Kernels& kernels, const Shape& shape, const float* x, const Threads& threads);

}  // namespace bibench::ort
