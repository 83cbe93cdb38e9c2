// HDF5 files that the HDF5 library itself cannot survive. Its versions before 1.14 follow damaged heaps beyond their
// buffers; no check from outside can rule that out. This catches what fails while the file is read. What it cannot catch:
// memory overwritten so that the program fails later, and, on rare damage, a loop without end (Ctrl-C, twice, ends it).
#pragma once
#include <string>

namespace panvae::data {

// For programs (an embedder may have handlers of its own): a segmentation fault, bus error, division by zero or abort while an HDF5 file is
// being read ends the process with one line on stderr that names the file, and exit code 3. Faults at any other time
// are left to the handlers that were there before.
void install_damage_handler();

namespace detail {
// While it lives, a fault is that of the HDF5 library on this file. Of several the one that began last is named, in whatever order they end.
// One thread reads (data/hdf5_file.h).
class FileBeingRead {
 public:
  explicit FileBeingRead(const std::string& path);
  ~FileBeingRead();
  FileBeingRead(const FileBeingRead&) = delete;
  FileBeingRead& operator=(const FileBeingRead&) = delete;

 private:
  std::string line_;
  FileBeingRead *before_ = nullptr, *after_ = nullptr;
};
}  // namespace detail

}  // namespace panvae::data
