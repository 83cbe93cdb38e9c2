// Tables of samples: joined to a matrix, selected by conditions, split, renamed by keys.
#include "data/read.h"
#include "data/split.h"
#include "tests/fuzz/fuzz.h"

using namespace panvae;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const fuzz::Folder folder;
  static const std::string matrix = folder.write("matrix.tsv", "s\tg\nA\t1\nB\t2\nC\t3\nD\t4\n");
  fuzz::Input in(bytes, size);
  const uint8_t choice = in.byte();
  data::ReadOptions options;
  if (choice & 1) options.where.emplace_back(in.take(in.byte() % 24u));
  if (choice & 2) options.where.emplace_back(in.take(in.byte() % 24u));
  if (choice & 4) options.keys["donor"] = in.take(in.byte() % 8u);
  if (choice & 8) options.keys["split"] = in.take(in.byte() % 8u);
  options.obs_table = folder.write("obs.tsv", in.rest());
  data::Dataset<double> d;
  if (!fuzz::reads("", [&] { d = data::read_dataset<double>(matrix, options); })) return 0;
  FUZZ_EXPECT(d.samples() == d.obs.rows() && d.samples() > 0, "{} samples, {} rows", d.samples(), d.obs.rows());
  for (int64_t r = 0; r < d.samples(); ++r) FUZZ_EXPECT(d.x(r, 0) == d.obs.keys[static_cast<size_t>(r)][0] - 'A' + 1, "row {} has another's values", r);
  data::SplitOptions split;
  split.by_sample = choice & 16;
  if (choice & 32) split.from = options.obs_table;
  fuzz::reads("", [&] {
    const data::SplitCounts n = data::assign_split(d.obs, split);
    FUZZ_EXPECT(n.train + n.validation + n.holdout == d.samples(), "{} + {} + {} samples", n.train, n.validation, n.holdout);
  });
  return 0;
}
