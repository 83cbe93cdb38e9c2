#include "data/sample_source.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "data/h5ad.h"
#include "data/raw_matrix.h"

namespace panvae::data {

struct SampleSource::Impl {
  Dataset<double> data;  // without x where the file is read
  std::unique_ptr<hdf5::File> file;
  std::unique_ptr<H5adMatrix> matrix;
  std::vector<int64_t> row_of;  // of the file, for each sample of data.obs

  void check(int64_t sample, const double* values) const {
    double sum = 0;  // NaN if a value is not finite
    for (int64_t c = 0; c < data.var.rows(); ++c) sum += values[c] * 0.0;
    if (sum == 0) return;
    int64_t c = 0;
    while (std::isfinite(values[c])) ++c;
    fail_input(std::isnan(values[c]) ? "a value is missing or NaN" : "a value is infinite",
               fmt::format("{}, sample {}, feature {}", quoted(data.path, 400), quoted(data.obs.keys[static_cast<size_t>(sample)]),
                           quoted(data.var.keys[static_cast<size_t>(c)])),
               std::isnan(values[c]) ? "correct the file, or in logs fill missing values with --missing mean" : "correct the file");
  }
};

SampleSource::SampleSource(Dataset<double> data) : impl_(std::make_unique<Impl>()) {
  impl_->data = std::move(data);
}

SampleSource::SampleSource(const std::string& path, const ReadOptions& options) : impl_(std::make_unique<Impl>()) {
  const MatrixPath at = parse_matrix_path(path);
  Dataset<double>& data = impl_->data;
  if (at.format == MatrixPath::Format::h5ad && options.missing == Missing::refuse) {
    auto file = std::make_unique<hdf5::File>(at.file);
    auto matrix = std::make_unique<H5adMatrix>(*file, at.inner);
    if (matrix->by_rows()) {
      read_h5ad_tables(*file, at.inner, *matrix, data);
      impl_->row_of = prepare_tables(data.obs, data.var, path, options);
      impl_->file = std::move(file);
      impl_->matrix = std::move(matrix);
      return;
    }
  }
  data = read_dataset<double>(path, options);
}

SampleSource::~SampleSource() = default;
SampleSource::SampleSource(SampleSource&&) noexcept = default;

const Table& SampleSource::obs() const {
  return impl_->data.obs;
}
const Table& SampleSource::var() const {
  return impl_->data.var;
}
const Frozen& SampleSource::frozen() const {
  return impl_->data.frozen;
}
const std::string& SampleSource::kind() const {
  return impl_->data.kind;
}
const std::string& SampleSource::path() const {
  return impl_->data.path;
}
bool SampleSource::in_memory() const {
  return !impl_->matrix;
}

void SampleSource::read(std::span<const int64_t> rows, Use use, void* context) const {
  const int64_t g = features();
  if (in_memory()) {
    for (size_t i = 0; i < rows.size(); ++i) use(context, static_cast<int64_t>(i), impl_->data.x.data() + rows[i] * g);
    return;
  }
  // Runs of neighbouring rows are read at once, up to 16 MiB.
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto file_row = [&](size_t i) { return impl_->row_of[static_cast<size_t>(rows[i])]; };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return file_row(a) < file_row(b); });
  const auto most = static_cast<size_t>(std::max<int64_t>(1, (int64_t{1} << 21) / std::max<int64_t>(1, g)));
  std::vector<double> values;
  for (size_t first = 0; first < order.size();) {
    throw_if_interrupted();
    size_t last = first + 1;
    while (last < order.size() && last - first < most && file_row(order[last]) == file_row(order[last - 1]) + 1) ++last;
    values.resize((last - first) * static_cast<size_t>(g));
    impl_->matrix->read_rows(file_row(order[first]), static_cast<int64_t>(last - first), values.data());
    for (size_t k = first; k < last; ++k) {
      const double* row = values.data() + (k - first) * static_cast<size_t>(g);
      impl_->check(rows[order[k]], row);
      use(context, static_cast<int64_t>(order[k]), row);
    }
    first = last;
  }
}

RowMatrix<double> SampleSource::samples_of(std::span<const int64_t> rows) const {
  RowMatrix<double> out(static_cast<int64_t>(rows.size()), features());
  for_samples(rows, [&](int64_t i, const double* values) { std::copy(values, values + features(), out.data() + i * features()); });
  return out;
}

}  // namespace panvae::data
