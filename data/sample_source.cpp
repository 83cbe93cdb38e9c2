#include "data/sample_source.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "data/damage.h"
#include "data/finite.h"
#include "data/h5ad.h"
#include "data/raw_matrix.h"

namespace panvae::data {

struct SampleSource::Impl {
  Dataset<double> data;  // without x where the file is read
  std::unique_ptr<hdf5::File> file;
  std::unique_ptr<H5adMatrix> matrix;
  std::vector<int64_t> row_of;   // of the file, for each sample of data.obs
  std::vector<int64_t> columns;  // of the file, where some are left out

  template <class T>
  void check(int64_t sample, const T* values) const {
    if (all_finite(values, data.var.rows())) return;
    int64_t c = 0;
    while (std::isfinite(values[c])) ++c;
    fail_input(std::isnan(values[c]) ? "a value is missing or NaN" : "a value is infinite",
               fmt::format("{}, sample {}, feature {}", quoted(data.path, 400), quoted(data.obs.keys[static_cast<size_t>(sample)]),
                           quoted(data.var.keys[static_cast<size_t>(c)])),
               std::isnan(values[c]) ? "correct the file, or in logs fill missing values with --missing mean" : "correct the file");
  }

  // Rows of the file from `first` on: [count, features]. True where reading has shown that all of them are finite.
  template <class T>
  bool read_rows(int64_t first, int64_t count, T* out) const {
    const detail::FileBeingRead reading(file->path());
    if (columns.empty()) return matrix->read_rows(first, count, out);
    std::vector<T> whole(static_cast<size_t>(count * matrix->columns()));
    const bool finite = matrix->read_rows(first, count, whole.data());
    for (int64_t r = 0; r < count; ++r)
      for (const int64_t c : columns) *out++ = whole[static_cast<size_t>(r * matrix->columns() + c)];
    return finite;
  }

  // use(places, row) for runs of rows that are neighbours in the file from `row` on, up to 16 MiB as T: rows[places[0]] and so on.
  template <class T, class F>
  void for_runs(std::span<const int64_t> rows, F&& use) const {
    constexpr int64_t most_values = (int64_t{1} << 24) / static_cast<int64_t>(sizeof(T));
    const auto file_row = [&](size_t i) { return row_of[static_cast<size_t>(rows[i])]; };
    std::vector<size_t> order(rows.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return file_row(a) < file_row(b); });
    const auto most = static_cast<size_t>(std::max<int64_t>(1, most_values / std::max<int64_t>(1, data.var.rows())));
    for (size_t first = 0; first < order.size();) {
      throw_if_interrupted();
      size_t last = first + 1;
      while (last < order.size() && last - first < most && file_row(order[last]) == file_row(order[last - 1]) + 1) ++last;
      use(std::span<const size_t>(order).subspan(first, last - first), file_row(order[first]));
      first = last;
    }
  }
};

SampleSource::SampleSource(Dataset<double> data) : impl_(std::make_unique<Impl>()) {
  impl_->data = std::move(data);
}

SampleSource::SampleSource(const std::string& path, const ReadOptions& options) : impl_(std::make_unique<Impl>()) {
  const MatrixPath at = parse_matrix_path(path);
  expect_rows_to_say(at, path, options.rows);
  Dataset<double>& data = impl_->data;
  if (at.format == MatrixPath::Format::h5ad && options.missing == Missing::refuse) {
    auto file = std::make_unique<hdf5::File>(at.file);
    auto matrix = std::make_unique<H5adMatrix>(*file, at.inner);
    if (matrix->by_rows()) {
      read_h5ad_tables(*file, at.inner, *matrix, data);
      expect_samples_in_rows(data.obs, data.var, data.frozen, data.path, options.rows);
      impl_->row_of = prepare_tables(data.obs, data.var, path, options);
      impl_->columns = features_without_tallies(data.var, data.frozen, data.path);
      if (!impl_->columns.empty()) data.var = data.var.select(impl_->columns);
      file->rest();
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
  std::vector<double> values;
  impl_->for_runs<double>(rows, [&](std::span<const size_t> places, int64_t file_row) {
    values.resize(places.size() * static_cast<size_t>(g));
    impl_->read_rows(file_row, static_cast<int64_t>(places.size()), values.data());
    for (size_t k = 0; k < places.size(); ++k) {
      const double* row = values.data() + k * static_cast<size_t>(g);
      impl_->check(rows[places[k]], row);
      use(context, static_cast<int64_t>(places[k]), row);
    }
  });
}

bool SampleSource::holds_floats() const {
  return impl_->matrix && impl_->matrix->holds_floats();
}

void SampleSource::floats_of(std::span<const int64_t> rows, float* out) const {
  PV_CHECK(holds_floats(), "SampleSource.floats_of: {} holds no floats", path());
  const auto g = static_cast<size_t>(features());
  std::vector<float> values;
  impl_->for_runs<float>(rows, [&](std::span<const size_t> places, int64_t file_row) {
    // Rows in the order of the file go where they belong at once.
    bool in_order = true;
    for (size_t k = 1; k < places.size(); ++k) in_order &= places[k] == places[0] + k;
    if (!in_order) values.resize(places.size() * g);
    float* to = in_order ? out + places[0] * g : values.data();
    if (!impl_->read_rows(file_row, static_cast<int64_t>(places.size()), to))
      for (size_t k = 0; k < places.size(); ++k) impl_->check(rows[places[k]], to + k * g);
    if (!in_order)
      for (size_t k = 0; k < places.size(); ++k) std::copy(to + k * g, to + (k + 1) * g, out + places[k] * g);
  });
}

RowMatrix<double> SampleSource::samples_of(std::span<const int64_t> rows) const {
  RowMatrix<double> out(static_cast<int64_t>(rows.size()), features());
  for_samples(rows, [&](int64_t i, const double* values) { std::copy(values, values + features(), out.data() + i * features()); });
  return out;
}

}  // namespace panvae::data
