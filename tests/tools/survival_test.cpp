// panvae evaluate survival as its users meet it.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "base/json.h"
#include "base/philox.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/helpers.h"

namespace {

using namespace panvae;
using namespace panvae::test;

const std::string kStats = std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/";
const std::string kEmbedding = kStats + "embedding.tsv --obs " + kStats + "embedding_obs.tsv";

class SurvivalProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/panvae_test_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  Outcome run(const std::string& arguments) { return shell("'" + kProgram + "' evaluate survival " + arguments, folder); }
  std::string at(const std::string& name) { return folder + "/" + name; }
  std::string folder;
};

// R's coxph and concordance (tests/reference/stats): what the options of the command say is what R was asked.
TEST_F(SurvivalProgram, AnswersAsR) {
  const Outcome o =
      run(kEmbedding + " --top-k 6 --covariate age --covariate sex --ridge 0 --fold-key fold --uno-censoring test --tau none --json r.json --risk risk.tsv");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = Json::parse(read_file(at("r.json")));
  for (const char* key : {"harrell_mean", "harrell_sd", "uno_mean", "uno_sd", "top_k", "n", "events", "dropped", "folds", "warnings", "seconds"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_EQ(j["n"], 320);
  EXPECT_EQ(j["events"], 208);
  EXPECT_EQ(j["top_k"], 6);
  EXPECT_EQ(j["dropped"], 0);
  const data::Table expected = data::read_table(kStats + "expected_survival_top6_age_sex_ridge0.tsv");
  for (size_t f = 0; f < 5; ++f) {
    for (const char* key : {"harrell", "uno", "coefficients", "loglik", "tau"}) EXPECT_TRUE(j["folds"][f].contains(key)) << key;
    EXPECT_NEAR(j["folds"][f]["loglik"].get<double>() / expected.at("loglik").number[f], 1, 1e-6);
    EXPECT_NEAR(j["folds"][f]["harrell"].get<double>() / expected.at("harrell").number[f], 1, 1e-6);
    EXPECT_NEAR(j["folds"][f]["uno"].get<double>() / expected.at("uno_test_censoring").number[f], 1, 1e-6);
    EXPECT_EQ(j["folds"][f]["coefficients"].size(), 8u);
    EXPECT_TRUE(j["folds"][f]["tau"].is_null()) << "none";
  }
  for (const char* part : {"320 patients", "208 died", "Uno's C", "Harrell's C", "log-rank"}) EXPECT_NE(o.out.find(part), std::string::npos) << o.out;
  const data::Table risk = data::read_table(at("risk.tsv"));
  EXPECT_EQ(risk.rows(), 320);
  for (const char* column : {"os_time", "os_event", "risk", "fold", "group"}) EXPECT_NE(risk.find(column), nullptr) << column;

  const Outcome within = run(kEmbedding + " --top-k 6 --covariate age --covariate sex --ridge 0 --fold-key fold --stratify cohort --json -");
  ASSERT_EQ(within.code, 0) << within.err;
  const Json w = Json::parse(within.out);
  for (size_t f = 0; f < 5; ++f) EXPECT_NEAR(w["folds"][f]["harrell"].get<double>() / expected.at("harrell_by_cohort").number[f], 1, 1e-6);
}

// Options that only a number shows, each beside the command without it.
TEST_F(SurvivalProgram, OptionsReachTheEvaluation) {
  const std::string plain = kEmbedding + " --top-k 3 --ridge 0 --tau 20 --json -";
  const auto uno = [&](const std::string& more) {
    const Outcome o = run(plain + more);
    EXPECT_EQ(o.code, 0) << o.err;
    return Json::parse(o.out)["uno_mean"].get<double>();
  };
  std::set<double> seen{uno("")};
  for (const char* more :
       {" --g right", " --uno-censoring test", " --seed 1", " --on all --folds 4", " --stratify cohort", " --tau-incl", " --cox-strata cohort"})
    EXPECT_TRUE(seen.insert(uno(more)).second) << more;
}

TEST_F(SurvivalProgram, TheSameCommandGivesTheSameBytes) {
  for (const char* n : {"1", "2"}) {
    const Outcome o = run(kEmbedding + " --covariate age --seed 3 --risk risk" + n + ".tsv --threads " + n);
    ASSERT_EQ(o.code, 0) << o.err;
    std::filesystem::rename(at("stdout.txt"), at(std::string("out") + n));
  }
  EXPECT_EQ(read_file(at("out1")), read_file(at("out2")));
  EXPECT_EQ(read_file(at("risk1.tsv")), read_file(at("risk2.tsv")));
}

TEST_F(SurvivalProgram, TheControlIsChance) {
  const Outcome o = run(kEmbedding + " --top-k 5 --covariate age --covariate sex --control permuted --json -");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = Json::parse(o.out);
  EXPECT_EQ(j["control"], "permuted");
  EXPECT_NEAR(j["harrell_mean"].get<double>(), 0.5, 0.12);
  const Outcome real = run(kEmbedding + " --top-k 5 --covariate age --covariate sex --json -");
  EXPECT_GT(Json::parse(real.out)["harrell_mean"].get<double>(), 0.7);
}

TEST_F(SurvivalProgram, WarningsAreSaidAndKept) {
  const Outcome o = run(kEmbedding + " --top-k 20 --json r.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("days are expected"), std::string::npos) << o.err;  // the times of this file are months
  EXPECT_NE(Json::parse(read_file(at("r.json")))["warnings"].dump().find("days are expected"), std::string::npos);
  const Outcome quiet = run(kEmbedding + " --top-k 20 --quiet");
  EXPECT_EQ(quiet.err, "");
}

TEST_F(SurvivalProgram, WrongUsageIs2) {
  expect_error(run(kEmbedding + " --top-k many"), 2, "'many' is no number of components (--top-k)");
  expect_error(run(kEmbedding + " --top-k 0"), 2, "name covariates with --covariate");
  expect_error(run(kEmbedding + " --tau soon"), 2, "'soon' is no tau (--tau)");
  expect_error(run(kEmbedding + " --tau -5"), 2, "--tau");
  expect_error(run(kEmbedding + " --ridge -1"), 2, "--ridge");
  expect_error(run(kEmbedding + " --folds 1"), 2, "--folds");
  expect_error(run(kEmbedding + " --g middle"), 2, "--g");
  expect_error(run(kEmbedding + " --uno-censoring both"), 2, "--uno-censoring");
  expect_error(run(kEmbedding + " --covariate os_event"), 2, "is the outcome");
  expect_error(run(kEmbedding + " --stratfy cohort"), 2, "did you mean --stratify?");
}

TEST_F(SurvivalProgram, WrongInputIs3AndSaysWhere) {
  expect_error(run(kStats + "embedding.tsv"), 3, "os_time");
  expect_error(run(kEmbedding + " --covariate aeg"), 3, "age");
  expect_error(run(kEmbedding + " --on holdout"), 3, "there is no hold-out");
  data::Table obs = data::read_table(kStats + "embedding_obs.tsv");
  data::Column event = obs.at("os_event"), time = obs.at("os_time");
  // Only fold 1 is followed beyond 90, where its first patient dies at 200 and its second is lost at 300.
  const auto& fold = obs.at("fold").number;
  double later = 200;
  for (size_t i = 0; i < fold.size(); ++i) {
    if (time.number[i] >= 90) event.number[i] = 0;
    if (fold[i] == 1 && later < 400) event.number[i] = later == 200, time.number[i] = later, later += 100;
  }
  data::Table longer = obs;
  longer.set(event);
  longer.set(time);
  data::write_table(at("obs.tsv"), longer);
  expect_error(run(kStats + "embedding.tsv --obs obs.tsv --fold-key fold --tau none"), 3, "a death at 200 days: by then (from 90 days on) nobody");
  expect_error(run(kStats + "embedding.tsv --obs obs.tsv --fold-key fold --tau 250"), 3, "(--tau 250): use --tau auto, or a time up to 90");
  EXPECT_EQ(run(kStats + "embedding.tsv --obs obs.tsv --fold-key fold").code, 0);
  event = obs.at("os_event");
  for (double& e : event.number) e += 1;  // R's lung has 1 and 2
  obs.set(event);
  data::write_table(at("obs.tsv"), obs);
  expect_error(run(kStats + "embedding.tsv --obs obs.tsv"), 3, "'2' is no event (column 'os_event', sample 'P001')");
  for (double& e : event.number) e = 0;
  obs.set(event);
  data::write_table(at("obs.tsv"), obs);
  expect_error(run(kStats + "embedding.tsv --obs obs.tsv"), 3, "0 of 320 patients died");
}

}  // namespace
