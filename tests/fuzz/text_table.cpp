// Tables as text: plain, packed in one member and in many (pieces of any size) they are the same; what is written reads back the same.
#include "data/pairs.h"
#include "data/read.h"
#include "data/table_io.h"
#include "tests/fuzz/fuzz.h"

using namespace panvae;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const fuzz::Folder folder;
  fuzz::Input in(bytes, size);
  const uint8_t choice = in.byte();
  const size_t piece = size_t{in.byte()} + 1;
  const std::string ending = choice & 1 ? ".csv" : ".tsv";
  const std::string_view text = in.rest();
  const std::string plain = folder.write("plain" + ending, text);
  data::Table table;
  const bool read = fuzz::reads("plain", [&] { table = data::read_table(plain); });
  fuzz::reads("plain", [&] { data::read_rows(plain); });
  fuzz::reads("plain", [&] { data::read_pairs(plain); });
  if (!text.empty()) {
    std::string pieces;
    for (size_t at = 0; at < text.size(); at += piece) pieces += fuzz::packed(text.substr(at, piece));
    const std::string gzip = folder.write("packed" + ending + ".gz", pieces);
    data::Table other;
    FUZZ_EXPECT(fuzz::reads("packed", [&] { other = data::read_table(gzip); }) == read, "plain or packed is refused");
    if (read) fuzz::expect_same(table, other);
  }
  if (!read) return 0;
  for (const char* name : {"again.tsv", "again.csv.gz"}) {
    data::write_table(folder.file(name), table);
    fuzz::expect_same(table, data::read_table(folder.file(name)));
  }
  return 0;
}
