// Places in our declaration of ONNX Runtime's interface against its own header, where that is installed. Compiling
// is the test.

#include "ort_api.h"

#include <onnxruntime_c_api.h>

namespace {

using bibench::ort::CustomOp;
using bibench::ort::Slot;

#define SAME(slot, function) \
  static_assert(offsetof(OrtApi, function) == static_cast<size_t>(Slot::slot) * sizeof(void (*)()), #function)

SAME(kCreateStatus, CreateStatus);
SAME(kGetErrorMessage, GetErrorMessage);
SAME(kCreateCustomOpDomain, CreateCustomOpDomain);
SAME(kCustomOpDomainAdd, CustomOpDomain_Add);
SAME(kAddCustomOpDomain, AddCustomOpDomain);
SAME(kGetTensorMutableData, GetTensorMutableData);
SAME(kGetTensorElementType, GetTensorElementType);
SAME(kGetDimensionsCount, GetDimensionsCount);
SAME(kGetDimensions, GetDimensions);
SAME(kGetTensorTypeAndShape, GetTensorTypeAndShape);
SAME(kGetAttributeFloat, KernelInfoGetAttribute_float);
SAME(kGetAttributeInt, KernelInfoGetAttribute_int64);
SAME(kGetAttributeString, KernelInfoGetAttribute_string);
SAME(kGetInputCount, KernelContext_GetInputCount);
SAME(kGetInput, KernelContext_GetInput);
SAME(kGetOutput, KernelContext_GetOutput);
SAME(kReleaseStatus, ReleaseStatus);
SAME(kReleaseTensorInfo, ReleaseTensorTypeAndShapeInfo);
SAME(kAddSessionConfigEntry, AddSessionConfigEntry);
SAME(kGetAttributeFloats, KernelInfoGetAttributeArray_float);
SAME(kGetAttributeInts, KernelInfoGetAttributeArray_int64);
SAME(kHasSessionConfigEntry, HasSessionConfigEntry);
SAME(kGetSessionConfigEntry, GetSessionConfigEntry);
SAME(kGetNodeName, KernelInfo_GetNodeName);
SAME(kGetConstantInput, KernelInfoGetConstantInput_tensor);
SAME(kParallelFor, KernelContext_ParallelFor);

static_assert(sizeof(CustomOp) == sizeof(OrtCustomOp));
static_assert(offsetof(CustomOp, create) == offsetof(OrtCustomOp, CreateKernelV2));
static_assert(offsetof(CustomOp, compute) == offsetof(OrtCustomOp, KernelComputeV2));
static_assert(offsetof(CustomOp, first_version) == offsetof(OrtCustomOp, GetStartVersion));
static_assert(offsetof(CustomOp, destroy) == offsetof(OrtCustomOp, KernelDestroy));
static_assert(offsetof(CustomOp, input_memory) == offsetof(OrtCustomOp, GetInputMemoryType));

}  // namespace
