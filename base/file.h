// Files that appear whole or not at all.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace panvae {

// Writes beside `path` and renames on commit(); a destructor without commit() removes what was written. Errors (no
// such folder, disk full) are ErrorCode::machine and name the path. Libraries that open files themselves (HDF5) write
// to temporary_path() and call commit() when they have closed it.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  const std::string& temporary_path() const { return temporary_; }
  // Flushes, syncs to disk and renames. Nothing can be written afterwards.
  void commit();

 private:
  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
  bool committed_ = false;
};

void write_file(const std::string& path, std::string_view content);
// The whole file as bytes; ErrorCode::input if it cannot be read.
std::string read_file(const std::string& path);

}  // namespace panvae
