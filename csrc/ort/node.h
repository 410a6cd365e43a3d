// A node of the model while its kernel is made and run: attributes, inputs and outputs, each checked before use.
#pragma once

#include "foundation/threads.h"
#include "ort_api.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace bibench::ort {

// What is wrong, in words for the user; becomes a status of ONNX Runtime.
struct Problem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string text(const std::vector<int64_t>& sizes);

// Throws what a status says.
void require(const Api& api, Status* status);

// Name of an operator and its node, as messages start.
struct Place {
  std::string op, node;

  [[noreturn]] void fail(const std::string& argument, const std::string& expected, const std::string& got) const;
  // `expected` and `got` are words or functions that make them: where a kernel runs, a check that passes makes none.
  template <class Expected, class Got>
  void check(bool condition, const char* argument, const Expected& expected, const Got& got) const {
    if (condition) [[likely]]
      return;
    fail(argument, words(expected), words(got));
  }

 private:
  template <class Words>
  static std::string words(const Words& words) {
    if constexpr (std::is_invocable_v<Words>)
      return words();
    else
      return words;
  }
};

// A tensor; `data` is null where an optional one is absent.
template <class T>
struct Tensor {
  const T* data = nullptr;
  std::vector<int64_t> sizes;

  explicit operator bool() const { return present; }
  int64_t size() const {
    int64_t product = 1;
    for (const int64_t s : sizes) product *= s;
    return product;
  }
  bool present = false;
};

// Attributes and constant inputs, when a kernel is made.
class Node {
 public:
  Node(const Api& api, const KernelInfo* info, const char* op);

  const Api& api() const { return api_; }
  const Place& place() const { return place_; }

  // Absent attributes have the value given; attributes of another type are refused.
  int64_t integer(const char* name, int64_t otherwise, int64_t least, int64_t most) const;
  float real(const char* name, float otherwise) const;
  std::string choice(const char* name, const std::vector<std::string>& choices) const;
  // `count` values from `least` to `most`.
  std::vector<int64_t> integers(const char* name, size_t count, int64_t otherwise, int64_t least, int64_t most) const;
  // As many as there are; empty where the attribute is absent.
  std::vector<int64_t> integers(const char* name) const;
  Tensor<uint8_t> constant_bytes(size_t index, const char* name) const;
  Tensor<float> constant_floats(size_t index, const char* name) const;

 private:
  bool exists(const char* name) const;
  template <class T>
  Tensor<T> constant(size_t index, const char* name, ElementType type) const;
  template <class T>
  bool read(const char* name, T* value, const char* type) const;

  const Api& api_;
  const KernelInfo* info_;
  Place place_;
};

// Inputs and outputs, while a kernel runs.
class Call {
 public:
  Call(const Api& api, KernelContext* context, const Place& place) : api_(api), context_(context), place_(place) {
    require(api, api.input_count(context, &inputs_));
  }

  Tensor<float> floats(size_t index, const char* name, bool optional = false) const;
  Tensor<bool> booleans(size_t index, const char* name) const;  // optional
  // (size), or absent.
  const float* vector(size_t index, const char* name, int64_t size) const;
  float* output(const std::vector<int64_t>& sizes) const;
  const Place& place() const { return place_; }
  // The threads of the session.
  Threads threads() const;

 private:
  template <class T>
  Tensor<T> tensor(size_t index, const char* name, ElementType type, bool optional) const;

  const Api& api_;
  KernelContext* context_;
  const Place& place_;
  size_t inputs_ = 0;
};

// The number of values, or a problem where it is beyond what memory can hold.
int64_t checked_size(const Place& place, const char* argument, const std::vector<int64_t>& sizes);

// Reads a tensor's sizes and data, whose type must be `type`.
std::vector<int64_t> read_tensor(const Api& api, const Place& place, const char* argument, const Value* value,
                                 ElementType type, void** data);

}  // namespace bibench::ort
