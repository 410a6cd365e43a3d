// See shape.h.

#include "shape.h"

namespace bibench {

Strides planar(int64_t c, int64_t h, int64_t w) {
  return c == 1 || h * w == 1 ? Strides{h * w * c, 1, w * c, c} : Strides{c * h * w, h * w, w, 1};
}

}  // namespace bibench
