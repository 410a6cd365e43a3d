// Threads of threads.h: OpenMP's where the compiler has it (then torch and this module share one set of threads,
// because both use the same library), else a small pool.

#include "threads.h"

#ifdef _OPENMP

#include <omp.h>

namespace bibench {

void parallel_for(int64_t count, int threads, void (*body)(void*, int64_t, int64_t), void* context) {
  if (threads > count) threads = static_cast<int>(count);
  if (threads <= 1 || omp_in_parallel()) {
    if (count > 0) body(context, 0, count);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int part = 0; part < threads; ++part) {
    const int64_t begin = count * part / threads, end = count * (part + 1) / threads;
    if (begin < end) body(context, begin, end);
  }
}

}  // namespace bibench

#else

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#ifndef _WIN32
#include <pthread.h>
#endif

namespace bibench {
namespace {

class Pool {
 public:
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  // False when another loop is running.
  bool run(int64_t count, int threads, void (*body)(void*, int64_t, int64_t), void* context) {
    if (!busy_.try_lock()) return false;
    std::lock_guard hold(busy_, std::adopt_lock);
    {
      std::lock_guard lock(mutex_);
      while (static_cast<int>(threads_.size()) < threads - 1) {
        const int index = static_cast<int>(threads_.size()) + 1;
        threads_.emplace_back([this, index, seen = round_] { work(index, seen); });
      }
      body_ = body;
      context_ = context;
      count_ = count;
      parts_ = threads;
      next_.store(0, std::memory_order_relaxed);
      waiting_ = static_cast<int>(threads_.size());
      ++round_;
    }
    wake_.notify_all();
    take_parts();
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return waiting_ == 0; });
    return true;
  }

 private:
  void take_parts() {
    for (int part = next_.fetch_add(1); part < parts_; part = next_.fetch_add(1)) {
      const int64_t begin = count_ * part / parts_, end = count_ * (part + 1) / parts_;
      if (begin < end) body_(context_, begin, end);
    }
  }

  void work(int index, uint64_t seen) {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return ending_ || round_ != seen; });
      if (ending_) return;
      seen = round_;
      const bool needed = index < parts_;
      lock.unlock();
      if (needed) take_parts();
      lock.lock();
      if (--waiting_ == 0) finished_.notify_one();
    }
  }

  std::mutex busy_, mutex_;
  std::condition_variable wake_, finished_;
  std::vector<std::thread> threads_;
  void (*body_)(void*, int64_t, int64_t) = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  int parts_ = 0, waiting_ = 0;
  uint64_t round_ = 0;
  bool ending_ = false;
  std::atomic<int> next_{0};
};

std::unique_ptr<Pool> pool;
std::mutex creation;
thread_local bool inside = false;  // a loop inside a loop runs where it is

Pool& the_pool() {
  std::lock_guard lock(creation);
  if (!pool) {
    pool = std::make_unique<Pool>();
#ifndef _WIN32
    // A forked child (a data-loading worker) has no threads of the pool: it forgets the pool and makes its own.
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { (void)pool.release(); }); });
#endif
  }
  return *pool;
}

}  // namespace

void parallel_for(int64_t count, int threads, void (*body)(void*, int64_t, int64_t), void* context) {
  if (threads > count) threads = static_cast<int>(count);
  if (threads > 1 && !inside) {
    inside = true;
    const bool ran = the_pool().run(count, threads, body, context);
    inside = false;
    if (ran) return;
  }
  if (count > 0) body(context, 0, count);
}

}  // namespace bibench

#endif
