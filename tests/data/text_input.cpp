// Text matrices and tables: what is read, and what is refused with which words.
#include <zlib.h>

#include <chrono>
#include <cmath>

#include "data/write.h"
#include "support.h"
#include "tests/base/warnings.h"

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

TEST_F(TextInput, SamplesInRows) {
  const auto d = read_dataset<double>(put("a.tsv", "sample\tA\tB\ns1\t1\t2.5\ns2\t-3e2\t0\n"));
  EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"s1", "s2"}));
  EXPECT_EQ(d.var.keys, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(d.x(1, 0), -300);
  EXPECT_EQ(d.x(0, 1), 2.5);
}

TEST_F(TextInput, FeaturesInRowsIsTheTranspose) {
  ReadOptions o;
  o.rows = Rows::features;
  const auto d = read_dataset<float>(put("a.csv", "gene,s1,s2,s3\nA,1,2,3\nB,4,5,6\n"), o);
  EXPECT_EQ(d.samples(), 3);
  EXPECT_EQ(d.features(), 2);
  EXPECT_EQ(d.x(2, 1), 6);
  EXPECT_EQ(d.kind, "counts");
}

// A table as most are published, read without --rows: its genes would be taken for samples.
TEST_F(TextInput, GenesInRowsAreRefusedUnlessSaid) {
  const std::vector<std::string> genes = {"ACTB", "TP53", "GAPDH", "KRAS", "B2M", "EGFR", "PPIA", "MYC"};
  auto table = [](const std::string& head, const std::vector<std::string>& names) {
    std::string text = head + "\n";
    for (const std::string& name : names) text += name + "\t1\t2\n";
    return text;
  };
  std::vector<std::string> small, entrez, ensembl, mouse_transcripts, places;
  for (size_t i = 0; i < genes.size(); ++i) {
    small.push_back(genes[i]);
    for (size_t c = 1; c < small.back().size(); ++c) small.back()[c] = static_cast<char>(std::tolower(small.back()[c]));
    entrez.push_back(fmt::format("{}|{}", genes[i], 60 + i));
    ensembl.push_back(fmt::format("ENSG{:011}.{}", 141510 + i, i));
    mouse_transcripts.push_back(fmt::format("ENSMUST{:011}", 1 + i));
    places.push_back(fmt::format("chr{}:{}-{}", i + 1, 100 * i, 100 * i + 500));
  }
  ensembl[0] = "__no_feature";  // a line of htseq-count among them
  const std::vector<std::pair<std::string, std::string>> refused = {
      {table("\ts1\ts2", genes), "named like genes"},
      {table("\ts1\ts2", small), "named like genes"},
      {table("s1\ts2", genes), "named like genes"},
      {table("x\ts1\ts2", entrez), "PPIA|66"},
      {table("\ts1\ts2", ensembl), "ENSG00000141511.1"},
      {table("\ts1\ts2", mouse_transcripts), "ENSMUST00000000001"},
      {table("id\ts1\ts2", places), "chr1:0-500"},
      {table("Gene_ID\ts1\ts2", {"a", "b"}), "'Gene_ID'"},
      {table("Hugo_Symbol\ts1\ts2", {"a", "b"}), "'Hugo_Symbol'"},
      {table("peaks\ts1\ts2", {"a", "b"}), "'peaks'"},
  };
  for (const auto& [text, why] : refused) {
    SCOPED_TRACE(text);
    const std::string file = put("genes.tsv", text);
    expect_names(error_of([&] { read_dataset<float>(file); }), {"genes.tsv", why, "--rows features", "--rows samples"});
    expect_names(error_of([&] { read_large_dataset(file, {}, path("")); }), {"genes.tsv", why, "--rows features"});
    ReadOptions said;
    said.rows = Rows::samples;
    EXPECT_EQ(read_dataset<float>(file, said).features(), 2);
    said.rows = Rows::features;
    EXPECT_EQ(read_dataset<float>(file, said).samples(), 2);
  }
}

// Counts of reads that belong to no gene are no genes: as such they would be a part of every library.
TEST_F(TextInput, TalliesOfCountersAreLeftOut) {
  ReadOptions o;
  o.rows = Rows::features;
  const std::string htseq = put("htseq.tsv", "\ts1\ts2\nA\t1\t2\nB\t3\t4\n__no_feature\t50\t60\n__alignment_not_unique\t7\t8\n");
  const std::string star = put("star.tsv", "\ts1\ts2\nN_unmapped\t9\t9\nN_multimapping\t9\t9\nA\t1\t2\nN_noFeature\t9\t9\nB\t3\t4\nN_ambiguous\t5\t5\n");
  for (const std::string& file : {htseq, star}) {
    panvae::test::Warnings warnings;
    const auto d = read_dataset<float>(file, o);
    const auto large = read_large_dataset(file, o, path(""));
    EXPECT_EQ(d.var.keys, (std::vector<std::string>{"A", "B"}));
    EXPECT_EQ(large.var.keys, d.var.keys);
    for (int64_t s = 0; s < 2; ++s)
      for (int64_t c = 0; c < 2; ++c) {
        EXPECT_EQ(d.x(s, c), static_cast<float>(2 * c + s + 1));
        EXPECT_EQ(large.x(s, c), d.x(s, c));
      }
    ASSERT_EQ(warnings.lines.size(), 2u);
    expect_names(warnings.lines[0], {file == star ? "4 features" : "2 features", file == star ? "'N_unmapped'" : "'__no_feature'"});
  }
  // Samples in rows, names as R makes them; genes that only begin so stay.
  EXPECT_EQ(read_dataset<float>(put("t.csv", "sample,A,X__no_feature,N_unmapped_1\ns1,1,2,3\n")).var.keys, (std::vector<std::string>{"A", "N_unmapped_1"}));
  expect_names(error_of([&] { read_dataset<float>(put("only.csv", "sample,N_unmapped\ns1,1\n")); }), {"only.csv", "'N_unmapped'"});
}

TEST_F(TextInput, SamplesInRowsAreTakenForSamples) {
  const std::string genes = "sample\tACTB\tGAPDH\tB2M\tPPIA\n";
  for (const std::string& text : {
           genes + "s1\t1\t2\t3\t4\n",
           genes + "ACTB\t1\t2\t3\t4\nGAPDH\t1\t2\t3\t4\nB2M\t1\t2\t3\t4\n",  // knock-outs, three of the dozen
           "gene" + genes.substr(6) + "s1\t1\t2\t3\t4\n",                     // the corner names what lies beside it
           std::string("sample\tA\tB\nTP53_1\t1\t2\nMYC_1\t3\t4\nKRAS\t3\t4\nACTB_ko\t1\t2\n"),
           std::string("sample\tA\tB\nENSG00000141510\t1\t2\ns2\t3\t4\n"),             // half of the rows is not most
           std::string("sample\tA\tB\nENSG0000014151\t1\t2\nENS00000141510\t1\t2\n"),  // not quite Ensembl
           std::string("sample\tA\tB\npatient1:10-20\t1\t2\npatient2:10-20\t1\t2\n"),  // places, but on no chromosome
       })
    EXPECT_GE(read_dataset<float>(put("samples.tsv", text)).samples(), 1) << text;
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

// Beyond the range of double: zero or infinite by its size, however it is written.
TEST_F(TextInput, NumbersOutOfRange) {
  const std::string zeros(400, '0');
  for (const std::string& tiny :
       {std::string("1e-400"), "0." + zeros + "1", "." + zeros + "1", "000." + zeros + "1", "-." + zeros + "1", "0." + zeros + "1e20"}) {
    double x = 1;
    EXPECT_TRUE(parse_number(tiny, x)) << tiny;
    EXPECT_EQ(x, 0) << tiny;
  }
  for (const std::string& huge : {std::string("1e400"), "1" + zeros, "1" + zeros + "e-1", std::string("0.00001e500"), std::string("1e99999999999999999999")}) {
    double x = 1;
    EXPECT_TRUE(parse_number(huge, x)) << huge;
    EXPECT_EQ(x, std::numeric_limits<double>::infinity()) << huge;
    EXPECT_TRUE(parse_number("-" + huge, x)) << huge;
    EXPECT_EQ(x, -std::numeric_limits<double>::infinity()) << huge;
  }
  EXPECT_EQ(read_dataset<double>(put("long.tsv", "s\tA\tB\nx\t1" + zeros + "e-400\t0012345678901234567890\n")).x(0, 0), 1);
  EXPECT_EQ(read_dataset<double>(path("long.tsv")).x(0, 1), 12345678901234567890.0);
}

// A donor that is a number in one file and text in another is the same donor.
TEST_F(TextInput, WholeNumbersAreTextWithoutExponent) {
  const Column c = numeric_column("donor", {100000, 2000000, -300000, 1.5, 1e300});
  const std::vector<std::string> expected = {"100000", "2000000", "-300000", "1.5", "1e+300"};
  for (size_t r = 0; r < expected.size(); ++r) EXPECT_EQ(c.text(static_cast<int64_t>(r)), expected[r]);
}

TEST_F(TextInput, FaultsNameTheirPlace) {
  auto refused = [&](const std::string& content, const std::vector<std::string>& words) {
    const std::string file = put("m.tsv", content);
    expect_names(error_of([&] { read_dataset<double>(file); }), words);
  };
  refused("", {"empty", "m.tsv"});
  refused("sample\tA\n", {"no rows"});
  refused("\n\n", {"empty"});
  refused("s\tA\tB\nx\t1\n", {"1 values", "2 columns", "line 2", "'x'"});
  refused("s\tA\tB\nx\t1\t2\ny\t1\t2\t3\n", {"3 values", "line 3", "'y'"});
  refused("s\tA\tB\nx\t1\ttwo\n", {"'two' is no number", "line 2", "'x'", "'B'"});
  refused("s\tA\tB\nx\t1\t2,5\n", {"'2,5' is no number", "decimal"});
  refused("s\tA\tB\nx\t1\t0x10\n", {"'0x10'"});
  refused("s\tA\tB\nx\t1\tNA\n", {"missing", "sample 'x'", "feature 'B'", "--missing mean"});
  refused("s\tA\tB\nx\t\t2\n", {"missing", "'A'"});
  refused("s\tA\tB\nx\tinf\t2\n", {"infinite", "'A'"});
  refused("s\tA\tB\nx\t1e999\t2\n", {"too large", "'A'"});
  refused("s\tA\tA\nx\t1\t2\n", {"'A' stands twice", "--make-unique"});
  refused("s\tA\tB\nx\t1\t2\nx\t1\t2\n", {"'x' stands twice"});
  refused("s\tA\t\nx\t1\t2\n", {"column 3 has no name"});
  refused("s\tA\n\t1\n", {"without a name", "line 2"});
  refused("s\tA\nx\t1\n\ny\t2\n", {"empty line", "line 3"});
  refused("s\tA\nx\t\"1\n", {"never closed", "line 2"});
  refused("s\tA\nx\t\"1\"2\n", {"closing quote"});
  refused("s|A|B\nx|1|2\n", {"separator"});
  refused(std::string("s\tA\nx\0\t1\n", 10), {"not a text file"});
  expect_names(error_of([&] { read_dataset<double>(path("nowhere.tsv")); }), {"cannot read", "nowhere.tsv"});
  expect_names(error_of([&] { read_dataset<double>(put("a.xlsx", "x")); }), {"ending", ".h5ad"});
  expect_names(error_of([&] { read_dataset<double>(path("")); }), {"folder without matrix.mtx"});
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

// Columns between the names of genes and the samples, as the GDC, GTEx, cBioPortal, nf-core, featureCounts and pandas write them.
TEST_F(TextInput, ColumnsThatDescribeFeaturesAreNoSamples) {
  ReadOptions features;
  features.rows = Rows::features;
  struct Form {
    std::string head, before;  // before: cells of a row, %: its name
    std::vector<std::string> columns;
  };
  for (const Form& form : std::vector<Form>{
           {"gene_id\tgene_name\tgene_type", "%\tTP53\tprotein_coding", {"symbol", "gene_type"}},
           {"Name\tDescription", "%\tDDX11L1", {"Description"}},
           {"Hugo_Symbol\tEntrez_Gene_Id", "%\t7157", {"Entrez_Gene_Id"}},
           {"gene_id\tgene_name", "%\t", {"symbol"}},
           {"Geneid\tLength", "%\t1200", {"Length"}},
           {"Geneid\tChr\tStart\tEnd\tStrand\tLength\tgene_name", "%\tchr1\t1\t5\t+\t4\tA1", {"chrom", "start", "end", "Strand", "Length", "symbol"}},
           {"\tgene_id", "0\t%", {}},
           {"\tSYMBOL", "%\tTP53", {"SYMBOL"}}}) {
    SCOPED_TRACE(form.head);
    std::string text = form.head + "\ts1\ts2\n";
    for (const std::string name : {"GA", "GB", "GC"})
      text += std::string(form.before).replace(form.before.find('%'), 1, name) + (name == "GB" ? "\t3\t4\n" : "\t1\t2\n");
    const std::string file = put("m.tsv", text);
    for (const auto& var : {read_dataset<float>(file, features).var, read_large_dataset(file, features, path("")).var}) {
      EXPECT_EQ(var.keys, (std::vector<std::string>{"GA", "GB", "GC"}));
      std::vector<std::string> names;
      for (const Column& c : var.columns) names.push_back(c.name);
      EXPECT_EQ(names, form.columns);
    }
    const auto d = read_dataset<float>(file, features);
    EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"s1", "s2"}));
    EXPECT_EQ(d.x(1, 1), 4);
    expect_names(error_of([&] { read_dataset<float>(file); }), {"--rows features"});
  }
  // Samples of like names, and genes: tropomyosins TPM1 and TPM2, and GC, after a column of samples.
  EXPECT_EQ(read_dataset<float>(put("m.tsv", "gene\ttype1\ttype2\nx\t1\t2\n"), features).samples(), 2);
  EXPECT_EQ(read_dataset<float>(put("m.tsv", "sample\tTPM1\tTPM2\nx\t1\t2\n")).features(), 2);
  EXPECT_EQ(read_dataset<float>(put("m.tsv", "\tGC\tTPM2\nx\t1\t2\n")).features(), 2);
  EXPECT_EQ(read_dataset<float>(put("m.tsv", "id\tGC\tTPM2\nx\t1\t2\n")).features(), 2);
}

// What the columns hold in a second row, as Firehose writes it: RSEM_genes_normalized__data, RSEM_genes__data, gene_expression__data.
TEST_F(TextInput, ASecondRowMayNameWhatTheColumnsHold) {
  ReadOptions features;
  features.rows = Rows::features;
  const auto both = [&](const std::string& text, const std::string& said) {
    SCOPED_TRACE(text);
    const std::string file = put("illuminahiseq.data.txt", text);
    std::vector<std::string> lines;
    const log::Sink before = log::set_sink([&](log::Level, std::string_view line) { lines.emplace_back(line); });
    const auto d = read_dataset<double>(file, features);
    EXPECT_EQ(std::count_if(lines.begin(), lines.end(), [&](const std::string& line) { return line.find(said) != std::string::npos; }), 1) << said;
    log::set_sink(before);
    const auto large = read_large_dataset(file, features, path(""));
    EXPECT_EQ(large.var.keys, d.var.keys);
    EXPECT_EQ(large.obs.keys, d.obs.keys);
    for (int64_t s = 0; s < d.samples(); ++s)
      for (int64_t f = 0; f < d.features(); ++f) EXPECT_EQ(large.x(s, f), static_cast<float>(d.x(s, f)));
    expect_names(error_of([&] { read_dataset<double>(file); }), {"--rows features"});
    return d;
  };
  const std::string ref = "Hybridization REF\tTCGA-A-01\tTCGA-B-01",
                    triple = "Hybridization REF\tTCGA-A-01\tTCGA-A-01\tTCGA-A-01\tTCGA-B-01\tTCGA-B-01\tTCGA-B-01";
  auto d =
      both(ref + "\ngene_id\tnormalized_count\tnormalized_count\n?|100130426\t0.0000\t3.5\n?|100133144\t16.25\t1.5\nA1BG|1\t2.25\t4\n", "'normalized_count'");
  EXPECT_EQ(d.var.keys, (std::vector<std::string>{"?|100130426", "?|100133144", "A1BG|1"}));
  EXPECT_EQ(d.var.key_name, "gene_id");
  EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"TCGA-A-01", "TCGA-B-01"}));
  EXPECT_EQ(d.x(0, 1), 16.25);
  EXPECT_EQ(d.x(1, 2), 4);
  const std::string kinds = "\traw_count\tscaled_estimate\ttranscript_id";
  d = both(triple + "\ngene_id" + kinds + kinds + "\n?|1\t7.00\t1e-7\tuc011lsn.1,uc010unu.1\t9.50\t2e-7\tuc011lsn.1\nA1BG|2\t0\t0\t\t21\t3e-6\tuc002qsd.3\n",
           "'raw_count' of each sample is read");
  EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"TCGA-A-01", "TCGA-B-01"}));
  EXPECT_EQ(d.x(0, 0), 7);
  EXPECT_EQ(d.x(1, 0), 9.5);
  EXPECT_EQ(d.x(0, 1), 0);
  EXPECT_EQ(d.x(1, 1), 21);
  d = both(triple + "\ngene\tmedian_length_normalized\traw_counts\tRPKM\tmedian_length_normalized\traw_counts\tRPKM\nA|1\t0.5\t7\t1.5\t0.25\t8\t2.5\n",
           "'raw_counts'");
  EXPECT_EQ(d.x(0, 0), 7);
  EXPECT_EQ(d.x(1, 0), 8);
  d = both(ref + "\nComposite Element REF\tSignal\tSignal\nELMO2\t0.5\t-0.25\nCREB3L1\t1.5\t2\n", "'Signal'");
  EXPECT_EQ(d.x(1, 0), -0.25);
  // Without its second row, as some repositories hand it on.
  expect_names(error_of([&] { read_dataset<double>(put("m.tsv", ref + "\nA1BG|1\t1\t2\n")); }), {"'Hybridization REF'", "--rows features"});

  // Where it is not clear what to read, the row is called by its name.
  const auto refused = [&](const std::string& text) { return error_of([&] { read_dataset<double>(put("m.tsv", text), features); }); };
  const std::string beta = "\tBeta_value\tGene_Symbol\tChromosome";
  expect_names(refused(triple + "\nComposite Element REF" + beta + beta + "\ncg01\t0.5\tA\t1\t0.25\tA\t1\n"),
               {"m.tsv", "line 2", "what the columns hold", "'Beta_value', 'Gene_Symbol', 'Chromosome'", "one column"});
  expect_names(refused(triple + "\ngene_id\traw_count\traw_count\ttranscript_id" + kinds + "\nA\t1\t2\tx\t3\t4\ty\n"), {"line 2", "what the columns hold"});
  expect_names(refused(triple + "\ngene_id" + kinds + "\tscaled_estimate\tscaled_estimate\ttranscript_id\nA\t1\t2\tx\t3\t4\ty\n"),
               {"line 2", "what the columns hold"});
  expect_names(refused(triple + "\ngene_id" + kinds + kinds + "\nA\t1\t2\tx\t3\t4\n"), {"line 3", "row 'A'", "5 values where the first row names 6"});
  expect_names(refused(triple + "\ngene_id" + kinds + kinds + "\nA\t1\t2\tx\tthree\t4\ty\n"),
               {"line 3", "row 'A'", "column 'TCGA-B-01'", "'three' is no number"});
  expect_names(refused(triple + "\ngene_id" + kinds + kinds + "\n"), {"m.tsv", "no rows of numbers"});
  expect_names(refused(ref + "\ngene_id\tnormalized_count\tnormalized_count\nA\t1\t2\t3\n"), {"line 3", "3 values where the first row names 2"});
  // Genes without a symbol stand under one name where the identifiers behind them were cut off.
  expect_names(refused(ref + "\n?\t1\t2\n?\t3\t4\nA1BG\t5\t6\n"), {"'?' stands twice", "features 1 and 2", "--make-unique"});
  features.make_unique = true;
  EXPECT_EQ(read_dataset<double>(put("m.tsv", ref + "\n?\t1\t2\n?\t3\t4\nA1BG\t5\t6\n"), features).var.keys, (std::vector<std::string>{"?", "?-1", "A1BG"}));
}

TEST_F(TextInput, NumberedPeaksAreNamedByTheirPlaces) {
  ReadOptions features;
  features.rows = Rows::features;
  const auto keys = [&](const std::string& text) { return read_dataset<float>(put("m.csv", text), features).var.keys; };
  const std::vector<std::string> places = {"chr1:10-20", "chr2:5-9"};
  EXPECT_EQ(keys("\"\",\"seqnames\",\"start\",\"end\",\"s1\"\n\"1\",\"chr1\",10,20,7\n\"2\",\"chr2\",5,9,8\n"), places);  // write.csv
  EXPECT_EQ(keys("seqnames,start,end,s1\n1,chr1,10,20,7\n2,chr2,5,9,8\n"), places);                                       // write.table
  EXPECT_EQ(keys(",seqnames,start,end,s1\np1,chr1,10,20,7\np2,chr2,5,9,8\n"), (std::vector<std::string>{"p1", "p2"}));
  // multiBamSummary --outRawCounts of deepTools
  const auto d = read_dataset<float>(put("m.tsv", "#'chr'\t'start'\t'end'\t'a.bam'\nchr1\t10\t20\t7.0\nchr2\t5\t9\t8.0\n"), features);
  EXPECT_EQ(d.var.keys, places);
  EXPECT_EQ(d.obs.keys[0], "a.bam");
}

// The first line of a table without a line of names would be lost, and its values be names.
TEST_F(TextInput, TablesWithoutNamesOfColumnsAreRefused) {
  for (const Rows rows : {Rows::features, Rows::samples})
    for (const char* text : {"ENSG00000000003.14\t679\t448\nENSG00000000005.5\t0\t0\n", "__no_feature\t679\t448\nA\t0\t0\n",
                             "chr1\t100\t600\t5\nchr1\t700\t900\t6\n", "N_unmapped\t679\t448\nA\t0\t0\n", "TSPAN6\t6.5\t4.75\nTNMD\t0\t0\n"}) {
      ReadOptions o;
      o.rows = rows;
      expect_names(error_of([&] { read_dataset<float>(put("m.tsv", text), o); }), {"m.tsv", "line 1", "first row holds numbers", "row of names"});
    }
  // Names that are numbers: Entrez identifiers, dimensions, patients.
  EXPECT_EQ(read_dataset<float>(put("m.tsv", "sample\t7157\t672\nx\t1\t2\n")).features(), 2);
  EXPECT_EQ(read_dataset<float>(put("m.csv", ",0,1.0\nx,1,2\n")).features(), 2);
  expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "sample\t31\t31\nTNMD\t0\t0\n")); }), {"'31' stands twice", "are these values?"});
}

// The counts of a gene that is not known as one, in the place of names: a zero, a number twice, one column, or neither ascending nor of one length.
TEST_F(TextInput, CountsInThePlaceOfNamesAreRefused) {
  const auto read = [&](const std::string& head, Rows rows) {
    std::string row = "\nTNMD";
    for (const char c : head)
      if (c == '\t') row += "\t5";
    ReadOptions o;
    o.rows = rows;
    return read_dataset<float>(put("m.tsv", head + row + "\n"), o);
  };
  for (const Rows rows : {Rows::features, Rows::samples}) {
    for (const char* head : {"TSPAN6\t31\t31", "TSPAN6\t0\t4", "TSPAN6\t12\t0\t5\t113", "TSPAN6\t312\t45\t1024", "TSPAN6\t679", "PEAK1\t45\t7", "LOC101\t0\t1",
                             "A1BG\t1\t2\t2\t3", "s1\t31\t4\t0"})
      expect_names(error_of([&] { read(head, rows); }), {"m.tsv', line 1", "'" + std::string(head).substr(0, std::string(head).find('\t')) + "'",
                                                         "first row holds numbers", "row of names", "'gene' or 'sample'"});
    // Numbers that are names: under a word for names or nothing, in a run, in order, of one length.
    panvae::test::Warnings warnings;
    for (const char* head : {"sample\t7157\t672\t0", "Patient ID\t12\t3\t104", "Entrez\t7157\t672", "\t12\t0\t104", "Unnamed: 0\t3\t0", "barcode\t9",
                             "leiden\t0\t1\t10\t11\t2\t3\t4\t5\t6\t7\t8\t9", "ORF\t1\t2\t3", "row_names\t5\t5000\t50"})
      EXPECT_EQ(read(head, rows).var.rows() + read(head, rows).obs.rows(), 1 + std::count(head, head + std::string(head).size(), '\t')) << head;
    EXPECT_EQ(warnings.lines.size(), 0u);
    for (const char* head : {"ORF\t104\t217\t103", "YAL001C\t31\t45", "TSPAN6\t7\t18\t230"}) {
      warnings.lines.clear();
      EXPECT_NO_THROW(read(head, rows));
      ASSERT_EQ(warnings.lines.size(), 1u) << head;
      expect_names(warnings.lines[0], {"m.tsv', line 1", "names of the columns are numbers", "row of names"});
    }
  }
}

// A DataFrame whose genes are not its index, with the column of their names left out: 0, 1, 2, ... stand where names should.
TEST_F(TextInput, FeaturesNamedByARunningIndexAreSaid) {
  ReadOptions features;
  features.rows = Rows::features;
  const auto warned = [&](const std::string& text) {
    const panvae::test::Warnings warnings;
    const std::string file = put("m.csv", text);
    read_dataset<float>(file, features);
    const size_t lines = warnings.lines.size();
    read_large_dataset(file, features, path(""));
    EXPECT_EQ(warnings.lines.size(), 2 * lines);
    return lines == 0 ? std::string() : warnings.lines[0];
  };
  expect_names(warned(",s1,s2\n0,5,6\n1,7,8\n2,9,1\n"), {"m.csv", "named 0 to 2", "running index"});
  expect_names(warned("\"\",\"s1\",\"s2\"\n\"1\",5,6\n\"2\",7,8\n"), {"m.csv", "named 1 to 2", "running index"});
  for (const char* text : {",s1\n0,5\n2,7\n", ",s1\n1,5\n0,7\n", ",s1\n0,5\n", "entrez,s1\n1,5\n2,7\n", ",gene,s1\n0,A,5\n1,B,7\n", ",s1\nA,5\nB,7\n"})
    EXPECT_EQ(warned(text), "") << text;
  const panvae::test::Warnings warnings;
  EXPECT_EQ(read_dataset<float>(put("m.csv", ",A,B\n0,5,6\n1,7,8\n")).samples(), 2) << "samples may be numbered";
  EXPECT_EQ(warnings.lines.size(), 0u);
}

TEST_F(TextInput, WhatIsNoMatrixOfSamplesIsRefused) {
  ReadOptions features;
  features.rows = Rows::features;
  for (const char* head : {"Name\tLength\tEffectiveLength\tTPM\tNumReads", "gene_id\tlength\teffective_length\texpected_count\tTPM",
                           "target_id\tlength\teff_length\test_counts\ttpm"})
    expect_names(error_of([&] { read_dataset<float>(put("one.tsv", std::string(head) + "\nA\t1\t2\t3\t4\n"), features); }),
                 {"one.tsv", "one sample", "a column for each"});
  expect_names(error_of([&] { read_dataset<float>(put("m.csv", "sample,age,A,B\nx,50,1,2\n")); }), {"'age'", "--obs"});
  expect_names(error_of([&] { read_dataset<float>(put("m.csv", "gene,x\nA,1\nos_time,2\n"), features); }), {"'os_time'", "--obs"});
  expect_names(error_of([&] { read_dataset<float>(put("m.csv", "gene,x\n1-Mar,1\n1-Mar,2\n"), features); }), {"'1-Mar' stands twice", "Excel"});
  expect_names(error_of([&] { read_dataset<float>(put("m.csv", "gene,x\nA-Mar,1\nA-Mar,2\n"), features); }), {"'A-Mar' stands twice", "--make-unique"});
  // Said, so it is done, but not without a word.
  const panvae::test::Warnings warnings;
  EXPECT_EQ(read_dataset<float>(put("m.csv", "sample,ENSG00000141510,ENSG00000141511\nx,1,2\n"), features).samples(), 2);
  ASSERT_EQ(warnings.lines.size(), 1u);
  expect_names(warnings.lines[0], {"m.csv", "--rows features", "as Ensembl does"});
}

TEST_F(TextInput, SeparatorsOfThousandsAreNoPartOfNumbers) {
  const auto refused = [&](const std::string& cell) { return error_of([&] { read_dataset<float>(put("m.tsv", "sample\tA\tB\nx\t1\t" + cell + "\n")); }); };
  for (const auto& [cell, whole] : std::vector<std::pair<std::string, std::string>>{{"9,072", "9072"},
                                                                                    {"12,345,678", "12345678"},
                                                                                    {"1.234.567", "1234567"},
                                                                                    {"9 072", "9072"},
                                                                                    {"9'072", "9072"},
                                                                                    {"9\xC2\xA0"
                                                                                     "072",
                                                                                     "9072"},
                                                                                    {"\"9,072\"", "9072"}})
    expect_names(refused(cell), {"m.tsv", "line 2", "row 'x', column 'B'", "is no number", "does it mean " + whole + "?", "separators of thousands"});
  for (const char* cell : {"9,07", "9,0725", "0,072", "1234,567"}) {
    const std::string message = refused(cell);
    expect_names(message, {"is no number", "decimal points, no commas"});
    EXPECT_EQ(message.find("thousands"), std::string::npos) << message;
  }
  for (const char* cell : {"9,072.5", "9.072,", "9.072.1", ",072", "A,072", "9--072"}) EXPECT_EQ(refused(cell).find("thousands"), std::string::npos) << cell;
  EXPECT_EQ(read_dataset<double>(put("m.tsv", "sample\tA\nx\t9.072\n")).x(0, 0), 9.072) << "a fraction, until all of them speak for another meaning";
}

// A sample without a row in the table: what is nearest there is said.
TEST_F(TextInput, JoinsSayWhatDiffers) {
  const auto refused = [&](const std::string& sample, const std::string& keys, const std::vector<std::string>& words) {
    SCOPED_TRACE(sample);
    ReadOptions o;
    o.obs_table = put("o.tsv", "s\tnote\n" + keys);
    expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "s\tA\n" + sample + "\t1\n"), o); }), words);
    o.obs_table = put("o.tsv", "s\tnote\nother\tx\n" + keys);
    std::vector<std::string> partly = words;
    partly.push_back("1 of 2 samples");
    expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "s\tA\nother\t1\n" + sample + "\t1\n"), o); }), partly);
  };
  refused("TCGA.BH.A0B3", "x\ty\nTCGA-BH-A0B3\tx\n", {"'TCGA-BH-A0B3'", "to the letter"});
  refused("X1.T", "x\ty\n1-T\ty\n", {"'1-T'", "to the letter"});
  refused("s01", "S02\ty\nS01\ty\n", {"'S01'", "to the letter"});
  refused("S01 ", "S02\ty\nS01\ty\n", {"'S01'", "to the letter"});
  refused("TCGA-BH-A0B3-01A-11R", "TCGA-BH\ty\nTCGA-BH-A0B3\ty\n", {"'TCGA-BH-A0B3'", "to the letter"});
  refused("/data/S1_sorted.bam", "S10\ty\nS1_sorted\ty\n", {"'S1_sorted'", "to the letter"});
  refused("abc", "1\tabc\n2\ty\n", {"column 'note'", "make it the first"});
  refused("S10", "S1\ty\nS100\ty\n", {});
  ReadOptions o;
  o.obs_table = put("o.tsv", "s\tnote\nS1\ty\nS100\ty\n");
  EXPECT_EQ(error_of([&] { read_dataset<float>(put("m.tsv", "s\tA\nS10\t1\n"), o); }).find("to the letter"), std::string::npos);
}

TEST_F(TextInput, BeyondFloatIsRefusedAsFloatOnly) {
  const std::string file = put("m.tsv", "s\tA\nx\t1e300\n");
  EXPECT_EQ(read_dataset<double>(file).x(0, 0), 1e300);
  expect_names(error_of([&] { read_dataset<float>(file); }), {"too large", "'x'", "'A'"});
  EXPECT_EQ(read_dataset<double>(put("tiny.tsv", "s\tA\nx\t1e-999\n")).x(0, 0), 0);
}

TEST_F(TextInput, ControlCharactersDoNotReachTheTerminal) {
  const std::string message = error_of([&] { read_dataset<double>(put("m.tsv", "s\tA\nx\t\x1b[31mred\xff\n")); });
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_EQ(message.find('\xff'), std::string::npos);
}

TEST_F(TextInput, MakeUniqueNumbersAndAvoidsExistingNames) {
  ReadOptions o;
  o.make_unique = true;
  const auto d = read_dataset<float>(put("m.tsv", "s\tA\tA\tA-1\tA\nx\t1\t2\t3\t4\n"), o);
  EXPECT_EQ(d.var.keys, (std::vector<std::string>{"A", "A-2", "A-1", "A-3"}));
}

TEST_F(TextInput, WhatIsWrittenReadsBackTheSame) {
  Dataset<float> f = dataset<float>(RowMatrix<float>::Random(7, 5) * 1e-3f);
  f.x(0, 0) = 16777217.0f;
  f.x(1, 1) = 1e-42f;
  f.x(2, 2) = -0.0f;
  f.var.keys[1] = "quote \" and, comma";
  Dataset<double> d = dataset<double>(RowMatrix<double>::Random(7, 5) * 1e-9);
  for (const char* name : {"m.tsv", "m.csv", "m.tsv.gz", "m.csv.gz"}) {
    write_dataset(path(name), f);
    const auto back = read_dataset<float>(path(name));
    EXPECT_EQ(back.x, f.x) << name;
    EXPECT_EQ(back.var.keys, f.var.keys) << name;
    write_dataset(path(name), d);
    EXPECT_EQ(read_dataset<double>(path(name)).x, d.x) << name;
  }
  error_of([&] { write_dataset(path("m.parquet"), f); }, ErrorCode::usage);
  error_of([&] { write_dataset(path("no/such/folder/m.tsv"), f); }, ErrorCode::machine);
}

TEST_F(TextInput, ColumnsAreNumericWhereEveryValueIs) {
  const Table t = read_table(put("t.tsv", "id\tage\tcohort\tmixed\tnothing\na\t50\tBRCA\t1\tNA\nb\tNA\tNaN\tx\t.\nc\t+6.5e1\tLUAD\t\t\n"));
  EXPECT_TRUE(t.at("age").numeric);
  EXPECT_EQ(t.at("age").number[2], 65);
  EXPECT_EQ(t.at("age").count_missing(), 1);
  EXPECT_FALSE(t.at("cohort").numeric);
  EXPECT_EQ(t.at("cohort").text(1), "");
  EXPECT_EQ(t.at("cohort").levels, (std::vector<std::string>{"BRCA", "LUAD"}));
  EXPECT_FALSE(t.at("mixed").numeric);
  EXPECT_EQ(t.at("mixed").count_missing(), 1);
  EXPECT_TRUE(t.at("nothing").numeric);
  write_table(path("back.csv"), t);
  const Table back = read_table(path("back.csv"));
  for (const Column& c : t.columns)
    for (int64_t r = 0; r < t.rows(); ++r) EXPECT_EQ(back.at(c.name).text(r), c.text(r));
}

// A reader takes lines that begin with '#' for comments.
TEST_F(TextInput, NamesThatBeginWithAHashReadBackTheSame) {
  Table table;
  table.keys = {"#a", "b", "#c\td", "#"};
  for (const char* file : {"t.tsv", "t.csv", "t.tsv.gz"})
    for (const char* key : {"#id", "#1.2", "# name of a sample", "#'chr'", "id"})
      for (const bool with_columns : {true, false}) {
        SCOPED_TRACE(fmt::format("{} {} {}", file, key, with_columns));
        table.key_name = key;
        table.columns.clear();
        if (with_columns) table.columns = {factor_from_text("#note", {"#x", "y", "", "#"}), numeric_column("age", {1, 2, 3, 4})};
        write_table(path(file), table);
        const Table back = read_table(path(file));
        EXPECT_EQ(back.key_name, table.key_name);
        EXPECT_EQ(back.keys, table.keys);
        ASSERT_EQ(back.columns.size(), table.columns.size());
        for (const Column& c : table.columns)
          for (int64_t r = 0; r < table.rows(); ++r) EXPECT_EQ(back.at(c.name).text(r), c.text(r)) << c.name;
      }
  Dataset<float> d = dataset<float>(RowMatrix<float>::Random(2, 2));
  d.obs.key_name = "#sample";
  d.obs.keys = {"#1", "#2"};
  write_dataset(path("m.tsv"), d);
  const auto back = read_dataset<float>(path("m.tsv"));
  EXPECT_EQ(back.obs.keys, d.obs.keys);
  EXPECT_EQ(back.var.keys, d.var.keys);
  EXPECT_EQ(back.x, d.x);
}

// write.table of R names one column fewer where it writes names of rows.
TEST_F(TextInput, WholeNumbersThatDoublesRoundAreText) {
  const Table t =
      read_table(put("t.tsv", "id\tdonor\ttime\tlarge\na\t9007199254740992\t9007199254740991\t1e20\nb\t 9007199254740993\tNA\t9007199254740993.5\n"));
  EXPECT_EQ(t.at("donor").text(0), "9007199254740992");
  EXPECT_EQ(t.at("donor").text(1), " 9007199254740993") << "as it stands, as all text";
  // What is written is read as what it was.
  EXPECT_EQ(t.at("large").text(1), "9007199254740994.0");
  write_table(path("again.tsv"), t);
  const Table again = read_table(path("again.tsv"));
  for (const char* name : {"time", "large"}) EXPECT_EQ(again.at(name).numeric && again.at(name).number[0] == t.at(name).number[0], true) << name;
  EXPECT_EQ(t.at("time").number[0], 9007199254740991.0);
  EXPECT_EQ(t.at("large").number[0], 1e20);
}

TEST_F(TextInput, TableAsRWritesIt) {
  const Table t = read_table(put("r.tsv", "cohort\tage\nx\tA\t50\ny\tB\t60\n"));
  EXPECT_EQ(t.keys, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(t.key_name, "index");
  EXPECT_EQ(t.at("cohort").text(1), "B");
  EXPECT_EQ(t.at("age").number[0], 50);
}

TEST_F(TextInput, TableFaults) {
  auto refused = [&](const std::string& content, const std::vector<std::string>& words) {
    const std::string file = put("t.tsv", content);
    expect_names(error_of([&] { read_table(file); }), words);
  };
  refused("id\tage\na\t1\na\t2\n", {"'a' stands twice", "line 3", "line 2"});
  refused("id\tage\tage\na\t1\t2\n", {"two columns", "'age'"});
  refused("id\tage\na\t1\t2\t3\n", {"4 cells", "line 2"});
  refused("id\tage\n", {"no rows"});
  expect_names(error_of([&] { read_table(put("t2.tsv", "id\tcohort\na\tx\n")).at("cohrt"); }), {"'cohrt'", "did you mean 'cohort'"});
}

TEST_F(TextInput, ObsIsJoinedByName) {
  const std::string m = put("m.tsv", "s\tA\nx\t1\ny\t2\n");
  ReadOptions o;
  o.obs_table = put("obs.tsv", "sample\tcohort\nz\tC\ny\tB\nx\tA\n");
  const auto d = read_dataset<float>(m, o);
  EXPECT_EQ(d.obs.at("cohort").text(0), "A");
  EXPECT_EQ(d.obs.at("cohort").text(1), "B");
  o.obs_table = put("part.tsv", "sample\tcohort\ny\tB\n");
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"1 of 2 samples", "'x'", "part.tsv"});
  o.obs_table = put("none.tsv", "sample\tcohort\nS-y\tB\n");
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"no sample of the matrix", "'S-y'", "'x'", "--rows features"});
}

TEST_F(TextInput, WhereSelects) {
  const std::string m = put("m.tsv", "s\tA\nx\t1\ny\t2\nz\t3\n");
  ReadOptions o;
  o.obs_table = put("obs.tsv", "sample\ttype\tage\nx\ttumor\t50\ny\tnormal\t60\nz\ttumor\t70\n");
  o.where = {"type=tumor"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"x", "z"}));
  o.where = {"type=tumor,normal", "age=60.0"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"y"}));
  o.where = {"type=tumour"};
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"'type=tumour'", "tumor, normal"});
  o.where = {"typ=tumor"};
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"did you mean 'type'"});
  o.where = {"type=normal", "age=50"};
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"no sample is left"});
  o.where = {"type"};
  error_of([&] { read_dataset<float>(m, o); }, ErrorCode::usage);
}

TEST_F(TextInput, KeysGiveColumnsTheirCanonicalNames) {
  const std::string m = put("m.tsv", "s\tA\nx\t1\ny\t2\n");
  ReadOptions o;
  o.obs_table = put("obs.tsv", "sample\ttumour\nx\tBRCA\ny\tLUAD\n");
  o.keys = {{"cohort", "tumour"}};
  EXPECT_EQ(read_dataset<float>(m, o).obs.at("cohort").text(1), "LUAD");
  o.keys = {{"cohort", "tumor"}};
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"'tumor'", "did you mean 'tumour'"});
}

TEST_F(TextInput, MissingValuesTakeTrainingMeans) {
  const std::string m = put("m.tsv", "s\tA\tB\nx\t1.5\t1\ny\tNA\t2\nz\t4.5\t3\n");
  ReadOptions o;
  o.missing = Missing::mean;
  EXPECT_EQ(read_dataset<double>(m, o).x(1, 0), 3);
  o.obs_table = put("obs.tsv", "sample\tsplit\nx\ttrain\ny\tholdout\nz\tvalidation\n");
  EXPECT_EQ(read_dataset<double>(m, o).x(1, 0), 1.5);
  o.obs_table = put("obs2.tsv", "sample\tsplit\nx\tholdout\ny\ttrain\nz\tholdout\n");
  expect_names(error_of([&] { read_dataset<double>(m, o); }), {"without a value", "'A'"});
  o.obs_table = put("obs3.tsv", "sample\tsplit\nx\ttest\ny\ttrain\nz\tholdout\n");
  expect_names(error_of([&] { read_dataset<double>(m, o); }), {"'test'", "'x'", "--split-key"});
}

TEST_F(TextInput, KindsAreRecognised) {
  EXPECT_EQ(detect_kind<double>(RowMatrix<double>::Constant(2, 2, 3)), "counts");
  RowMatrix<double> x = RowMatrix<double>::Random(400, 8) * std::sqrt(3.0);
  EXPECT_EQ(detect_kind<double>(x), "z");
  x = (x.array() * 2 + 8).matrix().eval();
  EXPECT_EQ(detect_kind<double>(x), "log");
  x(0, 0) = 12345.5;
  EXPECT_EQ(detect_kind<double>(x), "");
}

TEST_F(TextInput, MatrixMarketAsTenXWritesIt) {
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n% made by hand\n3 2 3\n1 1 5\n3 2 7\n2 2 1\n");
  put("barcodes.tsv", "AAA-1\nCCC-1\n");
  put("features.tsv", "ENSG1\tTP53\tGene Expression\nENSG2\tBRCA1\tGene Expression\nENSG3\tTP53\tGene Expression\n");
  for (const std::string& name : {path("matrix.mtx"), path("")}) {
    const auto d = read_dataset<float>(name);
    EXPECT_EQ(d.samples(), 2);
    EXPECT_EQ(d.features(), 3);
    EXPECT_EQ(d.x(1, 2), 7);
    EXPECT_EQ(d.x(0, 1), 0);
    EXPECT_EQ(d.var.at("symbol").text(2), "TP53");
    EXPECT_EQ(d.var.at("feature_type").text(0), "Gene Expression");
  }
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 3\n1 1 5\n3 2 7\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"2 entries", "announces 3"});
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 1\n1 1 5\n3 2 7\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"2 entries", "announces 1"});
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 1\n4 1 5\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"outside", "line 3"});
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 5 1\n1 1 5\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"3 x 5", "3 features and 2 barcodes"});
  // Few bytes may announce more than any machine holds.
  std::filesystem::create_directory(path("big"));
  std::string names;
  for (int i = 0; i < 2000000; ++i) names += std::to_string(i) + '\n';
  put("big/barcodes.tsv", names), put("big/features.tsv", names);
  put("big/matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2000000 2000000 1\n1 1 5\n");
  expect_names(error_of([&] { read_dataset<float>(path("big")); }, ErrorCode::machine), {"2000000 x 2000000 needs 14.6 TiB", "big/matrix.mtx"});
  put("matrix.mtx", "3 2 1\n1 1 5\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"not a Matrix Market file"});
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 1\n1 1 5\n");
  std::filesystem::remove(path("barcodes.tsv"));
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"barcodes.tsv"});
}

// Where there are as many features as barcodes, rows are features, as 10x writes them. Entries of one cell add up; a pattern has ones.
TEST_F(TextInput, MatrixMarketOfEquallyManyFeaturesAndBarcodes) {
  put("GSM1_barcodes.tsv", "AAA-1\nCCC-1\n");
  put("GSM1_genes.tsv", "ENSG1\tTP53\nENSG2\tBRCA1\n");
  put("barcodes.tsv", "other\n");
  put("features.tsv", "other\n");
  RowMatrix<float> expected(2, 2);
  expected << 0, 9, 0, 0;  // sample AAA-1, gene ENSG2
  EXPECT_EQ(read_dataset<float>(put("GSM1_matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 2\n2 1 5\n2 1 4\n")).x, expected);
  expected(0, 1) = 1;
  const auto pattern = read_dataset<float>(put("GSM1_matrix.mtx", "%%MatrixMarket matrix coordinate pattern general\n2 2 1\n2 1\n"));
  EXPECT_EQ(pattern.x, expected);
  EXPECT_EQ(pattern.obs.keys[1], "CCC-1");
  EXPECT_EQ(pattern.var.at("symbol").text(1), "BRCA1");
}

// Samples without a value are asked for by any word for it; a value that no sample has is said where another has some.
TEST_F(TextInput, WhereOfMissingAndOfUnknownValues) {
  const std::string m = put("m.tsv", "s\tA\nx\t1\ny\t2\nz\t3\n");
  ReadOptions o;
  o.obs_table = put("obs.tsv", "sample\ttype\tage\nx\ttumor\tNA\ny\t\t60\nz\tnormal\t70\n");
  o.where = {"type=NA"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"y"}));
  o.where = {"age=,70"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"x", "z"}));
  const panvae::test::Warnings said;
  o.where = {"type=tumor,tumour"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"x"}));
  ASSERT_EQ(said.lines.size(), 1u);
  EXPECT_NE(said.lines[0].find("no sample has 'type' = 'tumour'"), std::string::npos) << said.lines[0];
}

}  // namespace
}  // namespace panvae::data::test
