#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace panvae {

namespace {
[[noreturn]] void fail_write(const std::string& path, int error) {
  fail_machine(fmt::format("cannot write: {}", std::strerror(error)), quoted(path, 400),
               error == ENOSPC ? "free some space on the disk" : "check the folder and its permissions");
}
}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".part" + std::to_string(::getpid())) {
  // Opened (and so created) at once even where a library reopens it by name: a folder that cannot be written is known
  // before hours of work.
  file_ = std::fopen(temporary_.c_str(), "wb");
  if (!file_) fail_write(path_, errno);
}

AtomicFile::~AtomicFile() {
  if (file_) std::fclose(file_);
  if (!committed_) std::remove(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  if (bytes && std::fwrite(data, 1, bytes, file_) != bytes) fail_write(path_, errno);
}

void AtomicFile::commit() {
  int error = 0;
  if (std::fflush(file_) != 0) error = errno;
  // Data a library wrote under our name is synced as well: the descriptor names the same file, or, where the library
  // replaced it, the rename below is still whole.
  if (!error && ::fsync(::fileno(file_)) != 0 && errno != EINVAL) error = errno;
  if (std::fclose(std::exchange(file_, nullptr)) != 0 && !error) error = errno;
  if (!error && std::rename(temporary_.c_str(), path_.c_str()) != 0) error = errno;
  if (error) fail_write(path_, error);
  committed_ = true;
}

void write_file(const std::string& path, std::string_view content) {
  AtomicFile f(path);
  f.write(content);
  f.commit();
}

std::string read_file(const std::string& path) {
  std::FILE* f = std::fopen(path.c_str(), "rb");
  if (!f) fail_input(fmt::format("cannot read: {}", std::strerror(errno)), quoted(path, 400), "check the name and its permissions");
  std::string out;
  char buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, f)) > 0;) out.append(buffer, n);
  bool bad = std::ferror(f) != 0;
  int error = errno;
  std::fclose(f);
  if (bad) fail_input(fmt::format("cannot read: {}", std::strerror(error)), quoted(path, 400), "is it a regular file?");
  return out;
}

}  // namespace panvae
