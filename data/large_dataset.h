// Matrices larger than memory: rows in a temporary file that is mapped, so that code written for a matrix in memory works on
// them. What has been used is handed back to the system by release(); the file has no name and is gone with the process.
#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <string>
#include <utility>

#include "base/threads.h"
#include "data/dataset.h"

namespace panvae::data {

template <class T>
class LargeMatrix {
 public:
  using Scalar = T;
  using ConstRow = Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>;

  LargeMatrix() = default;
  // Zeros. The file lies in `folder` ("": the current one) and takes its whole size at once: ErrorCode::machine where the disk
  // has no room.
  LargeMatrix(int64_t rows, int64_t cols, std::string folder);
  LargeMatrix(LargeMatrix&& o) noexcept { *this = std::move(o); }
  LargeMatrix& operator=(LargeMatrix&& o) noexcept;
  ~LargeMatrix();

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t size() const { return rows_ * cols_; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator()(int64_t r, int64_t c) { return data_[r * cols_ + c]; }
  T operator()(int64_t r, int64_t c) const { return data_[r * cols_ + c]; }
  ConstRow row(int64_t r) const { return {data_ + r * cols_, cols_}; }
  const std::string& folder() const { return folder_; }

  // At most the size it has; the values lie in that order already.
  void reshape(int64_t rows, int64_t cols);
  // Rows [begin, end) leave the memory of this process; they stay what they are. Any thread, at any time.
  void release(int64_t begin, int64_t end) const;

 private:
  void close() noexcept;
  int file_ = -1;
  T* data_ = nullptr;
  size_t mapped_ = 0;  // bytes
  int64_t rows_ = 0, cols_ = 0;
  std::string folder_;
};
extern template class LargeMatrix<float>;
extern template class LargeMatrix<double>;

template <class T>
using LargeDataset = Dataset<T, LargeMatrix<T>>;

// The same calls for both kinds of matrices. A new one of the kind of `x`:
template <class T>
RowMatrix<T> matrix_like(const RowMatrix<T>&, int64_t rows, int64_t cols) {
  return RowMatrix<T>(rows, cols);
}
template <class T>
LargeMatrix<T> matrix_like(const LargeMatrix<T>& x, int64_t rows, int64_t cols) {
  return LargeMatrix<T>(rows, cols, x.folder());
}

template <class T>
void release_rows(const RowMatrix<T>&, int64_t, int64_t) {}
template <class T>
void release_rows(const LargeMatrix<T>& x, int64_t begin, int64_t end) {
  x.release(begin, end);
}

// parallel_chunks over the rows: body(begin, end).
template <class Matrix, class F>
void over_rows(const Matrix& x, int64_t chunk, F&& body) {
  parallel_chunks(x.rows(), chunk, [&](int64_t begin, int64_t end) {
    body(begin, end);
    release_rows(x, begin, end);
  });
}

// parallel_chunks over the columns of all rows. The chunks begin at the same columns whatever the matrix, so results are the
// same to the bit; a mapped one is read in strips of columns that take little memory.
template <class T, class F>
void over_columns(const RowMatrix<T>& x, int64_t chunk, F&& body) {
  parallel_chunks(static_cast<int64_t>(x.cols()), chunk, body);
}
template <class T, class F>
void over_columns(const LargeMatrix<T>& x, int64_t chunk, F&& body) {
  constexpr int64_t strip_bytes = int64_t{256} << 20;
  const int64_t chunks = std::max<int64_t>(1, strip_bytes / std::max<int64_t>(1, x.rows() * chunk * static_cast<int64_t>(sizeof(T))));
  for (int64_t first = 0; first < x.cols(); first += chunks * chunk) {
    const int64_t count = std::min(chunks * chunk, x.cols() - first);
    parallel_chunks(count, chunk, [&](int64_t begin, int64_t end) { body(first + begin, first + end); });
    x.release(0, x.rows());
  }
}

}  // namespace panvae::data
