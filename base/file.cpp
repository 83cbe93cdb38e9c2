#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"

namespace panvae {

namespace fs = std::filesystem;

namespace {
[[noreturn]] void fail_write(const std::string& path, int error) {
  fail_machine(fmt::format("cannot write: {}", std::strerror(error)), quoted(path, 400),
               error == ENOSPC ? "free some space on the disk" : "check the folder and its permissions");
}
}  // namespace

namespace {
// A link is followed: the file that it names is replaced, not the link.
std::string behind_links(const std::string& path) {
  std::error_code error;
  if (!fs::is_symlink(path, error)) return path;
  const fs::path target = fs::canonical(path, error);
  return error ? path : target.string();
}
}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(behind_links(path)), temporary_(path_ + ".part" + std::to_string(::getpid())) {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status)) {
    // A device or a pipe (/dev/null, >(jq .)) is written to and never replaced. It is opened by the first write: a reader
    // would take a pipe that is closed again for the end.
    temporary_ = path_;
    committed_ = true;
    if (::access(path_.c_str(), W_OK) != 0) fail_write(path_, errno);
    return;
  }
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
  if (!file_) file_ = std::fopen(path_.c_str(), "wb");
  if (!file_) fail_write(path_, errno);
  if (bytes && std::fwrite(data, 1, bytes, file_) != bytes) fail_write(path_, errno);
}

void AtomicFile::commit() {
  int error = 0;
  const bool in_place = temporary_ == path_;
  if (in_place && !file_) return;  // nothing to write, or a library wrote
  if (std::fflush(file_) != 0) error = errno;
  // Data a library wrote under our name is synced as well: the descriptor names the same file, or, where the library
  // replaced it, the rename below is still whole.
  if (!error && ::fsync(::fileno(file_)) != 0 && errno != EINVAL) error = errno;
  if (std::fclose(std::exchange(file_, nullptr)) != 0 && !error) error = errno;
  if (!error && !in_place && std::rename(temporary_.c_str(), path_.c_str()) != 0) error = errno;
  if (error) fail_write(path_, error);
  committed_ = true;
}

AtomicFolder::AtomicFolder(std::string path, std::string marker) : path_(std::move(path)) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  temporary_ = path_ + ".part" + std::to_string(::getpid());
  std::error_code error;
  const bool ours = fs::is_directory(path_, error) && (fs::exists(path_ + "/" + marker, error) || fs::is_empty(path_, error));
  if (fs::exists(path_, error) && !ours)
    fail_input(fmt::format("there is something else, without a file {}", marker), quoted(path_, 400), "name another folder, or take this one away");
  if (fs::create_directory(temporary_, error); error) fail_write(path_, error.value());
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

std::string AtomicFolder::file(const std::string& name) const {
  const fs::path out = fs::path(temporary_) / name;
  std::error_code error;
  if (fs::create_directories(out.parent_path(), error); error) fail_write(path_, error.value());
  return out.string();
}

void AtomicFolder::commit() {
  // The older folder steps aside first: a rename cannot replace one that holds files.
  const std::string old = path_ + ".old" + std::to_string(::getpid());
  std::error_code error;
  const bool replaces = fs::exists(path_, error);
  if (replaces) fs::rename(path_, old, error);
  if (error) fail_write(path_, error.value());
  if (fs::rename(temporary_, path_, error); error) {
    const int why = error.value();
    if (replaces) fs::rename(old, path_, error);
    fail_write(path_, why);
  }
  committed_ = true;
  if (replaces) fs::remove_all(old, error);
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
