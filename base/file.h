// Files that appear whole or not at all.
#pragma once
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace panvae {

// Writes beside `path` and renames on commit(); a destructor without commit() removes what was written. Errors (no
// such folder, disk full) are ErrorCode::machine and name the path. Libraries that open files themselves (HDF5) write
// to temporary_path() and call commit() when they have closed it. The temporary name is NAME.partN with the number of the process, and no
// two have the same; those that killed processes left are named in a warning. A file that is replaced hands on who may read and write it. A folder at `path`
// is refused at once. A device or a pipe there is written to as it is; of a link, what it names is replaced.
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
  std::optional<unsigned> mode_;  // of the file that is replaced
  std::FILE* file_ = nullptr;
  bool committed_ = false;
};

// A folder that appears whole or not at all: files are written into a folder beside it, which takes its name on commit(); a
// destructor without commit() removes it. `marker` is the file by which a folder is known as one of ours: such a folder, and an
// empty one, is replaced in one step; anything else that stands at `path` is refused at once (ErrorCode::input), and so are the working
// folder and one that a file system is mounted on, which cannot be replaced. Of a link, what it names is replaced.
class AtomicFolder {
 public:
  AtomicFolder(std::string path, std::string marker);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  // Where to write the file of this name ("results.json", "points/pca.tsv"); folders on the way are made.
  std::string file(const std::string& name) const;
  void commit();

 private:
  void check_place() const;
  std::string path_, marker_, temporary_;
  bool committed_ = false;
};

// Two processes that write into one folder would mix their files: as long as this lives, a second one for the folder at `path`, of this
// process or another, is ErrorCode::usage. The lock ends with the process, however that ends. Where a file system knows no locks,
// nothing is locked.
class FolderLock {
 public:
  explicit FolderLock(const std::string& path);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int folder_;
};

// Whether a file or folder of that name is there.
bool exists(const std::string& path);
void write_file(const std::string& path, std::string_view content);
// The whole file as bytes; ErrorCode::input if it cannot be read.
std::string read_file(const std::string& path);

}  // namespace panvae
