#include "data/write.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "data/h5ad.h"
#include "data/text_writer.h"

namespace panvae::data {

namespace {

template <class T, class Matrix>
void write_text(const std::string& path, const Dataset<T, Matrix>& data) {
  TextWriter out(path);
  out.field(data.obs.key_name);
  for (const std::string& name : data.var.keys) out.field(name);
  out.end_row();
  for (int64_t r = 0; r < data.samples(); ++r) {
    out.field(data.obs.keys[static_cast<size_t>(r)]);
    for (int64_t c = 0; c < data.features(); ++c) out.number(data.x(r, c));
    out.end_row();
    release_rows(data.x, r, r + 1);
  }
  out.commit();
}

// X a few samples at a time, uncompressed: while some are copied, the disk takes those before.
template <class T, class Matrix>
void write_rows(hdf5::Writer& writer, const Dataset<T, Matrix>& data, Storage storage) {
  const int64_t n = data.samples(), g = data.features(), step = std::max<int64_t>(1, (int64_t{1} << 20) / std::max<int64_t>(1, g));
  if (storage == Storage::same) writer.create<T>("X", {n, g});
  else writer.create<f16>("X", {n, g});
  std::vector<f16> halves;
  for (int64_t r = 0; r < n; r += step) {
    const int64_t count = std::min(step, n - r);
    const T* values = data.x.data() + r * g;
    if (storage == Storage::same) {
      writer.rows("X", r, count, values);
    } else {
      halves.resize(static_cast<size_t>(count * g));
      for (int64_t i = 0; i < count * g; ++i) {
        halves[static_cast<size_t>(i)] = to_f16(static_cast<float>(values[i]));
        if (!(std::abs(values[i]) < T(65520)) && std::isfinite(values[i]))
          fail_input(
              fmt::format("{} is too large for float16", values[i]),
              fmt::format("sample {}, feature {}", quoted(data.obs.keys[static_cast<size_t>(r + i / g)]), quoted(data.var.keys[static_cast<size_t>(i % g)])),
              "store float32");
      }
      writer.rows("X", r, count, halves.data());
    }
    release_rows(data.x, r, r + count);
  }
}

}  // namespace

void write_h5ad(const std::string& path, const Table& obs, const Table& var, const Frozen& frozen, const std::string& kind,
                const std::function<void(hdf5::Writer&)>& matrix, const std::function<void(hdf5::Writer&)>& more) {
  AtomicFile file(path);
  hdf5::Writer writer(file.temporary_path(), path);
  writer.attribute("", "encoding-type", std::string("anndata"));
  writer.attribute("", "encoding-version", std::string("0.1.0"));
  matrix(writer);
  write_frame(writer, "obs", obs);
  write_frame(writer, "var", var);
  write_frozen(writer, frozen, kind);
  for (const char* name : {"layers", "obsm", "obsp", "varm", "varp"}) {
    writer.group(name);
    writer.attribute(name, "encoding-type", std::string("dict"));
    writer.attribute(name, "encoding-version", std::string("0.1.0"));
  }
  if (more) more(writer);
  writer.close();
  file.commit();
}

namespace {

void check_name(const std::string& path, Storage storage) {
  std::string_view name = path;
  if (name.ends_with(".h5ad")) return;
  if (storage == Storage::float16) fail_usage("float16 is for .h5ad files", quoted(path, 400), "text holds the digits of float32");
  if (name.ends_with(".gz")) name.remove_suffix(3);
  if (!name.ends_with(".tsv") && !name.ends_with(".csv"))
    fail_usage("the ending of the output's name is not known", quoted(path, 400), "matrices are written as .h5ad, .tsv or .csv (the last two also .gz)");
}

}  // namespace

void check_output(const std::string& path, Storage storage) {
  check_name(path, storage);
  AtomicFile probe(path);
}

template <class T, class Matrix>
void write_dataset(const std::string& path, const Dataset<T, Matrix>& data, Storage storage, const LargeArray* more) {
  check_name(path, storage);
  PV_CHECK(data.obs.rows() == data.samples() && data.var.rows() == data.features(), "write_dataset: matrix {} x {} with tables of {} and {} rows",
           data.samples(), data.features(), data.obs.rows(), data.var.rows());
  PV_CHECK(!more || (path.ends_with(".h5ad") && !data.frozen.empty()), "write_dataset: an array without a place in the file");
  if (!path.ends_with(".h5ad")) return write_text(path, data);
  const auto add_array = [&](hdf5::Writer& writer) {
    const std::string at = "uns/panvae/arrays/" + more->name;
    writer.create<double>(at, {more->rows, more->columns});
    more->fill([&](int64_t first, const RowMatrix<double>& part) {
      PV_CHECK(part.rows() == more->rows, "write_dataset: {} of {} rows of {}", part.rows(), more->rows, more->name);
      writer.columns(at, first, part.cols(), part.data());
    });
    writer.attribute(at, "encoding-type", std::string("array"));
    writer.attribute(at, "encoding-version", std::string("0.2.0"));
  };
  write_h5ad(
      path, data.obs, data.var, data.frozen, data.kind,
      [&](hdf5::Writer& writer) {
        // Counts are mostly small numbers and compress well; logs do not, and reading them should cost nothing.
        if (data.kind == "counts" && storage == Storage::same) writer.numbers("X", {data.samples(), data.features()}, data.x.data(), true);
        else write_rows(writer, data, storage);
        writer.attribute("X", "encoding-type", std::string("array"));
        writer.attribute("X", "encoding-version", std::string("0.2.0"));
      },
      more ? std::function<void(hdf5::Writer&)>(add_array) : nullptr);
}
template void write_dataset(const std::string&, const Dataset<float>&, Storage, const LargeArray*);
template void write_dataset(const std::string&, const Dataset<double>&, Storage, const LargeArray*);
template void write_dataset(const std::string&, const LargeDataset<float>&, Storage, const LargeArray*);

}  // namespace panvae::data
