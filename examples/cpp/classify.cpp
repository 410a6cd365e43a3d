// Runs a model that `bibench export` wrote, from C++: ONNX Runtime's C interface and the library of BiBench's operators.
//
//   classify MODEL.onnx LIBRARY INPUT [THREADS]
//
// INPUT is a file of 32-bit floats, as NumPy's `array.astype("float32").tofile(INPUT)` writes them: one or more inputs
// of the model after each other. For each it prints the class with the largest output, and that output.

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

const OrtApi* ort = nullptr;

// ONNX Runtime tells of failures by a status; here they become exceptions.
void check(OrtStatus* status) {
  if (!status) return;
  const std::string message = ort->GetErrorMessage(status);
  ort->ReleaseStatus(status);
  throw std::runtime_error(message);
}

// Objects of ONNX Runtime that are released when they go out of scope.
template <class T>
struct Release {
  void (*release)(T*);
  void operator()(T* object) const { release(object); }
};
template <class T>
using Owned = std::unique_ptr<T, Release<T>>;
template <class T>
Owned<T> own(T* object, void (*release)(T*)) {
  return Owned<T>(object, Release<T>{release});
}

Owned<OrtSession> open(OrtEnv* env, const char* model, const char* library, int threads) {
  OrtSessionOptions* made = nullptr;
  check(ort->CreateSessionOptions(&made));
  const auto options = own(made, ort->ReleaseSessionOptions);
  check(ort->SetIntraOpNumThreads(options.get(), threads));
  check(ort->RegisterCustomOpsLibrary_V2(options.get(), library));  // the one line that 1-bit models need
  OrtSession* session = nullptr;
  check(ort->CreateSession(env, model, options.get(), &session));
  return own(session, ort->ReleaseSession);
}

std::vector<int64_t> sizes_of(const OrtTensorTypeAndShapeInfo* info) {
  size_t rank = 0;
  check(ort->GetDimensionsCount(info, &rank));
  std::vector<int64_t> sizes(rank);
  check(ort->GetDimensions(info, sizes.data(), rank));
  return sizes;
}

// Sizes of the first input; the batch, which is open, is -1.
std::vector<int64_t> input_sizes(const OrtSession* session) {
  OrtTypeInfo* type = nullptr;
  check(ort->SessionGetInputTypeInfo(session, 0, &type));
  const auto held = own(type, ort->ReleaseTypeInfo);
  const OrtTensorTypeAndShapeInfo* info = nullptr;
  check(ort->CastTypeInfoToTensorInfo(type, &info));
  if (!info) throw std::runtime_error("the model's first input is no tensor");
  ONNXTensorElementDataType element;
  check(ort->GetTensorElementType(info, &element));
  if (element != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) throw std::runtime_error("the model's first input is not float32");
  return sizes_of(info);
}

std::vector<float> read_floats(const char* path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error(std::string(path) + " cannot be read");
  const auto bytes = static_cast<size_t>(file.tellg());
  std::vector<float> values(bytes / sizeof(float));
  file.seekg(0);
  if (bytes % sizeof(float) || !file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(bytes)))
    throw std::runtime_error(std::string(path) + " is no file of 32-bit floats");
  return values;
}

// The batch is what the file holds: its floats over those of one input.
void set_batch(std::vector<int64_t>& sizes, size_t floats, const char* path) {
  size_t one = 1;
  for (size_t axis = 1; axis < sizes.size(); ++axis) {
    if (sizes[axis] <= 0) throw std::runtime_error("the model has an open axis besides the batch");
    one *= static_cast<size_t>(sizes[axis]);
  }
  if (sizes.empty() || floats == 0 || floats % one)
    throw std::runtime_error(std::string(path) + ": expected a multiple of " + std::to_string(one) + " floats, got " +
                             std::to_string(floats));
  sizes[0] = static_cast<int64_t>(floats / one);
}

std::string name_of(const OrtSession* session, OrtAllocator* allocator,
                    OrtStatus* (*get)(const OrtSession*, size_t, OrtAllocator*, char**)) {
  char* text = nullptr;
  check(get(session, 0, allocator, &text));
  const std::string name = text;
  check(ort->AllocatorFree(allocator, text));
  return name;
}

Owned<OrtValue> run(OrtSession* session, std::vector<float>& values, const std::vector<int64_t>& sizes) {
  OrtMemoryInfo* memory = nullptr;
  check(ort->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
  const auto held = own(memory, ort->ReleaseMemoryInfo);
  OrtValue* tensor = nullptr;  // reads `values` where they are
  check(ort->CreateTensorWithDataAsOrtValue(memory, values.data(), values.size() * sizeof(float), sizes.data(),
                                            sizes.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &tensor));
  const auto input = own(tensor, ort->ReleaseValue);
  OrtAllocator* allocator = nullptr;
  check(ort->GetAllocatorWithDefaultOptions(&allocator));
  const std::string input_name = name_of(session, allocator, ort->SessionGetInputName);
  const std::string output_name = name_of(session, allocator, ort->SessionGetOutputName);
  const char* inputs[] = {input_name.c_str()};
  const char* outputs[] = {output_name.c_str()};
  const OrtValue* given[] = {input.get()};
  OrtValue* result = nullptr;
  check(ort->Run(session, nullptr, inputs, given, 1, outputs, 1, &result));
  return own(result, ort->ReleaseValue);
}

void print_classes(OrtValue* output) {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(ort->GetTensorTypeAndShape(output, &info));
  const auto held = own(info, ort->ReleaseTensorTypeAndShapeInfo);
  const std::vector<int64_t> sizes = sizes_of(info);
  void* data = nullptr;
  check(ort->GetTensorMutableData(output, &data));
  if (sizes.size() != 2 || sizes[1] < 1) throw std::runtime_error("the model is no classifier: its output has not two axes");
  for (int64_t n = 0; n < sizes[0]; ++n) {
    const float* row = static_cast<const float*>(data) + n * sizes[1];
    const float* best = std::max_element(row, row + sizes[1]);
    std::printf("%d %.6g\n", static_cast<int>(best - row), static_cast<double>(*best));
  }
}

void classify(const char* model, const char* library, const char* path, int threads) {
  ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (!ort)
    throw std::runtime_error(std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() +
                             " is older than the header that this program was compiled with");
  OrtEnv* env = nullptr;
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "classify", &env));
  const auto held = own(env, ort->ReleaseEnv);
  const auto session = open(env, model, library, threads);
  std::vector<float> values = read_floats(path);
  std::vector<int64_t> sizes = input_sizes(session.get());
  set_batch(sizes, values.size(), path);
  print_classes(run(session.get(), values, sizes).get());
}

}  // namespace

int main(int count, char** words) {
  const int threads = count == 5 ? std::atoi(words[4]) : 1;
  if (count < 4 || count > 5 || threads < 1) {
    std::fprintf(stderr, "usage: classify MODEL.onnx LIBRARY INPUT [THREADS]\n");
    return 2;
  }
  try {
    classify(words[1], words[2], words[3], threads);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 1;
  }
  return 0;
}
