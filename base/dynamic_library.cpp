#include "base/dynamic_library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace panvae {

DynamicLibrary::DynamicLibrary(std::span<const std::string> names) {
  for (const std::string& name : names) {
    handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_) {
      name_ = name;
      why_absent_.clear();
      return;
    }
    const char* reason = ::dlerror();
    if (!why_absent_.empty()) why_absent_ += "; ";
    why_absent_ += reason ? reason : name.c_str();
  }
}

void* DynamicLibrary::symbol(const char* name) {
  if (!handle_) return nullptr;
  void* address = ::dlsym(handle_, name);
  if (address) return address;
  handle_ = nullptr;
  why_absent_ = fmt::format("{} lacks the function {}", name_, name);
  return nullptr;
}

}  // namespace panvae
