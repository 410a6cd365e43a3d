// What stands in for ONNX Runtime in operators_test: a table of functions of its interface that work on plain values.
#pragma once

#include "ort_api.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace bibench::ort::stand_in {

using Sizes = std::vector<int64_t>;
using Attribute = std::variant<int64_t, float, std::string, Sizes>;

}  // namespace bibench::ort::stand_in

namespace bibench::ort {

struct Status {
  std::string message;
};
struct SessionOptions {
  std::map<std::string, std::string> config;
  int domains = 0;
};
struct CustomOpDomain {
  std::vector<const CustomOp*> ops;
};
struct TensorInfo {
  ElementType type;
  stand_in::Sizes sizes;
};
struct Value {
  TensorInfo info;
  std::unique_ptr<char[]> bytes;
};
struct KernelInfo {
  std::map<std::string, stand_in::Attribute> attributes;
  std::map<size_t, const Value*> constants;
};
struct KernelContext {
  std::vector<const Value*> inputs;
  std::unique_ptr<Value> output;
  int threads = 1;
};

}  // namespace bibench::ort

namespace bibench::ort::stand_in {

inline constexpr int64_t kMostValues = 1 << 18;  // of a tensor here; larger ones have no data, or cannot be made
inline CustomOpDomain the_domain;
inline Api api;

inline Status* failure(const char* message) { return new Status{message}; }

inline int64_t size_of(ElementType type) { return type == kFloat ? 4 : 1; }

inline std::unique_ptr<Value> value(ElementType type, const Sizes& sizes) {
  auto result = std::make_unique<Value>();
  result->info = {type, sizes};
  double size = 1;
  for (const int64_t s : sizes) size *= static_cast<double>(s);
  if (size >= 0 && size <= static_cast<double>(kMostValues)) result->bytes.reset(new char[static_cast<size_t>(size) * size_of(type)]());
  return result;
}

template <class T>
Status* attribute(const KernelInfo* info, const char* name, T* out) {
  const auto found = info->attributes.find(name);
  if (found == info->attributes.end() || !std::holds_alternative<T>(found->second)) return failure("no such attribute");
  *out = std::get<T>(found->second);
  return nullptr;
}

template <class Container, class T>
Status* attributes(const KernelInfo* info, const char* name, T* out, size_t* size) {
  const auto found = info->attributes.find(name);
  if (found == info->attributes.end() || !std::holds_alternative<Container>(found->second)) return failure("no such attribute");
  const auto& values = std::get<Container>(found->second);
  const size_t needed = values.size() + std::is_same_v<Container, std::string>;
  if (out && *size < needed) return failure("too small");
  if (out) std::copy_n(values.data(), needed, out);
  *size = needed;
  return nullptr;
}

template <class Function>
void set(Slot slot, Function* function) {
  api.functions[static_cast<size_t>(slot)] = reinterpret_cast<void (*)()>(function);
}

inline void make_api() {
  for (auto& function : api.functions) function = [] { std::abort(); };
  set(Slot::kCreateStatus, +[](int, const char* message) { return failure(message); });
  set(Slot::kGetErrorMessage, +[](const Status* status) { return status->message.c_str(); });
  set(Slot::kReleaseStatus, +[](Status* status) { delete status; });
  set(Slot::kCreateCustomOpDomain, +[](const char*, CustomOpDomain** out) -> Status* { return *out = &the_domain, nullptr; });
  set(Slot::kCustomOpDomainAdd, +[](CustomOpDomain* domain, const CustomOp* op) -> Status* {
    return domain->ops.push_back(op), nullptr;
  });
  set(Slot::kAddCustomOpDomain, +[](SessionOptions* options, CustomOpDomain*) -> Status* { return ++options->domains, nullptr; });
  set(Slot::kAddSessionConfigEntry, +[](SessionOptions* options, const char* key, const char* text) -> Status* {
    return options->config[key] = text, nullptr;
  });
  set(Slot::kHasSessionConfigEntry, +[](const SessionOptions* options, const char* key, int* out) -> Status* {
    return *out = options->config.count(key) > 0, nullptr;
  });
  set(Slot::kGetSessionConfigEntry, +[](const SessionOptions* options, const char* key, char* out, size_t* size) -> Status* {
    const std::string& text = options->config.at(key);
    if (out) std::memcpy(out, text.c_str(), text.size() + 1);
    return *size = text.size() + 1, nullptr;
  });
  set(Slot::kGetTensorMutableData, +[](Value* v, void** out) -> Status* { return *out = v->bytes.get(), nullptr; });
  set(Slot::kGetTensorTypeAndShape, +[](const Value* v, TensorInfo** out) -> Status* {
    return *out = new TensorInfo(v->info), nullptr;
  });
  set(Slot::kReleaseTensorInfo, +[](TensorInfo* info) { delete info; });
  set(Slot::kGetTensorElementType, +[](const TensorInfo* info, ElementType* out) -> Status* { return *out = info->type, nullptr; });
  set(Slot::kGetDimensionsCount, +[](const TensorInfo* info, size_t* out) -> Status* { return *out = info->sizes.size(), nullptr; });
  set(Slot::kGetDimensions, +[](const TensorInfo* info, int64_t* out, size_t) -> Status* {
    return std::copy(info->sizes.begin(), info->sizes.end(), out), nullptr;
  });
  set(Slot::kGetAttributeFloat, attribute<float>);
  set(Slot::kGetAttributeInt, attribute<int64_t>);
  set(Slot::kGetAttributeString, attributes<std::string, char>);
  set(Slot::kGetAttributeInts, attributes<Sizes, int64_t>);
  set(Slot::kGetAttributeFloats, +[](const KernelInfo*, const char*, float*, size_t*) { return failure("no such attribute"); });
  set(Slot::kGetNodeName, +[](const KernelInfo*, char* out, size_t* size) -> Status* {
    if (out) std::memcpy(out, "node", 5);
    return *size = 5, nullptr;
  });
  set(Slot::kGetConstantInput, +[](const KernelInfo* info, size_t index, int* constant, const Value** out) -> Status* {
    const auto found = info->constants.find(index);
    *constant = found != info->constants.end();
    return *out = *constant ? found->second : nullptr, nullptr;
  });
  set(Slot::kGetInputCount, +[](const KernelContext* context, size_t* out) -> Status* {
    return *out = context->inputs.size(), nullptr;
  });
  set(Slot::kGetInput, +[](const KernelContext* context, size_t index, const Value** out) -> Status* {
    return *out = context->inputs[index], nullptr;
  });
  set(Slot::kGetOutput, +[](KernelContext* context, size_t, const int64_t* sizes, size_t rank, Value** out) -> Status* {
    context->output = value(kFloat, Sizes(sizes, sizes + rank));
    if (!context->output->bytes) return failure("bibench:: no memory in this test");
    return *out = context->output.get(), nullptr;
  });
  set(Slot::kParallelFor, +[](const KernelContext* context, void (*body)(void*, size_t), size_t total, size_t, void* data) -> Status* {
    std::vector<std::thread> threads;
    const size_t parts = static_cast<size_t>(context->threads);
    for (size_t t = 0; t < parts; ++t) {
      const auto work = [=] {
        for (size_t i = total * t / parts; i < total * (t + 1) / parts; ++i) body(data, i);
      };
      if (parts == 1) work();
      else threads.emplace_back(work);
    }
    for (auto& thread : threads) thread.join();
    return nullptr;
  });
}

}  // namespace bibench::ort::stand_in
