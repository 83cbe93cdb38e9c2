#include "data/row_reader.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/error.h"
#include "data/h5ad.h"
#include "data/raw_matrix.h"
#include "data/text_matrix.h"

namespace panvae::data {

struct RowReader::Impl {
  std::string path;
  std::vector<std::string> features;
  Table obs;
  int64_t position = 0;
  std::unique_ptr<hdf5::File> file;
  std::unique_ptr<H5adMatrix> matrix;
  std::unique_ptr<TextMatrixReader> text;
  std::unordered_set<std::string> seen;  // names of text rows, to refuse repeats

  template <class T>
  int64_t read(int64_t rows, RowMatrix<T>& x, std::vector<std::string>& names) {
    const auto g = static_cast<int64_t>(features.size());
    names.clear();
    if (matrix) {
      const int64_t n = std::min(rows, matrix->rows() - position);
      x.resize(n, g);
      if (n > 0) matrix->read_rows(position, n, x.data());
      names.assign(obs.keys.begin() + position, obs.keys.begin() + position + n);
      return n;
    }
    x.resize(rows, g);
    std::string name;
    int64_t n = 0;
    for (; n < rows && text->next_as(name, x.data() + n * g); ++n) {
      if (!seen.insert(name).second) fail_input(fmt::format("the sample name {} stands twice", quoted(name)), text->where(), "rename one");
      names.push_back(name);
    }
    x.conservativeResize(n, Eigen::NoChange);
    return n;
  }
};

RowReader::RowReader(const std::string& path) : impl_(std::make_unique<Impl>()) {
  const MatrixPath at = parse_matrix_path(path);
  impl_->path = path;
  if (at.format == MatrixPath::Format::h5ad) {
    impl_->file = std::make_unique<hdf5::File>(at.file);
    impl_->matrix = std::make_unique<H5adMatrix>(*impl_->file, at.inner);
    if (!impl_->matrix->by_rows())
      fail_input("a CSC matrix cannot be read sample by sample", impl_->file->where(at.inner), "convert it with 'panvae convert' first");
    impl_->obs = read_frame(*impl_->file, "obs");
    if (at.inner.rfind("obsm/", 0) == 0)
      for (int64_t c = 0; c < impl_->matrix->columns(); ++c) impl_->features.push_back(fmt::format("{}_{}", at.inner.substr(5), c + 1));
    else impl_->features = read_frame(*impl_->file, at.inner == "raw/X" ? "raw/var" : "var").keys;
    if (impl_->obs.rows() != impl_->matrix->rows() || static_cast<int64_t>(impl_->features.size()) != impl_->matrix->columns())
      impl_->file->fail(at.inner, "its shape and the tables of the file differ");
  } else if (at.format == MatrixPath::Format::text) {
    impl_->text = std::make_unique<TextMatrixReader>(at.file);
    impl_->text->expect_samples_in_rows();
    impl_->features = impl_->text->columns();
  } else {
    fail_input("an .mtx matrix cannot be read sample by sample", quoted(path, 400), "convert it with 'panvae convert' first");
  }
}

RowReader::~RowReader() = default;
const std::vector<std::string>& RowReader::features() const {
  return impl_->features;
}
const Table& RowReader::obs() const {
  return impl_->obs;
}

template <class T>
int64_t RowReader::next(int64_t rows, RowMatrix<T>& x, std::vector<std::string>& names) {
  const int64_t n = impl_->read(std::max<int64_t>(rows, 0), x, names);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t c = 0; c < x.cols(); ++c)
      if (!std::isfinite(x(r, c)))
        fail_input(std::isnan(x(r, c)) ? "a value is missing or NaN" : "a value is infinite or too large for the type of the numbers",
                   fmt::format("{}, sample {}, feature {}", quoted(impl_->path, 400), quoted(names[static_cast<size_t>(r)]),
                               quoted(impl_->features[static_cast<size_t>(c)])),
                   "correct the file");
  impl_->position += n;
  return n;
}
template int64_t RowReader::next(int64_t, RowMatrix<float>&, std::vector<std::string>&);
template int64_t RowReader::next(int64_t, RowMatrix<double>&, std::vector<std::string>&);

}  // namespace panvae::data
