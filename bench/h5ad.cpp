// bench_h5ad: writing and reading a matrix with its tables as .h5ad, beside the HDF5 library alone writing and reading the same
// numbers, in the same chunks with the same filters, to and from a file without tables. Files lie in the temporary folder and,
// unless memory is short, in the page cache: this is the cost of the format, not of the disk.
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

// The library alone. `like`: a file of ours, whose X says how the copy is stored.
void library_write(const std::string& path, const Dataset<float>& d, const std::string& like) {
  const hid_t model = H5Fopen(like.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  check(model);
  const hid_t x = H5Dopen2(model, "X", H5P_DEFAULT), properties = H5Dget_create_plist(x), space = H5Dget_space(x), type = H5Dget_type(x);
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  check(file);
  const hid_t copy = H5Dcreate2(file, "X", type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  check(H5Dwrite(copy, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, d.x.data()));
  for (hid_t dataset : {copy, x}) check(H5Dclose(dataset));
  check(H5Pclose(properties));
  check(H5Sclose(space));
  check(H5Tclose(type));
  for (hid_t f : {file, model}) check(H5Fclose(f));
}

void library_read(const std::string& path, RowMatrix<float>& x) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  check(file);
  const hid_t dataset = H5Dopen2(file, "X", H5P_DEFAULT);
  check(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x.data()));
  check(H5Dclose(dataset));
  check(H5Fclose(file));
}

enum class Task { write, read, copy };

void run(benchmark::State& state, Kind kind, Task task, bool ours) {
  const Dataset<float> d = made_up(kind, state.range(0), state.range(1));
  const Folder folder;
  const std::string from = folder.file("from.h5ad"), to = folder.file("to.h5ad");
  write_dataset(from, d);
  for (auto _ : state) {
    if (ours) {
      if (task == Task::write) write_dataset(to, d);
      else if (task == Task::read) benchmark::DoNotOptimize(read_dataset<float>(from).x.data());
      else write_dataset(to, read_dataset<float>(from));
    } else {
      Dataset<float> copied;
      copied.x.resize(d.samples(), d.features());
      if (task != Task::write) library_read(from, copied.x);
      if (task != Task::read) library_write(to, task == Task::write ? d : copied, from);
      benchmark::DoNotOptimize(copied.x.data());
    }
  }
  if (task != Task::read) {
    RowMatrix<float> back(d.samples(), d.features());
    library_read(to, back);
    if (back != d.x) state.SkipWithError("what was written is not what was to be written");
  }
  state.SetBytesProcessed(state.iterations() * d.samples() * d.features() * static_cast<int64_t>(sizeof(float)));
}

void add(const char* name, Kind kind, Task task) {
  for (const bool ours : {true, false}) {
    const std::string row = std::string(name) + (ours ? "/panvae" : "/hdf5");
    benchmark::RegisterBenchmark(row.c_str(), [=](benchmark::State& state) { run(state, kind, task, ours); })
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
