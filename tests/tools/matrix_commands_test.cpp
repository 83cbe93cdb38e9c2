// convert, pca and preprocess on tables whose results can be had by hand: every option reaches the work, every count and warning is said.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <regex>

#include "base/file.h"
#include "base/json.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

bool says(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

// Runs of spaces as one: rows of tables without their layout.
std::string squeezed(const std::string& text) {
  std::string out;
  for (char c : text)
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  return out;
}

class Convert : public SuiteFolder<Convert> {
 public:
  static void prepare() {
    write_file(at("c.tsv"), "s\tg1\tg2\nA\t5\t0\nB\t3\t1\nC\t8\t2\nD\t1\t6\n");
    write_file(at("o.tsv"), "s\ttumour\tage\tdays\nA\tX\t40\t10\nB\tX\t50\t20\nC\tY\t60\t30\nD\tY\t70\t40\n");
    write_file(at("v.tsv"), "g\tchrom\ng1\tchr1\ng2\tchr2\n");
  }
};

TEST_F(Convert, tables_are_joined_and_counted) {
  const Outcome o = run("convert -o j.h5ad c.tsv --obs o.tsv --var v.tsv --json j.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(json("j.json"), (Json{{"samples", 4}, {"features", 2}, {"kind", "counts"}, {"obs_columns", 3}, {"var_columns", 1}}));
  EXPECT_TRUE(says(squeezed(o.out), "samples 4\nfeatures 2\nkind counts\n")) << o.out;
  const auto d = data::read_dataset<double>(at("j.h5ad"));
  EXPECT_EQ(d.obs.at("days").number, (std::vector<double>{10, 20, 30, 40}));
  EXPECT_EQ(d.var.at("chrom").text(1), "chr2");
  // Numbers of no kind that is known.
  write_file(at("u.tsv"), "s\tg1\tg2\nA\t500.5\t0\nB\t3\t1\n");
  const Outcome u = run("convert -o u.h5ad u.tsv --json u.json");
  ASSERT_EQ(u.code, 0) << u.err;
  EXPECT_EQ(json("u.json")["kind"], "");
  EXPECT_TRUE(says(squeezed(u.out), "kind unknown\n")) << u.out;
}

TEST_F(Convert, what_text_leaves_out_is_said) {
  expect_done("convert -o w.h5ad c.tsv --obs o.tsv --var v.tsv");
  const Outcome bare = run("convert -o w.tsv w.h5ad");
  EXPECT_TRUE(says(bare.err, "3 sample and 1 feature columns are left out (--write-obs keeps those of samples)")) << bare.err;
  const Outcome kept = run("convert -o w.tsv w.h5ad --write-obs wo.tsv");
  EXPECT_TRUE(says(kept.err, "3 sample and 1 feature columns are left out\n")) << kept.err;
  EXPECT_TRUE(says(kept.out, "written: w.tsv, wo.tsv\n")) << kept.out;
  EXPECT_EQ(read_file(at("wo.tsv")), read_file(at("o.tsv")));
  EXPECT_FALSE(says(run("convert -o w.tsv c.tsv").err, "left out"));
}

TEST_F(Convert, matrices_that_stay_behind_are_said) {
  expect_done("convert -o l.h5ad c.tsv");
  const hid_t file = H5Fopen(at("l.h5ad").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  for (const char* group : {"layers", "obsm"}) H5Gclose(H5Gcreate2(file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  for (const char* copy : {"layers/tpm", "obsm/X_pca"}) EXPECT_GE(H5Ocopy(file, "X", file, copy, H5P_DEFAULT, H5P_DEFAULT), 0);
  H5Fclose(file);
  EXPECT_TRUE(says(run("convert -o l2.h5ad l.h5ad").err, "of 'l.h5ad' one matrix is converted; layers/tpm, obsm/X_pca stay behind"));
  EXPECT_TRUE(says(run("convert -o l2.h5ad l.h5ad:layers/tpm").err, "is converted; obsm/X_pca stays behind"));
  EXPECT_FALSE(says(run("convert -o l3.h5ad l2.h5ad").err, "behind"));
}

TEST_F(Convert, the_table_of_samples_replaces_no_file_that_the_command_names) {
  const std::string counts = read_file(at("c.tsv")), samples = read_file(at("o.tsv"));
  fs::create_directory_symlink(".", at("here"));
  expect_error(run("convert -o x.h5ad c.tsv --obs o.tsv --write-obs c.tsv"), 2, "--write-obs would replace a file that IN names too ('c.tsv')");
  expect_error(run("convert -o x.h5ad c.tsv --obs o.tsv --write-obs here/o.tsv"), 2, "--obs names too");
  for (const char* command : {"convert", "preprocess --modality rna", "pca"})
    expect_error(run(std::string(command) + " -o ./c.tsv c.tsv"), 2, "--output would replace a file that IN names too");
  expect_error(run("convert -o o.tsv c.tsv --obs o.tsv"), 2, "--output would replace a file that --obs names too");
  for (const char* same : {"x.tsv", "./x.tsv", "here/x.tsv"})
    expect_error(run("convert -o x.tsv c.tsv --obs o.tsv --write-obs " + std::string(same)), 2, "--output names too");
  expect_error(run("convert -o x.tsv c.tsv --json ./x.tsv"), 2, "--output names too");
  expect_error(run("convert -o x.tsv c.tsv --json here/c.tsv"), 2, "--json would replace a file that IN names too");
  EXPECT_EQ(read_file(at("c.tsv")), counts);
  EXPECT_EQ(read_file(at("o.tsv")), samples);
  EXPECT_FALSE(fs::exists(at("x.tsv")));
  EXPECT_FALSE(fs::exists(at("x.h5ad")));
  // A word is no file until there is one of its name.
  EXPECT_EQ(run("convert -o x.h5ad c.tsv --type float64 --json float64").code, 0);
  expect_error(run("convert -o x.h5ad c.tsv --type float64 --json float64"), 2, "--type names too");
}

TEST_F(Convert, numbers_have_the_type_asked_for) {
  write_file(at("n.tsv"), "s\tg1\tg2\nA\t0.1\t16777217\nB\t-3\t1\n");
  expect_done("convert -o n64.h5ad n.tsv --type float64");
  expect_done("convert -o n32.h5ad n.tsv");
  const auto wide = data::read_dataset<double>(at("n64.h5ad")), narrow = data::read_dataset<double>(at("n32.h5ad"));
  EXPECT_EQ(wide.x(0, 0), 0.1);
  EXPECT_EQ(wide.x(0, 1), 16777217);
  EXPECT_EQ(narrow.x(0, 0), static_cast<double>(0.1F));
  EXPECT_EQ(narrow.x(0, 1), 16777216) << "2^24 + 1 has no float";
}

TEST_F(Convert, options_of_reading_reach_the_reader) {
  write_file(at("t.tsv"), "g\tA\tB\tC\tD\ng1\t5\t3\t8\t1\ng2\t0\t1\t2\t6\n");
  expect_done("convert -o rows.tsv t.tsv --rows features");
  EXPECT_EQ(read_file(at("rows.tsv")), "index\tg1\tg2\nA\t5\t0\nB\t3\t1\nC\t8\t2\nD\t1\t6\n");
  expect_done("convert -o where.h5ad c.tsv --obs o.tsv --where tumour=X,Y --where age=50,60 --cohort-key tumour --os-time-key days");
  const auto d = data::read_dataset<double>(at("where.h5ad"));
  EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"B", "C"}));
  EXPECT_EQ(d.obs.at("cohort").text(1), "Y");
  EXPECT_EQ(d.obs.at("os_time").number, (std::vector<double>{20, 30}));
  write_file(at("twice.tsv"), "s\tg1\tg2\nA\t5\t0\nA\t3\t1\n");
  expect_error(run("convert -o twice.h5ad twice.tsv"), 3, "'A'");
  expect_done("convert -o twice.h5ad twice.tsv --make-unique");
  EXPECT_EQ(data::read_dataset<double>(at("twice.h5ad")).obs.keys, (std::vector<std::string>{"A", "A-1"}));
  write_file(at("gap.tsv"), "s\tg1\tg2\nA\t5.5\tNA\nB\t-3\t1\nC\t1\t2\n");
  expect_error(run("convert -o gap.h5ad gap.tsv"), 3, "'g2'");
  expect_done("convert -o gap.h5ad gap.tsv --missing mean");
  EXPECT_EQ(data::read_dataset<double>(at("gap.h5ad")).x(0, 1), 1.5);
}

TEST_F(Convert, genes_that_excel_made_dates_are_said) {
  write_file(at("dates.tsv"), "gene\tA\tB\tC\tD\nTP53\t5\t3\t8\t1\n2-Sep\t1\t1\t2\t6\n1-Mar\t1\t2\t2\t6\n12-Marker\t4\t1\t1\t2\n");
  const Outcome o = run("preprocess --modality rna -o dates.h5ad dates.tsv --rows features");
  EXPECT_TRUE(says(o.err, "the feature '2-Sep' is a date")) << o.err;
  EXPECT_TRUE(says(o.err, "(2 such names)")) << o.err;
}

// Four training samples at (3, 0), (-3, 0), (0, 1), (0, -1): the axes are the components, their variances 18 / 3 and 2 / 3.
class PcaProgram : public SuiteFolder<PcaProgram> {
 public:
  static void prepare() {
    write_file(at("x.tsv"), "s\tg1\tg2\nA\t3\t0\nB\t-3\t0\nH\t10\t20\nC\t0\t1\nD\t0\t-1\n");
    write_file(at("o.tsv"), "s\tsplit\tcohort\nA\ttrain\tX\nB\ttrain\tX\nH\tholdout\tZ\nC\ttrain\tY\nD\ttrain\tY\n");
  }
  static std::string text_of(const data::RowMatrix<double>& x) {
    std::string text = "s";
    for (int64_t c = 0; c < x.cols(); ++c) text += fmt::format("\tg{}", c + 1);
    for (int64_t r = 0; r < x.rows(); ++r) {
      text += fmt::format("\nS{}", r + 1);
      for (int64_t c = 0; c < x.cols(); ++c) text += fmt::format("\t{}", x(r, c));
    }
    return text + "\n";
  }
};

TEST_F(PcaProgram, by_hand_on_the_training_samples) {
  const Outcome o = run("pca -o e.h5ad x.tsv --obs o.tsv --json e.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(says(o.err, "2 components, not 512: 4 training samples and 2 features have no more")) << o.err;
  EXPECT_FALSE(says(o.err, "no column split")) << o.err;
  EXPECT_FALSE(says(o.err, "counts")) << o.err;
  const Json j = json("e.json");
  for (const auto& [name, value] : {std::pair{"samples", 5}, {"n", 5}, {"features", 2}, {"components", 2}, {"fitted_samples", 4}}) EXPECT_EQ(j[name], value);
  EXPECT_EQ(j["fit_on"], "train");
  EXPECT_NEAR(j["total_variance"].get<double>(), 20.0 / 3, 1e-12);
  EXPECT_NEAR(j["explained_variance"][0].get<double>(), 6, 1e-12);
  EXPECT_NEAR(j["explained_variance"][1].get<double>(), 2.0 / 3, 1e-12);
  EXPECT_NEAR(j["explained_variance_ratio"][0].get<double>(), 0.9, 1e-12);
  const std::string text = squeezed(o.out);
  for (const char* row : {"samples 5\n", "fitted on 4 (train)\n", "variance explained 100.00 %\n", "PC1 6 90.00 90.00\n", "PC2 0.6667 10.00 100.00\n"})
    EXPECT_TRUE(says(text, row)) << row << "\n" << text;
  const auto e = data::read_dataset<double>(at("e.h5ad"));
  EXPECT_EQ(e.kind, "embedding");
  EXPECT_EQ(e.var.keys, (std::vector<std::string>{"PC1", "PC2"}));
  EXPECT_NEAR(e.var.at("explained_variance").number[0], 6, 1e-12);
  EXPECT_NEAR(e.var.at("explained_variance_ratio").number[1], 0.1, 1e-12);
  EXPECT_EQ(e.obs.at("cohort").text(2), "Z");
  EXPECT_EQ(e.obs.at("split").text(2), "holdout");
  data::RowMatrix<double> expected(5, 2);
  expected << 3, 0, -3, 0, 10, 20, 0, 1, 0, -1;
  EXPECT_LT((e.x - expected).cwiseAbs().maxCoeff(), 1e-6);
  EXPECT_TRUE(e.frozen.arrays.empty()) << "the components are kept only where they are asked for";
  EXPECT_EQ(e.frozen.settings["pca"]["fit_on"], "train");
  EXPECT_EQ(e.frozen.settings["pca"]["fitted_on"], 4);
  EXPECT_EQ(e.frozen.settings["pca"]["components"], 2);
}

// Means (2, 4); squares about them 98 and 322, products 160: 420 / 4 in all, of which the first component has the greater root.
TEST_F(PcaProgram, by_hand_on_all_samples) {
  ASSERT_EQ(run("pca -o a.h5ad x.tsv --obs o.tsv --fit-on all --components 1 --store-components --json a.json").code, 0);
  const Json j = json("a.json");
  EXPECT_EQ(j["fit_on"], "all");
  EXPECT_EQ(j["fitted_samples"], 5);
  EXPECT_EQ(j["components"], 1);
  const double first = (210 + std::sqrt(112.0 * 112 + 160 * 160)) / 4;
  EXPECT_NEAR(j["total_variance"].get<double>(), 105, 1e-9);
  EXPECT_NEAR(j["explained_variance"][0].get<double>(), first, 1e-9);
  EXPECT_NEAR(j["explained_variance_ratio_total"].get<double>(), first / 105, 1e-12);
  const auto a = data::read_dataset<double>(at("a.h5ad"));
  EXPECT_EQ(a.frozen.settings["pca"]["fit_on"], "all");
  EXPECT_EQ(a.frozen.features, (std::vector<std::string>{"g1", "g2"}));
  const std::vector<double>& mean = a.frozen.arrays.at("pca_mean").values;
  EXPECT_NEAR(mean[0], 2, 1e-12);
  EXPECT_NEAR(mean[1], 4, 1e-12);
  // Without a split all samples are fitted on as well, and that is said.
  const Outcome o = run("pca -o n.h5ad x.tsv --components 1 --json n.json");
  EXPECT_TRUE(says(o.err, "no column split: fitted on all samples")) << o.err;
  EXPECT_FALSE(says(o.err, "have no more")) << o.err;
  EXPECT_EQ(json("n.json")["fitted_samples"], 5);
  expect_error(run("pca -o a.tsv x.tsv --store-components"), 2, "--store-components");
  EXPECT_FALSE(fs::exists(at("a.tsv")));
}

// Twelve features that vary alike and apart: each component has a twelfth of the variance, ten are shown.
TEST_F(PcaProgram, shares_are_of_all_components) {
  data::RowMatrix<double> x = data::RowMatrix<double>::Zero(24, 12);
  for (int64_t i = 0; i < 12; ++i) x(2 * i, i) = 1.5, x(2 * i + 1, i) = -1.5;
  write_file(at("twelve.tsv"), text_of(x));
  const Outcome o = run("pca -o twelve.h5ad twelve.tsv --json twelve.json");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = json("twelve.json");
  EXPECT_EQ(j["components"], 12);
  EXPECT_EQ(j["explained_variance_ratio"].size(), 10u);
  EXPECT_NEAR(j["explained_variance_ratio_total"].get<double>(), 1, 1e-12);
  EXPECT_TRUE(says(squeezed(o.out), fmt::format("PC10 {:.4g} 8.33 83.33\n", 4.5 / 23))) << o.out;
}

TEST_F(PcaProgram, counts_are_pointed_out) {
  write_file(at("counts.tsv"), "s\tg1\tg2\nA\t300\t0\nB\t30\t1\nC\t10\t200\n");
  const Outcome o = run("pca -o c.h5ad counts.tsv");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(says(o.err, "warning: the matrix holds counts")) << o.err;
}

// 10^8 and its neighbours are one float.
TEST_F(PcaProgram, text_is_read_to_its_last_digit) {
  fs::create_directory(at("old.h5ad.d"));
  for (const char* name : {"digits.tsv", "old.h5ad.d/digits.tsv"}) {
    write_file(at(name), "s\tg1\tg2\nA\t99999999\t0.5\nB\t100000000\t0.5\nC\t100000001\t0.5\n");
    const Outcome o = run(std::string("pca -o d.h5ad --json d.json --memory 1K ") + name);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_NEAR(json("d.json")["total_variance"].get<double>(), 1, 1e-9) << name;
    EXPECT_TRUE(says(o.err, "it is held there all the same, as text is ('panvae convert'")) << o.err;
  }
  EXPECT_FALSE(says(run("pca -o d.h5ad digits.tsv").err, "all the same"));
}

TEST_F(PcaProgram, the_sketch_is_drawn_by_the_seed) {
  data::RowMatrix<double> x(40, 40);
  uint32_t state = 1;
  for (double& v : x.reshaped()) v = static_cast<double>((state = state * 1664525u + 1013904223u) >> 8) / (1 << 24) - 0.5;
  write_file(at("noise.tsv"), text_of(x));
  const auto scores = [&](const std::string& more) {
    expect_done("pca -o noise.h5ad noise.tsv --components 3 --method randomised --json noise.json --seed " + more);
    EXPECT_EQ(json("noise.json")["method"], "randomised");
    return data::read_dataset<double>(at("noise.h5ad")).x;
  };
  const auto one = scores("1"), again = scores("1"), other = scores("2");
  EXPECT_EQ(one, again);
  EXPECT_NE(one, other);
}

// A matrix that does not fit in memory cannot be filled on disk: it is read whole, with the same result.
TEST_F(PcaProgram, missing_values_are_filled_whatever_the_memory) {
  data::Dataset<float> d;
  d.x.resize(4, 2);
  d.x << 3, 0, -3, std::numeric_limits<float>::quiet_NaN(), 0, 1, 0, -1;
  d.obs.keys = {"A", "B", "C", "D"};
  d.var.keys = {"g1", "g2"};
  d.kind = "log";
  data::write_dataset(at("gap.h5ad"), d);
  expect_error(run("pca -o g.h5ad gap.h5ad"), 3, "'g2'");
  const Outcome o = run("pca -o g.h5ad gap.h5ad --missing mean --memory 1K --json g.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(says(o.err, "it is held there all the same, to fill what is missing")) << o.err;
  EXPECT_NEAR(json("g.json")["total_variance"].get<double>(), 20.0 / 3, 1e-6) << "the mean of 0, 1 and -1";
}

// CLI11 2.1 writes a default as "=512", 2.4 as " [512]".
TEST_F(PcaProgram, the_default_is_512_components) {
  const Outcome o = run("pca --help");
  EXPECT_TRUE(std::regex_search(o.out, std::regex(R"(--components INT:1 or more(=512| \[512\])\s)"))) << o.out;
}

// Counts of seven samples: libraries of 100, 100, 100 and 200 train (125 on average), F validates, E and G are held out. Three samples and
// two features are without counts, k is constant.
class PreprocessProgram : public SuiteFolder<PreprocessProgram> {
 public:
  static void prepare() {
    write_file(at("c.tsv"),
               "s\tf1\tf2\tz1\tf3\tf4\tz2\tk\nA\t10\t0\t0\t30\t55\t0\t5\nB\t40\t10\t0\t20\t25\t0\t5\nN1\t0\t0\t0\t0\t0\t0\t0\nC\t20\t60\t0\t5\t10\t0\t5\n"
               "D\t50\t30\t0\t100\t15\t0\t5\nE\t5\t5\t0\t5\t180\t0\t5\nN2\t0\t0\t0\t0\t0\t0\t0\nF\t70\t70\t0\t30\t25\t0\t5\nG\t90\t5\t0\t150\t50\t0\t5\n"
               "N3\t0\t0\t0\t0\t0\t0\t0\n");
    write_file(
        at("o.tsv"),
        "s\tsplit\tcohort\tbatch\tlab\tage\tbmi\nA\ttrain\tX\tb1\tl1\t40\t20\nB\ttrain\tX\tb2\tl1\t50\t31\nN1\ttrain\tX\tb1\tl1\t1\t1\nC\ttrain\tY\tb1\tl2\t75"
        "\t22\nD\ttrain\tY\tb2\tl2\t60\t25\nE\tholdout\tX\tb1\tl1\t40\t20\nN2\ttrain\tX\tb1\tl1\t1\t1\nF\tvalidation\tY\tb2\tl2\t44\t24\nG\tholdout\tY\tb2\tl1"
        "\t70\t26\nN3\ttrain\tY\tb1\tl1\t1\t1\n");
  }
  // The fit of these counts with more options, read back.
  static data::Dataset<double> fitted(const std::string& more) {
    expect_done("preprocess -o fit.h5ad c.tsv --obs o.tsv --modality rna --json fit.json " + more);
    return data::read_dataset<double>(at("fit.h5ad"));
  }
  static int64_t row(const data::Dataset<double>& d, const std::string& sample) { return d.obs.row_of().at(sample); }
  // Largest difference between the training means of the two levels.
  static double apart(const data::Dataset<double>& d, const std::vector<const char*>& one, const std::vector<const char*>& other) {
    Eigen::RowVectorXd difference = Eigen::RowVectorXd::Zero(d.x.cols());
    for (const char* s : one) difference += d.x.row(row(d, s)) / static_cast<double>(one.size());
    for (const char* s : other) difference -= d.x.row(row(d, s)) / static_cast<double>(other.size());
    return difference.cwiseAbs().maxCoeff();
  }
  // Largest product, over features, of the training values with `weights` of A, B, C and D.
  static double along(const data::Dataset<double>& d, const std::vector<double>& weights) {
    Eigen::RowVectorXd sum = Eigen::RowVectorXd::Zero(d.x.cols());
    for (size_t i = 0; i < 4; ++i) sum += weights[i] * d.x.row(row(d, std::string(1, static_cast<char>('A' + i))));
    return sum.cwiseAbs().maxCoeff();
  }
};

TEST_F(PreprocessProgram, what_is_dropped_is_counted_and_said) {
  const Outcome o = run("preprocess -o d.h5ad c.tsv --obs o.tsv --modality rna --json d.json");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = json("d.json");
  EXPECT_EQ(j["samples"], 7);
  EXPECT_EQ(j["features"], 4);
  EXPECT_EQ(j["dropped_samples"], 3);
  EXPECT_EQ(j["dropped_features_zero"], 2);
  EXPECT_EQ(j["dropped_features_variance"], 1);
  EXPECT_EQ(j["split"], (Json{{"train", 4}, {"validation", 1}, {"holdout", 2}}));
  EXPECT_EQ(j["aliased"], Json::array());
  const std::string text = squeezed(o.out);
  for (const char* line : {"dropped: samples without counts 3\n", "dropped: features all zero 2\n", "dropped: features that hardly vary 1\n", "train 4\n",
                           "validation 1\n", "holdout 2\n"})
    EXPECT_TRUE(says(text, line)) << line << "\n" << text;
  EXPECT_FALSE(says(text, "coverage") || says(text, "aliased")) << text;
  for (const char* line : {"3 samples without counts dropped", "2 features dropped that are zero in every sample",
                           "1 features dropped that hardly vary over the training samples (nzv:0.01)"})
    EXPECT_TRUE(says(o.err, line)) << line << "\n" << o.err;
  EXPECT_TRUE(says(o.err, "no batch named, none removed; columns that look like batches: 'batch' (")) << o.err;
  for (const char* named : {" --batch-key batch --preserve none", " --covariate age --preserve none", " --no-batch"})
    EXPECT_FALSE(says(run("preprocess -o d.h5ad c.tsv --obs o.tsv --modality rna" + std::string(named)).err, "look like batches")) << named;
}

// log2((count + p) / (L + 2 p) * 10^6) with p = prior * L / mean(L): of A, p is 0.4.
TEST_F(PreprocessProgram, logs_by_hand) {
  const auto log2_of = [](double count, double library, double prior) { return std::log2((count + prior) / (library + 2 * prior) * 1e6); };
  auto d = fitted("--no-quantile --prior-count 0.5");
  EXPECT_NEAR(d.x(row(d, "A"), 1), log2_of(0, 100, 0.4), 1e-5);
  EXPECT_NEAR(d.x(row(d, "G"), 0), log2_of(90, 300, 1.2), 1e-5);
  EXPECT_EQ(d.frozen.settings["fit_on"], "train");
  EXPECT_EQ(d.frozen.settings["training_samples"], 4);
  // The default prior is 2, the mean library of all samples 1200 / 7; --var-filter none keeps the feature that is constant.
  d = fitted("--no-quantile --fit-on all --var-filter none");
  EXPECT_EQ(d.features(), 5);
  EXPECT_NEAR(d.x(row(d, "A"), 4), log2_of(5, 100, 2 * 100 / (1200.0 / 7)), 1e-5);
  EXPECT_EQ(d.frozen.settings["fit_on"], "all");
  EXPECT_EQ(d.frozen.settings["training_samples"], 7);
  EXPECT_EQ(d.kind, "log");
  EXPECT_EQ(fitted("--tmm").frozen.settings["tmm"], true);
  expect_error(run("preprocess -o x.h5ad c.tsv --modality rna --prior-count 0"), 2, "--prior-count");
  expect_error(run("preprocess -o x.h5ad c.tsv --modality rna --input log --tmm"), 2, "--tmm");
  expect_error(run("preprocess -o x.h5ad c.tsv"), 2, "--modality is required");
}

TEST_F(PreprocessProgram, units_that_are_not_meant_are_pointed_out) {
  write_file(at("whole_tpm.tsv"), "s\tf1\tf2\tf3\nA\t500000\t300000\t200000\nB\t400000\t350000\t250001\nC\t300000\t299999\t400000\n");
  const Outcome counts = run("preprocess -o t.h5ad whole_tpm.tsv --modality rna --fit-on all");
  EXPECT_EQ(counts.code, 0) << counts.err;
  EXPECT_TRUE(says(counts.err, "the counts of every sample of 'whole_tpm.tsv' add up to 1e+06: are they rounded TPM or CPM?")) << counts.err;
  write_file(at("ln.tsv"), "s\tf1\tf2\tf3\nA\t0.5\t3.1\t2.2\nB\t4.5\t1.5\t0.1\nC\t3.25\t0.7\t4\n");
  expect_done("convert -o ln.h5ad ln.tsv");
  const auto logs = [] { return run("preprocess -o t.h5ad ln.h5ad --modality rna --input log --fit-on all"); };
  const std::string natural = "'ln.h5ad' holds natural logarithms (uns/log1p), where logs to base 2 are meant: log fold changes come out 0.69 times as large";
  EXPECT_FALSE(says(logs().err, "natural"));
  const auto change = [](auto&& f) {
    const hid_t file = H5Fopen(at("ln.h5ad").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    f(file);
    H5Fclose(file);
  };
  change([](hid_t file) {
    if (H5Lexists(file, "uns", H5P_DEFAULT) <= 0) H5Gclose(H5Gcreate2(file, "uns", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Gclose(H5Gcreate2(file, "uns/log1p", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  });
  EXPECT_TRUE(says(logs().err, natural)) << "without a base";
  change([](hid_t file) {
    const hid_t space = H5Screate(H5S_SCALAR);
    H5Dclose(H5Dcreate2(file, "uns/log1p/base", H5T_NATIVE_INT64, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
  });
  EXPECT_FALSE(says(logs().err, "natural")) << "with one";
  change([](hid_t file) {
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, 4);
    const hid_t a = H5Acreate_by_name(file, "uns/log1p/base", "encoding-type", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, type, "null");
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
  });
  EXPECT_TRUE(says(logs().err, natural)) << "with None, as AnnData writes it";
}

TEST_F(PreprocessProgram, effects_named_are_removed_and_no_others) {
  const std::vector<const char*> b1 = {"A", "C"}, b2 = {"B", "D"}, l1 = {"A", "B"}, l2 = {"C", "D"};
  auto d = fitted("--batch-key batch --batch-key lab --preserve none");
  EXPECT_LT(apart(d, b1, b2), 1e-5);
  EXPECT_LT(apart(d, l1, l2), 1e-5);
  EXPECT_EQ(d.frozen.settings["batch"]["preserve"], Json::array());
  // The cohort stays by itself where there is one: a laboratory that is the cohort cannot be told from it.
  d = fitted("--batch-key batch --batch-key lab");
  EXPECT_LT(apart(d, b1, b2), 1e-5);
  EXPECT_GT(apart(d, l1, l2), 0.1);
  EXPECT_EQ(d.frozen.settings["batch"]["preserve"], Json{"cohort"});
  EXPECT_EQ(json("fit.json")["aliased"], Json{"lab=l1"});
  EXPECT_TRUE(says(squeezed(run("preprocess -o x.h5ad c.tsv --obs o.tsv --modality rna --batch-key lab").out), "aliased, not corrected lab=l1\n"));
  d = fitted("--batch-key lab --preserve age --preserve cohort");
  EXPECT_EQ(d.frozen.settings["batch"]["preserve"], (Json{"age", "cohort"}));
  EXPECT_EQ(json("fit.json")["aliased"], Json{"lab=l1"});
  // Numbers: what is left does not go with the ages 40, 50, 75 and 60 (mean 56.25), nor with 20, 31, 22 and 25 (24.5).
  const std::vector<double> age = {-16.25, -6.25, 18.75, 3.75}, bmi = {-4.5, 6.5, -2.5, 0.5};
  d = fitted("--covariate age --covariate bmi --preserve none");
  EXPECT_LT(along(d, age), 1e-3);
  EXPECT_LT(along(d, bmi), 1e-3);
  const auto none = fitted("--no-batch"), whatever = fitted("--no-batch --batch-key batch --covariate age");
  EXPECT_EQ(none.x, whatever.x);
  EXPECT_GT(apart(none, b1, b2), 0.1);
  EXPECT_GT(along(none, age), 1);
}

TEST_F(PreprocessProgram, missing_covariates_are_counted) {
  std::string samples = read_file(at("o.tsv"));
  samples.replace(samples.find("\t44\t"), 4, "\t\t");
  write_file(at("gap.tsv"), samples);
  const Outcome fit = run("preprocess -o gap.h5ad c.tsv --obs gap.tsv --modality rna --covariate age");
  ASSERT_EQ(fit.code, 0) << fit.err;
  EXPECT_TRUE(says(fit.err, "1 missing values of batch or covariate columns")) << fit.err;
  const Outcome like = run("preprocess -o new.h5ad c.tsv --obs gap.tsv --like gap.h5ad");
  EXPECT_TRUE(says(like.err, "1 missing values of batch or covariate columns")) << like.err;
  EXPECT_FALSE(says(run("preprocess -o new.h5ad c.tsv --obs o.tsv --like gap.h5ad").err, "missing values"));
}

// What is said on the command line goes before what the fit says of unknown batches, whichever way.
TEST_F(PreprocessProgram, unknown_batches_as_the_command_or_else_the_fit_says) {
  std::string samples = read_file(at("o.tsv"));
  samples.replace(samples.find("Y\tb2\tl1"), 4, "Y\tb9");
  write_file(at("b9.tsv"), samples);
  const std::string fit = "preprocess -o b.h5ad c.tsv --modality rna --batch-key batch --obs ", like = "preprocess -o new.h5ad c.tsv --obs b9.tsv --like ";
  expect_error(run(fit + "b9.tsv"), 3, "'b9'");
  expect_error(run(fit + "b9.tsv --unknown-batch error"), 3, "'b9'");
  ASSERT_EQ(run(fit + "o.tsv").code, 0);
  expect_error(run(like + "b.h5ad"), 3, "'b9'");
  EXPECT_EQ(run(like + "b.h5ad --unknown-batch zero").code, 0);
  ASSERT_EQ(run(fit + "b9.tsv --unknown-batch zero").code, 0);
  EXPECT_EQ(run(like + "b.h5ad").code, 0);
  expect_error(run(like + "b.h5ad --unknown-batch error"), 3, "'b9'");
}

TEST_F(PreprocessProgram, a_fit_that_exists_takes_no_step_from_the_command) {
  ASSERT_EQ(run("preprocess -o f.h5ad c.tsv --obs o.tsv --modality rna").code, 0);
  for (const char* option : {"--input log", "--var-filter none", "--prior-count 1", "--tmm", "--no-quantile", "--no-batch", "--batch-key batch",
                             "--covariate age", "--preserve none", "--fit-on all", "--split sample", "--holdout 0.1", "--validation 0.1"})
    expect_error(run(fmt::format("preprocess -o none.h5ad c.tsv --like f.h5ad {}", option)), 2, "cannot be combined with --like");
  expect_error(run("preprocess -o none.h5ad c.tsv --like f.h5ad --modality atac"), 3, "fitted on rna, not on atac");
  EXPECT_FALSE(fs::exists(at("none.h5ad")));
  // Of four features one is not there; the side of a sample comes from the file named.
  write_file(at("three.tsv"), "s\tf4\tf1\tf2\tk\nA\t55\t10\t0\t5\nG\t50\t90\t5\t5\n");
  const Outcome o = run("preprocess -o new.h5ad three.tsv --like f.h5ad --json new.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(json("new.json")["coverage"], 0.75);
  EXPECT_TRUE(json("new.json")["split"].is_null());
  EXPECT_TRUE(says(squeezed(o.out), "coverage of the model's features 75.0 %\n")) << o.out;
  ASSERT_EQ(run("preprocess -o new.h5ad c.tsv --like f.h5ad --split-from o.tsv --json new.json").code, 0);
  EXPECT_EQ(json("new.json")["split"], (Json{{"train", 4}, {"validation", 1}, {"holdout", 2}}));
}

// Twenty donors of one cohort: of them 0.5 are held out, of the other ten 0.2 validate.
TEST_F(PreprocessProgram, the_split_is_drawn_as_asked) {
  std::string counts = "s\tf1\tf2\tf3\n";
  for (int i = 0; i < 20; ++i) counts += fmt::format("S{}\t{}\t{}\t{}\n", i, 10 + 7 * i % 11, 20 + 5 * i % 13, 30 - i);
  write_file(at("twenty.tsv"), counts);
  const auto sides = [&](const std::string& more) {
    expect_done("preprocess -o s.h5ad twenty.tsv --modality rna --json s.json " + more);
    const data::Table obs = data::read_obs(at("s.h5ad"));
    std::string out;
    for (int64_t r = 0; r < obs.rows(); ++r) out += obs.at("split").text(r)[0];
    return out;
  };
  const std::string first = sides("--holdout 0.5 --validation 0.2 --seed 1");
  EXPECT_EQ(json("s.json")["split"], (Json{{"train", 8}, {"validation", 2}, {"holdout", 10}}));
  EXPECT_NE(first, sides("--holdout 0.5 --validation 0.2 --seed 2"));
  EXPECT_EQ(first, sides("--holdout 0.5 --validation 0.2 --seed 1"));
  // 0.2 of twenty, then 0.1 of sixteen to the nearest.
  sides("");
  EXPECT_EQ(json("s.json")["split"], (Json{{"train", 14}, {"validation", 2}, {"holdout", 4}}));
  std::string table = "donor\tsplit\n", expected;
  for (int i = 0; i < 20; ++i) table += fmt::format("S{}\t{}\n", i, i % 4 == 1 ? "holdout" : i % 4 == 2 ? "validation" : "train"), expected += "thvt"[i % 4];
  write_file(at("from.tsv"), table);
  EXPECT_EQ(sides("--split-from from.tsv"), expected);
}

// B lacks its second value: its other two stand at the ends of the reference, which is (1 + 2 + 3, 3 + 5 + 5, 5 + 8 + 10) / 3.
TEST_F(PreprocessProgram, missing_logs_stay_out_of_the_quantiles) {
  write_file(at("logs.tsv"), "s\tg1\tg2\tg3\nA\t1.5\t3.5\t5.5\nB\t2.5\tNA\t8.5\nC\t3.5\t5.5\t10.5\n");
  expect_done("preprocess -o l.h5ad logs.tsv --modality rna --input log --missing mean --fit-on all");
  const auto d = data::read_dataset<double>(at("l.h5ad"));
  const double low = 2.5, middle = 13.0 / 3 + 0.5, high = 23.0 / 3 + 0.5;
  data::RowMatrix<double> expected(3, 3);
  expected << low, middle, high, low, middle, high, low, middle, high;
  EXPECT_LT((d.x - expected).cwiseAbs().maxCoeff(), 1e-5) << d.x;
  expect_error(run("preprocess -o l.h5ad logs.tsv --modality rna --input log"), 3, "'g2'");
  expect_error(run("preprocess -o l.h5ad c.tsv --modality rna --missing mean"), 2, "--missing mean");
  const Outcome o = run("preprocess -o l.h5ad c.tsv --obs o.tsv --modality rna --input log");
  EXPECT_TRUE(says(o.err, "warning: the values look like counts, but are taken as logs")) << o.err;
}

TEST_F(PreprocessProgram, genes_taken_as_peaks_are_pointed_out) {
  write_file(at("genes.tsv"), "s\tENSG00000000001\tENSG00000000002\nA\t5\t7\nB\t3\t9\nC\t8\t1\n");
  write_file(at("places.tsv"), "gene\tchrom\tstart\tend\nENSG00000000001\tchr1\t10\t20\nENSG00000000002\tchr1\t30\t40\n");
  const Outcome o = run("preprocess -o p.h5ad genes.tsv --var places.tsv --modality atac --holdout 0 --validation 0");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(says(o.err, "the features look like genes (first: 'ENSG00000000001'), but are taken as peaks (--modality atac)")) << o.err;
  EXPECT_FALSE(says(run("preprocess -o p.h5ad genes.tsv --modality rna --holdout 0 --validation 0").err, "are taken as"));
}

// Rows of unknown names may be anything; more of them than columns, and no table that calls them samples, are pointed out.
TEST_F(PreprocessProgram, a_table_that_may_lie_on_its_side_is_pointed_out) {
  write_file(at("tall.tsv"), "id\tx\ty\nA\t5\t7\nB\t3\t9\nC\t8\t1\n");
  write_file(at("square.tsv"), "id\tx\ty\tz\nA\t5\t7\t1\nB\t3\t9\t1\nC\t8\t1\t2\n");
  write_file(at("tall_obs.tsv"), "sample\tcohort\nA\tX\nB\tX\nC\tY\n");
  ASSERT_EQ(run("convert -o tall.h5ad tall.tsv").code, 0);
  const auto hint = [](const std::string& in) {
    const Outcome o = run("preprocess -o t.h5ad --modality rna --holdout 0 --validation 0 " + in);
    EXPECT_EQ(o.code, 0) << o.err;
    return says(o.err, "3 samples of 2 features: if the rows are features, say --rows features");
  };
  EXPECT_TRUE(hint("tall.tsv"));
  for (const char* known : {"tall.tsv --rows samples", "tall.tsv --obs tall_obs.tsv", "tall.h5ad", "square.tsv"}) EXPECT_FALSE(hint(known)) << known;
}

}  // namespace
