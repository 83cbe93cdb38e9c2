// X, layers and obsm of an h5ad file.
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "data/h5ad.h"
#include "data/raw_matrix.h"

namespace panvae::data {

namespace {

constexpr int64_t piece = int64_t{1} << 22;  // entries read at a time

// "X, layers/counts, obsm/X_pca": what the file has.
std::string matrices_of(const hdf5::File& file) {
  std::string list;
  auto add = [&](const std::string& name) { list += (list.empty() ? "" : ", ") + name; };
  if (file.exists("X")) add("X");
  for (const char* group : {"layers", "obsm"})
    if (file.is_group(group))
      for (const std::string& name : file.children(group)) add(std::string(group) + "/" + name);
  if (file.exists("raw/X")) add("raw/X");
  return list.empty() ? "none" : list;
}

// Of new memory each page has to be made on first use, which takes as long as reading 4 KiB into it; pages of 2 MiB are fewer.
void use_huge_pages(void* at, size_t bytes) {
  constexpr uintptr_t page = uintptr_t{2} << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(at) + page - 1) / page * page, end = (reinterpret_cast<uintptr_t>(at) + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a hint
}

}  // namespace

H5adMatrix::H5adMatrix(const hdf5::File& file, const std::string& inner) : file_(file), inner_(inner) {
  const bool exists = file.exists(inner);
  if (!exists || file.attribute(inner, "encoding-type") == "null")
    file.fail(inner, "the file has no such matrix",
              matrices_of(file) == "none" ? "AnnData did not write it: 10x .h5, loom and MuData become .h5ad in scanpy or muon"
                                          : fmt::format("there are: {}; name one as in FILE.h5ad:layers/counts", matrices_of(file)));
  if (file.is_dataset(inner)) {
    const hdf5::NumberSource source(file, inner);
    holds_floats_ = source.holds_floats();
    if (source.shape().size() == 1) {  // a single feature, squeezed by old versions
      rows_ = source.shape()[0];
      columns_ = 1;
    } else if (source.shape().size() == 2) {
      rows_ = source.shape()[0];
      columns_ = source.shape()[1];
    } else {
      file.fail(inner, fmt::format("has {} dimensions, not 2", source.shape().size()), "name another matrix");
    }
    return;
  }
  std::string encoding = file.attribute(inner, "encoding-type", file.attribute(inner, "h5sparse_format"));
  std::vector<int64_t> shape = file.attribute_integers(inner, "shape");
  if (shape.empty()) shape = file.attribute_integers(inner, "h5sparse_shape");
  if (encoding.rfind("csr", 0) == 0) layout_ = Layout::csr;
  else if (encoding.rfind("csc", 0) == 0) layout_ = Layout::csc;
  else
    file.fail(inner, fmt::format("its encoding {} is not read", quoted(encoding)),
              encoding == "dataframe" ? "dense, CSR and CSC matrices are: store its values, .to_numpy() in pandas"
                                      : "dense, CSR and CSC matrices are: convert it with AnnData");
  if (shape.size() != 2 || shape[0] < 0 || shape[1] < 0) file.fail(inner, "a sparse matrix without a shape");
  rows_ = shape[0];
  columns_ = shape[1];
  const int64_t major = layout_ == Layout::csr ? rows_ : columns_;
  // Lengths first: a damaged one would be memory that is asked for.
  const std::vector<int64_t> ends = file.shape(inner + "/indptr"), entries = file.shape(inner + "/indices"), values = file.shape(inner + "/data");
  const bool one_end_each = ends.size() == 1 && ends[0] - 1 == major;
  if (one_end_each) indptr_ = file.integers(inner + "/indptr");
  if (!one_end_each || entries.size() != 1 || values != entries || indptr_.front() != 0 || indptr_.back() != entries[0] ||
      !std::is_sorted(indptr_.begin(), indptr_.end()))
    file.fail(inner, "the parts of the sparse matrix do not fit together");
  if (file.holds_fractions(inner + "/indices")) file.fail(inner + "/indices", "holds fractions where whole numbers are expected");
}

template <class T, class F>
void H5adMatrix::for_entries(int64_t begin, int64_t end, F&& entry) const {
  const hdf5::NumberSource indices(file_, inner_ + "/indices"), values(file_, inner_ + "/data");
  const int64_t minor_count = layout_ == Layout::csr ? columns_ : rows_;
  std::vector<int64_t> index;
  std::vector<T> value;
  int64_t line = begin;
  for (int64_t at = indptr_[static_cast<size_t>(begin)], last = indptr_[static_cast<size_t>(end)]; at < last;) {
    const int64_t n = std::min(piece, last - at);
    index.resize(static_cast<size_t>(n));
    value.resize(static_cast<size_t>(n));
    indices.read(at, n, index.data());
    values.read(at, n, value.data());
    for (int64_t i = 0; i < n; ++i) {
      while (indptr_[static_cast<size_t>(line) + 1] <= at + i) ++line;
      const int64_t minor = index[static_cast<size_t>(i)];
      if (minor < 0 || minor >= minor_count) file_.fail(inner_ + "/indices", fmt::format("index {} where the matrix has {}", minor, minor_count));
      entry(line, minor, value[static_cast<size_t>(i)]);
    }
    at += n;
  }
}

template <class T>
bool H5adMatrix::read_rows(int64_t begin, int64_t count, T* out) const {
  PV_ASSERT(by_rows());
  if (layout_ == Layout::dense) {
    const hdf5::NumberSource source(file_, inner_);
    const int64_t step = std::max<int64_t>(1, piece / std::max<int64_t>(1, columns_));
    bool finite = true;
    for (int64_t r = 0; r < count; r += step) finite &= source.read(begin + r, std::min(step, count - r), out + r * columns_);
    return finite;
  }
  std::fill(out, out + count * columns_, T(0));
  // Entries of the same cell add up, as in SciPy.
  for_entries<T>(begin, begin + count, [&](int64_t row, int64_t column, T v) { out[(row - begin) * columns_ + column] += v; });
  return false;
}
template bool H5adMatrix::read_rows(int64_t, int64_t, float*) const;
template bool H5adMatrix::read_rows(int64_t, int64_t, double*) const;

template <class T>
bool H5adMatrix::whole(RowMatrix<T>& out) const {
  expect_room_for(rows_, columns_, sizeof(T), file_.where(inner_));
  out.resize(rows_, columns_);
  use_huge_pages(out.data(), static_cast<size_t>(out.size()) * sizeof(T));
  if (layout_ != Layout::csc) return out.size() > 0 && read_rows(0, rows_, out.data());
  out.setZero();
  for_entries<T>(0, columns_, [&](int64_t column, int64_t row, T v) { out(row, column) += v; });
  return false;
}
template bool H5adMatrix::whole(RowMatrix<float>&) const;
template bool H5adMatrix::whole(RowMatrix<double>&) const;

bool H5adMatrix::whole(LargeMatrix<float>& out) const {
  PV_ASSERT(out.rows() == rows_ && out.cols() == columns_);
  if (layout_ != Layout::csc) {
    const int64_t step = std::max<int64_t>(1, 4 * piece / std::max<int64_t>(1, columns_));
    bool finite = true;
    for (int64_t r = 0; r < rows_; r += step) {
      const int64_t count = std::min(step, rows_ - r);
      finite &= read_rows(r, count, out.data() + r * columns_);
      out.release(r, r + count);
    }
    return finite;
  }
  // Column by column; a page of each sample is at hand until its columns are done.
  const int64_t step = std::max<int64_t>(1, 16 * piece / std::max<int64_t>(1, rows_));
  for (int64_t c = 0; c < columns_; c += step) {
    for_entries<float>(c, std::min(c + step, columns_), [&](int64_t column, int64_t row, float v) { out(row, column) += v; });
    out.release(0, rows_);
  }
  return false;
}

namespace {

Table numbered(const std::string& prefix, int64_t n) {
  Table t;
  for (int64_t i = 0; i < n; ++i) t.keys.push_back(fmt::format("{}_{}", prefix, i + 1));
  return t;
}

}  // namespace

template <class T, class Matrix>
void read_h5ad_tables(const hdf5::File& file, const std::string& inner, const H5adMatrix& matrix, Dataset<T, Matrix>& out) {
  out.path = inner == "X" ? file.path() : file.path() + ":" + inner;
  out.obs = read_frame(file, "obs");
  const bool embedding = inner.rfind("obsm/", 0) == 0;
  if (embedding) out.var = numbered(inner.substr(5), matrix.columns());
  else out.var = read_frame(file, inner == "raw/X" ? "raw/var" : "var");
  if (matrix.rows() != out.obs.rows() || matrix.columns() != out.var.rows())
    file.fail(inner,
              fmt::format("is {} x {}, but the tables name {} samples and {} features", matrix.rows(), matrix.columns(), out.obs.rows(), out.var.rows()));
  std::string kind;
  Frozen frozen = read_frozen(file, kind);
  if (inner == "X") {
    out.frozen = std::move(frozen);
    out.kind = kind;
  } else if (embedding) {
    out.kind = "embedding";
  }
}
template void read_h5ad_tables(const hdf5::File&, const std::string&, const H5adMatrix&, Dataset<float>&);
template void read_h5ad_tables(const hdf5::File&, const std::string&, const H5adMatrix&, Dataset<double>&);

template <class T>
RawMatrix<T> read_h5ad(const std::string& path, const std::string& inner, bool& finite) {
  const hdf5::File file(path);
  RawMatrix<T> out;
  const H5adMatrix matrix(file, inner);
  read_h5ad_tables(file, inner, matrix, out);
  finite = matrix.whole(out.x);
  return out;
}
template RawMatrix<float> read_h5ad(const std::string&, const std::string&, bool&);
template RawMatrix<double> read_h5ad(const std::string&, const std::string&, bool&);

LargeDataset<float> read_h5ad_large(const std::string& path, const std::string& inner, const std::string& folder, bool& finite) {
  const hdf5::File file(path);
  LargeDataset<float> out;
  const H5adMatrix matrix(file, inner);
  read_h5ad_tables(file, inner, matrix, out);
  out.x = LargeMatrix<float>(matrix.rows(), matrix.columns(), folder);
  finite = matrix.whole(out.x);
  return out;
}

Table read_h5ad_obs(const std::string& path) {
  return read_frame(hdf5::File(path), "obs");
}

}  // namespace panvae::data
