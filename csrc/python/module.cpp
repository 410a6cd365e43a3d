// The Python module bibench._core. Checks every argument before a kernel runs, and releases the GIL.

#include "arguments.h"

#include <string>
#include <vector>

NB_MODULE(_core, m) {
  using namespace bibench::python;
  m.doc() = "XNOR-popcount kernels and fused surrogate gradients on float32 CPU arrays.";
  m.def("isa", [] { return kernels().name; }, "Name of the kernels in use.");
  m.def(
      "available",
      [] {
        std::vector<std::string> names;
        for (const bibench::Kernels* k : bibench::available_kernels()) names.emplace_back(k->name);
        return names;
      },
      "Names of the kernels this processor can run, best first.");
  m.def(
      "use",
      [](const std::string& name) {
        const bibench::Kernels* found = bibench::find_kernels(name);
        check(found != nullptr, "no kernels named '" + name + "' for this processor");
        bibench::use_kernels(*found);
      },
      "name"_a, "Use these kernels from now on.");
  register_products(m);
  register_gradients(m);
  register_elementwise(m);
  register_rows(m);
  register_columns(m);
  register_probes(m);
}
