#include "base/file.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace panvae {

namespace fs = std::filesystem;

namespace {
[[noreturn]] void fail_write(const std::string& path, int error) {
  fail_machine(fmt::format("cannot write: {}", std::strerror(error)), quoted(path, 400),
               error == ENOSPC ? "free some space on the disk" : "check the folder and its permissions");
}

// What a name on its way is made of. Names of more than 255 bytes are refused by file systems.
constexpr size_t kNameBytes = 255, kSuffixBytes = 40;

// Says once of each path what stands beside it under the temporary name of a process that is no more: it was killed, by the system for
// want of memory perhaps, and could not take it away. It may be of another machine's process, so it is left where it is.
void report_leftovers(const fs::path& folder, const std::string& begin) {
  static std::mutex mutex;
  static std::set<std::string> seen;
  {
    std::lock_guard lock(mutex);
    if (!seen.insert((folder / begin).string()).second) return;
  }
  std::error_code error;
  for (fs::directory_iterator it(folder.empty() ? "." : folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.compare(0, begin.size(), begin) != 0) continue;
    const std::string_view rest = std::string_view(name).substr(begin.size());
    pid_t process = 0;
    const auto [number_end, failed] = std::from_chars(rest.data(), rest.data() + rest.size(), process);
    if (failed != std::errc() || process <= 0 || (number_end != rest.data() + rest.size() && *number_end != '-')) continue;
    if (process != ::getpid() && (::kill(process, 0) == 0 || errno != ESRCH)) continue;  // at work
    log::warning("{} was left by a run that was killed: take it away, unless another machine is at work there", quoted((folder / name).string(), 400));
  }
}

// A new name beside `path`, made by `make`, which returns false with errno if it cannot. The number of a process may come again, in
// containers each time, so what is there already is another's.
template <class Make>
std::string make_beside(const std::string& path, Make make) {
  const fs::path full(path), folder = full.parent_path();
  const std::string begin = full.filename().string().substr(0, kNameBytes - kSuffixBytes) + ".part";
  report_leftovers(folder, begin);
  const std::string stem = (folder / (begin + std::to_string(::getpid()))).string();
  std::string name = stem;
  for (int i = 1; !make(name); ++i, name = fmt::format("{}-{}", stem, i))
    if (errno != EEXIST || i > 10000) fail_write(path, errno);
  return name;
}

// A link is followed: the file that it names is replaced, not the link.
std::string behind_links(const std::string& path) {
  std::error_code error;
  if (!fs::is_symlink(path, error)) return path;
  const fs::path target = fs::canonical(path, error);
  return error ? path : target.string();
}
}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(behind_links(path)) {
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
  if (fs::is_directory(status)) fail_write(path_, EISDIR);
  temporary_ = make_beside(path_, [this](const std::string& name) { return (file_ = std::fopen(name.c_str(), "wbxe")) != nullptr; });
  if (struct stat old{}; ::stat(path_.c_str(), &old) == 0) {
    mode_ = old.st_mode & 0777;
    ::fchmod(::fileno(file_), *mode_ | S_IRUSR | S_IWUSR);  // nobody else reads it meanwhile, either
  }
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
  if (!error && mode_) ::chmod(temporary_.c_str(), *mode_);  // a file system without permissions refuses, and has none to lose
  if (!error && !in_place && std::rename(temporary_.c_str(), path_.c_str()) != 0) error = errno;
  if (error) fail_write(path_, error);
  committed_ = true;
}

AtomicFolder::AtomicFolder(std::string path, std::string marker) : path_(std::move(path)), marker_(std::move(marker)) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  std::error_code error;
  if (fs::exists(path_, error)) {
    path_ = fs::canonical(path_, error).string();
    if (error) fail_write(path_, error.value());
  } else if (fs::is_symlink(path_, error)) {
    fail_input("the link leads nowhere", quoted(path_, 400), "make the folder that it names, or take the link away");
  }
  check_place();
  temporary_ = make_beside(path_, [](const std::string& name) { return ::mkdir(name.c_str(), 0777) == 0; });
}

void AtomicFolder::check_place() const {
  std::error_code error;
  if (!fs::exists(path_, error)) return;
  const bool ours = fs::is_directory(path_, error) && (fs::exists(path_ + "/" + marker_, error) || fs::is_empty(path_, error));
  if (!ours) fail_input(fmt::format("there is something else, without a file {}", marker_), quoted(path_, 400), "name another folder, or take this one away");
  if (fs::equivalent(path_, ".", error)) fail_input("the working folder cannot be replaced", quoted(path_, 400), "name a folder in it");
  struct statx mounted {};
  if (::statx(AT_FDCWD, path_.c_str(), 0, STATX_BASIC_STATS, &mounted) == 0 && (mounted.stx_attributes & STATX_ATTR_MOUNT_ROOT))
    fail_input("a file system is mounted there, which cannot be replaced", quoted(path_, 400), "name a folder in it");
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
  check_place();  // much may have happened since
  // In one step, so that nobody finds neither the one nor the other; what stood there has the temporary name then.
  const auto renamed = [this](unsigned how) { return ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), how) == 0; };
  committed_ = renamed(RENAME_NOREPLACE) || (errno == EEXIST && renamed(RENAME_EXCHANGE));
  if (!committed_ && errno != EINVAL && errno != ENOSYS) fail_write(path_, errno);
  std::error_code error;
  if (!committed_) {  // a file system that knows neither: the older folder steps aside first
    const std::string old = temporary_ + ".old";
    const bool replaces = fs::exists(path_, error);
    if (replaces) fs::rename(path_, old, error);
    if (error) fail_write(path_, error.value());
    if (fs::rename(temporary_, path_, error); error) {
      const int why = error.value();
      if (replaces) fs::rename(old, path_, error);
      fail_write(path_, why);
    }
    committed_ = true;
    temporary_ = old;
  }
  fs::remove_all(temporary_, error);
}

FolderLock::FolderLock(const std::string& path) : folder_(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (folder_ >= 0 && ::flock(folder_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(folder_);
    fail_usage("another process is at work in the folder", quoted(path, 400), "wait for it, or name another folder");
  }
}

FolderLock::~FolderLock() {
  if (folder_ >= 0) ::close(folder_);
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
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
