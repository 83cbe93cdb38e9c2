// Matrices as text: in memory, of floats and on disk they are the same; what is written as text or .h5ad reads back the same.
#include "data/read.h"
#include "data/write.h"
#include "tests/fuzz/fuzz.h"

using namespace panvae;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const fuzz::Folder folder;
  fuzz::Input in(bytes, size);
  const uint8_t choice = in.byte();
  data::ReadOptions options;
  options.rows = choice & 1 ? data::Rows::features : choice & 2 ? data::Rows::samples : data::Rows::unsaid;
  options.make_unique = choice & 4;
  options.missing = data::Missing::keep;
  const std::string path = folder.write(choice & 8 ? "matrix.csv" : choice & 16 ? "matrix.gct" : "matrix.tsv", in.rest());
  data::Dataset<double> all;
  data::LargeDataset<float> large;
  const bool read = fuzz::reads("matrix", [&] { all = data::read_dataset<double>(path, options); });
  if (fuzz::reads("matrix", [&] { large = data::read_large_dataset(path, options, folder.file("")); })) {
    FUZZ_EXPECT(read, "refused in memory, not on disk");
    fuzz::expect_same_values(all.x, large.x);
    fuzz::expect_same(all.obs, large.obs);
    fuzz::expect_same(all.var, large.var);
  }
  if (!read) return 0;
  options.rows = data::Rows::samples;
  const bool as_text = choice & 32;
  const std::string copy = folder.file(as_text ? "copy.tsv" : "copy.h5ad");
  if (!fuzz::reads("copy", [&] { data::write_dataset(copy, all); })) return 0;
  data::Dataset<double> back;
  if (!fuzz::reads("copy", [&] { back = data::read_dataset<double>(copy, options); })) return 0;
  fuzz::expect_same_values(all.x, back.x);
  FUZZ_EXPECT(all.obs.keys == back.obs.keys && all.var.keys == back.var.keys, "names differ");
  if (!as_text) fuzz::expect_same(all.var, back.var);
  return 0;
}
