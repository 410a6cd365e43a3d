// Turns a class into a custom operator. The class has
//   static constexpr const char* kName;
//   static constexpr Input kInputs[];         // type and whether it must be there
//   explicit Kernel(const Node&);             // checks attributes, packs weights
//   void compute(const Call&) const;          // may run on several threads at once
//   const Place& place() const;
// No exception passes to ONNX Runtime: each becomes a status.
#pragma once

#include "node.h"

#include <iterator>
#include <memory>
#include <new>

namespace bibench::ort {

inline constexpr int64_t kOpset = 1;  // the version of the operators this library knows

struct Input {
  ElementType type;
  Characteristic characteristic;
};

template <class Body>
Status* guarded(const Api& api, const char* op, Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Problem& problem) {
    return api.create_status(kInvalidArgument, problem.what());
  } catch (const std::bad_alloc&) {
    return api.create_status(kFail, (std::string("bibench::") + op + ": out of memory").c_str());
  } catch (const std::exception& error) {
    return api.create_status(kFail, (std::string("bibench::") + op + ": " + error.what()).c_str());
  } catch (...) {
    return api.create_status(kFail, "bibench: unknown error");
  }
}

template <class Kernel>
struct Operator : CustomOp {
  // A kernel of a session, with the table of functions it was made with.
  struct Instance {
    const Api& api;
    Kernel kernel;
  };

  Operator() {
    name = [](const CustomOp*) { return Kernel::kName; };
    provider = [](const CustomOp*) -> const char* { return nullptr; };
    input_count = [](const CustomOp*) { return std::size(Kernel::kInputs); };
    input_type = [](const CustomOp*, size_t i) { return Kernel::kInputs[i].type; };
    input_characteristic = [](const CustomOp*, size_t i) { return Kernel::kInputs[i].characteristic; };
    input_memory = [](const CustomOp*, size_t) { return 0; };
    output_count = [](const CustomOp*) { return size_t{1}; };
    output_type = [](const CustomOp*, size_t) { return kFloat; };
    output_characteristic = [](const CustomOp*, size_t) { return kRequired; };
    first_version = [](const CustomOp*) { return 1; };
    last_version = [](const CustomOp*) { return 0x7fffffff; };
    create = [](const CustomOp*, const Api* api, const KernelInfo* info, void** out) {
      return guarded(*api, Kernel::kName, [&] {
        const Node node(*api, info, Kernel::kName);
        const int64_t opset = node.integer("opset", 1, 1, INT64_MAX);
        if (opset > kOpset)
          throw Problem(std::string("bibench::") + Kernel::kName + " '" + node.place().node +
                        "': made by a newer bibench (op version " + std::to_string(opset) + "); this library knows " +
                        std::to_string(kOpset) + "; upgrade");
        *out = new Instance{*api, Kernel(node)};
      });
    };
    compute = [](void* self, KernelContext* context) {
      const Instance& instance = *static_cast<const Instance*>(self);
      return guarded(instance.api, Kernel::kName, [&] {
        instance.kernel.compute(Call(instance.api, context, instance.kernel.place()));
      });
    };
    destroy = [](void* self) { delete static_cast<Instance*>(self); };
  }
};

// The operators, each in a file of its own.
const CustomOp& binary_conv();
const CustomOp& binary_linear();
const CustomOp& binary_attention();
const CustomOp& stem_conv();

}  // namespace bibench::ort
