// bench_h5ad: writing and reading a matrix with its tables as .h5ad, beside the HDF5 library alone. hdf5: the same numbers, in the
// same chunks with the same filters, to and from a file without tables. hdf5_names: the names of samples and features too, as text
// of variable length, as AnnData stores them. Neither checks what it reads or waits for the disk, as panvae does. Files lie in the
// temporary folder and, unless memory is short, in the page cache: this is the cost of the format, not of the disk.
#include <benchmark/benchmark.h>
#include <hdf5.h>

#include <cmath>
#include <filesystem>
#include <stdexcept>

#include "base/philox.h"
#include "data/read.h"
#include "data/write.h"

namespace panvae::data {
namespace {

// counts: skewed as those of RNA-seq, many of them 0, compressed in the file. log: their log2(x + 1), stored as it is.
enum class Kind { counts, log };

Dataset<float> made_up(Kind kind, int64_t samples, int64_t features) {
  Dataset<float> d;
  d.x.resize(samples, features);
  PhiloxSequence g(PhiloxKey{1, 1, 0});
  std::vector<double> level(static_cast<size_t>(features));
  for (double& l : level) l = 4 + 3 * g.normal();
  for (int64_t i = 0; i < samples; ++i)
    for (int64_t j = 0; j < features; ++j) {
      const double count = std::floor(std::exp(level[static_cast<size_t>(j)] + g.normal()));
      d.x(i, j) = static_cast<float>(kind == Kind::counts ? count : std::log2(count + 1));
    }
  for (int64_t i = 0; i < samples; ++i) d.obs.keys.push_back("sample" + std::to_string(i));
  for (int64_t j = 0; j < features; ++j) d.var.keys.push_back("gene" + std::to_string(j));
  d.kind = kind == Kind::counts ? "counts" : "log";
  return d;
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "bench_h5ad_XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("cannot make a folder in " + std::filesystem::temp_directory_path().string());
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void check(long long result) {
  if (result < 0) throw std::runtime_error("bench_h5ad: HDF5 failed");
}

enum class Provider { panvae, hdf5, hdf5_names };

hid_t text_type() {
  const hid_t type = H5Tcopy(H5T_C_S1);
  check(H5Tset_size(type, H5T_VARIABLE));
  check(H5Tset_cset(type, H5T_CSET_UTF8));
  return type;
}

void library_write_names(hid_t file, const char* group, const std::vector<std::string>& names) {
  std::vector<const char*> pointers;
  for (const std::string& name : names) pointers.push_back(name.c_str());
  const hsize_t count = names.size();
  const hid_t type = text_type(), space = H5Screate_simple(1, &count, nullptr);
  const hid_t g = H5Gcreate2(file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  check(g);
  const hid_t dataset = H5Dcreate2(g, "_index", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()));
  check(H5Dclose(dataset));
  check(H5Gclose(g));
  check(H5Sclose(space));
  check(H5Tclose(type));
}

std::vector<std::string> library_read_names(hid_t file, const char* path, size_t count) {
  std::vector<char*> pointers(count);
  const hid_t type = text_type(), dataset = H5Dopen2(file, path, H5P_DEFAULT), space = H5Dget_space(dataset);
  check(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()));
  std::vector<std::string> names(pointers.begin(), pointers.end());
  check(H5Dvlen_reclaim(type, space, H5P_DEFAULT, pointers.data()));
  check(H5Sclose(space));
  check(H5Dclose(dataset));
  check(H5Tclose(type));
  return names;
}

// The library alone. `like`: a file of ours, whose X says how the copy is stored.
void library_write(const std::string& path, const Dataset<float>& d, const std::string& like, Provider provider) {
  const hid_t model = H5Fopen(like.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  check(model);
  const hid_t x = H5Dopen2(model, "X", H5P_DEFAULT), properties = H5Dget_create_plist(x), space = H5Dget_space(x), type = H5Dget_type(x);
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  check(file);
  const hid_t copy = H5Dcreate2(file, "X", type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  check(H5Dwrite(copy, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, d.x.data()));
  if (provider == Provider::hdf5_names) {
    library_write_names(file, "obs", d.obs.keys);
    library_write_names(file, "var", d.var.keys);
  }
  for (hid_t dataset : {copy, x}) check(H5Dclose(dataset));
  check(H5Pclose(properties));
  check(H5Sclose(space));
  check(H5Tclose(type));
  for (hid_t f : {file, model}) check(H5Fclose(f));
}

// Into `d`, whose matrix has its size.
void library_read(const std::string& path, Dataset<float>& d, Provider provider) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  check(file);
  const hid_t dataset = H5Dopen2(file, "X", H5P_DEFAULT);
  check(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, d.x.data()));
  check(H5Dclose(dataset));
  if (provider == Provider::hdf5_names) {
    d.obs.keys = library_read_names(file, "obs/_index", static_cast<size_t>(d.samples()));
    d.var.keys = library_read_names(file, "var/_index", static_cast<size_t>(d.features()));
  }
  check(H5Fclose(file));
}

enum class Task { write, read, copy };

void run(benchmark::State& state, Kind kind, Task task, Provider provider) {
  const Dataset<float> d = made_up(kind, state.range(0), state.range(1));
  const Folder folder;
  const std::string from = folder.file("from.h5ad"), to = folder.file("to.h5ad");
  write_dataset(from, d);
  for (auto _ : state) {
    if (provider == Provider::panvae) {
      if (task == Task::write) write_dataset(to, d);
      else if (task == Task::read) benchmark::DoNotOptimize(read_dataset<float>(from).x.data());
      else write_dataset(to, read_dataset<float>(from));
    } else {
      Dataset<float> copied;
      copied.x.resize(d.samples(), d.features());
      if (task != Task::write) library_read(from, copied, provider);
      if (task != Task::read) library_write(to, task == Task::write ? d : copied, from, provider);
      benchmark::DoNotOptimize(copied.x.data());
    }
  }
  if (task != Task::read) {
    Dataset<float> back;
    back.x.resize(d.samples(), d.features());
    library_read(to, back, provider == Provider::hdf5 ? Provider::hdf5 : Provider::hdf5_names);
    const bool names = provider == Provider::hdf5 || (back.obs.keys == d.obs.keys && back.var.keys == d.var.keys);
    if (back.x != d.x || !names) state.SkipWithError("what was written is not what was to be written");
  }
  state.SetBytesProcessed(state.iterations() * d.samples() * d.features() * static_cast<int64_t>(sizeof(float)));
}

void add(const char* name, Kind kind, Task task) {
  for (const auto& [provider, title] : {std::pair{Provider::panvae, "/panvae"}, {Provider::hdf5, "/hdf5"}, {Provider::hdf5_names, "/hdf5_names"}}) {
    const std::string row = std::string(name) + title;
    benchmark::RegisterBenchmark(row.c_str(), [=, provider = provider](benchmark::State& state) { run(state, kind, task, provider); })
        ->ArgNames({"samples", "features"})
        ->Args({350, 20531})
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
}

}  // namespace
}  // namespace panvae::data

int main(int argc, char** argv) {
  using namespace panvae::data;
  add("counts/write", Kind::counts, Task::write);
  add("counts/read", Kind::counts, Task::read);
  add("counts/copy", Kind::counts, Task::copy);
  add("log/write", Kind::log, Task::write);
  add("log/read", Kind::log, Task::read);
  add("log/copy", Kind::log, Task::copy);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
