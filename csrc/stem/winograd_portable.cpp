// Any processor: see winograd.h.

#include "winograd.h"

#include <cstring>

namespace bibench {
namespace {

constexpr int kVectorBytes = 16, kTiles = 4, kBlocks = 2;

#include "winograd.inl"

}  // namespace

const Winograd kWinogradPortable = winograd("portable");

}  // namespace bibench
