// What both gradients share; see gradients.h, input_gradient.cpp and weight_gradient.cpp.

#include "gradients.h"

#include <cstring>

namespace bibench {

bool lookup_pays(const Kernels& kernels) {
#ifdef BIBENCH_X86
  return std::strcmp(kernels.name, kLookupAvx512.name) == 0;
#else
  (void)kernels;
  return false;
#endif
}

const Lookup& lookup_for(const Kernels& kernels) {
#ifdef BIBENCH_X86
  if (lookup_pays(kernels)) return kLookupAvx512;
#endif
  (void)kernels;
  return kLookupPortable;
}

}  // namespace bibench
