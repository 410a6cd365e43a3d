// See matmul.h. A task is some rows of a against all of b in one element of the batch.

#include "matmul.h"

#include "convolution/weight.h"
#include "foundation/aligned.h"

#include <algorithm>
#include <vector>

namespace bibench {
namespace {

// The bits of `count` vectors from `first` on, [vector][word].
void pack(const Kernels& k, const Vectors& v, const float* data, int64_t first, int64_t count, int64_t length,
          const float* shift, AlignedVector<uint32_t>& words) {
  const int64_t per_vector = (length + kWordBits - 1) / kWordBits;
  words.resize(count * per_vector);
  if (v.value == 1) {
    k.pack_rows(data + first * v.row, shift, length, count, v.row, words.data(), per_vector);
    return;
  }
  for (int64_t t = 0; t < per_vector; ++t) {
    const int values = static_cast<int>(std::min<int64_t>(kWordBits, length - t * kWordBits));
    k.pack_plane(data + first * v.row + t * kWordBits * v.value, shift ? shift + t * kWordBits : nullptr, values,
                 v.value, count, words.data() + t, per_vector);
  }
}

class Matmul {
 public:
  Matmul(const Kernels& kernels, Product product, int64_t length, const Vectors& a, const Vectors& b)
      : k_(kernels), product_(product), length_(length), words_((length + kWordBits - 1) / kWordBits), a_(a), b_(b) {
    // A value of 0 or 1 minus 1/2 is negative where it is 0.
    if (product == Product::kMask) half_.assign(length, -0.5f);
  }

  void rows(const float* a, const float* b, int64_t first, int64_t count, float* out) const {
    thread_local AlignedVector<uint32_t> left, right, lanes;
    thread_local std::vector<int32_t> totals;
    pack(k_, a_, a, first, count, length_, half_.empty() ? nullptr : half_.data(), left);
    if (product_ == Product::kMask) complement(left, count, totals);
    pack(k_, b_, b, 0, b_.rows, length_, nullptr, right);
    const int64_t blocks = (b_.rows + kLanes - 1) / kLanes;
    lanes.assign(blocks * words_ * kLanes, 0);
    for (int64_t n = 0; n < b_.rows; ++n)
      for (int64_t t = 0; t < words_; ++t)
        lanes[(n / kLanes * words_ + t) * kLanes + n % kLanes] = right[n * words_ + t];
    const int32_t offset = 0;
    const Runs runs = {&offset, 1, words_};
    const uint32_t* bases[kMaxTilePixels];
    for (int64_t block = 0; block < blocks; block += k_.tile_blocks) {
      const int tile = static_cast<int>(std::min<int64_t>(k_.tile_blocks, blocks - block));
      const int columns = static_cast<int>(std::min<int64_t>(tile * kLanes, b_.rows - block * kLanes));
      for (int64_t m = 0; m < count; m += k_.tile_pixels) {
        const int size = static_cast<int>(std::min<int64_t>(k_.tile_pixels, count - m));
        for (int i = 0; i < size; ++i) bases[i] = left.data() + (m + i) * words_;
        const Epilogue epilogue = {static_cast<int32_t>(length_),
                                   product_ == Product::kMask ? totals.data() + m : nullptr, nullptr, nullptr, nullptr};
        (product_ == Product::kMask ? k_.product_and : k_.product_xor)(
            bases, size, lanes.data() + block * words_ * kLanes, tile, runs, columns, epilogue,
            out + (first + m) * b_.rows + block * kLanes, b_.rows);
      }
    }
  }

 private:
  // Turns "is 0" bits into "is 1" bits and counts them.
  void complement(AlignedVector<uint32_t>& words, int64_t count, std::vector<int32_t>& totals) const {
    const int tail = static_cast<int>(length_ % kWordBits);
    const uint32_t last = tail ? (1u << tail) - 1 : ~0u;
    totals.assign(count, 0);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t t = 0; t < words_; ++t) {
        uint32_t& word = words[i * words_ + t];
        word = ~word & (t + 1 == words_ ? last : ~0u);
        totals[i] += bits_set(word);
      }
  }

  const Kernels& k_;
  Product product_;
  int64_t length_, words_;
  const Vectors &a_, &b_;
  std::vector<float> half_;
};

}  // namespace

void matmul(const Kernels& kernels, Product product, int64_t outer, int64_t inner, int64_t length, const Vectors& a,
            const Vectors& b, float* out, const Threads& threads) {
  if (outer * inner * a.rows * b.rows == 0) return;
  const Matmul work(kernels, product, length, a, b);
  // Few elements of the batch are split by rows, so that every thread has some.
  const int64_t elements = outer * inner;
  const int64_t parts = elements >= threads.count ? 1 : std::min<int64_t>(a.rows, (threads.count + elements - 1) / elements);
  const int64_t rows = (a.rows + parts - 1) / parts;
  parallel_for(elements * parts, threads, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const int64_t e = u / parts, first = u % parts * rows, o = e / inner, i = e % inner;
      if (first >= a.rows) continue;
      work.rows(a.data + o * a.batch_outer + i * a.batch_inner, b.data + o * b.batch_outer + i * b.batch_inner, first,
                std::min(rows, a.rows - first), out + e * a.rows * b.rows);
    }
  });
}

}  // namespace bibench
