#include "data/large_dataset.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace panvae::data {

template <class T>
LargeMatrix<T>::LargeMatrix(int64_t rows, int64_t cols, std::string folder) : rows_(rows), cols_(cols), folder_(std::move(folder)) {
  PV_CHECK(rows >= 0 && cols >= 0 && (cols == 0 || rows <= (int64_t{1} << 56) / cols), "LargeMatrix: {} x {}", rows, cols);
  mapped_ = static_cast<size_t>(rows) * static_cast<size_t>(cols) * sizeof(T);
  if (mapped_ == 0) return;
  const std::string name = (folder_.empty() ? "." : folder_) + "/.panvae_matrix_XXXXXX";
  std::vector<char> path(name.begin(), name.end());
  path.push_back('\0');
  auto fail = [&](const char* what, int code) {
    const std::string reason = std::strerror(code);
    const int64_t bytes = static_cast<int64_t>(mapped_);
    close();
    fail_machine(fmt::format("{} for a matrix of {}: {}", what, human_bytes(bytes), reason), quoted(folder_.empty() ? "." : folder_, 400),
                 "the folder of the output needs that much room for a time; or allow more memory with --memory");
  };
  file_ = ::mkostemp(path.data(), O_CLOEXEC);
  if (file_ < 0) fail("no temporary file can be made", errno);
  ::unlink(path.data());
  // All blocks now: a disk that is full later would end the process within a write to memory.
  if (const int code = ::posix_fallocate(file_, 0, static_cast<off_t>(mapped_)); code != 0) fail("no room on the disk", code);
  void* at = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  if (at == MAP_FAILED) fail("the temporary file cannot be mapped", errno);
  data_ = static_cast<T*>(at);
}

template <class T>
void LargeMatrix<T>::close() noexcept {
  if (data_) ::munmap(data_, mapped_);
  if (file_ >= 0) ::close(file_);
  data_ = nullptr;
  file_ = -1;
}

template <class T>
LargeMatrix<T>& LargeMatrix<T>::operator=(LargeMatrix&& o) noexcept {
  std::swap(file_, o.file_);
  std::swap(data_, o.data_);
  std::swap(mapped_, o.mapped_);
  std::swap(rows_, o.rows_);
  std::swap(cols_, o.cols_);
  std::swap(folder_, o.folder_);
  return *this;
}

template <class T>
LargeMatrix<T>::~LargeMatrix() {
  close();
}

template <class T>
void LargeMatrix<T>::reshape(int64_t rows, int64_t cols) {
  PV_CHECK(rows >= 0 && cols >= 0 && static_cast<size_t>(rows * cols) * sizeof(T) <= mapped_, "LargeMatrix.reshape: {} x {} does not fit", rows, cols);
  rows_ = rows;
  cols_ = cols;
}

template <class T>
void LargeMatrix<T>::release(int64_t begin, int64_t end) const {
  if (!data_ || begin >= end || cols_ == 0) return;
  static const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t row = static_cast<size_t>(cols_) * sizeof(T);
  const size_t first = static_cast<size_t>(begin) * row / page * page, last = std::min(mapped_, static_cast<size_t>(end) * row);
  // Shared pages of a file keep what was written; they are only no longer mapped.
  if (last > first) ::madvise(reinterpret_cast<char*>(data_) + first, last - first, MADV_DONTNEED);
}

template class LargeMatrix<float>;
template class LargeMatrix<double>;

}  // namespace panvae::data
