// What the benchmarks compare with: the processor's limit, and the counting alone, without packing or layout.

#include "python/arguments.h"

#include <vector>

namespace bibench::python {
namespace {

double probe(int64_t rounds) {
  const Kernels& k = kernels();
  uint32_t sink = 0;
  nb::gil_scoped_release release;
  const int64_t bits = k.probe(rounds, &sink);
  return sink == 0x12345678u ? -1.0 : static_cast<double>(bits);
}

void count_only(int64_t pixels, int64_t channels, int64_t words, int64_t repeats) {
  check(pixels >= 1 && channels >= 1 && words >= 1 && repeats >= 1, "sizes must be positive");
  check(pixels < 1 << 20 && channels < 1 << 20 && words < 1 << 20, "sizes must be below 2^20");
  const Kernels& k = kernels();
  const int64_t blocks = (channels + kLanes - 1) / kLanes;
  // Kept from call to call: what is measured is counting, not getting memory.
  thread_local std::vector<uint32_t> bits, weights;
  thread_local std::vector<float> out;
  bits.resize(pixels * words, 0x5a5a1234u), weights.resize(blocks * words * kLanes, 0x1234a5a5u);
  out.resize(pixels * blocks * kLanes);
  std::vector<const uint32_t*> bases(pixels);
  for (int64_t p = 0; p < pixels; ++p) bases[p] = bits.data() + p * words;
  const int32_t third = k.triples ? static_cast<int32_t>(words / 3) : 0;
  const int32_t offsets[] = {0, third, 2 * third, 3 * third};
  const int64_t triples = third ? 1 : 0, left = words - 3 * third;
  const Runs runs = {third ? offsets : offsets + 3, left ? 1 : 0, left, triples, third};
  const Epilogue epilogue = {static_cast<int32_t>(words * kWordBits), nullptr, nullptr, nullptr, nullptr};
  nb::gil_scoped_release release;
  for (int64_t r = 0; r < repeats; ++r)
    for (int64_t b = 0; b < blocks; b += k.tile_blocks) {
      const int tile = static_cast<int>(blocks - b < k.tile_blocks ? blocks - b : k.tile_blocks);
      for (int64_t p = 0; p < pixels; p += k.tile_pixels) {
        const int size = static_cast<int>(pixels - p < k.tile_pixels ? pixels - p : k.tile_pixels);
        k.product_xor(bases.data() + p, size, weights.data() + b * words * kLanes, tile, runs,
                      tile * kLanes, epilogue,
                      out.data() + p * blocks * kLanes + b * kLanes, blocks * kLanes);
      }
    }
}

}  // namespace

void register_probes(nb::module_& m) {
  m.def("probe", &probe, "rounds"_a, "Counts bits on registers alone; returns how many. For benchmarks.");
  m.def("count_only", &count_only, "pixels"_a, "channels"_a, "words"_a, "repeats"_a,
        "Counts for packed operands, without packing or layout. For benchmarks.");
}

}  // namespace bibench::python
