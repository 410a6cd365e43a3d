// NEON (aarch64): see winograd.h.

#include "winograd.h"

#include <cstring>

namespace bibench {
namespace {

constexpr int kVectorBytes = 16, kTiles = 4, kBlocks = 4;

#include "winograd.inl"

}  // namespace

const Winograd kWinogradNeon = winograd("neon");

}  // namespace bibench
