// simulate and preprocess on ATAC, as their users run them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "data/peaks.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

class AtacData : public SuiteFolder<AtacData> {
 public:
  static void prepare() {
    expect_done("simulate -o sim --donors 60 --genes 100 --cohorts 3 --peaks 900 --atac-fraction 0.6 --replicates 2 --json sim.json");
    expect_done("preprocess -o pp.h5ad sim/atac.h5ad --modality atac --batch-key batch --unknown-batch zero --json pp.json");
  }
};

TEST_F(AtacData, simulate_reports_both_modalities) {
  const Json j = json("sim.json");
  EXPECT_EQ(j["atac_samples"], 72);
  EXPECT_EQ(j["peaks"], 900);
  EXPECT_EQ(j["donors_with_both"], 36);
  for (const char* file : {"rna.h5ad", "atac.h5ad", "genes.tsv", "peaks.tsv", "sets.gmt", "latents.tsv", "truth.json"})
    EXPECT_TRUE(fs::exists(at(std::string("sim/") + file))) << file;
  ASSERT_EQ(run("simulate -o again --donors 60 --genes 100 --cohorts 3 --peaks 900 --atac-fraction 0.6 --replicates 2 --threads 1").code, 0);
  EXPECT_TRUE(read_file(at("sim/atac.h5ad")) == read_file(at("again/atac.h5ad")));
  EXPECT_EQ(read_file(at("sim/truth.json")), read_file(at("again/truth.json")));
  ASSERT_EQ(run("simulate -o rna_alone --donors 60 --genes 100 --cohorts 3 --peaks 0").code, 0);
  EXPECT_FALSE(fs::exists(at("rna_alone/atac.h5ad")));
  expect_error(run("simulate -o bad --peaks 7"), 2, "--peaks");
  expect_error(run("simulate -o bad --atac-fraction 2"), 2, "--atac-fraction");
}

TEST_F(AtacData, replicates_of_a_donor_stay_together) {
  const auto x = data::read_dataset<float>(at("pp.h5ad"));
  EXPECT_EQ(json("pp.json")["samples"], x.samples());
  for (int64_t r = 0; r < x.samples(); r += 2) {
    EXPECT_EQ(x.obs.at("donor").text(r), x.obs.at("donor").text(r + 1));
    EXPECT_EQ(x.obs.at("split").text(r), x.obs.at("split").text(r + 1));
  }
  EXPECT_EQ(x.kind, "log");
  EXPECT_EQ(x.frozen.settings["modality"], "atac");
  const data::Peaks peaks = data::peaks_of(x.var, "pp.h5ad");
  const auto order = data::bed_order(peaks);
  for (size_t p = 0; p < order.size(); ++p) ASSERT_EQ(order[p], static_cast<int64_t>(p));
}

TEST_F(AtacData, peaks_taken_as_genes_are_pointed_out) {
  const Outcome o = run("preprocess -o genes.h5ad sim/atac.h5ad --modality rna");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("the features look like peaks (first: 'chr"), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("are taken as genes (--modality rna)"), std::string::npos) << o.err;
  EXPECT_EQ(run("preprocess -o peaks.h5ad sim/atac.h5ad --modality atac").err.find("are taken as"), std::string::npos);
}

// A split that exists is kept; where it is left behind, samples can be drawn, and a hold-out shares donors with training.
TEST_F(AtacData, samples_are_split_only_where_that_is_asked_for_and_said) {
  const Outcome kept = run("preprocess -o kept.h5ad sim/atac.h5ad --modality atac --split sample");
  ASSERT_EQ(kept.code, 0) << kept.err;
  EXPECT_NE(kept.err.find("no samples are drawn (--split sample)"), std::string::npos) << kept.err;
  ASSERT_EQ(run("convert -o counts.tsv sim/atac.h5ad --write-obs obs.tsv").code, 0);
  const data::Table obs = data::read_table(at("obs.tsv"));
  EXPECT_EQ(obs.rows(), 72);
  EXPECT_TRUE(obs.find("split"));
  data::Table without;
  without.key_name = obs.key_name;
  without.keys = obs.keys;
  for (const char* name : {"donor", "cohort"}) without.set(obs.at(name));
  data::write_table(at("without.tsv"), without);
  for (const std::string split : {"donor", "sample"}) {
    ASSERT_EQ(run("preprocess -o again.h5ad counts.tsv --obs without.tsv --modality atac --split " + split).code, 0);
    const data::Table drawn = data::read_obs(at("again.h5ad"));
    int64_t apart = 0;
    for (int64_t r = 0; r < drawn.rows(); r += 2) apart += (drawn.at("split").text(r) == "holdout") != (drawn.at("split").text(r + 1) == "holdout");
    EXPECT_EQ(split == "sample", apart > 0);
    ASSERT_EQ(run("pca -o again_pca.h5ad again.h5ad --components 8").code, 0);
    const Outcome o = run("evaluate cohort again_pca.h5ad --on all --fold-key split --folds 2 --json again.json");
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(json("again.json")["folds"].size(), 2u);
    EXPECT_EQ(o.err.find(fmt::format("{} donors have samples in more than one fold", apart)) != std::string::npos, split == "sample") << o.err;
  }
  expect_error(run("convert -o c.tsv sim/atac.h5ad --write-obs obs.txt"), 2, "--write-obs");
}

TEST_F(AtacData, little_memory_gives_the_same_bytes) {
  const Outcome o = run("preprocess -o small.h5ad sim/atac.h5ad --modality atac --batch-key batch --unknown-batch zero --memory 1K --json small.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("temporary file"), std::string::npos) << o.err;
  EXPECT_TRUE(read_file(at("pp.h5ad")) == read_file(at("small.h5ad")));
  EXPECT_EQ(json("pp.json"), json("small.json"));
  ASSERT_EQ(run("preprocess -o new.h5ad sim/atac.h5ad --like pp.h5ad").code, 0);
  ASSERT_EQ(run("preprocess -o new_small.h5ad sim/atac.h5ad --like pp.h5ad --memory 1KiB").code, 0);
  EXPECT_TRUE(read_file(at("new.h5ad")) == read_file(at("new_small.h5ad")));
  for (const fs::directory_entry& e : fs::directory_iterator(folder)) EXPECT_EQ(e.path().filename().string().find(".panvae"), std::string::npos) << e.path();
  for (const char* bad : {"much", "GiB", "-3G", "6GiBs", ""})
    expect_error(run(std::string("preprocess -o b.h5ad sim/atac.h5ad --modality atac --memory='") + bad + "'"), 2, "--memory");
}

TEST_F(AtacData, float16_halves_the_file) {
  ASSERT_EQ(run("preprocess -o half.h5ad sim/atac.h5ad --modality atac --batch-key batch --unknown-batch zero --type float16").code, 0);
  const auto whole = data::read_dataset<float>(at("pp.h5ad")), half = data::read_dataset<float>(at("half.h5ad"));
  EXPECT_LT(((whole.x - half.x).array() / whole.x.array().abs().max(1)).abs().maxCoeff(), 0.0005);
  const auto saved = static_cast<int64_t>(fs::file_size(at("pp.h5ad"))) - static_cast<int64_t>(fs::file_size(at("half.h5ad")));
  EXPECT_NEAR(static_cast<double>(saved), 2.0 * static_cast<double>(whole.x.size()), 4096);
  expect_error(run("preprocess -o half.tsv sim/atac.h5ad --modality atac --type float16"), 2, "float16");
}

TEST_F(AtacData, components_in_strips_are_those_of_the_whole) {
  ASSERT_EQ(run("pca -o whole.h5ad pp.h5ad --components 20 --store-components --method exact --json whole.json").code, 0);
  ASSERT_EQ(run("pca -o strips.h5ad pp.h5ad --components 20 --store-components --method strips --json strips.json").code, 0);
  EXPECT_EQ(json("whole.json")["method"], "exact");
  EXPECT_EQ(json("strips.json")["method"], "strips");
  EXPECT_EQ(json("strips.json")["components"], 20);
  EXPECT_GT(json("strips.json")["peak_memory_bytes"].get<int64_t>(), 1 << 20);
  const auto whole = data::read_dataset<float>(at("whole.h5ad")), strips = data::read_dataset<float>(at("strips.h5ad"));
  EXPECT_LT((whole.x - strips.x).cwiseAbs().maxCoeff(), 1e-5F * whole.x.cwiseAbs().maxCoeff());
  EXPECT_EQ(whole.obs.keys, strips.obs.keys);
  EXPECT_EQ(whole.var.keys, strips.var.keys);
  for (const auto& [name, array] : whole.frozen.arrays) {
    const data::NamedArray& other = strips.frozen.arrays.at(name);
    ASSERT_EQ(array.shape, other.shape) << name;
    for (size_t i = 0; i < array.values.size(); ++i) ASSERT_NEAR(array.values[i], other.values[i], 1e-8 * std::max(1.0, std::abs(array.values[i]))) << name;
  }
  EXPECT_EQ(whole.frozen.features, strips.frozen.features);
  // Through a temporary file: the same bytes. A matrix that is not for strips is held whole, and that is said.
  const Outcome o = run("pca -o disk.h5ad pp.h5ad --components 20 --store-components --method strips --memory 1K");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("temporary file"), std::string::npos) << o.err;
  EXPECT_TRUE(read_file(at("strips.h5ad")) == read_file(at("disk.h5ad")));
  const Outcome w = run("pca -o w.h5ad pp.h5ad --components 20 --store-components --memory 1K");
  ASSERT_EQ(w.code, 0) << w.err;
  EXPECT_NE(w.err.find("held in memory all the same"), std::string::npos) << w.err;
  EXPECT_TRUE(read_file(at("whole.h5ad")) == read_file(at("w.h5ad")));
  expect_error(run("pca -o b.h5ad whole.h5ad --method strips"), 2, "--method");
  expect_error(run("pca -o b.h5ad pp.h5ad --memory much"), 2, "--memory");
}

TEST_F(AtacData, a_published_table_with_peaks_out_of_order) {
  write_file(at("counts.tsv"),
             "seqnames\tstart\tend\tname\tscore\tA\tB\tC\nchr10\t5\t9\tp1\t1\t4\t0\t7\nchr2\t5\t9\tp2\t1\t3\t5\t1\nscaffold7\t1\t4\tp3\t1\t2\t8\t9\nchrX\t1\t4"
             "\tp4\t1\t6\t2\t1\n");
  const Outcome o = run("preprocess -o t.h5ad counts.tsv --rows features --modality atac --validation 0 --holdout 0");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("'scaffold7'"), std::string::npos) << o.err;
  const auto t = data::read_dataset<float>(at("t.h5ad"));
  EXPECT_EQ(t.var.keys, (std::vector<std::string>{"p2", "p1", "p4", "p3"}));
  write_file(at("names.tsv"), "s\tx1\tx2\nA\t1\t2\nB\t2\t1\nC\t5\t2\n");
  expect_error(run("preprocess -o n.h5ad names.tsv --modality atac"), 3, "'x1'");
  write_file(at("var.tsv"), "peak\tchrom\tstart\tend\nx1\tchr2\t1\t5\nx2\tchr1\t1\t5\n");
  ASSERT_EQ(run("preprocess -o n.h5ad names.tsv --modality atac --var var.tsv --validation 0 --holdout 0").code, 0);
  EXPECT_EQ(data::read_dataset<float>(at("n.h5ad")).var.keys, (std::vector<std::string>{"x2", "x1"}));
  write_file(at("backwards.tsv"), "s\tchr1:9-5\tchr1:1-2\nA\t1\t2\nB\t2\t1\n");
  expect_error(run("preprocess -o n.h5ad backwards.tsv --modality atac"), 3, "'chr1:9-5'");
  write_file(at("negative.tsv"), "s\tchr1:3-5\tchr1:1-2\nA\t1\t-2\nB\t2\t1\n");
  expect_error(run("preprocess -o n.h5ad negative.tsv --modality atac"), 3, "'chr1:1-2'");
  write_file(at("fraction.tsv"), "s\tchr1:3-5\tchr1:1-2\nA\t1.5\t2\nB\t2\t1\n");
  expect_error(run("preprocess -o n.h5ad fraction.tsv --modality atac"), 3, "look like logs");
  expect_error(run("preprocess -o n.h5ad sim/rna.h5ad --like pp.h5ad"), 3, "features of the model");
}

}  // namespace
