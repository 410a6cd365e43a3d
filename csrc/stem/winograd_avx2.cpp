// AVX2 with fused multiply-add: see winograd.h.

#include "winograd.h"

#include <cstring>

namespace bibench {
namespace {

constexpr int kVectorBytes = 32, kTiles = 6, kBlocks = 2;

#include "winograd.inl"

}  // namespace

const Winograd kWinogradAvx2 = winograd("avx2");

}  // namespace bibench
