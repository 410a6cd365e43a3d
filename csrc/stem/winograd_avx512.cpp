// AVX-512: see winograd.h.

#include "winograd.h"

#include <cstring>

namespace bibench {
namespace {

constexpr int kVectorBytes = 64, kTiles = 8, kBlocks = 2;

#include "winograd.inl"

}  // namespace

const Winograd kWinogradAvx512 = winograd("avx512");

}  // namespace bibench
