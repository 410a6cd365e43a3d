// Splits a loop over threads. A loop inside a loop runs on the calling thread alone.
#pragma once

#include <cstdint>

namespace bibench {

// Calls body(context, begin, end) over disjoint ranges that cover [0, count), on up to `threads` threads.
void parallel_for(int64_t count, int threads, void (*body)(void*, int64_t, int64_t), void* context);

// The same for a callable object.
template <class Body>
void parallel_for(int64_t count, int threads, Body&& body) {
  parallel_for(
      count, threads,
      [](void* context, int64_t begin, int64_t end) { (*static_cast<Body*>(context))(begin, end); }, &body);
}

}  // namespace bibench
