// panvae cca as its users run it.
#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "base/json.h"
#include "data/read.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

class CcaProgram : public SuiteFolder<CcaProgram> {
 public:
  static void prepare() {
    for (const char* arguments : {"simulate -o sim --donors 150 --genes 300 --cohorts 4 --peaks 1500 --atac-fraction 0.8 --replicates 1 --seed 3",
                                  "preprocess -o r.h5ad sim/rna.h5ad --modality rna", "preprocess -o a.h5ad sim/atac.h5ad --modality atac"})
      expect_done(arguments);
  }

 protected:
  static std::string to(const std::string& name) { return fmt::format("cca --rna-output {0}.r.h5ad --atac-output {0}.a.h5ad r.h5ad a.h5ad ", name); }
};

TEST_F(CcaProgram, SimulatedStudy) {
  const Outcome o = run(to("z") + "--pca 30 --components 8 --json z.json");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = json("z.json");
  const data::Table rna = data::read_obs(at("r.h5ad")), atac = data::read_obs(at("a.h5ad"));
  int64_t training = 0, validating = 0;
  for (int64_t i = 0; i < atac.rows(); ++i) training += atac.at("split").text(i) == "train", validating += atac.at("split").text(i) == "validation";
  EXPECT_EQ(j["pairs"], training) << "every donor of this study has RNA";
  EXPECT_EQ(j["validation_pairs"], validating);
  EXPECT_EQ(j["rna"]["samples"], rna.rows());
  EXPECT_EQ(j["atac"]["samples"], atac.rows());
  EXPECT_EQ(j["atac"]["training_samples"], training);
  EXPECT_EQ(j["rna"]["dimensions"], 30);
  ASSERT_EQ(j["correlations"].size(), 8U);
  EXPECT_GT(j["correlations"][0].get<double>(), 0.9);
  EXPECT_GT(j["validation_correlations"][0].get<double>(), 0.5);
  EXPECT_NE(o.out.find(fmt::format("{} training pairs of {} donors", training, training)), std::string::npos) << o.out;

  const auto z = data::read_dataset<double>(at("z.a.h5ad"));
  EXPECT_EQ(z.kind, "embedding");
  EXPECT_EQ(z.obs.keys, atac.keys);
  EXPECT_EQ(z.var.keys.front(), "CC1");
  EXPECT_EQ(z.var.at("correlation").number[0], j["correlations"][0].get<double>());
  EXPECT_EQ(z.frozen.settings["cca"]["pairs"], training);

  EXPECT_NE(j["validation_correlations"], j["correlations"]);
  EXPECT_NE(j["atac"]["explained_variance_ratio"], j["rna"]["explained_variance_ratio"]);
  // Canonical variates times a power of the singular value.
  ASSERT_EQ(run(to("v") + "--pca 30 --components 8 --power 0").code, 0);
  const auto v = data::read_dataset<double>(at("v.a.h5ad"));
  EXPECT_GT(j["power"].get<double>(), 0);
  for (int64_t k = 0; k < 8; ++k) {
    const double scale = std::pow(j["singular_values"][static_cast<size_t>(k)].get<double>(), j["power"].get<double>());
    EXPECT_NEAR(z.x(0, k), v.x(0, k) * scale, 1e-5 * std::abs(v.x(0, k)) + 1e-6) << k;
  }

  // New donors are found again, better than by the components that went in.
  ASSERT_EQ(run("evaluate pairs z.r.h5ad z.a.h5ad --json pairs.json").code, 0);
  EXPECT_EQ(json("pairs.json")["on"], "holdout");
  ASSERT_EQ(run("pca -o p.r.h5ad r.h5ad --components 8").code, 0);
  ASSERT_EQ(run("pca -o p.a.h5ad a.h5ad --components 8").code, 0);
  ASSERT_EQ(run("evaluate pairs p.r.h5ad p.a.h5ad --json before.json").code, 0);
  EXPECT_LT(json("pairs.json")["foscttm"].get<double>(), 0.15);
  EXPECT_LT(json("pairs.json")["foscttm"].get<double>(), json("before.json")["foscttm"].get<double>() / 2);

  ASSERT_EQ(run(to("one") + "--pca 30 --components 8 --threads 1").code, 0);
  ASSERT_EQ(run(to("three") + "--pca 30 --components 8 --threads 3").code, 0);
  for (const char* modality : {"r", "a"}) {
    EXPECT_EQ(read_file(at(fmt::format("one.{}.h5ad", modality))), read_file(at(fmt::format("z.{}.h5ad", modality))));
    EXPECT_EQ(read_file(at(fmt::format("three.{}.h5ad", modality))), read_file(at(fmt::format("z.{}.h5ad", modality))));
  }
}

TEST_F(CcaProgram, PairsOfATable) {
  ASSERT_EQ(run("match -o pairs.tsv --rna r.h5ad --atac a.h5ad").code, 0);
  ASSERT_EQ(run(to("t") + "--pairs pairs.tsv --pca 10 --json t.json").code, 0);
  ASSERT_EQ(run(to("d") + "--pca 10 --json d.json").code, 0);
  EXPECT_EQ(json("t.json")["correlations"], json("d.json")["correlations"]) << "pairs of tier 1 are those of equal donors";
  EXPECT_EQ(json("t.json")["components"], 10);
  EXPECT_EQ(read_file(at("t.r.h5ad")), read_file(at("d.r.h5ad")));
}

// Pairs of tiers 1, 2 and 3, told apart by how many they are.
TEST_F(CcaProgram, TiersOfATable) {
  const data::Table rna = data::read_obs(at("r.h5ad")), atac = data::read_obs(at("a.h5ad"));
  std::vector<std::string> of_rna, of_atac;
  for (int64_t i = 0; i < rna.rows(); ++i)
    if (rna.at("split").text(i) == "train") of_rna.push_back(rna.keys[static_cast<size_t>(i)]);
  for (int64_t i = 0; i < atac.rows(); ++i)
    if (atac.at("split").text(i) == "train") of_atac.push_back(atac.keys[static_cast<size_t>(i)]);
  ASSERT_TRUE(of_rna.size() > 50 && of_atac.size() > 50);
  std::string table = "atac\trna\ttier\n";
  for (size_t i = 0; i < 50; ++i) table += fmt::format("{}\t{}\t{}\n", of_atac[i], of_rna[i], i < 20 ? 1 : i < 37 ? 2 : 3);
  write_file(at("tiers.tsv"), table);
  const auto pairs = [](const std::string& more) {
    const Outcome o = run(to("tiers") + "--pairs tiers.tsv --pca 5 --json tiers.json " + more);
    EXPECT_EQ(o.code, 0) << o.err;
    return json("tiers.json")["pairs"].get<int64_t>();
  };
  EXPECT_EQ(pairs(""), 20);
  EXPECT_EQ(pairs("--max-tier 2"), 37);
  EXPECT_EQ(pairs("--max-tier 6"), 50);
  expect_error(run(to("x") + "--max-tier 0"), 2, "--max-tier");
}

TEST_F(CcaProgram, CountsAreWarnedOf) {
  const auto warned = [](const std::string& inputs) {
    const Outcome o = run("cca --rna-output c.r.h5ad --atac-output c.a.h5ad --pca 5 " + inputs);
    EXPECT_EQ(o.code, 0) << o.err;
    return std::pair(o.err.find("sim/rna.h5ad holds counts") != std::string::npos, o.err.find("sim/atac.h5ad holds counts") != std::string::npos);
  };
  EXPECT_EQ(warned("sim/rna.h5ad a.h5ad"), std::pair(true, false));
  EXPECT_EQ(warned("r.h5ad sim/atac.h5ad"), std::pair(false, true));
  EXPECT_EQ(run(to("c") + "--pca 5").err.find("holds counts"), std::string::npos);
}

TEST_F(CcaProgram, BadInput) {
  expect_error(run(to("x") + "--pca 0 --shrinkage 0"), 3, "training pairs are too few for 300");
  expect_error(run(to("x") + "--shrinkage 2"), 2, "--shrinkage");
  expect_error(run(to("x") + "--components 0"), 2, "--components");
  for (const char* same : {"x.h5ad", "./x.h5ad"})
    expect_error(run("cca --rna-output x.h5ad r.h5ad a.h5ad --atac-output " + std::string(same)), 2,
                 "--atac-output would replace a file that --rna-output names too");
  expect_error(run("cca --rna-output x.h5ad --atac-output ./r.h5ad r.h5ad a.h5ad"), 2, "--atac-output would replace a file that RNA names too");
  expect_error(run("cca --rna-output x.h5ad --atac-output y.foo r.h5ad a.h5ad"), 2, "y.foo");
  expect_error(run("cca --rna-output x.h5ad r.h5ad a.h5ad"), 2, "--atac-output");
  expect_error(run("cca --rna-output x.h5ad --atac-output y.h5ad r.h5ad nothing.h5ad"), 3, "nothing.h5ad");
  std::string table = "atac\trna\nA\tB\n";
  write_file(at("strangers.tsv"), table);
  expect_error(run(to("x") + "--pairs strangers.tsv"), 3, "1 name samples that are not there");
  EXPECT_FALSE(fs::exists(at("x.h5ad")));
  EXPECT_FALSE(fs::exists(at("x.r.h5ad")));
}

}  // namespace
