// Threads of threads.h: OpenMP's where the compiler has it (then torch and this module share one set of threads,
// because both use the same library), else a small pool.

#include "threads.h"

#include <exception>
#include <mutex>

namespace bibench {
namespace {

// A loop body that throws (when memory is short) would end the process on any thread but the caller's: the first
// exception is kept, and thrown again when all parts are done.
class Guarded {
 public:
  Guarded(void (*body)(void*, int64_t, int64_t), void* context) : body_(body), context_(context) {}

  static void run(void* self, int64_t begin, int64_t end) {
    auto& guarded = *static_cast<Guarded*>(self);
    try {
      guarded.body_(guarded.context_, begin, end);
    } catch (...) {
      std::lock_guard lock(guarded.mutex_);
      if (!guarded.thrown_) guarded.thrown_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  void (*body_)(void*, int64_t, int64_t);
  void* context_;
  std::mutex mutex_;
  std::exception_ptr thrown_;
};

}  // namespace
}  // namespace bibench

#ifdef _OPENMP

#include <atomic>
#include <omp.h>
#ifndef _WIN32
#include <pthread.h>
#endif

namespace bibench {
namespace {

// GNU's OpenMP waits for ever in a process that was forked after its threads had started: there, loops run on the
// calling thread.
std::atomic<bool> forked{false};

void watch_for_forks() {
#ifndef _WIN32
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { forked.store(true); }); });
#endif
}

}  // namespace

void parallel_for(int64_t count, int threads, void (*body)(void*, int64_t, int64_t), void* context) {
  if (threads > count) threads = static_cast<int>(count);
  if (threads <= 1 || omp_in_parallel() || forked.load()) {
    if (count > 0) body(context, 0, count);
    return;
  }
  watch_for_forks();
  Guarded guarded(body, context);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int part = 0; part < threads; ++part) {
    const int64_t begin = count * part / threads, end = count * (part + 1) / threads;
    if (begin < end) Guarded::run(&guarded, begin, end);
  }
  guarded.rethrow();
}

}  // namespace bibench

#else

#include <atomic>
#include <condition_variable>
#include <memory>
#include <system_error>
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
      try {
        while (static_cast<int>(threads_.size()) < threads - 1) {
          const int index = static_cast<int>(threads_.size()) + 1;
          threads_.emplace_back([this, index, seen = round_] { work(index, seen); });
        }
      } catch (const std::system_error&) {  // no more threads to be had: those there are do the work
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
    std::call_once(once, [] {
      pthread_atfork([] { creation.lock(); }, [] { creation.unlock(); },
                     [] {
                       (void)pool.release();
                       creation.unlock();
                     });
    });
#endif
  }
  return *pool;
}

}  // namespace

void parallel_for(int64_t count, int threads, void (*body)(void*, int64_t, int64_t), void* context) {
  if (threads > count) threads = static_cast<int>(count);
  if (threads > 1 && !inside) {
    Guarded guarded(body, context);
    inside = true;
    const bool ran = the_pool().run(count, threads, Guarded::run, &guarded);
    inside = false;
    if (ran) return guarded.rethrow();
  }
  if (count > 0) body(context, 0, count);
}

}  // namespace bibench

#endif
