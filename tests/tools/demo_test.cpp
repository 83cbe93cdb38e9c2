// The whole way as its users meet it: on folders of small matrices, stopped and begun anew, and where it cannot go.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "base/json.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/stopped_run.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

constexpr const char* kShort = " --quick --set train.max_epochs=2 --set train.min_epochs=1 --set train.epoch_steps=2";

class Demo : public SuiteFolder<Demo> {
 public:
  // A small study of both modalities, in the folder of one who brings counts.
  static void prepare() {
    expect_done("simulate -o sim --donors 90 --genes 120 --peaks 600 --cohorts 3 --atac-fraction 1 --replicates 1");
    fs::create_directories(at("own"));
    for (const char* file : {"rna.h5ad", "atac.h5ad", "genes.tsv"}) fs::copy_file(at("sim/") + file, at("own/") + file);
  }

 protected:
  static std::vector<std::string> lines(const std::string& name) {
    std::vector<std::string> all;
    std::istringstream text(read_file(at(name)));
    for (std::string line; std::getline(text, line);) all.push_back(line);
    return all;
  }
  static size_t commands(const std::string& name) {
    const std::vector<std::string> all = lines(name);
    return static_cast<size_t>(std::count_if(all.begin(), all.end(), [](const std::string& l) { return l.rfind("panvae ", 0) == 0; }));
  }
  static std::vector<std::string> steps(const Json& study) {
    std::vector<std::string> names;
    for (const auto& [name, j] : study["steps"].items()) names.push_back(name);
    return names;
  }
  // What was judged by pairs of RNA and ATAC.
  static std::set<std::string> judged_by_pairs(const Json& study) {
    std::set<std::string> models;
    for (const Json& row : study["steps"]["evaluate"]["pairs"]) models.insert(row["model"]);
    return models;
  }
  static void expect_all_judged_by_pairs(const Json& study) {
    for (const char* model : {"separate", "coembed_adversarial", "coembed_contrastive", "coembed_adversarial_no_pair", "coembed_contrastive_no_pair"})
      EXPECT_EQ(judged_by_pairs(study).count(model), 1u) << model;
  }
  // Nothing that says it is done.
  static void expect_unfinished(const std::string& out) {
    for (const char* name : {"results.json", "results.txt", "report.html", "step.json"}) EXPECT_FALSE(fs::exists(at(out) + "/" + name)) << name;
  }
  // A text table as TCGA's are: features in rows.
  static void write_transposed(const std::string& from, const std::string& to) {
    const data::Dataset<double> d = data::read_dataset<double>(at(from));
    std::string text = "feature";
    for (const std::string& sample : d.obs.keys) text += "\t" + sample;
    for (int64_t g = 0; g < d.features(); ++g) {
      text += "\n" + d.var.keys[static_cast<size_t>(g)];
      for (int64_t s = 0; s < d.samples(); ++s) text += fmt::format("\t{}", d.x(s, g));
    }
    write_file(at(to), text + "\n");
    ASSERT_EQ(shell("gzip '" + to + "'", folder).code, 0);
  }
};

TEST_F(Demo, goes_the_whole_way_and_its_commands_can_be_typed) {
  const Outcome o = run(std::string("demo -o whole --data own") + kShort + " --seed 3 --json whole.json");
  ASSERT_EQ(o.code, 0) << o.err;
  const std::string tables = read_file(at("whole/results.txt"));
  EXPECT_EQ(o.out.rfind(tables, 0), 0u) << "what is printed is what is kept";
  for (const char* part : {"RNA: ", "ATAC: ", "RNA VAE, 32", "ATAC VAE, 32", "FOSCTTM", "no pair term: the losses of the paper", "contrastive, no pair term",
                           "mean of the cohort", "RNA from ATAC", "processor time"})
    EXPECT_NE(tables.find(part), std::string::npos) << part << "\n" << tables;
  EXPECT_EQ(tables.find("written: "), std::string::npos);
  EXPECT_NE(read_file(at("whole/report.html")).find("</html>"), std::string::npos);
  EXPECT_FALSE(fs::exists(at("whole/step.json")));

  const Json j = json("whole/results.json");
  EXPECT_EQ(json("whole.json"), j);
  ASSERT_EQ(j["studies"].size(), 1u);
  const Json& s = j["studies"][0]["steps"];
  EXPECT_EQ(s.size() + 1, commands("whole/commands.sh")) << "every command has its answer, the report apart";
  for (const char* name : {"adversarial", "contrastive", "adversarial_no_pair", "contrastive_no_pair"}) {
    const std::string run = std::string("coembed_") + name;
    EXPECT_EQ(s["train_" + run]["epochs"], 2) << "--set counts for every training";
    EXPECT_GT(s["impute_" + run]["judged_pairs"], 1);
    const std::string config = read_file(at("whole/study/" + run + "/config.toml"));
    EXPECT_NE(config.find(run.find("no_pair") == std::string::npos ? "pair = 1.0" : "pair = 0.0"), std::string::npos) << config;
    for (const char* modality : {"rna", "atac"}) EXPECT_EQ(data::read_dataset<float>(at("whole/study/" + run + "_" + modality + ".h5ad")).features(), 32);
  }
  for (const char* key : {"wall_seconds", "processor_seconds"}) EXPECT_GE(s["evaluate"][key].get<double>(), 0) << key;
  expect_all_judged_by_pairs(j["studies"][0]);

  // Held out in one modality is held out in the other.
  const data::Table rna = data::read_obs(at("whole/study/rna_pp.h5ad")), atac = data::read_obs(at("whole/study/atac_pp.h5ad"));
  const std::vector<std::string> rna_donors = data::donors_of(rna), atac_donors = data::donors_of(atac);
  for (int64_t a = 0; a < atac.rows(); ++a)
    for (int64_t r = 0; r < rna.rows(); ++r)
      if (rna_donors[static_cast<size_t>(r)] == atac_donors[static_cast<size_t>(a)]) {
        EXPECT_EQ(rna.at("split").text(r), atac.at("split").text(a)) << rna_donors[static_cast<size_t>(r)];
      }

  const std::string model = "whole/study/coembed_contrastive/model.safetensors", embedding = "whole/study/coembed_contrastive_atac.h5ad";
  const std::string bytes = read_file(at(model)), vectors = read_file(at(embedding));
  fs::remove_all(at("whole/study"));
  const Outcome typed = shell("PATH=\"$(dirname '" + kProgram + "'):$PATH\" sh whole/commands.sh", folder);
  ASSERT_EQ(typed.code, 0) << typed.err;
  EXPECT_EQ(read_file(at(model)), bytes);
  EXPECT_EQ(read_file(at(embedding)), vectors);
}

TEST_F(Demo, an_interrupted_one_is_not_done_and_can_be_begun_anew) {
  ASSERT_NO_FATAL_FAILURE(
      stop_when(folder, "demo -o stopped --data own --quick", SIGINT, [] { return fs::exists(at("stopped/study/coembed_adversarial/metrics.jsonl")); }));
  expect_unfinished("stopped");
  EXPECT_FALSE(fs::exists(at("stopped/study/coembed_adversarial/model.safetensors")));

  // RNA alone is less work; the folder is known as one of ours.
  fs::create_directories(at("rna_only"));
  fs::copy_file(at("own/rna.h5ad"), at("rna_only/rna.h5ad"));
  const Outcome again = run(std::string("demo -o stopped --data rna_only") + kShort);
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("atac.h5ad is not in"), std::string::npos) << again.err;
  EXPECT_EQ(steps(json("stopped/results.json")["studies"][0]), (std::vector<std::string>{"preprocess_rna", "pca_rna", "train_rna", "embed_rna", "evaluate"}));
  EXPECT_EQ(again.out.find("RNA from ATAC"), std::string::npos);

  // Where it then fails, what was finished before is gone; what is refused before any work leaves it.
  fs::remove(at("rna_only/rna.h5ad"));
  EXPECT_EQ(run(std::string("demo -o stopped --data rna_only") + kShort).code, 3);
  EXPECT_TRUE(fs::exists(at("stopped/results.json")));
  write_file(at("one.tsv"), "s\tA\tB\nx\t5\t7\n");
  expect_done("convert -o rna_only/rna.h5ad one.tsv");
  EXPECT_EQ(run(std::string("demo -o stopped --data rna_only") + kShort).code, 3);
  expect_unfinished("stopped");
}

TEST_F(Demo, modalities_of_different_donors_are_matched_by_cohort_and_not_judged_by_pairs) {
  fs::create_directories(at("apart"));
  fs::copy_file(at("own/rna.h5ad"), at("apart/rna.h5ad"));
  data::Dataset<float> atac = data::read_dataset<float>(at("own/atac.h5ad"));
  std::vector<std::string> donors = data::donors_of(atac.obs);
  for (std::string& d : donors) d = "another_" + d;
  atac.obs.set(data::factor_from_text("donor", donors));
  data::write_dataset(at("apart/atac.h5ad"), atac);
  const Outcome o = run(std::string("demo -o apart_results/ --data apart/") + kShort);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("warning: left out: "), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("genes.tsv is not in"), std::string::npos) << o.err;
  const Json steps = json("apart_results/results.json")["studies"][0]["steps"];
  EXPECT_TRUE(steps["impute_coembed_adversarial"].contains("left_out"));
  EXPECT_EQ(steps["evaluate"]["pairs"].size(), 0u);
  EXPECT_EQ(o.out.find("RNA from ATAC"), std::string::npos);
}

TEST_F(Demo, takes_public_tables_by_their_names) {
  fs::create_directories(at("tables"));
  expect_done("convert -o t.h5ad sim/rna.h5ad --write-obs tables/rna_counts_15cohorts_obs.tsv");
  write_transposed("sim/rna.h5ad", "tables/rna_counts_15cohorts.tsv");
  // Log values and scores; neither table says how donors are split.
  expect_done("preprocess -o log.h5ad sim/rna.h5ad --modality rna");
  expect_done("preprocess -o peaks.h5ad sim/atac.h5ad --modality atac");
  write_transposed("log.h5ad", "tables/rna_log2_15cohorts.tsv");
  expect_done("pca -o tables/atac_pca200_23cohorts.tsv.gz peaks.h5ad --components 20");
  for (const auto& [from, to] : {std::pair{"sim/rna.h5ad", "rna_log2_15cohorts"}, std::pair{"sim/atac.h5ad", "atac_pca200_23cohorts"}}) {
    const data::Table obs = data::read_obs(at(from));
    data::Table kept;
    kept.key_name = "sample";
    kept.keys = obs.keys;
    for (const char* column : {"donor", "cohort", "age", "sex", "os_time", "os_event"}) kept.columns.push_back(obs.at(column));
    data::write_table(at(std::string("tables/") + to + "_obs.tsv"), kept);
  }
  const Outcome o = run(std::string("demo -o public --data tables/") + kShort);
  ASSERT_EQ(o.code, 0) << o.err;
  const Json studies = json("public/results.json")["studies"];
  ASSERT_EQ(studies.size(), 2u);
  EXPECT_EQ(studies[0]["folder"], "public/rna_counts_15cohorts");
  EXPECT_EQ(studies[0]["steps"].size(), 6u) << "RNA alone";
  EXPECT_EQ(studies[1]["folder"], "public/rna_log2_15cohorts");
  EXPECT_NE(read_file(at("public/rna_log2_15cohorts/atac_run/config.toml")).find("network = \"dense\""), std::string::npos);
  expect_all_judged_by_pairs(studies[1]);
  EXPECT_GT(studies[1]["steps"]["match"]["pairs"]["train"]["n"], 0);

  // A matrix without its samples' table, and scores alone.
  fs::remove(at("tables/rna_counts_15cohorts_obs.tsv"));
  expect_error(run(std::string("demo -o public2 --data tables") + kShort), 3, "rna_counts_15cohorts.tsv.gz has no table of samples");
  EXPECT_FALSE(fs::exists(at("public2")));
}

TEST_F(Demo, where_it_cannot_go_is_said_before_any_work) {
  fs::create_directories(at("empty"));
  fs::create_directories(at("others"));
  write_file(at("others/thesis.tex"), "much work");
  expect_error(run("demo -o x --data nowhere"), 3, "there is no such folder");
  expect_error(run("demo -o x --data empty"), 3, "rna_log2_15cohorts.tsv.gz and atac_pca200_23cohorts.tsv.gz");
  expect_error(run("demo -o others --data own"), 3, "the folder holds something else");
  expect_error(run("demo -o own --data own"), 3, "the folder holds something else");
  expect_error(run("demo -o others/thesis.tex --data own"), 4, "cannot make the folder");
  expect_error(run("demo -o x --data own --set train.max_epoch=3"), 2, "train.max_epochs");
  expect_error(run("demo -o x --data own --set model.hidden=3 --set nothing"), 2, "nothing");
  EXPECT_FALSE(fs::exists(at("x")));
  EXPECT_EQ(std::distance(fs::directory_iterator(at("others")), {}), 1);
  EXPECT_EQ(std::distance(fs::directory_iterator(at("own")), {}), 3);
}

// A file that cannot grow stands for a disk that is full.
TEST_F(Demo, a_full_disk_is_4_and_nothing_is_called_done) {
  const Outcome o = shell("trap '' XFSZ; ulimit -f 60; '" + kProgram + "' demo -o full --data own" + kShort, folder);
  expect_error(o, 4, "full");
  expect_unfinished("full");
}

// Scores of accessibility have no place on the genome; peaks must have one.
TEST_F(Demo, preprocess_takes_scores_of_accessibility_as_logs_alone) {
  write_file(at("scores.tsv"), "s\tPC1\tPC2\na\t1.5\t-2\nb\t0.25\t1\nc\t-3\t0\nd\t2\t2\n");
  expect_done("preprocess -o scores.h5ad scores.tsv --modality atac --input log --no-quantile");
  EXPECT_EQ(data::read_dataset<float>(at("scores.h5ad")).var.keys, (std::vector<std::string>{"PC1", "PC2"}));
  write_file(at("counts.tsv"), "s\tPC1\tPC2\na\t1\t2\nb\t4\t1\nc\t3\t0\nd\t2\t2\n");
  expect_error(run("preprocess -o counts.h5ad counts.tsv --modality atac"), 3, "no position can be read");
  write_file(at("peaks.tsv"), "s\tchr1:100-200\tPC2\na\t1\t2\nb\t4\t1\nc\t3\t0\nd\t2\t2\n");
  expect_error(run("preprocess -o counts.h5ad peaks.tsv --modality atac --input log"), 3, "'PC2'");
}

}  // namespace
