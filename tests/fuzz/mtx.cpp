// Matrix Market files with their names, in memory and on disk.
#include "data/read.h"
#include "tests/fuzz/fuzz.h"

using namespace panvae;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const fuzz::Folder folder;
  fuzz::Input in(bytes, size);
  folder.write("barcodes.tsv", in.take(in.byte()));
  folder.write("features.tsv", in.take(in.byte()));
  const std::string path = folder.write("matrix.mtx", in.rest());
  data::ReadOptions options;
  options.make_unique = true;
  options.missing = data::Missing::keep;
  data::Dataset<double> all;
  data::LargeDataset<float> large;
  const bool read = fuzz::reads(folder.file(""), [&] { all = data::read_dataset<double>(path, options); });
  if (!fuzz::reads(folder.file(""), [&] { large = data::read_large_dataset(path, options, folder.file("")); })) return 0;
  FUZZ_EXPECT(read, "refused in memory, not on disk");
  fuzz::expect_same(all.obs, large.obs);
  fuzz::expect_same(all.var, large.var);
  FUZZ_EXPECT(all.x.rows() == large.x.rows() && all.x.cols() == large.x.cols(), "shapes differ");
  return 0;
}
