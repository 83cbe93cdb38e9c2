// Libraries that are opened when they are first needed, so that a program runs where they are missing.
#pragma once
#include <span>
#include <string>

namespace panvae {

class DynamicLibrary {
 public:
  // Opens the first of `names` that the system's loader finds; names with a '/' are files. Never throws: why_absent() says
  // what the loader said of each name. The library stays open until the process ends.
  explicit DynamicLibrary(std::span<const std::string> names);

  bool loaded() const { return handle_ != nullptr; }
  const std::string& name() const { return name_; }              // the one that was found
  const std::string& why_absent() const { return why_absent_; }  // empty where loaded()

  // function = the library's function `name`; false, and why_absent() says so, where it has none. After a failure the
  // library counts as absent.
  template <class F>
  bool bind(const char* name, F*& function) {
    function = reinterpret_cast<F*>(symbol(name));
    return function != nullptr;
  }

 private:
  void* symbol(const char* name);
  void* handle_ = nullptr;
  std::string name_, why_absent_;
};

}  // namespace panvae
