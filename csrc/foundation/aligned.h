// Memory that starts where a line of the cache does: a register as wide as a line is then read and written at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <vector>

namespace bibench {

inline constexpr std::align_val_t kCacheLine{64};

template <class T>
struct CacheLineAllocator {
  using value_type = T;

  CacheLineAllocator() = default;
  template <class U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}

  T* allocate(size_t n) {
    if (n > std::numeric_limits<size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(::operator new(n * sizeof(T), kCacheLine));
  }
  void deallocate(T* p, size_t) { ::operator delete(p, kCacheLine); }
  bool operator==(const CacheLineAllocator&) const { return true; }
};

template <class T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

// The same without values to begin with, for what is large and written before it is read.
struct FreeAligned {
  void operator()(void* p) const { ::operator delete(p, kCacheLine); }
};

template <class T>
using Aligned = std::unique_ptr<T[], FreeAligned>;

template <class T>
Aligned<T> aligned(int64_t size) {
  return Aligned<T>(CacheLineAllocator<T>().allocate(static_cast<size_t>(size)));
}

}  // namespace bibench
