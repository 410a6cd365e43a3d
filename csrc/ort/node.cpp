// See node.h.

#include "node.h"

#include <exception>
#include <mutex>

namespace bibench::ort {
namespace {

// Whether a status is success; a failure is dropped.
bool succeeds(const Api& api, Status* status) {
  if (!status) return true;
  api.release(status);
  return false;
}

const char* name_of(ElementType type) {
  switch (type) {
    case kFloat: return "tensor(float)";
    case kUint8: return "tensor(uint8)";
    case kBool: return "tensor(bool)";
    default: return "another type";
  }
}

// A loop on the threads of ONNX Runtime, to which no exception may pass: the first is kept.
struct Loop {
  void (*body)(void*, int64_t, int64_t);
  void* context;
  std::mutex mutex;
  std::exception_ptr thrown;

  static void run(void* self, size_t index) noexcept {
    auto& loop = *static_cast<Loop*>(self);
    try {
      loop.body(loop.context, static_cast<int64_t>(index), static_cast<int64_t>(index) + 1);
    } catch (...) {
      std::lock_guard lock(loop.mutex);
      if (!loop.thrown) loop.thrown = std::current_exception();
    }
  }
};

// Units a layer is cut into: equal shares for 1, 2, 4 and 8 threads.
constexpr int kParts = 8;

}  // namespace

std::string text(const std::vector<int64_t>& sizes) {
  std::string result = "(";
  for (size_t i = 0; i < sizes.size(); ++i) result += (i ? ", " : "") + std::to_string(sizes[i]);
  return result + ")";
}

void require(const Api& api, Status* status) {
  if (!status) return;
  const std::string message = api.error_message(status);
  api.release(status);
  throw Problem(message);
}

void Place::fail(const std::string& argument, const std::string& expected, const std::string& got) const {
  throw Problem("bibench::" + op + (node.empty() ? "" : " '" + node + "'") + ": " + argument + ": expected " + expected +
                ", got " + got);
}

int64_t checked_size(const Place& place, const char* argument, const std::vector<int64_t>& sizes) {
  constexpr int64_t kMost = int64_t{1} << 40;
  const auto got = [&] { return text(sizes); };
  int64_t product = 1;
  for (const int64_t s : sizes) {
    place.check(s >= 0 && s < int64_t{1} << 31, argument, "sizes from 0 to 2^31 - 1", got);
    if (s == 0) return 0;
  }
  for (const int64_t s : sizes) {
    place.check(product <= kMost / s, argument, "at most 2^40 values", got);
    product *= s;
  }
  return product;
}

std::vector<int64_t> read_tensor(const Api& api, const Place& place, const char* argument, const Value* value,
                                 ElementType type, void** data) {
  TensorInfo* info = nullptr;
  require(api, api.tensor_info(value, &info));
  struct Release {
    const Api& api;
    TensorInfo* info;
    ~Release() { api.release(info); }
  } release{api, info};
  ElementType found = kUndefined;
  require(api, api.element_type(info, &found));
  place.check(found == type, argument, name_of(type), name_of(found));
  size_t rank = 0;
  require(api, api.rank(info, &rank));
  std::vector<int64_t> sizes(rank);
  require(api, api.sizes(info, sizes.data(), rank));
  const int64_t size = checked_size(place, argument, sizes);
  require(api, api.tensor_data(const_cast<Value*>(value), data));
  place.check(size == 0 || *data, argument, "data", "none");
  return sizes;
}

Node::Node(const Api& api, const KernelInfo* info, const char* op) : api_(api), info_(info), place_{op, ""} {
  size_t size = 0;
  if (!succeeds(api, api.node_name(info, nullptr, &size)) || size < 2) return;
  std::string name(size, '\0');
  if (succeeds(api, api.node_name(info, name.data(), &size))) place_.node = name.c_str();
}

// A list of another type counts as found, but empty, where the name exists.
bool Node::exists(const char* name) const {
  float real;
  int64_t integer;
  size_t characters = 0, reals = 0, integers = 0;
  return succeeds(api_, api_.attribute(info_, name, &real)) || succeeds(api_, api_.attribute(info_, name, &integer)) ||
         succeeds(api_, api_.attribute(info_, name, static_cast<char*>(nullptr), &characters)) ||
         (succeeds(api_, api_.attribute(info_, name, static_cast<float*>(nullptr), &reals)) && reals) ||
         (succeeds(api_, api_.attribute(info_, name, static_cast<int64_t*>(nullptr), &integers)) && integers);
}

template <class T>
bool Node::read(const char* name, T* value, const char* type) const {
  if (succeeds(api_, api_.attribute(info_, name, value))) return true;
  if (exists(name)) place_.fail(name, type, "an attribute of another type");
  return false;
}

int64_t Node::integer(const char* name, int64_t otherwise, int64_t least, int64_t most) const {
  int64_t value = otherwise;
  if (!read(name, &value, "an integer")) value = otherwise;
  place_.check(value >= least && value <= most, name, std::to_string(least) + " to " + std::to_string(most),
               std::to_string(value));
  return value;
}

float Node::real(const char* name, float otherwise) const {
  float value = otherwise;
  return read(name, &value, "a float") ? value : otherwise;
}

std::string Node::choice(const char* name, const std::vector<std::string>& choices) const {
  size_t size = 0;
  std::string value;
  if (succeeds(api_, api_.attribute(info_, name, static_cast<char*>(nullptr), &size))) {
    place_.check(size <= 256, name, "a name", std::to_string(size) + " characters");
    value.resize(size);
    if (size) require(api_, api_.attribute(info_, name, value.data(), &size));
    value = value.c_str();  // the size counts the zero at the end
  } else if (exists(name)) {
    place_.fail(name, "a string", "an attribute of another type");
  }
  std::string all;
  for (const std::string& c : choices) {
    if (c == value) return value;
    all += (all.empty() ? "\"" : ", \"") + c + "\"";
  }
  place_.fail(name, "one of " + all, "\"" + value + "\"");
}

std::vector<int64_t> Node::integers(const char* name) const {
  size_t size = 0;
  if (!succeeds(api_, api_.attribute(info_, name, static_cast<int64_t*>(nullptr), &size)) || size == 0) {
    if (exists(name)) place_.fail(name, "a list of integers", "an attribute of another type");
    return {};
  }
  place_.check(size <= 64, name, "a few values", std::to_string(size));
  std::vector<int64_t> values(size);
  if (size) require(api_, api_.attribute(info_, name, values.data(), &size));
  return values;
}

std::vector<int64_t> Node::integers(const char* name, size_t count, int64_t otherwise, int64_t least,
                                    int64_t most) const {
  const std::vector<int64_t> values = integers(name);
  if (values.empty()) return std::vector<int64_t>(count, otherwise);
  const std::string expected =
      std::to_string(count) + " values from " + std::to_string(least) + " to " + std::to_string(most);
  place_.check(values.size() == count, name, expected, text(values));
  for (const int64_t v : values) place_.check(v >= least && v <= most, name, expected, text(values));
  return values;
}

template <class T>
Tensor<T> Node::constant(size_t index, const char* name, ElementType type) const {
  int is_constant = 0;
  const Value* value = nullptr;
  require(api_, api_.constant_input(info_, index, &is_constant, &value));
  place_.check(is_constant && value, name, "a constant initializer", "a value computed in the graph, or nothing");
  Tensor<T> result;
  void* data = nullptr;
  result.sizes = read_tensor(api_, place_, name, value, type, &data);
  result.data = static_cast<const T*>(data);
  result.present = true;
  return result;
}

Tensor<uint8_t> Node::constant_bytes(size_t index, const char* name) const {
  return constant<uint8_t>(index, name, kUint8);
}

Tensor<float> Node::constant_floats(size_t index, const char* name) const { return constant<float>(index, name, kFloat); }

template <class T>
Tensor<T> Call::tensor(size_t index, const char* name, ElementType type, bool optional) const {
  const Value* value = nullptr;
  if (index < inputs_) require(api_, api_.input(context_, index, &value));
  Tensor<T> result;
  if (!value) {
    place_.check(optional, name, "a tensor", "nothing");
    return result;
  }
  void* data = nullptr;
  result.sizes = read_tensor(api_, place_, name, value, type, &data);
  result.data = static_cast<const T*>(data);
  result.present = true;
  return result;
}

Tensor<float> Call::floats(size_t index, const char* name, bool optional) const {
  return tensor<float>(index, name, kFloat, optional);
}

Tensor<bool> Call::booleans(size_t index, const char* name) const { return tensor<bool>(index, name, kBool, true); }

const float* Call::vector(size_t index, const char* name, int64_t size) const {
  const Tensor<float> values = floats(index, name, true);
  if (!values) return nullptr;
  place_.check(values.sizes.size() == 1 && values.sizes[0] == size, name, [=] { return "shape " + text({size}); },
               [&] { return text(values.sizes); });
  return values.data;
}

float* Call::output(const std::vector<int64_t>& sizes) const {
  const int64_t size = checked_size(place_, "Y", sizes);
  Value* value = nullptr;
  require(api_, api_.output(context_, 0, sizes.data(), sizes.size(), &value));
  place_.check(value, "Y", "memory for the output", "none");
  void* data = nullptr;
  require(api_, api_.tensor_data(value, &data));
  place_.check(size == 0 || data, "Y", "memory for the output", "none");
  return static_cast<float*>(data);
}

Threads Call::threads() const {
  const auto run = [](void* self, int64_t count, void (*body)(void*, int64_t, int64_t), void* context) {
    if (count <= 0) return;
    const Call& call = *static_cast<const Call*>(self);
    Loop loop{body, context, {}, {}};
    require(call.api_, call.api_.parallel_for(call.context_, Loop::run, static_cast<size_t>(count), 0, &loop));
    if (loop.thrown) std::rethrow_exception(loop.thrown);
  };
  return Threads(kParts, run, const_cast<Call*>(this));
}

}  // namespace bibench::ort
