// See dispatch.h.

#include "dispatch.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace bibench {

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> found;
#ifdef BIBENCH_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vpopcntdq") &&
      __builtin_cpu_supports("avx512vnni"))
    found.push_back(&kAvx512);
  if (__builtin_cpu_supports("avx2")) found.push_back(&kAvx2);
#endif
#ifdef BIBENCH_NEON
  found.push_back(&kNeon);
#endif
  found.push_back(&kPortable);
  return found;
}

const Kernels* find_kernels(const std::string& name) {
  for (const Kernels* kernels : available_kernels())
    if (name == kernels->name) return kernels;
  return nullptr;
}

namespace {
std::atomic<const Kernels*> current{nullptr};
}

const Kernels& current_kernels() {
  if (const Kernels* chosen = current.load()) return *chosen;
  const Kernels* chosen = available_kernels().front();
  if (const char* asked = std::getenv("BIBENCH_ISA"); asked && *asked && std::string(asked) != "none") {
    chosen = find_kernels(asked);
    if (!chosen) {
      std::string names;
      for (const Kernels* k : available_kernels()) names += std::string(names.empty() ? "" : ", ") + k->name;
      throw std::invalid_argument("BIBENCH_ISA=" + std::string(asked) + ": this processor has " + names);
    }
  }
  current.store(chosen);
  return *chosen;
}

void use_kernels(const Kernels& kernels) { current.store(&kernels); }

}  // namespace bibench
