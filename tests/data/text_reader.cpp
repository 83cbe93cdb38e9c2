// Text files as programs write them, whatever stands in them: packed, encoded, quoted, separated, commented.
#include <zlib.h>

#include <chrono>

#include "support.h"

namespace panvae::data::test {
namespace {

using TextInput = Files;

std::string gzipped(const std::string& text) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(text.size() + 1024, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

TEST_F(TextInput, WindowsLinesMarkAndMissingLastLineEnd) {
  const auto d = read_dataset<double>(put("a.tsv", "\xEF\xBB\xBFsample\tA\tB\r\ns1\t1\t2\r\ns2\t3\t4"));
  EXPECT_EQ(d.obs.key_name, "sample");
  EXPECT_EQ(d.var.keys[1], "B");
  EXPECT_EQ(d.x(1, 1), 4);
}

TEST_F(TextInput, HeadWithoutCornerAsRWritesIt) {
  const auto d = read_dataset<double>(put("a.tsv", "A\tB\ns1\t1\t2\n"));
  EXPECT_EQ(d.features(), 2);
  EXPECT_EQ(d.obs.keys[0], "s1");
}

TEST_F(TextInput, QuotedFields) {
  const auto d = read_dataset<double>(put("a.csv", "id,\"A, the first\",\"say \"\"B\"\"\"\n\"s 1\",\"1\",2\n"));
  EXPECT_EQ(d.var.keys[0], "A, the first");
  EXPECT_EQ(d.var.keys[1], "say \"B\"");
  EXPECT_EQ(d.obs.keys[0], "s 1");
  EXPECT_EQ(d.x(0, 0), 1);
  const Table t = read_table(put("t.csv", "id,note\na,\"two\nlines\"\nb,x\n"));
  EXPECT_EQ(t.columns[0].text(0), "two\nlines");
  EXPECT_EQ(t.rows(), 2);
}

TEST_F(TextInput, GzipIsReadByContent) {
  const std::string text = "sample\tA\ns1\t7\n";
  EXPECT_EQ(read_dataset<float>(put("a.tsv.gz", gzipped(text))).x(0, 0), 7);
}

// The byte order mark in pieces, as members of one byte and of none hold it; and what the mark of another format is found by.
TEST_F(TextInput, GzipMayBeginWithSmallMembers) {
  const std::string text = "\xEF\xBB\xBFsample\tA\ns1\t7\n";
  for (size_t first : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}}) {
    const std::string name = put("mark.tsv.gz", gzipped(text.substr(0, first)) + gzipped("") + gzipped(text.substr(first)));
    const Table table = read_table(name);
    EXPECT_EQ(table.key_name, "sample") << first;
    EXPECT_EQ(table.keys, (std::vector<std::string>{"s1"})) << first;
  }
  expect_names(error_of([&] { read_table(put("page.tsv.gz", gzipped("<") + gzipped("html>\nnot found\n"))); }), {"a web page", "page.tsv.gz"});
  expect_names(error_of([&] { read_table(put("none.tsv.gz", gzipped("") + gzipped(""))); }), {"the file is empty", "none.tsv.gz"});
  const std::string cut = error_of([&] { read_table(put("cut.tsv.gz", gzipped("a") + gzipped(text).substr(0, 12))); });
  expect_names(cut, {"truncated", "cut.tsv.gz"});
  EXPECT_EQ(cut.find("line 0"), std::string::npos) << cut;
}

TEST_F(TextInput, TruncatedGzipIsRefused) {
  std::string text = "sample\tA\n";
  for (int i = 0; i < 20000; ++i) text += "s" + std::to_string(i) + "\t" + std::to_string(i * 7919 % 1000) + "\n";
  const std::string whole = gzipped(text);
  for (size_t cut : {whole.size() / 2, whole.size() - 9, whole.size() - 1})
    expect_names(error_of([&] { read_dataset<float>(put("cut.tsv.gz", whole.substr(0, cut))); }), {"truncated", "cut.tsv.gz"});
  std::string damaged = whole;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 0x55);
  expect_names(error_of([&] { read_dataset<float>(put("bad.tsv.gz", damaged)); }), {"bad.tsv.gz"});
}

// What zlib's gzread() passes over in silence: everything after a damaged head of a member, as bgzip writes one for each 64 KiB.
TEST_F(TextInput, GzipOfManyMembersIsReadToItsEnd) {
  const std::string first = gzipped("sample\tA\ns1\t7\n"), second = gzipped("s2\t8\n");
  const auto d = read_dataset<float>(put("two.tsv.gz", first + second + gzipped("")));
  EXPECT_EQ(d.samples(), 2);
  EXPECT_EQ(d.x(1, 0), 8);
  EXPECT_EQ(read_dataset<float>(put("padded.tsv.gz", first + std::string(512, '\0'))).samples(), 1);
  auto refused = [&](const std::string& bytes, const std::string& word) {
    const std::string file = put("bad.tsv.gz", bytes);
    expect_names(error_of([&] { read_dataset<float>(file); }), {word, "bad.tsv.gz"});
  };
  for (size_t byte : {size_t{0}, size_t{1}, size_t{2}, size_t{3}}) {
    std::string head = second;
    head[byte] = static_cast<char>(head[byte] ^ 0x40);
    refused(first + head, "damaged");
  }
  for (size_t length : {size_t{1}, size_t{4}, second.size() - 1}) refused(first + second.substr(0, length), "truncated");
  refused(first + "left over", "damaged");
  refused(first + std::string(8, '\0') + second, "damaged");
}

TEST_F(TextInput, ANulByteIsRefusedWhereverItStands) {
  std::string text = "sample\tA\n";
  while (text.size() < (size_t{3} << 20)) text += "s" + std::to_string(text.size()) + "\t1\n";
  const std::string file = put("nul.tsv", text + std::string("a\0b\t1\n", 6));
  expect_names(error_of([&] { read_dataset<float>(file); }), {"NUL", "nul.tsv", "line"});
}

// An h5ad with names that are no UTF-8 could not be read by AnnData.
TEST_F(TextInput, TextIsUtf8) {
  const std::string latin1 = put("latin1.tsv",
                                 "sample\tA\tB\nGr\xf6\xdf"
                                 "e\t1\t2\n"),
                    table = put("obs.csv",
                                "sample,site\na,Z\xfc"
                                "rich\n");
  expect_names(error_of([&] { read_dataset<float>(latin1); }), {"'Gr\\xf6\\xdfe' is not UTF-8", "latin1.tsv", "line 2", "iconv"});
  expect_names(error_of([&] { read_table(table); }), {"'Z\\xfcrich' is not UTF-8", "obs.csv", "line 2"});
  EXPECT_EQ(read_dataset<float>(put("utf8.tsv",
                                    "sample\tA\nGr\xc3\xb6\xc3\x9f"
                                    "e\t1\n"))
                .obs.keys[0],
            "Gr\xc3\xb6\xc3\x9f"
            "e");
}

// What is open is looked at once, however many lines it goes on for: a stray quote took time with the square of what followed.
TEST_F(TextInput, AQuoteThatIsNeverClosedIsRefusedSoon) {
  std::string text = "sample\tA\nx\t\"1\n";
  for (int i = 0; i < 300000; ++i) text += "y\n";
  const std::string file = put("stray.tsv", text);
  const auto start = std::chrono::steady_clock::now();
  expect_names(error_of([&] { read_table(file); }), {"never closed", "stray.tsv", "line 2"});
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 5) << "not a benchmark: a machine under load is allowed much";
  // Lines within a quoted field in which other fields open and close.
  const Table t = read_table(put("lines.csv", "s,a,b\n1,\"x\n\"\"y\"\"\nz\",\"u\n,\"\n2,v,\"w\"\n"));
  ASSERT_EQ(t.keys, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(t.columns[0].text(0), "x\n\"y\"\nz");
  EXPECT_EQ(t.columns[1].text(0), "u\n,");
}

// Lines before the table: comments of featureCounts, the GDC, recount3, cBioPortal, the head of GCT; a line of names that is marked itself.
TEST_F(TextInput, CommentsBeforeTheTableArePassedOver) {
  ReadOptions features;
  features.rows = Rows::features;
  for (const std::string& text : {
           std::string("# Program:featureCounts v2.0.3; Command:\"featureCounts\" \"-o\" \"x\"\nGeneid\ts1\ts2\nA\t1\t2\nB\t3\t4\n"),
           std::string("##annotation=G026\n##date.generated=2020\ngene_id\ts1\ts2\nA\t1\t2\nB\t3\t4\n"),
           std::string("# Constructed from biom file\n#OTU ID\ts1\ts2\nA\t1\t2\nB\t3\t4"),
           std::string("#1.2\n2\t2\nName\tDescription\ts1\ts2\nA\tx\t1\t2\nB\ty\t3\t4\n"),
           std::string("#1.2\t\t\t\n2\t2\t\t\nName\tDescription\ts1\ts2\r\nA\tx\t1\t2\r\nB\ty\t3\t4\r\n"),
       })
    for (const std::string& file : {put("m.txt", text), put("m.gct.gz", gzipped(text))}) {
      SCOPED_TRACE(text);
      const auto d = read_dataset<float>(file, features);
      const auto large = read_large_dataset(file, features, path(""));
      EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"s1", "s2"}));
      EXPECT_EQ(d.var.keys, (std::vector<std::string>{"A", "B"}));
      ASSERT_EQ(d.x.size(), 4);
      EXPECT_EQ(d.x(1, 0), 2);
      EXPECT_EQ(large.x(1, 0), 2);
      EXPECT_EQ(matrix_bytes(file, 0), 4 * sizeof(float));
    }
  EXPECT_EQ(read_dataset<float>(put("m.csv", "# counts, of March\nid,s1,s2\nA,1,2\nB,3,4\n"), features).obs.keys, (std::vector<std::string>{"s1", "s2"}))
      << "a sentence with a comma";
  // All four have fields, and none names the columns.
  const Table t = read_table(put("clinical.txt", "#Sample\tSex\n#Name\tOf the patient\n#STRING\tSTRING\n#1\t1\nSAMPLE\tSEX\ns1\tF\ns2\tM\n"));
  EXPECT_EQ(t.keys, (std::vector<std::string>{"s1", "s2"}));
  EXPECT_EQ(t.at("SEX").text(1), "M");
  expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "#a\tb\nx\t1\ny\tz\n")); }), {"'z'", "line 3", "row 'y'"});
  expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "# a\n# b\n")); }), {"empty"});
  expect_names(error_of([&] { read_dataset<float>(put("m.gct", "#1.3\n2\t2\t0\t1\nid\ts1\ts2\nA\t1\t2\n")); }), {"1.3", "--obs"});
}

// What R's write.table and write.csv2, Excel in most of Europe and a wrong ending give.
TEST_F(TextInput, TheSeparatorIsThatOfTheFirstLines) {
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{{"m.tsv", "s,A,B\nx,1,2\n"},
                                                                                   {"m.csv", "s\tA\tB\nx\t1\t2\n"},
                                                                                   {"m.csv", "s;A;B\nx;1;2\n"},
                                                                                   {"m.txt", "\"A\" \"B\"\n\"x\" 1 2\n"},
                                                                                   {"m.txt", "s;A;B\r\nx;1;2"}}) {
    SCOPED_TRACE(text);
    const auto d = read_dataset<float>(put(name, text));
    EXPECT_EQ(d.var.keys, (std::vector<std::string>{"A", "B"}));
    EXPECT_EQ(d.obs.keys[0], "x");
    EXPECT_EQ(d.x(0, 1), 2);
  }
  expect_names(error_of([&] { read_dataset<float>(put("m.csv", "s;A;B\nx;1,5;2\n")); }), {"'1,5'", "decimal points"});
  EXPECT_EQ(read_dataset<float>(put("m.tsv", "s;a,b\tA;B\nx;a,b\t1\n")).var.keys[0], "A;B");  // what the name promises goes first
  const Table t = read_table(put("t.csv", "id;cohort\na;x, y\nb;z\n"));
  EXPECT_EQ(t.at("cohort").text(0), "x, y");
  // One column, whose name or cells hold what separates elsewhere.
  EXPECT_EQ(read_table(put("t.tsv", "Sample ID\nx1\nx2\n")).keys.size(), 2u);
  EXPECT_EQ(read_table(put("t.tsv", "id\nx,1\nx,2\n")).keys[1], "x,2");
}

// One cell more than the first row names is a name of the row in R; not where the last cell is the nothing after a separator.
TEST_F(TextInput, SeparatorsAtTheEndsOfRowsShiftNothing) {
  const std::vector<std::string> words = {"ends with a separator", "line 2"};
  expect_names(error_of([&] { read_table(put("obs.tsv", "sample\tdonor\tcohort\nx\tD1\tA\t\ny\tD2\tB\t\n")); }), words);
  expect_names(error_of([&] { read_dataset<float>(put("m.csv", "sample,A,B\nx,1,2,\ny,3,4,\n")); }), words);
  expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "sample\tA\tB\t\nx\t1\t2\t\n")); }), {"column 4 has no name", "separator"});
}

TEST_F(TextInput, FilesOfOtherFormatsAreCalledByTheirNames) {
  using namespace std::string_literals;
  std::string tar(1024, '\0');
  tar.replace(0, 8, "plain.tsv"), tar.replace(257, 5, "ustar");
  for (const auto& [begin, what] : std::vector<std::pair<std::string, std::string>>{{"PK\x03\x04\x14\0\x06\0"s, "Excel workbook"},
                                                                                    {"\xD0\xCF\x11\xE0\xA1"s, "Excel workbook"},
                                                                                    {"BZh91AY&SY"s, "bunzip2"},
                                                                                    {"\xFD"
                                                                                     "7zXZ\0\0\4"s,
                                                                                     "unxz"},
                                                                                    {"\x28\xB5\x2F\xFD\4"s, "unzstd"},
                                                                                    {"\xFF\xFEg\0e\0"s, "iconv -f utf-16"},
                                                                                    {"\xFE\xFF\0g\0e"s, "iconv -f utf-16"},
                                                                                    {"\x89HDF\r\n\x1A\n\0"s, ".h5ad"},
                                                                                    {"RDX3\nX\n\0"s, "write.csv()"},
                                                                                    {"<!DOCTYPE html>\n<html>\n"s, "web page"},
                                                                                    {"version https://git-lfs.github.com/spec/v1\n"s, "Git LFS"},
                                                                                    {tar, "tar -xf"}}) {
    for (const char* name : {"m.tsv", "m.csv.gz", "m.xlsx"}) expect_names(error_of([&] { read_dataset<float>(put(name, begin)); }), {name, what});
    if (begin[0] != '\x89') expect_names(error_of([&] { read_dataset<float>(put("m.h5ad", begin)); }), {"m.h5ad", "not an HDF5 file", what});
    expect_names(error_of([&] { read_table(put("obs.tsv", begin)); }), {"obs.tsv", what});
  }
  expect_names(error_of([&] { read_dataset<float>(put("m.tsv.gz", gzipped(tar))); }), {"tar -xf"});
  expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "s\tA\rx\t1\ry\t2\r")); }), {"carriage returns", "line feeds"});
  EXPECT_EQ(read_dataset<float>(put("m.tsv", "RDX\ts1\nx\t1\n")).samples(), 1) << "radixin, not R";
}

TEST_F(TextInput, ControlCharactersDoNotReachTheTerminal) {
  const std::string message = error_of([&] { read_dataset<double>(put("m.tsv", "s\tA\nx\t\x1b[31mred\xff\n")); });
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_EQ(message.find('\xff'), std::string::npos);
}

}  // namespace
}  // namespace panvae::data::test
