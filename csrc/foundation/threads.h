// Splits a loop over threads. A loop inside a loop runs on the calling thread alone.
#pragma once

#include <cstdint>
#include <type_traits>

namespace bibench {

// Calls body(context, begin, end) over disjoint ranges that cover [0, count), on up to `threads` threads.
void parallel_for(int64_t count, int threads, void (*body)(void*, int64_t, int64_t), void* context);

// Where loops run: on up to `count` threads of our own, or as a host program runs loops. A host does not say how many
// threads it has; `count` is then how many parts are worth making.
struct Threads {
  int count;
  void (*run)(void* host, int64_t count, void (*body)(void*, int64_t, int64_t), void* context) = nullptr;
  void* host = nullptr;

  Threads(int threads) : count(threads) {}  // NOLINT: a number of threads says it all
  Threads(int parts, void (*host_run)(void*, int64_t, void (*)(void*, int64_t, int64_t), void*), void* host_data)
      : count(parts), run(host_run), host(host_data) {}
};

// The same for a callable object.
template <class Body>
void parallel_for(int64_t count, const Threads& threads, Body&& body) {
  const auto call = [](void* context, int64_t begin, int64_t end) {
    (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end);
  };
  if (threads.run) return threads.run(threads.host, count, call, &body);
  parallel_for(count, threads.count, call, &body);
}

}  // namespace bibench
