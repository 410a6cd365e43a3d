// What the benchmarks compare with: the processor's limit, and the counting alone, without packing or layout.

#include "arguments.h"

#include "foundation/aligned.h"

#include <algorithm>
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

// Packed operands as a layer has them when it counts, kept from call to call: getting memory is not measured.
struct Packed {
  AlignedVector<uint32_t> bits, weights;
  AlignedVector<float> out;

  void fit(int64_t pixels, int64_t channels, int64_t words) {
    bits.resize(pixels * words, 0x5a5a1234u), weights.resize(channels * words, 0x1234a5a5u), out.resize(pixels * channels);
  }
};

// Pixels with channels adjacent.
void count_pixels(const Kernels& k, Packed& packed, int64_t pixels, int64_t blocks, int64_t words) {
  std::vector<const uint32_t*> bases(pixels);
  for (int64_t p = 0; p < pixels; ++p) bases[p] = packed.bits.data() + p * words;
  const int32_t third = k.triples ? static_cast<int32_t>(words / 3) : 0;
  const int32_t offsets[] = {0, third, 2 * third, 3 * third};
  const int64_t triples = third ? 1 : 0, left = words - 3 * third;
  const Runs runs = {third ? offsets : offsets + 3, left ? 1 : 0, left, triples, third};
  const Epilogue epilogue = {static_cast<int32_t>(words * kWordBits), nullptr, nullptr, nullptr, nullptr};
  for (int64_t b = 0; b < blocks; b += k.tile_blocks) {
    const int tile = static_cast<int>(std::min<int64_t>(k.tile_blocks, blocks - b));
    for (int64_t p = 0; p < pixels; p += k.tile_pixels) {
      const int size = static_cast<int>(std::min<int64_t>(k.tile_pixels, pixels - p));
      k.product_xor(bases.data() + p, size, packed.weights.data() + b * words * kLanes, tile, runs, tile * kLanes, epilogue,
                    packed.out.data() + (p * blocks + b) * kLanes, blocks * kLanes);
    }
  }
}

// Planes of channels; pixels are whole tiles.
void count_planes(const Kernels& k, Packed& packed, int64_t pixels, int64_t blocks, int64_t words) {
  const Epilogue epilogue = {static_cast<int32_t>(words * kWordBits), nullptr, nullptr, nullptr, nullptr};
  const int64_t triples = k.triples ? words / 3 : 0;
  const Lanes lanes = {nullptr, nullptr, triples, words - 3 * triples, nullptr, 0, pixels, nullptr, packed.bits.data()};
  for (int64_t b = 0; b < blocks; ++b) {
    const Planes planes = {packed.out.data() + b * kLanes * pixels, pixels, nullptr, Activation::kNone, {nullptr, 0}, 0.0f, 0.0f};
    k.product_lanes(lanes, packed.weights.data() + b * words * kLanes, kLanes, nullptr, epilogue, planes);
  }
}

void count_only(int64_t pixels, int64_t channels, int64_t words, int64_t repeats, bool planes) {
  check(pixels >= 1 && channels >= 1 && words >= 1 && repeats >= 1, "sizes must be positive");
  check(pixels < 1 << 20 && channels < 1 << 20 && words < 1 << 20, "sizes must be below 2^20");
  const Kernels& k = kernels();
  check(!planes || k.product_lanes, "these kernels do not count planes");
  const int64_t blocks = (channels + kLanes - 1) / kLanes, tile = 2 * kLanes;
  if (planes) pixels = (pixels + tile - 1) / tile * tile;
  thread_local Packed packed;
  packed.fit(pixels, blocks * kLanes, words);
  nb::gil_scoped_release release;
  for (int64_t r = 0; r < repeats; ++r) (planes ? count_planes : count_pixels)(k, packed, pixels, blocks, words);
}

}  // namespace

void register_probes(nb::module_& m) {
  m.def("probe", &probe, "rounds"_a, "Counts bits on registers alone; returns how many. For benchmarks.");
  m.def("count_only", &count_only, "pixels"_a, "channels"_a, "words"_a, "repeats"_a,
        "planes"_a = false, "Counts for packed operands, without packing or layout. For benchmarks.");
}

}  // namespace bibench::python
