// BinaryAttention: 1[sign(Q) sign(K)^T / sqrt(d) >= 0] & mask, times sign(V). All sums are integers, so exact.

#include "isa/dispatch.h"
#include "matmul/matmul.h"
#include "operator.h"

#include <algorithm>

namespace bibench::ort {
namespace {

constexpr int64_t kScores = 1 << 18;   // scores a thread holds at once
constexpr int64_t kTerms = 1 << 24;    // of a sum, so that it is exact in float32
constexpr int64_t kLeastRows = 16;

// The mask, read with strides that repeat it where it has one element.
struct Mask {
  const bool* data = nullptr;
  int64_t strides[4] = {};

  Mask(const Place& place, const Tensor<bool>& mask, const std::vector<int64_t>& scores) : data(mask.data) {
    if (!mask) return;
    place.check(mask.sizes.size() <= 4, "mask", "a shape that broadcasts to " + text(scores), text(mask.sizes));
    int64_t stride = 1;
    for (size_t i = mask.sizes.size(), axis = 4; i-- > 0;) {
      --axis;
      place.check(mask.sizes[i] == 1 || mask.sizes[i] == scores[axis], "mask",
                  "a shape that broadcasts to " + text(scores), text(mask.sizes));
      strides[axis] = mask.sizes[i] == 1 ? 0 : stride;
      stride *= mask.sizes[i];
    }
  }
};

class BinaryAttention {
 public:
  static constexpr const char* kName = "BinaryAttention";
  static constexpr Input kInputs[] = {{kFloat, kRequired}, {kFloat, kRequired}, {kFloat, kRequired}, {kBool, kOptional}};

  explicit BinaryAttention(const Node& node) : place_(node.place()), strict_(node.integer("strict", 0, 0, 1) != 0) {}

  void compute(const Call& call) const {
    const Tensor<float> q = call.floats(0, "Q"), k = call.floats(1, "K"), v = call.floats(2, "V");
    place_.check(q.sizes.size() == 4, "Q", "shape (B, H, T, d)", text(q.sizes));
    const int64_t batch = q.sizes[0], heads = q.sizes[1], rows = q.sizes[2], depth = q.sizes[3];
    place_.check(depth >= 1 && depth < kTerms, "Q", "d from 1 to 2^24 - 1", text(q.sizes));
    place_.check(k.sizes.size() == 4 && k.sizes[0] == batch && k.sizes[1] == heads && k.sizes[3] == depth, "K",
                 "shape (" + std::to_string(batch) + ", " + std::to_string(heads) + ", S, " + std::to_string(depth) + ")",
                 text(k.sizes));
    const int64_t length = k.sizes[2];
    place_.check(length < kTerms, "K", "S below 2^24", text(k.sizes));
    place_.check(v.sizes.size() == 4 && v.sizes[0] == batch && v.sizes[1] == heads && v.sizes[2] == length, "V",
                 "shape (" + std::to_string(batch) + ", " + std::to_string(heads) + ", " + std::to_string(length) + ", e)",
                 text(v.sizes));
    const int64_t width = v.sizes[3];
    const Mask mask(place_, call.booleans(3, "mask"), {batch, heads, rows, length});
    float* y = call.output({batch, heads, rows, width});
    const int64_t size = checked_size(place_, "Y", {batch, heads, rows, width});
    if (size == 0) return;
    if (length == 0) {
      std::fill(y, y + size, 0.0f);
      return;
    }
    const Threads threads = call.threads();
    const Kernels& kernels = current_kernels();
    // A unit is some rows of one head, so few that their scores stay in the cache.
    const int64_t elements = batch * heads;
    const int64_t wanted = (threads.count + elements - 1) / elements;
    int64_t step = std::min((rows + wanted - 1) / wanted, std::max(kLeastRows, kScores / length));
    step = std::min(rows, std::max(step, kLeastRows));
    const int64_t parts = (rows + step - 1) / step;
    parallel_for(elements * parts, threads, [&](int64_t begin, int64_t end) {
      std::vector<float> scores(step * length);
      for (int64_t u = begin; u < end; ++u) {
        const int64_t e = u / parts, first = u % parts * step, count = std::min(step, rows - first);
        const Vectors queries = {q.data + (e * rows + first) * depth, count, 0, 0, depth, 1};
        const Vectors keys = {k.data + e * length * depth, length, 0, 0, depth, 1};
        const Vectors values = {v.data + e * length * width, width, 0, 0, 1, width};
        matmul(kernels, Product::kSigns, 1, 1, depth, queries, keys, scores.data(), 1);
        for (int64_t r = 0; r < count; ++r) attend(scores.data() + r * length, length, mask, e / heads, e % heads, first + r);
        const Vectors weights = {scores.data(), count, 0, 0, length, 1};
        matmul(kernels, Product::kMask, 1, 1, length, weights, values, y + (e * rows + first) * width, 1);
      }
    });
  }

  const Place& place() const { return place_; }

 private:
  // Scores to zeros and ones.
  void attend(float* scores, int64_t length, const Mask& mask, int64_t b, int64_t h, int64_t row) const {
    if (strict_)
      for (int64_t i = 0; i < length; ++i) scores[i] = scores[i] > 0.0f ? 1.0f : 0.0f;
    else
      for (int64_t i = 0; i < length; ++i) scores[i] = scores[i] >= 0.0f ? 1.0f : 0.0f;
    if (!mask.data) return;
    const bool* allowed = mask.data + b * mask.strides[0] + h * mask.strides[1] + row * mask.strides[2];
    for (int64_t i = 0; i < length; ++i)
      if (!allowed[i * mask.strides[3]]) scores[i] = 0.0f;
  }

  Place place_;
  bool strict_;
};

}  // namespace

const CustomOp& binary_attention() {
  static const Operator<BinaryAttention> op;
  return op;
}

}  // namespace bibench::ort
