// A stand-in for ONNX Runtime's header, for machines that lack it: what examples/cpp/classify.cpp uses, and no more.
//
// OrtApi is a table of functions to which versions only append, so a function is known by its place. Where the true
// header is installed, declared_test.cpp compares every place with it.
#pragma once

#include <cstddef>
#include <cstdint>

#define ORT_API_VERSION 21

struct OrtAllocator;
struct OrtEnv;
struct OrtMemoryInfo;
struct OrtRunOptions;
struct OrtSession;
struct OrtSessionOptions;
struct OrtStatus;
struct OrtTensorTypeAndShapeInfo;
struct OrtTypeInfo;
struct OrtValue;

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_ERROR = 3 };
enum OrtAllocatorType { OrtDeviceAllocator = 0 };
enum OrtMemType { OrtMemTypeDefault = 0 };
enum ONNXTensorElementDataType { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1 };

// Unused places between two functions.
#define GAP(from, to) void (*gap_##from[(to) - (from)])();

struct OrtApi {
  GAP(0, 2)
  const char* (*GetErrorMessage)(const OrtStatus*);
  OrtStatus* (*CreateEnv)(OrtLoggingLevel, const char* name, OrtEnv**);
  GAP(4, 7)
  OrtStatus* (*CreateSession)(const OrtEnv*, const char* path, const OrtSessionOptions*, OrtSession**);
  GAP(8, 9)
  OrtStatus* (*Run)(OrtSession*, const OrtRunOptions*, const char* const* inputs, const OrtValue* const* values,
                    size_t count, const char* const* outputs, size_t output_count, OrtValue** results);
  OrtStatus* (*CreateSessionOptions)(OrtSessionOptions**);
  GAP(11, 24)
  OrtStatus* (*SetIntraOpNumThreads)(OrtSessionOptions*, int);
  GAP(25, 33)
  OrtStatus* (*SessionGetInputTypeInfo)(const OrtSession*, size_t, OrtTypeInfo**);
  GAP(34, 36)
  OrtStatus* (*SessionGetInputName)(const OrtSession*, size_t, OrtAllocator*, char**);
  OrtStatus* (*SessionGetOutputName)(const OrtSession*, size_t, OrtAllocator*, char**);
  GAP(38, 49)
  OrtStatus* (*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo*, void* data, size_t bytes, const int64_t* sizes,
                                               size_t rank, ONNXTensorElementDataType, OrtValue**);
  GAP(50, 51)
  OrtStatus* (*GetTensorMutableData)(OrtValue*, void**);
  GAP(52, 55)
  OrtStatus* (*CastTypeInfoToTensorInfo)(const OrtTypeInfo*, const OrtTensorTypeAndShapeInfo**);
  GAP(56, 60)
  OrtStatus* (*GetTensorElementType)(const OrtTensorTypeAndShapeInfo*, ONNXTensorElementDataType*);
  OrtStatus* (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo*, size_t*);
  OrtStatus* (*GetDimensions)(const OrtTensorTypeAndShapeInfo*, int64_t*, size_t);
  GAP(63, 65)
  OrtStatus* (*GetTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo**);
  GAP(66, 69)
  OrtStatus* (*CreateCpuMemoryInfo)(OrtAllocatorType, OrtMemType, OrtMemoryInfo**);
  GAP(70, 76)
  OrtStatus* (*AllocatorFree)(OrtAllocator*, void*);
  GAP(77, 78)
  OrtStatus* (*GetAllocatorWithDefaultOptions)(OrtAllocator**);
  GAP(79, 92)
  void (*ReleaseEnv)(OrtEnv*);
  void (*ReleaseStatus)(OrtStatus*);
  void (*ReleaseMemoryInfo)(OrtMemoryInfo*);
  void (*ReleaseSession)(OrtSession*);
  void (*ReleaseValue)(OrtValue*);
  GAP(97, 98)
  void (*ReleaseTypeInfo)(OrtTypeInfo*);
  void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo*);
  void (*ReleaseSessionOptions)(OrtSessionOptions*);
  GAP(101, 228)
  OrtStatus* (*RegisterCustomOpsLibrary_V2)(OrtSessionOptions*, const char* path);
};

#undef GAP

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

extern "C" const OrtApiBase* OrtGetApiBase();
