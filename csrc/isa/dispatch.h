// Which kernels to use: the best this processor has, or the one named by $BIBENCH_ISA.
#pragma once

#include "kernels.h"

#include <string>
#include <vector>

namespace bibench {

// Kernels this processor can run, best first.
std::vector<const Kernels*> available_kernels();

// By name; null if it is unknown or this processor cannot run it.
const Kernels* find_kernels(const std::string& name);

// The kernels in use: those chosen by `use_kernels`, else by $BIBENCH_ISA, else the best. Throws
// std::invalid_argument when $BIBENCH_ISA names none of this processor's; "none", which is for PyTorch, names the best.
const Kernels& current_kernels();
void use_kernels(const Kernels& kernels);

}  // namespace bibench
