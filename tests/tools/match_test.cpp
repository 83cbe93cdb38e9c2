// panvae match and evaluate pairs as their users run them.
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <set>

#include "base/json.h"
#include "data/pairs.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

class MatchProgram : public SuiteFolder<MatchProgram> {
 public:
  static void prepare() { expect_done("simulate -o sim --donors 120 --genes 300 --cohorts 4 --peaks 2500 --atac-fraction 0.5 --replicates 2"); }

 protected:
  static inline const std::string kInputs = "--rna sim/rna.h5ad --atac sim/atac.h5ad --genes sim/genes.tsv";
};

TEST_F(MatchProgram, SimulatedStudy) {
  const Outcome o = run("match -o pairs.tsv " + kInputs + " --json match.json");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = json("match.json");
  const auto pairs = data::read_pairs(at("pairs.tsv"));
  EXPECT_EQ(j["n_pairs"], pairs.size());
  const data::Table rna = data::read_obs(at("sim/rna.h5ad")), atac = data::read_obs(at("sim/atac.h5ad"));
  const auto rna_at = rna.row_of(), atac_at = atac.row_of();
  std::set<std::string> matched;
  int64_t holdout = 0;
  for (const data::SamplePair& p : pairs) {
    const int64_t a = atac_at.at(p.atac), r = rna_at.at(p.rna);
    // Each pair is on the side of its two donors; held out are pairs of one donor alone.
    EXPECT_EQ(atac.at("split").text(a), p.split);
    EXPECT_EQ(rna.at("split").text(r), p.split);
    EXPECT_TRUE(p.tier > 1 || atac.at("donor").text(a) == rna.at("donor").text(r));
    EXPECT_TRUE(p.tier == 1 || p.split == "train") << "every donor of this study has RNA";
    EXPECT_TRUE(p.tier == 6 || matched.insert(p.atac).second) << p.atac;
    holdout += p.split == "holdout";
  }
  EXPECT_EQ(static_cast<int64_t>(matched.size()), atac.rows());
  EXPECT_EQ(j["pairs"]["holdout"]["n"], holdout);
  EXPECT_GT(holdout, 10);
  EXPECT_EQ(j["correlated"]["found"], 4 * j["pairs"]["train"]["atac_samples"].get<int64_t>());
  EXPECT_EQ(j["pairs"]["train"]["tiers"]["6"].get<int64_t>() + j["correlated"]["duplicates_dropped"].get<int64_t>(), j["correlated"]["found"]);
  // Peaks are linked to genes: the own donor is among the four far more often than by chance (4 of 86, 0.05).
  EXPECT_GT(j["correlated"]["own_donor_rate"].get<double>(), 0.3);
  EXPECT_LT(j["correlated"]["cross_cohort_rate"].get<double>(), 0.5);  // 0.75 by chance
  EXPECT_GT(j["correlation_by_tier"]["1"].get<double>(), 0.1);
  for (const char* what : {"age", "cohort", "sex", "ethnicity"}) {
    EXPECT_TRUE(j["population"]["rna"].contains(what)) << what;
    const double p = j["population"]["rna"][what]["p"].get<double>();
    EXPECT_TRUE(p >= 0 && p <= 1) << what << " " << p;
  }
  EXPECT_NE(o.out.find("donor"), std::string::npos);
  EXPECT_NE(o.out.find("written: pairs.tsv"), std::string::npos);

  ASSERT_EQ(run("match -o again.tsv " + kInputs + " --threads 1").code, 0);
  ASSERT_EQ(run("match -o threads.tsv " + kInputs + " --threads 3").code, 0);
  EXPECT_EQ(read_file(at("again.tsv")), read_file(at("pairs.tsv")));
  EXPECT_EQ(read_file(at("threads.tsv")), read_file(at("pairs.tsv")));

  ASSERT_EQ(run("match -o within.tsv " + kInputs + " --within-cohort --correlated 2 --top-genes 100 --json within.json").code, 0);
  EXPECT_EQ(json("within.json")["correlated"]["cross_cohort_rate"], 0);
  EXPECT_EQ(json("within.json")["gene_activity"]["genes"], 100);
}

TEST_F(MatchProgram, PreprocessedMatricesDoAsWell) {
  ASSERT_EQ(run("preprocess -o r.h5ad sim/rna.h5ad --modality rna --batch-key batch --unknown-batch zero").code, 0);
  ASSERT_EQ(run("preprocess -o a.h5ad sim/atac.h5ad --modality atac --batch-key batch --unknown-batch zero").code, 0);
  const Outcome o = run("match -o pp.tsv --rna r.h5ad --atac a.h5ad --genes sim/genes.tsv --json pp.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_GT(json("pp.json")["correlated"]["own_donor_rate"].get<double>(), 0.3);

  // Two embeddings by the table's held-out pairs; one with itself has FOSCTTM 0, permuted 0.5.
  ASSERT_EQ(run("pca -o rp.h5ad r.h5ad --components 8").code, 0);
  ASSERT_EQ(run("pca -o ap.h5ad a.h5ad --components 8").code, 0);
  const Outcome e = run("evaluate pairs rp.h5ad ap.h5ad --pairs pp.tsv --json e.json");
  ASSERT_EQ(e.code, 0) << e.err;
  const Json j = json("e.json");
  for (const char* key : {"foscttm", "recall_at_1", "recall_at_5", "recall_at_10", "mixing_entropy", "transfer_rna_to_atac", "transfer_atac_to_rna", "n_pairs"})
    EXPECT_TRUE(j.contains(key) && j[key].is_number()) << key;
  EXPECT_EQ(j["on"], "holdout");
  EXPECT_EQ(j["n_pairs"], json("pp.json")["pairs"]["holdout"]["n"]);
  ASSERT_EQ(run("evaluate pairs rp.h5ad rp.h5ad --json self.json").code, 0);
  EXPECT_EQ(json("self.json")["foscttm"], 0);
  ASSERT_EQ(run("evaluate pairs rp.h5ad rp.h5ad --control permuted --on all --json control.json").code, 0);
  EXPECT_NEAR(json("control.json")["foscttm"].get<double>(), 0.5, 0.1);
  EXPECT_EQ(json("control.json")["control"], "permuted");
  const Outcome again = run("evaluate pairs rp.h5ad ap.h5ad --pairs pp.tsv --threads 3 --json f.json");
  ASSERT_EQ(again.code, 0);
  Json one = j, three = json("f.json");
  one.erase("seconds"), three.erase("seconds");
  EXPECT_EQ(one.dump(), three.dump());
}

TEST_F(MatchProgram, ScoresMatchByTiersAlone) {
  write_file(at("scores.tsv"), "sample\tPC1\tPC2\na1\t1\t2\na2\t3\t4\n");
  write_file(at("scores_obs.tsv"), "sample\tdonor\tcohort\tage\tsex\na1\tp\tX\t50\tf\na2\tq\tX\t60\tm\n");
  write_file(at("rna.tsv"), "sample\tG1\tG2\nr1\t1.5\t2\nr2\t3\t4\nr3\t-1\t0\n");
  write_file(at("rna_obs.tsv"), "sample\tdonor\tcohort\tage\tsex\nr1\tp\tX\t50\tf\nr2\te\tX\t58\tm\nr3\tf\tX\t62\tf\n");
  const std::string inputs = "--rna rna.tsv --rna-obs rna_obs.tsv --atac scores.tsv --atac-obs scores_obs.tsv";
  const Outcome o = run("match -o scores_pairs.tsv " + inputs + " --genes sim/genes.tsv --json scores.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("no peaks"), std::string::npos) << o.err;
  EXPECT_EQ(json("scores.json")["correlated"], nullptr);
  const auto pairs = data::read_pairs(at("scores_pairs.tsv"));
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].rna, "r1");
  EXPECT_EQ(pairs[1].rna, "r2");
  EXPECT_EQ(pairs[1].tier, 2);
  EXPECT_EQ(pairs[1].split, "train");
  const Outcome without = run("match -o x.tsv " + inputs + " --rna-where sex=f --json x.json");
  ASSERT_EQ(without.code, 0) << without.err;
  EXPECT_NE(without.err.find("no --genes"), std::string::npos);
  EXPECT_EQ(data::read_pairs(at("x.tsv"))[1].tier, 4);  // no man left
}

// Seven ATAC and four RNA samples, every count by hand. The median age of cohort X is 58: of donors p (50), e (58) and q (60).
TEST_F(MatchProgram, CountsOfASmallStudy) {
  const auto scores = [](const std::string& letter, int n) {
    std::string out = "sample\tPC1\tPC2\n";
    for (int i = 1; i <= n; ++i) out += letter + std::to_string(i) + "\t" + std::to_string(i) + "\t-" + std::to_string(i % 3) + "\n";
    return out;
  };
  write_file(at("r7.tsv"), scores("r", 4));
  write_file(at("a7.tsv"), scores("a", 7));
  const std::string head = "sample\tdonor\tcohort\tage\tsex\tsplit\n";
  write_file(at("r7_obs.tsv"), head +
                                   "r1\tp\tX\t50\tf\ttrain\n"
                                   "r2\te\tX\t58\tm\ttrain\n"
                                   "r3\tf\tX\t\tf\ttrain\n"
                                   "r4\tg\tY\t40\tm\tvalidation\n");
  write_file(at("a7_obs.tsv"), head +
                                   "a1\tp\tX\t50\tf\ttrain\n"    // its donor's RNA
                                   "a2\tq\tX\t60\tm\ttrain\n"    // r2, two years apart
                                   "a3\ts\tX\t\tf\ttrain\n"      // r3, of filled ages
                                   "a4\tt\tZ\t33\tm\ttrain\n"    // no RNA of cohort Z
                                   "a5\th\tX\t50\tf\tholdout\n"  // no RNA of its donor
                                   "a6\tg\tY\t40\tm\tvalidation\n"
                                   "a7\tu\tX\t\tf\ttrain\n");  // r3 again: r1 is eight years away
  const Outcome o = run("match -o p7.tsv --rna r7.tsv --rna-obs r7_obs.tsv --atac a7.tsv --atac-obs a7_obs.tsv --json p7.json");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = json("p7.json");
  EXPECT_EQ(j["n_pairs"], 5);
  const auto side = [](int n, Json tiers, int atac, int rna) {
    return Json{{"n", n}, {"tiers", std::move(tiers)}, {"atac_samples", atac}, {"rna_samples", rna}};
  };
  EXPECT_EQ(j["pairs"]["train"], side(4, {{"1", 1}, {"2", 3}}, 5, 3));
  EXPECT_EQ(j["pairs"]["validation"], side(1, {{"1", 1}}, 1, 1));
  EXPECT_EQ(j["pairs"]["holdout"], side(0, Json::object(), 1, 0));
  EXPECT_EQ(j["unmatched"], 1);
  EXPECT_EQ(j["cohorts_without_rna"], Json({"Z"}));
  EXPECT_EQ(j["holdout_without_rna"], 1);
  EXPECT_EQ(j["reused"], 1);
  EXPECT_EQ(j["filled_ages"], Json({{"rna", 1}, {"atac", 2}}));
  EXPECT_DOUBLE_EQ(j["age_distance_mean"].get<double>(), 2.0 / 3);
  EXPECT_EQ(j["population"]["rna"]["donors"], 3) << "p, e and f, who train, and not g, who validates";
  EXPECT_EQ(j["population"]["rna"]["reference_donors"], 3);
  EXPECT_EQ(j["population"]["atac"]["reference_donors"], 5);
  EXPECT_NE(o.err.find("1 ATAC samples have no RNA sample of their cohort and side: 'Z'"), std::string::npos) << o.err;
  std::map<std::string, std::string> rna_of;
  for (const data::SamplePair& p : data::read_pairs(at("p7.tsv"))) rna_of[p.atac] = p.rna;
  EXPECT_EQ(rna_of, (std::map<std::string, std::string>{{"a1", "r1"}, {"a2", "r2"}, {"a3", "r3"}, {"a6", "r4"}, {"a7", "r3"}}));
}

// Counts whose logarithms are two genes high and four low in each sample, whatever its library: standardised, an ATAC sample is one of RNA,
// and their correlation 1.
TEST_F(MatchProgram, CorrelatedSamplesOfASmallStudy) {
  std::string genes = "symbol\tchrom\ttss\tstrand\n", rna = "sample", atac = "sample";
  for (int g = 1; g <= 6; ++g) {
    genes += fmt::format("G{}\tchr1\t{}\t+\n", g, g * 1'000'000);
    rna += fmt::format("\tG{}", g), atac += fmt::format("\tchr1:{}-{}", g * 1'000'000 - 50, g * 1'000'000 + 50);
  }
  const auto row = [](const std::string& name, int high, int library) {  // the pair of genes that is high
    std::string out = "\n" + name;
    for (int g = 0; g < 6; ++g) out += fmt::format("\t{}", library * (g / 2 == high ? 100 : 10));
    return out;
  };
  write_file(at("six_genes.tsv"), genes);
  write_file(at("r6.tsv"), rna + row("r1", 0, 1) + row("r2", 1, 10) + row("r3", 2, 3) + "\n");
  write_file(at("a6.tsv"), atac + row("a1", 2, 2) + row("a2", 0, 1) + row("a3", 1, 5) + "\n");
  write_file(at("r6_obs.tsv"), "sample\tdonor\tcohort\nr1\tp\tX\nr2\tp\tX\nr3\tq\tY\n");
  write_file(at("a6_obs.tsv"), "sample\tdonor\tcohort\na1\tp\tX\na2\ts\tx\na3\tt\tY\n");
  const std::string match = "match -o p6.tsv --rna r6.tsv --rna-obs r6_obs.tsv --atac a6.tsv --atac-obs a6_obs.tsv --genes six_genes.tsv --json p6.json";
  const auto pairs = [](bool of_tiers) {
    std::set<std::pair<std::string, std::string>> found;
    for (const data::SamplePair& p : data::read_pairs(at("p6.tsv")))
      if ((p.tier < data::correlated) == of_tiers) found.insert({p.atac, p.rna});
    return found;
  };
  Outcome o = run(match + " --correlated 1");
  ASSERT_EQ(o.code, 0) << o.err;
  Json j = json("p6.json");
  EXPECT_TRUE(pairs(true).count({"a1", "r2"})) << "of two samples of the donor that with more counts";
  EXPECT_TRUE(pairs(false).count({"a1", "r3"}) && pairs(false).count({"a3", "r2"}));
  EXPECT_EQ(j["correlated"]["found"], 3);
  EXPECT_DOUBLE_EQ(j["correlated"]["cross_cohort_rate"].get<double>(), 2.0 / 3) << "a1 and a3, but not a2 with r1";
  EXPECT_NEAR(j["correlated"]["correlation_mean"].get<double>(), 1, 1e-9);
  EXPECT_EQ(j["correlated"]["own_donor_searched"], 1);
  EXPECT_EQ(j["correlated"]["own_donor_rate"], 0);
  EXPECT_EQ(j["population"]["atac"]["cohort"]["df"], 1) << j["population"]["atac"];

  o = run(match + " --correlated 3 --within-cohort");
  ASSERT_EQ(o.code, 0) << o.err;
  j = json("p6.json");
  EXPECT_EQ(j["correlated"]["found"], 5) << "two of X for a1 and for a2, one of Y for a3";
  EXPECT_EQ(j["correlated"]["cross_cohort_rate"], 0);
  EXPECT_EQ(j["correlated"]["own_donor_rate"], 1);
}

// Who is taken of several that are as near is drawn by --seed.
TEST_F(MatchProgram, TheSeedDecidesBetweenEquals) {
  write_file(at("a.tsv"), "sample\tPC1\na1\t1\n");
  write_file(at("a_obs.tsv"), "sample\tdonor\tcohort\na1\tp\tX\n");
  write_file(at("r.tsv"), "sample\tG1\nr1\t1.5\nr2\t-1\n");
  write_file(at("r_obs.tsv"), "sample\tdonor\tcohort\nr1\td\tX\nr2\te\tX\n");
  std::set<std::string> taken;
  for (int seed = 0; seed < 12; ++seed) {
    const Outcome o = run("match -o s.tsv --rna r.tsv --rna-obs r_obs.tsv --atac a.tsv --atac-obs a_obs.tsv --seed " + std::to_string(seed));
    ASSERT_EQ(o.code, 0) << o.err;
    taken.insert(data::read_pairs(at("s.tsv")).at(0).rna);
  }
  EXPECT_EQ(taken, (std::set<std::string>{"r1", "r2"}));
}

TEST_F(MatchProgram, Refused) {
  expect_error(run("match -o p.tsv --rna sim/rna.h5ad"), 2, "--atac");
  expect_error(run("match -o p.txt " + kInputs), 2, "p.txt");
  expect_error(run("match -o nowhere/p.tsv " + kInputs), 4, "nowhere");
  expect_error(run("match -o p.tsv " + kInputs + " --age-window -2"), 2, "--age-window");
  expect_error(run("match -o p.tsv " + kInputs + " --correlated -1"), 2, "--correlated");
  expect_error(run("match -o p.tsv " + kInputs + " --cohort-key tumour"), 3, "tumour");
  expect_error(run("match -o p.tsv --rna sim/rna.h5ad --atac missing.h5ad"), 3, "missing.h5ad");
  write_file(at("g.tsv"), "symbol\tchrom\ttss\tstrand\nX1\tchr1\t100000\t+\nX2\tchr2\t100000\t-\n");
  expect_error(run("match -o p.tsv --rna sim/rna.h5ad --atac sim/atac.h5ad --genes g.tsv"), 3, "g");
  write_file(at("g.tsv"), "symbol\tchrom\ttss\tstrand\nX1\tNC_1\t100000\t+\n");
  expect_error(run("match -o p.tsv --rna sim/rna.h5ad --atac sim/atac.h5ad --genes g.tsv"), 3, "chromosome");
  write_file(at("m.tsv"), "sample\tG1\tG2\na\t1\t2\nb\t3\t4\n");
  write_file(at("o.tsv"), "sample\tage\na\t1\nb\t2\n");
  expect_error(run("match -o p.tsv --rna sim/rna.h5ad --atac m.tsv --atac-obs o.tsv"), 3, "cohort");
  write_file(at("o.tsv"), "sample\tcohort\na\tnone\nb\tnone\n");
  const Outcome o = run("match -o p.tsv --rna sim/rna.h5ad --atac m.tsv --atac-obs o.tsv");
  expect_error(o, 3, "no ATAC sample matches");
  EXPECT_NE(o.err.find("have no RNA sample of their cohort"), std::string::npos);
  EXPECT_FALSE(fs::exists(at("p.tsv")));

  expect_error(run("evaluate pairs sim/rna.h5ad"), 2, "ATAC_EMB");
  expect_error(run("evaluate pairs sim/rna.h5ad sim/atac.h5ad"), 3, "dimensions");
  expect_error(run("evaluate pairs m.tsv m.tsv --pairs o.tsv"), 3, "column atac");
  expect_error(run("evaluate pairs m.tsv m.tsv --on holdout"), 3, "--on all");
  expect_error(run("evaluate pairs m.tsv m.tsv --mixing-neighbours 0"), 2, "--mixing-neighbours");
}

// Genes named 1 to 22 beside peaks on chr1 to chr22.
TEST_F(MatchProgram, ChromosomesOfEitherStyle) {
  data::Table genes = data::read_table(at("sim/genes.tsv"));
  for (data::Column& c : genes.columns)
    if (c.name == "chrom")
      for (std::string& level : c.levels) level = level.substr(3);
  data::write_table(at("bare.tsv"), genes);
  ASSERT_EQ(run("match -o chr.tsv " + kInputs).code, 0);
  const Outcome o = run("match -o bare_pairs.tsv --rna sim/rna.h5ad --atac sim/atac.h5ad --genes bare.tsv");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("named differently"), std::string::npos) << o.err;
  EXPECT_EQ(read_file(at("chr.tsv")), read_file(at("bare_pairs.tsv")));
}

}  // namespace
