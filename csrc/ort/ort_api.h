// The part of ONNX Runtime's C interface that custom operators need, in our own declarations, so that the library
// builds without its headers.
//
// OrtApi is a table of functions to which versions only ever append: a function is known by its place. `kApiVersion` is
// the version asked for; an ONNX Runtime that is older gives no table and is refused. Where ONNX Runtime's own
// header is installed, csrc/ort/ort_api_test.cpp compares every place with it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bibench::ort {

inline constexpr uint32_t kApiVersion = 21;

// Objects of ONNX Runtime, known by pointers only.
struct Status;
struct SessionOptions;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct TensorInfo;
struct CustomOp;

enum ErrorCode : int { kFail = 1, kInvalidArgument = 2 };
enum ElementType : int { kUndefined = 0, kFloat = 1, kUint8 = 2, kBool = 9 };
enum Characteristic : int { kRequired = 0, kOptional = 1 };

// Places of functions in the table.
enum class Slot : size_t {
  kCreateStatus = 0,
  kGetErrorMessage = 2,
  kCreateCustomOpDomain = 26,
  kCustomOpDomainAdd = 27,
  kAddCustomOpDomain = 28,
  kGetTensorMutableData = 51,
  kGetTensorElementType = 60,
  kGetDimensionsCount = 61,
  kGetDimensions = 62,
  kGetTensorTypeAndShape = 65,
  kGetAttributeFloat = 85,
  kGetAttributeInt = 86,
  kGetAttributeString = 87,
  kGetInputCount = 88,
  kGetInput = 90,
  kGetOutput = 91,
  kReleaseStatus = 93,
  kReleaseTensorInfo = 99,
  kAddSessionConfigEntry = 130,
  kGetAttributeFloats = 162,
  kGetAttributeInts = 163,
  kHasSessionConfigEntry = 237,
  kGetSessionConfigEntry = 238,
  kGetNodeName = 244,
  kGetConstantInput = 249,
  kParallelFor = 274,
  kSlots,
};

struct Api {
  void (*functions[static_cast<size_t>(Slot::kSlots)])();

  template <class Function>
  Function* get(Slot slot) const {
    return reinterpret_cast<Function*>(functions[static_cast<size_t>(slot)]);
  }

  Status* create_status(int code, const char* message) const {
    return get<Status*(int, const char*)>(Slot::kCreateStatus)(code, message);
  }
  const char* error_message(const Status* status) const {
    return get<const char*(const Status*)>(Slot::kGetErrorMessage)(status);
  }
  void release(Status* status) const { get<void(Status*)>(Slot::kReleaseStatus)(status); }
  void release(TensorInfo* info) const { get<void(TensorInfo*)>(Slot::kReleaseTensorInfo)(info); }

  Status* create_domain(const char* name, CustomOpDomain** out) const {
    return get<Status*(const char*, CustomOpDomain**)>(Slot::kCreateCustomOpDomain)(name, out);
  }
  Status* add(CustomOpDomain* domain, const CustomOp* op) const {
    return get<Status*(CustomOpDomain*, const CustomOp*)>(Slot::kCustomOpDomainAdd)(domain, op);
  }
  Status* add(SessionOptions* options, CustomOpDomain* domain) const {
    return get<Status*(SessionOptions*, CustomOpDomain*)>(Slot::kAddCustomOpDomain)(options, domain);
  }
  Status* add_config(SessionOptions* options, const char* key, const char* value) const {
    return get<Status*(SessionOptions*, const char*, const char*)>(Slot::kAddSessionConfigEntry)(options, key, value);
  }
  Status* has_config(const SessionOptions* options, const char* key, int* out) const {
    return get<Status*(const SessionOptions*, const char*, int*)>(Slot::kHasSessionConfigEntry)(options, key, out);
  }
  Status* get_config(const SessionOptions* options, const char* key, char* out, size_t* size) const {
    return get<Status*(const SessionOptions*, const char*, char*, size_t*)>(Slot::kGetSessionConfigEntry)(options, key,
                                                                                                          out, size);
  }

  Status* tensor_data(Value* value, void** out) const {
    return get<Status*(Value*, void**)>(Slot::kGetTensorMutableData)(value, out);
  }
  Status* tensor_info(const Value* value, TensorInfo** out) const {
    return get<Status*(const Value*, TensorInfo**)>(Slot::kGetTensorTypeAndShape)(value, out);
  }
  Status* element_type(const TensorInfo* info, ElementType* out) const {
    return get<Status*(const TensorInfo*, ElementType*)>(Slot::kGetTensorElementType)(info, out);
  }
  Status* rank(const TensorInfo* info, size_t* out) const {
    return get<Status*(const TensorInfo*, size_t*)>(Slot::kGetDimensionsCount)(info, out);
  }
  Status* sizes(const TensorInfo* info, int64_t* out, size_t rank) const {
    return get<Status*(const TensorInfo*, int64_t*, size_t)>(Slot::kGetDimensions)(info, out, rank);
  }

  Status* attribute(const KernelInfo* info, const char* name, float* out) const {
    return get<Status*(const KernelInfo*, const char*, float*)>(Slot::kGetAttributeFloat)(info, name, out);
  }
  Status* attribute(const KernelInfo* info, const char* name, int64_t* out) const {
    return get<Status*(const KernelInfo*, const char*, int64_t*)>(Slot::kGetAttributeInt)(info, name, out);
  }
  Status* attribute(const KernelInfo* info, const char* name, char* out, size_t* size) const {
    return get<Status*(const KernelInfo*, const char*, char*, size_t*)>(Slot::kGetAttributeString)(info, name, out, size);
  }
  Status* attribute(const KernelInfo* info, const char* name, float* out, size_t* size) const {
    return get<Status*(const KernelInfo*, const char*, float*, size_t*)>(Slot::kGetAttributeFloats)(info, name, out, size);
  }
  Status* attribute(const KernelInfo* info, const char* name, int64_t* out, size_t* size) const {
    return get<Status*(const KernelInfo*, const char*, int64_t*, size_t*)>(Slot::kGetAttributeInts)(info, name, out, size);
  }
  Status* node_name(const KernelInfo* info, char* out, size_t* size) const {
    return get<Status*(const KernelInfo*, char*, size_t*)>(Slot::kGetNodeName)(info, out, size);
  }
  Status* constant_input(const KernelInfo* info, size_t index, int* is_constant, const Value** out) const {
    return get<Status*(const KernelInfo*, size_t, int*, const Value**)>(Slot::kGetConstantInput)(info, index, is_constant,
                                                                                                  out);
  }

  Status* input_count(const KernelContext* context, size_t* out) const {
    return get<Status*(const KernelContext*, size_t*)>(Slot::kGetInputCount)(context, out);
  }
  Status* input(const KernelContext* context, size_t index, const Value** out) const {
    return get<Status*(const KernelContext*, size_t, const Value**)>(Slot::kGetInput)(context, index, out);
  }
  Status* output(KernelContext* context, size_t index, const int64_t* sizes, size_t rank, Value** out) const {
    return get<Status*(KernelContext*, size_t, const int64_t*, size_t, Value**)>(Slot::kGetOutput)(context, index, sizes,
                                                                                                    rank, out);
  }
  Status* parallel_for(const KernelContext* context, void (*body)(void*, size_t), size_t total, size_t batches,
                       void* data) const {
    return get<Status*(const KernelContext*, void (*)(void*, size_t), size_t, size_t, void*)>(Slot::kParallelFor)(
        context, body, total, batches, data);
  }
};

struct ApiBase {
  const Api* (*get_api)(uint32_t version);
  const char* (*version)();
};

// A custom operator as ONNX Runtime sees it. Members it may leave null are pointers to nothing here.
struct CustomOp {
  uint32_t version = kApiVersion;
  void* create_kernel_without_status = nullptr;
  const char* (*name)(const CustomOp*) = nullptr;
  const char* (*provider)(const CustomOp*) = nullptr;
  ElementType (*input_type)(const CustomOp*, size_t) = nullptr;
  size_t (*input_count)(const CustomOp*) = nullptr;
  ElementType (*output_type)(const CustomOp*, size_t) = nullptr;
  size_t (*output_count)(const CustomOp*) = nullptr;
  void* compute_without_status = nullptr;
  void (*destroy)(void* kernel) = nullptr;
  Characteristic (*input_characteristic)(const CustomOp*, size_t) = nullptr;
  Characteristic (*output_characteristic)(const CustomOp*, size_t) = nullptr;
  int (*input_memory)(const CustomOp*, size_t) = nullptr;
  int (*variadic_input_least)(const CustomOp*) = nullptr;
  int (*variadic_input_alike)(const CustomOp*) = nullptr;
  int (*variadic_output_least)(const CustomOp*) = nullptr;
  int (*variadic_output_alike)(const CustomOp*) = nullptr;
  Status* (*create)(const CustomOp*, const Api*, const KernelInfo*, void** kernel) = nullptr;
  Status* (*compute)(void* kernel, KernelContext*) = nullptr;
  void* infer_shape = nullptr;
  int (*first_version)(const CustomOp*) = nullptr;
  int (*last_version)(const CustomOp*) = nullptr;
  void* may_inplace = nullptr;
  void* release_may_inplace = nullptr;
  void* alias_map = nullptr;
  void* release_alias_map = nullptr;
};

}  // namespace bibench::ort
