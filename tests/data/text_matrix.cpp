// Matrices as text: what is read, and what is refused with which words.
#include <algorithm>
#include <cctype>
#include <cmath>

#include "data/write.h"
#include "support.h"
#include "tests/base/warnings.h"

namespace panvae::data::test {
namespace {

using TextInput = Files;

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

}  // namespace
}  // namespace panvae::data::test
