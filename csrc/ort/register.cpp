// RegisterCustomOps, which ONNX Runtime calls when this library is registered with a session's options: the domain
// `bibench` and its operators.

#include "operator.h"

#include <map>
#include <mutex>
#include <string>

#ifdef _WIN32
#define BIBENCH_EXPORT __declspec(dllexport)
#else
#include <dlfcn.h>
#define BIBENCH_EXPORT __attribute__((visibility("default")))
#endif

namespace bibench::ort {
namespace {

constexpr const char* kDomain = "bibench";
constexpr const char* kLibraryKey = "bibench.library";  // in the session's configuration: who registered the domain

// Version and file of this library.
std::string library() {
  std::string file = "bibench";
#ifndef _WIN32
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&binary_conv), &info) && info.dli_fname) file = info.dli_fname;
#endif
  return file + " (version " BIBENCH_VERSION ")";
}

// What these options hold from an earlier registration, or nothing.
std::string registered(const Api& api, const SessionOptions* options) {
  int found = 0;
  require(api, api.has_config(options, kLibraryKey, &found));
  if (!found) return "";
  size_t size = 0;
  require(api, api.get_config(options, kLibraryKey, nullptr, &size));
  std::string value(size, '\0');
  require(api, api.get_config(options, kLibraryKey, value.data(), &size));
  return value.c_str();
}

// One domain for all sessions of an ONNX Runtime. It has to outlive them, so it lives as long as the library.
CustomOpDomain* domain_of(const Api& api) {
  static std::mutex mutex;
  static std::map<const Api*, CustomOpDomain*> domains;
  const std::lock_guard lock(mutex);
  CustomOpDomain*& domain = domains[&api];
  if (domain) return domain;
  CustomOpDomain* made = nullptr;
  require(api, api.create_domain(kDomain, &made));
  for (const CustomOp* op : {&binary_conv(), &binary_linear(), &binary_attention(), &stem_conv()})
    require(api, api.add(made, op));
  return domain = made;
}

}  // namespace
}  // namespace bibench::ort

extern "C" BIBENCH_EXPORT bibench::ort::Status* RegisterCustomOps(bibench::ort::SessionOptions* options,
                                                                  const bibench::ort::ApiBase* base) {
  using namespace bibench::ort;
  const Api* api = base->get_api(kApiVersion);
  if (!api) {
    const Api* first = base->get_api(1);
    if (!first) return nullptr;
    return guarded(*first, kDomain, [&] {
      throw Problem("bibench: expected ONNX Runtime 1." + std::to_string(kApiVersion) + " or newer, got " +
                    base->version() + "; upgrade onnxruntime");
    });
  }
  return guarded(*api, kDomain, [&] {
    const std::string before = registered(*api, options), mine = library();
    if (before == mine) return;  // registered twice: once is enough
    if (!before.empty())
      throw Problem("bibench: two libraries register the operators of domain 'bibench' with one session: " + before +
                    " and " + mine + "; register one of them");
    require(*api, api->add(options, domain_of(*api)));
    require(*api, api->add_config(options, kLibraryKey, mine.c_str()));
  });
}
