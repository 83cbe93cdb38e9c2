// panvae evaluate alignment, expression and cohort as their users meet them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/json.h"
#include "base/philox.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

const std::string kStats = std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/";
const std::string kAligned = kStats + "align_embedding.tsv --obs " + kStats + "align_obs.tsv";
const std::string kExpression = kStats + "observed.tsv " + kStats + "reconstructed.tsv --obs " + kStats + "observed_obs.tsv";

class EvaluateProgram : public SuiteFolder<EvaluateProgram> {
 public:
  static void prepare() {}

 protected:
  static Outcome panvae(const std::string& arguments) { return SuiteFolder::run(arguments); }
  static Outcome run(const std::string& arguments) { return panvae("evaluate " + arguments); }
};

TEST_F(EvaluateProgram, AlignmentAnswersAsScipy) {
  const Json expected = Json::parse(read_file(kStats + "expected_alignment.json"));
  for (const char* angles : {"100", "20"}) {
    const Outcome o = run("alignment " + kAligned + " --angles " + angles + " --json a.json");
    ASSERT_EQ(o.code, 0) << o.err;
    const Json j = json("a.json"), wanted = expected[std::string("angles_") + angles];
    for (const char* key : {"distance", "angles", "n_angles", "max_distance", "chance_distance", "label_rank", "embedding_rank"})
      EXPECT_TRUE(j.contains(key)) << key;
    EXPECT_NEAR(j["distance"].get<double>(), wanted["distance"].get<double>(), 1e-6);
    for (size_t i = 0; i < wanted["angles"].size(); ++i) EXPECT_NEAR(j["angles"][i].get<double>(), wanted["angles"][i].get<double>(), 1e-6);
    EXPECT_EQ(j["label_rank"], wanted["label_rank"]);
    EXPECT_EQ(j["embedding_rank"], wanted["embedding_rank"]);
  }
  const Outcome a = run("alignment " + kAligned + " --json -"), b = run("alignment " + kAligned + " --json - --threads 3");
  Json first = Json::parse(a.out), second = Json::parse(b.out);
  first.erase("seconds");
  second.erase("seconds");
  EXPECT_EQ(first.dump(), second.dump());
}

TEST_F(EvaluateProgram, AlignmentControlAndMap) {
  ASSERT_EQ(run("alignment " + kAligned + " --control permuted --json c.json").code, 0);
  EXPECT_LT(std::abs(json("c.json")["z"].get<double>()), 4.5);
  const int64_t rank = [&] {
    run("alignment " + kAligned + " --permutations 0 --json m.json");
    EXPECT_EQ(json("m.json")["chance_distance"], nullptr);
    return json("m.json")["label_rank"].get<int64_t>();
  }();
  const Outcome o = run("alignment " + kAligned + " --cohort-map default --json m.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_LE(json("m.json")["label_rank"].get<int64_t>(), rank);
}

// Options that only a number shows.
TEST_F(EvaluateProgram, OptionsReachTheEvaluation) {
  const auto number = [](const std::string& arguments, const char* key) {
    const Outcome o = run(arguments + " --json -");
    EXPECT_EQ(o.code, 0) << o.err;
    return Json::parse(o.out)[key].get<double>();
  };
  EXPECT_NE(number("alignment " + kAligned, "chance_distance"), number("alignment " + kAligned + " --seed 1", "chance_distance"));
  const double de = number("expression " + kExpression, "n_de");
  EXPECT_GT(de, 0);
  EXPECT_EQ(number("expression " + kExpression + " --lfc 30", "n_de"), 0);
  EXPECT_EQ(number("expression " + kExpression + " --fdr 0", "n_de"), 0);
}

// 60 samples of four cohorts that hardly differ, two of which the default map makes one; ATAC samples are nearly those of RNA.
TEST_F(EvaluateProgram, OptionsOfCohortAlignmentAndPairsReachTheEvaluation) {
  const char* cohorts[] = {"COAD", "READ", "LUAD", "BRCA"};
  PhiloxSequence random({5, 0, 0});
  std::string rna = "sample\tz1\tz2\tz3\n", atac = rna, obs = "sample\tcohort\tdonor\tsplit\tfold\n";
  for (int i = 0; i < 60; ++i) {
    rna += "R" + std::to_string(i), atac += "A" + std::to_string(i);
    for (int k = 0; k < 3; ++k) {
      const double v = random.normal() + (i % 4 == k ? 1.2 : 0);
      rna += fmt::format("\t{:.4f}", v), atac += fmt::format("\t{:.4f}", v + 0.01);
    }
    rna += "\n", atac += "\n";
    for (const char* modality : {"R", "A"})
      obs += fmt::format("{}{}\t{}\tD{}\t{}\t{}\n", modality, i, cohorts[i % 4], i, i < 24 ? "train" : i < 28 ? "validation" : "holdout", i / 4 % 4);
  }
  write_file(at("options_rna.tsv"), rna), write_file(at("options_atac.tsv"), atac), write_file(at("options_obs.tsv"), obs);
  const auto answer = [](const std::string& arguments) {
    const Outcome o = run(arguments + " --obs options_obs.tsv --json -");
    EXPECT_EQ(o.code, 0) << o.err;
    return Json::parse(o.out);
  };
  const std::string cohort = "cohort options_rna.tsv", pairs = "pairs options_rna.tsv options_atac.tsv --on all",
                    alignment = "alignment options_rna.tsv --on all";
  const Json c = answer(cohort);
  EXPECT_EQ(c["n"], 32) << "those held out";
  EXPECT_EQ(c["folds"].size(), 5u);
  EXPECT_EQ(answer(cohort + " --on all")["n"], 60);
  EXPECT_NE(answer(cohort + " --seed 1")["macro_f1_mean"], c["macro_f1_mean"]);
  EXPECT_EQ(answer(cohort + " --folds 3")["folds"].size(), 3u);
  EXPECT_EQ(answer(cohort + " --fold-key fold")["folds"].size(), 4u);
  EXPECT_EQ(answer(cohort + " --cohort-map default")["classes"], 3);

  EXPECT_EQ(answer(alignment)["label_rank"], 3);
  EXPECT_EQ(answer(alignment + " --cohort-map default")["label_rank"], 2);

  const Json p = answer(pairs);
  EXPECT_EQ(p["n_pairs"], 60);
  EXPECT_EQ(answer("pairs options_rna.tsv options_atac.tsv")["n_pairs"], 32);
  EXPECT_NE(answer(pairs + " --seed 1")["chance_foscttm"], p["chance_foscttm"]);
  EXPECT_NE(answer(pairs + " --permutations 7")["chance_sd"], p["chance_sd"]);
  EXPECT_NE(answer(pairs + " --mixing-neighbours 3")["mixing_entropy"], p["mixing_entropy"]);
  EXPECT_EQ(answer(pairs + " --transfer-neighbours 1")["transfer_rna_to_atac"], 1);
  EXPECT_EQ(p["majority_share_rna"], 0.25);
  EXPECT_EQ(answer(pairs + " --cohort-map default")["majority_share_rna"], 0.5);
}

TEST_F(EvaluateProgram, AlignmentRefuses) {
  expect_error(run("alignment"), 2, "required");
  expect_error(run("alignment " + kAligned + " --angles 0"), 2, "--angles");
  expect_error(run("alignment " + kAligned + " --control shuffled"), 2, "--control");
  expect_error(run("alignment " + kAligned + " --on holdout"), 3, "--on all");
  expect_error(run("alignment " + kStats + "align_embedding.tsv"), 3, "cohort");
  expect_error(run("alignment " + kAligned + " --cohort-map missing.tsv"), 3, "missing.tsv");
  expect_error(run("alignment " + kAligned + " --json nowhere/a.json"), 4, "nowhere");
  write_file(at("constant.tsv"), "s\tz1\tz2\na\t1\t2\nb\t1\t2\nc\t1\t2\nd\t1\t2\n");
  write_file(at("constant_obs.tsv"), "s\tcohort\na\tX\nb\tX\nc\tY\nd\tY\n");
  expect_error(run("alignment constant.tsv --obs constant_obs.tsv"), 3, "same for all samples");
  EXPECT_EQ(run("alignment constant.tsv --obs constant_obs.tsv").out, "");
}

TEST_F(EvaluateProgram, ExpressionAnswersAsLimma) {
  for (const std::string test : {"paired", "limma", "limma-trend", "welch"}) {
    const Outcome o = run("expression " + kExpression + " --cohort BRCA --test " + test + " --table de.tsv --json e.json");
    ASSERT_EQ(o.code, 0) << o.err;
    const Json j = json("e.json");
    for (const char* key :
         {"n_features", "n_de", "n_up", "n_down", "baseline_n_de", "ratio", "spearman_per_sample_mean", "spearman_per_feature_mean", "r2", "cohort_mean_n_de"})
      EXPECT_TRUE(j.contains(key)) << key;
    std::string file = test;
    std::replace(file.begin(), file.end(), '-', '_');
    const data::Table table = data::read_table(at("de.tsv")), expected = data::read_table(kStats + "expected_de_" + file + ".tsv");
    EXPECT_EQ(table.key_name, "feature");
    ASSERT_EQ(table.keys, expected.keys);
    std::vector<std::string> names;
    for (const data::Column& c : table.columns) names.push_back(c.name);
    EXPECT_EQ(names, (std::vector<std::string>{"log2fc", "t", "p", "fdr", "mean_observed", "mean_reconstructed"}));
    for (size_t i = 0; i < table.keys.size(); ++i)
      for (const char* column : {"log2fc", "t", "p", "fdr"})
        EXPECT_LE(std::abs(table.at(column).number[i] - expected.at(column).number[i]), 1e-6 * std::abs(expected.at(column).number[i])) << table.keys[i];
    EXPECT_EQ(j["n_features"], 600);
    EXPECT_EQ(j["n_de"].get<int64_t>(), j["n_up"].get<int64_t>() + j["n_down"].get<int64_t>());
    for (const char* part : {"reconstruction", "cohort mean", "Spearman per sample", "R2"}) EXPECT_NE(o.out.find(part), std::string::npos) << o.out;
  }
}

// Two cohorts: feature A is wrong by 2 in the first and by -2 in the second, B by 2 in the second alone. Together A is right on average.
TEST_F(EvaluateProgram, ExpressionOfACohort) {
  std::string observed = "sample\tA\tB\tC\tD\n", reconstructed = observed, obs = "sample\tcohort\n";
  for (int i = 0; i < 12; ++i) {
    const bool first = i < 6;
    const double v[] = {2 + 0.25 * (i % 3), 3 - 0.25 * (i % 2), -1 + 0.5 * (i % 4), 1.5 - 0.25 * (i % 5)}, noise = 0.0625 * (i % 3 - 1);
    observed += fmt::format("S{}\t{}\t{}\t{}\t{}\n", i, v[0], v[1], v[2], v[3]);
    reconstructed += fmt::format("S{}\t{}\t{}\t{}\t{}\n", i, v[0] + (first ? 2 : -2) + noise, v[1] + (first ? 0 : 2) - noise, v[2] + noise, v[3] - noise);
    obs += fmt::format("S{}\t{}\n", i, first ? "X" : "Y");
  }
  write_file(at("two.tsv"), observed), write_file(at("two_back.tsv"), reconstructed), write_file(at("two_obs.tsv"), obs);
  const auto counts = [](const std::string& more) {
    const Outcome o = run("expression two.tsv two_back.tsv --obs two_obs.tsv --json - " + more);
    EXPECT_EQ(o.code, 0) << o.err;
    const Json j = Json::parse(o.out);
    return std::vector<Json>{j["n"], j["n_up"], j["n_down"]};
  };
  EXPECT_EQ(counts("--cohort X"), (std::vector<Json>{6, 1, 0}));
  EXPECT_EQ(counts("--cohort Y"), (std::vector<Json>{6, 1, 1}));
  EXPECT_EQ(counts("")[0], 12);
  // A table of genes does not take the place of what it is made of.
  for (const char* named : {"two.tsv", "./two_back.tsv", "two_obs.tsv"})
    expect_error(run(std::string("expression two.tsv two_back.tsv --obs two_obs.tsv --table ") + named), 2, "--table would replace a file that");
  EXPECT_EQ(read_file(at("two.tsv")), observed);
}

// The whole way on simulated counts, with both baselines.
TEST_F(EvaluateProgram, ExpressionOfAReconstruction) {
  ASSERT_EQ(panvae("simulate -o sim --donors 80 --genes 200 --cohorts 3 --replicated-fraction 0.5").code, 0);
  ASSERT_EQ(panvae("preprocess -o x.h5ad sim/rna.h5ad --modality rna").code, 0);
  ASSERT_EQ(panvae("train rna -o run x.h5ad --set model.hidden=32 --set model.latent=8 --set train.max_epochs=5").code, 0);
  ASSERT_EQ(panvae("reconstruct -o y.h5ad run x.h5ad").code, 0);
  const Outcome thin = run("expression x.h5ad y.h5ad --baseline thin --counts sim/rna.h5ad --json thin.json");
  ASSERT_EQ(thin.code, 0) << thin.err;
  const Json j = json("thin.json");
  EXPECT_EQ(j["cohort_mean_from"], "train");
  EXPECT_EQ(j["on"], "holdout");
  EXPECT_EQ(j["baseline_pairs"], j["n"]);
  EXPECT_TRUE(j["ratio"].is_number());
  EXPECT_GT(j["spearman_per_sample_mean"].get<double>(), 0.3);
  const Outcome again = run("expression x.h5ad y.h5ad --baseline thin --counts sim/rna.h5ad --json again.json --threads 3");
  Json second = json("again.json");
  second["seconds"] = j["seconds"];
  EXPECT_EQ(second.dump(), j.dump());
  const Outcome rep = run("expression x.h5ad y.h5ad --on all --baseline techrep --json rep.json");
  ASSERT_EQ(rep.code, 0) << rep.err;
  EXPECT_GT(json("rep.json")["baseline_pairs"].get<int64_t>(), 10);
  EXPECT_LT(json("rep.json")["donors"].get<int64_t>(), json("rep.json")["n"].get<int64_t>());
  EXPECT_EQ(json("rep.json")["warnings"].dump().find("replicates of a donor") == std::string::npos, false);
  expect_error(run("expression sim/rna.h5ad y.h5ad --on all"), 3, "look like counts");
  expect_error(run("expression x.h5ad y.h5ad --cohort NOPE"), 3, "there are");
  expect_error(run("expression x.h5ad y.h5ad --where cohort=NOPE"), 3, "NOPE");
  ASSERT_EQ(panvae("convert -o few.h5ad y.h5ad --where split=train").code, 0);
  expect_error(run("expression x.h5ad few.h5ad"), 3, "are not in the reconstruction");
}

TEST_F(EvaluateProgram, ExpressionRefuses) {
  expect_error(run("expression " + kStats + "observed.tsv"), 2, "required");
  expect_error(run("expression " + kExpression + " --test t"), 2, "--test");
  expect_error(run("expression " + kExpression + " --baseline half"), 2, "--baseline");
  expect_error(run("expression " + kExpression + " --baseline thin"), 2, "--counts");
  expect_error(run("expression " + kExpression + " --counts " + kStats + "counts.tsv"), 2, "--baseline");
  expect_error(run("expression " + kExpression + " --baseline techrep"), 3, "technical replicates");
  expect_error(run("expression " + kExpression + " --baseline thin --counts " + kStats + "counts.tsv"), 3, "no preprocessing");
  expect_error(run("expression " + kExpression + " --table de.h5ad"), 2, "--table");
  expect_error(run("expression " + kExpression + " --table nowhere/de.tsv"), 4, "nowhere");
  expect_error(run("expression " + kExpression + " --fdr 2"), 2, "--fdr");
  expect_error(run("expression " + kStats + "observed.tsv " + kStats + "align_embedding.tsv"), 3, "not in the reconstruction");
  write_file(at("nan.tsv"), "s\tA\tB\nx\t1.5\tNA\ny\t2.5\t3\n");
  expect_error(run("expression nan.tsv nan.tsv"), 3, "sample 'x', feature 'B'");
}

TEST_F(EvaluateProgram, CohortControlAndMap) {
  const Outcome map = run("cohort --print-cohort-map");
  ASSERT_EQ(map.code, 0);
  EXPECT_EQ(std::count(map.out.begin(), map.out.end(), '\n'), 34);
  EXPECT_NE(map.out.find("COAD\tcolorectal"), std::string::npos);
  write_file(at("map.tsv"), map.out);
  expect_error(run("cohort"), 2, "EMB is required");
  ASSERT_EQ(run("cohort " + kAligned + " --cohort-map default --json d.json").code, 0);
  ASSERT_EQ(run("cohort " + kAligned + " --cohort-map map.tsv --json f.json").code, 0);
  EXPECT_EQ(json("d.json")["folds"], json("f.json")["folds"]);
  ASSERT_EQ(run("cohort " + kAligned + " --control permuted --json p.json").code, 0);
  const Json p = json("p.json");
  EXPECT_EQ(p["control"], "permuted");
  EXPECT_LT(p["accuracy_mean"].get<double>(), p["majority_share"].get<double>() + 0.08);
}

}  // namespace
