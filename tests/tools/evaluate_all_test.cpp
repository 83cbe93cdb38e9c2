// panvae evaluate all as its users meet it.
#include <fmt/format.h>

#include <filesystem>

#include "base/json.h"
#include "data/read.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;

class EvaluateAll : public SuiteFolder<EvaluateAll> {
 public:
  // Two small runs on simulated samples, made once.
  static void prepare() {
    const std::string train =
        "train rna x.h5ad --set train.max_epochs=12 --set train.learning_rate=0.002 --set loss.kl_weight=0.05 --set model.hidden=32 --set model.latent=12 ";
    for (const std::string& step :
         {std::string("simulate -o sim --donors 240 --genes 200 --cohorts 3"), std::string("preprocess -o x.h5ad sim/rna.h5ad --modality rna"),
          train + "-o vae", train + "-o linear --set model.activation=linear"})
      expect_done(step);
  }

 protected:
  static Json results(const std::string& name) { return Json::parse(read_file(folder + "/" + name + "/results.json")); }
  // What is asked of one model; null where it was not.
  static Json score(const Json& all, const std::string& kind, const std::string& model, const std::string& setting = "", bool within = false,
                    const std::string& control = "") {
    for (const Json& s : all[kind])
      if (s["model"] == model && s.value("setting", "") == setting && s.value("within_cohort", false) == within &&
          (s.contains("control") && s["control"].is_string() ? s["control"].get<std::string>() : "") == control)
        return s;
    return nullptr;
  }
  // Times are no results.
  static void drop_times(Json& j) {
    if (j.is_object()) {
      for (const char* key : {"seconds", "peak_memory_bytes", "command"}) j.erase(key);
      for (auto& [key, value] : j.items()) drop_times(value);
    } else if (j.is_array()) {
      for (Json& value : j) drop_times(value);
    }
  }
};

TEST_F(EvaluateAll, JudgesRunsAndBaselinesByEveryBenchmark) {
  const Outcome o = run("evaluate all vae linear -o results --pca 20,latent,best --json all.json");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = results("results");
  std::vector<std::string> kinds, ids;
  for (const Json& m : j["models"]) kinds.push_back(m["kind"]), ids.push_back(m["id"]);
  EXPECT_NE(std::find(kinds.begin(), kinds.end(), "vae"), kinds.end());
  EXPECT_NE(std::find(kinds.begin(), kinds.end(), "linear_vae"), kinds.end());
  EXPECT_NE(std::find(kinds.begin(), kinds.end(), "clinical"), kinds.end());
  EXPECT_GE(std::count(kinds.begin(), kinds.end(), "pca"), 2) << "20, 12 and the best on validation, which may be one of them";
  for (const std::string& id : {std::string("vae"), std::string("linear"), std::string("pca12"), std::string("pca20")}) {
    EXPECT_GT(score(j, "cohort", id)["accuracy_mean"].get<double>(), 0.3) << id;
    EXPECT_GE(score(j, "alignment", id)["distance"].get<double>(), 0) << id;
    EXPECT_EQ(score(j, "alignment", id)["embedding_rank"], score(j, "alignment", "pca12")["embedding_rank"]) << id << ": compared at equal dimensions";
    for (const char* setting : {"embedding", "embedding+clinical"})
      for (bool within : {false, true}) EXPECT_TRUE(score(j, "survival", id, setting, within).contains("harrell_mean")) << id;
    EXPECT_TRUE(score(j, "expression", id).contains("n_de")) << id;
    EXPECT_TRUE(score(j, "expression", id).contains("cohort_mean_n_de")) << id;
    EXPECT_TRUE(score(j, "expression", id)["spearman_per_sample_mean"].is_number()) << id;
    for (const char* table : {"points/", "de/", "risk/"}) {
      const std::string file = folder + "/results/" + table + id + (std::string(table) == "risk/" ? ".embedding.tsv" : ".tsv");
      EXPECT_GT(data::read_table(file).rows(), 0) << file;
    }
  }
  EXPECT_EQ(data::read_table(folder + "/results/curves/vae.tsv").rows(), 12);
  const Json permuted = score(j, "cohort", "vae", "", false, "permuted labels");
  ASSERT_FALSE(permuted.is_null()) << "one model is judged with permuted labels";
  EXPECT_LT(permuted["accuracy_mean"].get<double>(), score(j, "cohort", "vae")["accuracy_mean"].get<double>());
  EXPECT_TRUE(score(j, "cohort", "pca12", "", false, "permuted labels").is_null());
  for (const char* part : {"RNA VAE, 12", "RNA linear VAE, 12", "PCA, 20", "labels permuted", "written: results/"})
    EXPECT_NE(o.out.find(part), std::string::npos) << part << o.out;
  EXPECT_EQ(Json::parse(read_file(folder + "/all.json"))["cohort"].size(), j["cohort"].size());
}

// Every number is that of a command that could be typed.
TEST_F(EvaluateAll, SaysWhatTheSingleCommandsSay) {
  ASSERT_EQ(run("evaluate all vae --data x.h5ad -o single --pca 20 --controls none --seed 4").code, 0);
  ASSERT_EQ(run("embed -o vae.h5ad vae x.h5ad").code, 0);
  ASSERT_EQ(run("pca -o pca.h5ad x.h5ad --components 20 --seed 4").code, 0);
  ASSERT_EQ(run("reconstruct -o back.h5ad vae x.h5ad").code, 0);
  const Json j = results("single");
  EXPECT_TRUE(score(j, "cohort", "vae", "", false, "permuted labels").is_null());
  for (const auto& [id, file] : {std::pair{"vae", "vae.h5ad"}, std::pair{"pca20", "pca.h5ad"}}) {
    ASSERT_EQ(run(fmt::format(" evaluate cohort {} --seed 4 --json one.json", file)).code, 0);
    EXPECT_EQ(Json::parse(read_file(folder + "/one.json"))["folds"], score(j, "cohort", id)["folds"]) << id;
    ASSERT_EQ(run(fmt::format(" evaluate alignment {} --seed 4 --json one.json", file)).code, 0);
    EXPECT_EQ(Json::parse(read_file(folder + "/one.json"))["distance"], score(j, "alignment", id, "top 100")["distance"]) << id;
    ASSERT_EQ(
        run(fmt::format(" evaluate survival {} --seed 4 --covariate age --covariate sex --covariate cohort --stratify cohort --json one.json", file)).code, 0);
    EXPECT_EQ(Json::parse(read_file(folder + "/one.json"))["harrell_mean"], score(j, "survival", id, "embedding+clinical", true)["harrell_mean"]) << id;
  }
  const Json de = score(j, "expression", "vae");
  ASSERT_EQ(run("evaluate expression x.h5ad back.h5ad --json one.json --seed 4 --cohort " + de["cohort"].get<std::string>()).code, 0);
  const Json one = Json::parse(read_file(folder + "/one.json"));
  EXPECT_EQ(one["n_de"], de["n_de"]);
  EXPECT_EQ(one["cohort_mean_n_de"], de["cohort_mean_n_de"]);
  EXPECT_NEAR(one["spearman_per_sample_mean"].get<double>(), de["spearman_per_sample_mean"].get<double>(), 1e-9);
}

TEST_F(EvaluateAll, TheSameCommandGivesTheSameResults) {
  std::string text[2];
  for (std::string& t : text) {
    const Outcome o = run("evaluate all vae -o same --pca latent --threads 2");
    ASSERT_EQ(o.code, 0) << o.err;
    Json j = results("same");
    drop_times(j);
    t = j.dump() + read_file(folder + "/same/risk/vae.embedding.tsv") + read_file(folder + "/same/de/vae.tsv");
  }
  EXPECT_TRUE(text[0] == text[1]);
}

// A small hold-out: what can be judged of it is, and the rest is said.
TEST_F(EvaluateAll, SamplesTooFewForSomeAreJudgedByTheOthers) {
  const Outcome o = run("evaluate all vae -o few --pca latent --controls none --folds 1000");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = results("few");
  EXPECT_EQ(score(j, "cohort", "vae"), nullptr);
  EXPECT_EQ(score(j, "survival", "vae", "embedding"), nullptr);
  EXPECT_FALSE(score(j, "alignment", "vae").is_null());
  EXPECT_FALSE(score(j, "expression", "vae").is_null());
  const auto said = [&](const char* what) {
    return std::count_if(j["warnings"].begin(), j["warnings"].end(), [&](const Json& w) { return w.get<std::string>().find(what) != std::string::npos; });
  };
  EXPECT_EQ(said("cohort accuracy is not judged: 0 of 3 cohorts have at least 1000 donors"), 1);
  EXPECT_EQ(said("survival is not judged: "), 1);
  expect_done("report few -o few.html");
}

TEST_F(EvaluateAll, RefusesWhatItCannotJudge) {
  expect_error(run("evaluate all nowhere -o r"), 3, "no trained model");
  expect_error(run("evaluate all vae -o r --data nowhere.h5ad"), 3, "nowhere.h5ad");
  expect_error(run("evaluate all vae -o r --data sim/rna.h5ad"), 3, "raw counts have no baseline");
  expect_error(run("evaluate all vae -o r --pca many"), 2, "'many' is no PCA baseline");
  expect_error(run("evaluate all vae -o r --cohort-map nowhere.tsv"), 3, "nowhere.tsv");
  expect_error(run("evaluate all vae -o r --expression-cohort Nowhere"), 3, "Nowhere");
  expect_error(run("evaluate all -o r"), 2, "RUN");
  ASSERT_TRUE(std::filesystem::create_directories(folder + "/precious"));
  write_file(folder + "/precious/thesis.txt", "x");
  expect_error(run("evaluate all vae -o precious --pca none --controls none"), 3, "precious");
  EXPECT_EQ(read_file(folder + "/precious/thesis.txt"), "x");
  EXPECT_FALSE(std::filesystem::exists(folder + "/r"));
}

// The data of a run is looked for beside it; elsewhere it has to be named.
// Files of a run that another program, or a hand, has written to.
TEST_F(EvaluateAll, NotesOfARunThatAreOfAnotherKindAreNone) {
  const auto changed = [&](const std::string& name, const std::string& file, const std::string& text) {
    std::filesystem::copy(at("vae"), at(name), std::filesystem::copy_options::recursive);
    write_file(at(name + "/" + file), text);
  };
  changed("kinds", "training.json", R"({"device": 3, "seconds": "long"})");
  write_file(at("kinds/metrics.jsonl"), "{\"epoch\": 1, \"stage\": 3}\n{\"epoch\": 2, \"stage\": \"x\"}\n");
  expect_done("evaluate all kinds -o kinds_results --pca latent");
  EXPECT_EQ(results("kinds_results")["models"][0]["device"], "");
  expect_done("train rna x.h5ad -o kinds --resume");
  // Read to its end, and then copied or written, this overflows the stack.
  std::filesystem::create_directories(at("nested"));
  write_file(at("nested/results.json"),
             "{\"format\":\"panvae-results\",\"version\":1,\"panvae\":{\"a\":" + std::string(200000, '[') + std::string(200000, ']') + "}}");
  expect_error(run("report nested -o nested.html"), 3, "no JSON");
}

TEST_F(EvaluateAll, FindsTheDataOfARun) {
  std::filesystem::create_directories(folder + "/else");
  std::filesystem::copy(folder + "/vae", folder + "/else/vae", std::filesystem::copy_options::recursive);
  std::filesystem::create_directories(folder + "/away");
  const std::string program = "'" + kProgram + "' ", away = folder + "/away";
  expect_error(shell(program + "evaluate all ../else/vae -o r --pca none --controls none", away), 3, "name it with --data FILE");
  EXPECT_EQ(shell(program + "evaluate all ../vae -o r --pca none --controls none", away).code, 0);
}

}  // namespace
