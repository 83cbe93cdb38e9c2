// Co-embedding through the program: two runs trained on together, stopped and continued, either half embedded and imputed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/stopped_run.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

constexpr const char* kDense = " --set model.network=dense --set model.hidden=32 --set model.latent=8 --set train.max_epochs=20 --set train.epoch_steps=20";
constexpr const char* kShort =
    " --set train.max_epochs=6 --set train.min_epochs=2 --set train.epoch_steps=8 --set train.batch_size=24 --set train.learning_rate=0.001";

std::string coembed(const std::string& name, const std::string& mode, const std::string& more, const std::string& atac_run = "atac_run") {
  return "train coembed -o " + name + (mode.empty() ? "" : " --mode " + mode) + " --rna rna_run --atac " + atac_run + " r.h5ad a.h5ad " + more;
}

// One simulated study of both modalities, with its single runs, for all tests.
class TrainCoembed : public SuiteFolder<TrainCoembed> {
 public:
  static void prepare() {
    expect_done("simulate -o . --donors 120 --genes 150 --peaks 900 --cohorts 3 --atac-fraction 1");
    expect_done("preprocess -o r.h5ad rna.h5ad --modality rna");
    expect_done("preprocess -o a.h5ad atac.h5ad --modality atac");
    expect_done(
        "train rna -o rna_run r.h5ad --set model.hidden=32 --set model.latent=8 --set train.max_epochs=20 --set train.epoch_steps=20 --set "
        "train.learning_rate=0.001");
    expect_done(
        "train atac -o atac_run a.h5ad --set block.size=150 --set block.slide=50 --set block.widths=64,32 --set block.latent=8 --set hierarchical.channels=8"
        " --set hierarchical.widths=32 --set hierarchical.latent=8 --set train.max_epochs=8 --set train.epoch_steps=20");
    expect_done(std::string("train atac -o dense_run a.h5ad") + kDense);
    expect_done("match -o pairs.tsv --rna r.h5ad --atac a.h5ad --genes genes.tsv");
    expect_done(coembed("co", "adversarial", std::string("--pairs pairs.tsv --json co.json") + kShort));
  }

 protected:
  static std::vector<Json> metrics(const std::string& name) {
    std::vector<Json> all;
    std::istringstream lines(read_file(at(name + "/metrics.jsonl")));
    for (std::string line; std::getline(lines, line);) all.push_back(Json::parse(line));
    return all;
  }
  // The matrix with the split of these donors changed.
  static void write_split(const std::string& from, const std::string& to, const std::set<std::string>& donors, const std::string& side) {
    data::Dataset<float> d = data::read_dataset<float>(at(from));
    const std::vector<std::string> of = data::donors_of(d.obs);
    std::vector<std::string> split;
    for (size_t i = 0; i < of.size(); ++i) split.push_back(donors.count(of[i]) ? side : d.obs.at("split").text(static_cast<int64_t>(i)));
    d.obs.set(data::factor_from_text("split", split));
    data::write_dataset(at(to), d);
  }
  // Donors of both modalities that are on this side.
  static std::vector<std::string> shared_donors(const std::string& side) {
    const data::Table r = data::read_dataset<float>(at("r.h5ad")).obs, a = data::read_dataset<float>(at("a.h5ad")).obs;
    std::set<std::string> of_rna, both;
    for (int64_t i = 0; i < r.rows(); ++i)
      if (r.at("split").text(i) == side) of_rna.insert(r.at("donor").text(i));
    for (int64_t i = 0; i < a.rows(); ++i)
      if (of_rna.count(a.at("donor").text(i))) both.insert(a.at("donor").text(i));
    return {both.begin(), both.end()};
  }
};

TEST_F(TrainCoembed, reports_each_term_and_the_alignment) {
  const Json j = json("co.json");
  for (const char* key : {"epochs", "best_epoch", "stopped_because", "train_loss", "validation_loss", "samples_per_second", "seconds", "peak_memory_bytes",
                          "parameters", "device", "mode", "foscttm", "foscttm_before", "discriminator_accuracy", "holdout_discriminator_accuracy", "pairs"})
    EXPECT_TRUE(j.contains(key) && !j[key].is_null()) << key;
  for (const char* name : {"config.toml", "model.safetensors", "metrics.jsonl", "checkpoint.safetensors", "MODEL_CARD.md", "training.json"})
    EXPECT_TRUE(fs::exists(at(std::string("co/") + name))) << name;
  const std::vector<Json> epochs = metrics("co");
  ASSERT_EQ(static_cast<int64_t>(epochs.size()), j["epochs"].get<int64_t>());
  for (const Json& m : epochs)
    for (const char* key : {"train_rna_huber", "train_rna_kl", "train_atac_huber", "train_atac_kl", "train_cycle", "train_pair", "train_generator",
                            "train_discriminator", "train_discriminator_accuracy", "validation_foscttm", "validation_loss"})
      EXPECT_TRUE(m.contains(key) && std::isfinite(m[key].get<double>())) << key;
  // The answer is that of the best epoch, whose weights were kept.
  const Json& best = epochs[static_cast<size_t>(j["best_epoch"].get<int64_t>() - 1)];
  EXPECT_DOUBLE_EQ(j["foscttm"].get<double>(), best["validation_foscttm"].get<double>());
  EXPECT_DOUBLE_EQ(j["validation_loss"].get<double>(), best["validation_loss"].get<double>());
  // What is measured on these weights, and on those before training, is of no epoch.
  for (const char* of : {"validation", "validation_before"})
    for (const char* key : {"epoch", "best"}) EXPECT_FALSE(j[of].contains(key)) << of << " " << key;
  EXPECT_EQ(j["validation"]["validation_loss"], best["validation_loss"]);
  const std::string config = read_file(at("co/config.toml"));
  EXPECT_NE(config.find("mode = \"adversarial\""), std::string::npos);
  EXPECT_NE(config.find("atac_model = \"hierarchical\""), std::string::npos);
  const Outcome info = run("info co");
  EXPECT_EQ(info.code, 0) << info.err;
  EXPECT_NE(info.out.find("6 blocks of 150 peaks"), std::string::npos) << info.out;
  EXPECT_NE(info.out.find("150 - 32 - 8"), std::string::npos) << info.out;
}

TEST_F(TrainCoembed, the_same_command_gives_the_same_bytes_and_a_finished_run_resumed_stays) {
  expect_done(coembed("again", "adversarial", std::string("--pairs pairs.tsv") + kShort));
  for (const char* file : {"model.safetensors", "metrics.jsonl", "config.toml"})
    EXPECT_EQ(read_file(at(std::string("co/") + file)), read_file(at(std::string("again/") + file))) << file;
  expect_done(coembed("again", "", "--pairs pairs.tsv --resume"));
  EXPECT_EQ(read_file(at("co/model.safetensors")), read_file(at("again/model.safetensors")));
}

TEST_F(TrainCoembed, pairs_come_together_in_both_modes_and_for_both_networks_of_atac) {
  for (const char* mode : {"adversarial", "contrastive"})
    for (const char* atac : {"atac_run", "dense_run"}) {
      const std::string name = std::string("long_") + mode + "_" + atac;
      expect_done(coembed(name, mode, "--json long.json --set train.max_epochs=25 --set train.learning_rate=0.001", atac));
      const Json j = json("long.json");
      EXPECT_LT(j["validation"]["validation_pair"].get<double>(), 0.7 * j["validation_before"]["validation_pair"].get<double>()) << name;
      EXPECT_LT(j["validation"]["validation_cycle"].get<double>(), 0.5 * j["validation_before"]["validation_cycle"].get<double>()) << name;
      EXPECT_LT(j["foscttm"].get<double>(), 0.37) << name;
      EXPECT_GT(j["foscttm_before"].get<double>(), 0.4) << name;
      for (const char* m : {"rna", "atac"}) expect_done(std::string("embed -o z_") + m + ".h5ad " + name + " " + m[0] + ".h5ad --modality " + m);
      expect_done("evaluate pairs z_rna.h5ad z_atac.h5ad --json pairs.json");
      EXPECT_LT(json("pairs.json")["foscttm"].get<double>(), 0.4) << name;
    }
}

TEST_F(TrainCoembed, a_weight_of_zero_takes_its_term_away) {
  expect_done(coembed("literal", "adversarial", std::string("--set loss.pair=0 --set loss.cycle=0") + kShort));
  for (const Json& m : metrics("literal")) {
    EXPECT_FALSE(m.contains("train_pair"));
    EXPECT_FALSE(m.contains("train_cycle"));
    EXPECT_TRUE(m.contains("train_generator"));
  }
}

// Where no weight moves, a co-embedding is its two runs: either half embeds as its run does, and what validates is judged by the delta
// and the KL weight of each. A run that learned from peaks has, on block means, the KL weight of one that did not.
TEST_F(TrainCoembed, begins_with_the_two_runs_and_their_losses) {
  fs::copy(at("atac_run"), at("peak_run"), fs::copy_options::recursive);
  expect_done(
      "train atac -o peak_run a.h5ad --stage hierarchical --overwrite --set hierarchical.loss=peaks --set loss.kl_weight=auto --set train.max_epochs=1 --set "
      "train.epoch_steps=1");
  const auto number_in = [](const std::string& run, const std::string& section, const std::string& key) {
    const std::string config = read_file(at(run + "/config.toml"));
    const size_t begin = config.find("[" + section + "]"), place = config.find("\n" + key + " = ", begin);
    EXPECT_TRUE(begin != std::string::npos && place != std::string::npos) << run << " " << section << "." << key;
    return std::stod(config.substr(place + key.size() + 4));
  };
  const double rna_weight = number_in("rna_run", "loss", "kl_weight"), atac_weight = number_in("atac_run", "loss", "kl_weight");
  EXPECT_GT(std::abs(rna_weight - atac_weight), 0.01);
  EXPECT_GT(std::abs(number_in("peak_run", "loss", "kl_weight") - atac_weight), 0.01);
  for (const std::string atac : {"atac_run", "peak_run"}) {
    const std::string name = "still_" + atac;
    expect_done(coembed(name, "adversarial", "--json still.json --set train.max_epochs=1 --set train.epoch_steps=1 --set train.learning_rate=0", atac));
    const Json v = json("still.json")["validation"];
    const auto value = [&](const char* key) { return v[std::string("validation_") + key].get<double>(); };
    EXPECT_NEAR(value("loss"),
                value("rna_huber") + rna_weight * value("rna_kl") / 150 + value("atac_huber") + atac_weight * value("atac_kl") / (6 * 8) + value("foscttm"),
                1e-9);
    for (const std::string m : {"rna", "atac"}) {
      const std::string from = m == "rna" ? "rna_run" : atac, in = m == "rna" ? " r.h5ad" : " a.h5ad";
      expect_done("embed -o of_run.h5ad " + from + in + " --axes latent");
      expect_done("embed -o of_both.h5ad " + name + in + " --modality " + m);
      EXPECT_EQ(data::read_dataset<float>(at("of_run.h5ad")).x, data::read_dataset<float>(at("of_both.h5ad")).x) << name << " " << m;
    }
  }
}

// Contrasted, two runs begin with the same weights whatever the seed, which draws the samples of steps and their noise.
TEST_F(TrainCoembed, steps_are_drawn_by_the_seed) {
  Json epoch[2];
  for (const int seed : {1, 2}) {
    const std::string name = "drawn" + std::to_string(seed);
    expect_done(coembed(name, "contrastive", "--set train.max_epochs=1 --set train.epoch_steps=1 --set train.learning_rate=0 --seed " + std::to_string(seed)));
    epoch[seed - 1] = metrics(name).at(0);
  }
  EXPECT_EQ(epoch[0]["validation_rna_huber"], epoch[1]["validation_rna_huber"]) << "the same weights";
  for (const char* key : {"train_rna_huber", "train_atac_huber", "train_pair"}) EXPECT_NE(epoch[0][key], epoch[1][key]) << key;
}

// The axes have their origin at the mean of the training samples, where the co-embedding has them; and who has been seen are the donors that the
// runs have seen, which here are more than those that train and validate.
TEST_F(TrainCoembed, axes_are_fitted_anew_and_donors_seen_before_are_kept) {
  const auto donors_seen = [](const std::string& name) {
    const Json provenance = Json::parse(SafetensorsReader(at(name + "/model.safetensors")).metadata().at("provenance"));
    std::set<std::string> seen;
    for (const Json& d : provenance["donors_seen"]) seen.insert(d.get<std::string>());
    return seen;
  };
  std::set<std::string> expected = donors_seen("rna_run");
  expected.merge(donors_seen("atac_run"));
  std::set<std::string> here;
  for (const std::string file : {"r", "a"}) {  // half of the donors of either modality, not the same
    data::Dataset<float> d = data::read_dataset<float>(at(file + ".h5ad"));
    const std::vector<std::string> donors = data::donors_of(d.obs);
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < d.samples(); ++i)
      if (donors[static_cast<size_t>(i)].back() % 10 < (file == "r" ? 6 : 5)) {
        kept.push_back(i);
        if (d.obs.at("split").text(i) != "holdout") here.insert(donors[static_cast<size_t>(i)]);
      }
    data::select_samples(d, kept);
    data::write_dataset(at("half_" + file + ".h5ad"), d);
  }
  expect_done(std::string("train coembed -o half --mode adversarial --rna rna_run --atac atac_run half_r.h5ad half_a.h5ad") + kShort);
  EXPECT_LT(here.size(), expected.size());
  EXPECT_EQ(donors_seen("half"), expected);

  const SafetensorsReader model(at("half/model.safetensors"));
  for (const std::string m : {"rna", "atac"}) {
    const std::string file = "half_" + m.substr(0, 1) + ".h5ad";
    expect_done("embed -o half_z.h5ad half " + file + " --modality " + m);
    const data::Dataset<double> z = data::read_dataset<double>(at("half_z.h5ad"));
    const std::vector<double> center = model.doubles(m + ".axes.center"), before = SafetensorsReader(at(m + "_run/model.safetensors")).doubles("axes.center");
    ASSERT_EQ(center.size(), 8u);
    double moved = 0;
    for (int64_t k = 0; k < 8; ++k) {
      double sum = 0, n = 0;
      for (int64_t i = 0; i < z.samples(); ++i)
        if (z.obs.at("split").text(i) == "train") sum += z.x(i, k), ++n;
      EXPECT_NEAR(center[static_cast<size_t>(k)], sum / n, 1e-5) << m << " " << k;
      moved = std::max(moved, std::abs(center[static_cast<size_t>(k)] - before[static_cast<size_t>(k)]));
    }
    EXPECT_GT(moved, 1e-3) << m;
  }
}

// A pair counts by its tier: the same pairs, every other one of them weaker, draw otherwise.
TEST_F(TrainCoembed, tiers_weigh_pairs) {
  std::istringstream table(read_file(at("pairs.tsv")));
  std::string line, alike, mixed;
  std::getline(table, line);
  std::vector<std::string> head;
  std::istringstream names(line);
  for (std::string name; std::getline(names, name, '\t');) head.push_back(name);
  const auto tier = static_cast<size_t>(std::find(head.begin(), head.end(), "tier") - head.begin());
  ASSERT_LT(tier, head.size()) << line;
  alike = mixed = line + "\n";
  for (int i = 0; std::getline(table, line); ++i) {
    std::istringstream cells(line);
    std::string cell, one, other;
    for (size_t c = 0; std::getline(cells, cell, '\t'); ++c) {
      one += (c ? "\t" : "") + (c == tier ? "1" : cell);
      other += (c ? "\t" : "") + (c == tier ? std::to_string(1 + 2 * (i % 2)) : cell);
    }
    alike += one + "\n";
    mixed += other + "\n";
  }
  write_file(at("alike.tsv"), alike);
  write_file(at("mixed.tsv"), mixed);
  double pair[2];
  for (const std::string name : {"alike", "mixed"}) {
    expect_done(coembed("pairs_" + name, "adversarial", "--pairs " + name + ".tsv --set train.max_epochs=1 --set train.learning_rate=0"));
    pair[name == "mixed"] = metrics("pairs_" + name).at(0)["train_pair"].get<double>();
  }
  EXPECT_GT(std::abs(pair[0] - pair[1]), 1e-3 * pair[0]);
  expect_error(run(coembed("pairs_mixed", "", "--pairs alike.tsv --resume")), 3, "another configuration or other data");
}

// Of a table with a pair on each side and one across, the last is left out. A run is not continued from other weights, either.
TEST_F(TrainCoembed, pairs_across_the_split_are_left_out_and_other_warm_starts_refused) {
  const data::Table r = data::read_dataset<float>(at("r.h5ad")).obs, a = data::read_dataset<float>(at("a.h5ad")).obs;
  const auto sample_of = [](const data::Table& obs, const std::string& donor) {
    for (int64_t i = 0; i < obs.rows(); ++i)
      if (obs.at("donor").text(i) == donor) return obs.keys[static_cast<size_t>(i)];
    return std::string();
  };
  const std::string trains = shared_donors("train").at(0), validates = shared_donors("validation").at(0);
  std::string table = "rna\tatac\ttier\n";
  for (const auto& [of_rna, of_atac] : {std::pair(trains, trains), {validates, validates}, {trains, validates}})
    table += sample_of(r, of_rna) + "\t" + sample_of(a, of_atac) + "\t1\n";
  write_file(at("across.tsv"), table);
  expect_done(coembed("across", "adversarial", "--pairs across.tsv --json across.json --set train.max_epochs=1"));
  EXPECT_EQ(json("across.json")["pairs"], (Json{{"train", 1}, {"validation", 1}, {"left_out", 1}}));
  expect_done("train rna -o rna_other r.h5ad --seed 5 --set model.hidden=32 --set model.latent=8 --set train.max_epochs=1 --set train.epoch_steps=1");
  expect_error(run("train coembed -o across --rna rna_other --atac atac_run r.h5ad a.h5ad --pairs across.tsv --resume"), 3,
               "another configuration or other data");
  expect_done(coembed("across", "", "--pairs across.tsv --resume"));
}

void interrupt_and_resume(const std::string& folder, const std::string& mode, int signal) {
  const auto train = [&](const std::string& run, const std::string& more) { return coembed(run, mode, more); };
  stop_and_resume(folder, train, std::string(kShort) + " --set train.checkpoint_seconds=0 --set train.max_epochs=40 --set train.patience=40", "whole_" + mode,
                  "stopped_" + mode + std::to_string(signal), signal, 4);
}

TEST_F(TrainCoembed, an_adversarial_run_killed_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "adversarial", SIGKILL);
}
TEST_F(TrainCoembed, an_adversarial_run_interrupted_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "adversarial", SIGINT);
}
TEST_F(TrainCoembed, a_contrastive_run_killed_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "contrastive", SIGKILL);
}

TEST_F(TrainCoembed, either_half_embeds_new_samples_from_raw_counts) {
  expect_done("embed -o co_a.h5ad co a.h5ad --modality atac");
  const data::Dataset<float> all = data::read_dataset<float>(at("co_a.h5ad"));
  ASSERT_EQ(all.features(), 8);
  ASSERT_TRUE(all.x.allFinite());
  data::Dataset<float> counts = data::read_dataset<float>(at("atac.h5ad"));
  const auto row = std::find(counts.obs.keys.begin(), counts.obs.keys.end(), all.obs.keys[5]) - counts.obs.keys.begin();
  data::select_samples(counts, {row});
  counts.frozen = {};
  data::write_dataset(at("one.h5ad"), counts);
  expect_done("embed -o co_one.h5ad co one.h5ad --modality atac");
  const data::Dataset<float> one = data::read_dataset<float>(at("co_one.h5ad"));
  EXPECT_LT((one.x.row(0) - all.x.row(5)).norm(), 1e-4f * all.x.row(5).norm());
  // The frozen preprocessing of either half serves 'preprocess --like', too.
  expect_done("preprocess -o like.h5ad one.h5ad --like co --modality atac");
  const data::Dataset<float> like = data::read_dataset<float>(at("like.h5ad")), a = data::read_dataset<float>(at("a.h5ad"));
  EXPECT_LT((like.x.row(0) - a.x.row(5)).norm(), 1e-5f * a.x.row(5).norm());
}

TEST_F(TrainCoembed, a_preprocessed_matrix_says_of_which_modality_it_is) {
  expect_done("embed -o said.h5ad co a.h5ad --modality atac");
  expect_done("embed -o found.h5ad co a.h5ad");
  EXPECT_EQ(data::read_dataset<float>(at("said.h5ad")).x, data::read_dataset<float>(at("found.h5ad")).x);
}

TEST_F(TrainCoembed, one_modality_is_imputed_from_the_other_and_judged) {
  expect_done("reconstruct -o imputed.h5ad co a.h5ad --to rna --against r.h5ad --json imputed.json");
  const data::Dataset<float> imputed = data::read_dataset<float>(at("imputed.h5ad")), r = data::read_dataset<float>(at("r.h5ad")),
                             a = data::read_dataset<float>(at("a.h5ad"));
  EXPECT_EQ(imputed.obs.keys, a.obs.keys);
  EXPECT_EQ(imputed.var.keys, r.var.keys);
  EXPECT_NEAR(imputed.x.mean(), r.x.mean(), 0.2f);
  const Json j = json("imputed.json");
  EXPECT_EQ(j["judged_on"], "holdout");
  EXPECT_GT(j["judged_pairs"].get<int64_t>(), 10);
  EXPECT_GT(j["spearman_per_sample_mean"].get<double>(), 0.8);
  EXPECT_GT(j["cohort_mean_spearman_per_sample_mean"].get<double>(), 0.8);
  EXPECT_GT(j["cohort_mean_mean_squared_error"].get<double>(), 0);
  // The other way, and within one modality.
  expect_done("reconstruct -o peaks.h5ad co r.h5ad --to atac");
  EXPECT_EQ(data::read_dataset<float>(at("peaks.h5ad")).var.keys, a.var.keys);
  expect_done("reconstruct -o same.h5ad co r.h5ad --to rna --modality rna --json same.json");
  EXPECT_GT(json("same.json")["spearman_per_sample_mean"].get<double>(), 0.8);
}

TEST_F(TrainCoembed, donors_held_out_in_either_modality_train_in_neither) {
  // A donor that validates in the RNA matrix and trains in ATAC validates in both; the runs have seen none of the hold-out.
  const std::vector<std::string> training = shared_donors("train");
  ASSERT_GT(training.size(), 4u);
  write_split("r.h5ad", "r_validates.h5ad", {training[0], training[1]}, "validation");
  expect_done("train coembed -o moved --mode adversarial --rna rna_run --atac atac_run r_validates.h5ad a.h5ad --json moved.json --set train.max_epochs=1");
  expect_done(coembed("unmoved", "adversarial", "--json unmoved.json --set train.max_epochs=1"));
  EXPECT_LT(json("moved.json")["pairs"]["train"].get<int64_t>(), json("unmoved.json")["pairs"]["train"].get<int64_t>());
  EXPECT_GT(json("moved.json")["pairs"]["validation"].get<int64_t>(), json("unmoved.json")["pairs"]["validation"].get<int64_t>());
  // Held out in ATAC alone, the donor is one that the RNA run has seen.
  write_split("a.h5ad", "a_holds.h5ad", {training[0], training[2]}, "holdout");
  const Outcome o = run("train coembed -o refused --mode adversarial --rna rna_run --atac atac_run r.h5ad a_holds.h5ad");
  expect_error(o, 3, "the RNA run has seen 2 donors that are held out here");
  EXPECT_NE(o.err.find(training[0]), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("--split-from"), std::string::npos) << o.err;
  EXPECT_FALSE(fs::exists(at("refused")));
  // So is one that validated it, and one that the ATAC run has seen.
  write_split("a.h5ad", "a_holds.h5ad", {shared_donors("validation").at(0)}, "holdout");
  expect_error(run("train coembed -o refused --mode adversarial --rna rna_run --atac atac_run r.h5ad a_holds.h5ad"), 3,
               "the RNA run has seen 1 donors that are held out here");
  write_split("r.h5ad", "rna_forgets.h5ad", {training[0]}, "holdout");
  expect_done("train rna -o rna_forgets rna_forgets.h5ad --set model.hidden=32 --set model.latent=8 --set train.max_epochs=1 --set train.epoch_steps=1");
  expect_error(run("train coembed -o refused --mode adversarial --rna rna_forgets --atac atac_run rna_forgets.h5ad a.h5ad"), 3,
               "the ATAC run has seen 1 donors that are held out here");
}

TEST_F(TrainCoembed, what_it_refuses) {
  expect_error(run(coembed("x", "", "")), 2, "--mode is required");
  expect_error(run(coembed("x", "friendly", "")), 2, "--mode");
  expect_error(run(coembed("co", "adversarial", "")), 2, "--overwrite");
  expect_error(run(coembed("x", "adversarial", "--no-graph")), 2, "--no-graph");  // its steps never run as graphs
  expect_error(run(coembed("co", "contrastive", "--resume")), 2, "the run is adversarial");
  expect_error(run(coembed("x", "adversarial", "--set loss.pairs=1")), 2, "loss.pair");
  expect_error(run(coembed("x", "adversarial", "--set loss.pair=-1")), 2, "outside");
  expect_error(run(coembed("x", "adversarial", "--set coembed.cycle_freeze=all")), 2, "encoders, target, none");
  expect_error(run(coembed("x", "adversarial", "--set coembed.atac_model=dense")), 2, "the ATAC run is hierarchical");
  expect_error(run(coembed("x", "adversarial", "", "rna_run")), 2, "a model of rna, not of atac (--atac 'rna_run'): name a run of 'panvae train atac'");
  expect_error(run("reconstruct -o x.h5ad rna_run r.h5ad --modality atac"), 2, "a model of rna, not of atac (--modality atac): leave it out");
  expect_error(run("reconstruct -o x.h5ad rna_run r.h5ad --to atac"), 2, "a model of rna, not of atac (--to atac): leave it out");
  expect_error(run(coembed("x", "adversarial", "", "co")), 2, "co-embedding already");
  expect_error(run(coembed("x", "adversarial", "", "nowhere")), 3, "no trained model");
  expect_error(run("train coembed -o x --mode adversarial --rna rna_run --atac atac_run a.h5ad r.h5ad"), 3, "features");
  expect_done("train atac -o wide_run a.h5ad --set model.network=dense --set model.hidden=9 --set model.latent=7 --set train.max_epochs=1");
  expect_error(run(coembed("x", "adversarial", "", "wide_run")), 3, "the RNA run has 8 latents and the ATAC run 7");
  write_file(at("others.tsv"), "atac\trna\nnobody\tnoone\n");
  expect_error(run(coembed("x", "adversarial", "--pairs others.tsv")), 3, "none of its 1 pairs");
  EXPECT_FALSE(fs::exists(at("x")));
  // Nothing to contrast.
  data::Dataset<float> r = data::read_dataset<float>(at("r.h5ad")), a = data::read_dataset<float>(at("a.h5ad"));
  for (auto* d : {&r, &a}) d->obs.set(data::factor_from_text("cohort", std::vector<std::string>(d->obs.keys.size(), "one")));
  data::write_dataset(at("r1.h5ad"), r);
  data::write_dataset(at("a1.h5ad"), a);
  expect_error(run("train coembed -o x --mode contrastive --rna rna_run --atac atac_run r1.h5ad a1.h5ad"), 3, "nothing to contrast");

  expect_error(run("embed -o x.h5ad co rna.h5ad"), 2, "say which: --modality rna");
  expect_error(run("embed -o x.h5ad co r.h5ad --modality rna --axes canonical"), 2, "latent units");
  expect_error(run("reconstruct -o x.h5ad co r.h5ad"), 2, "say which: --to rna");
  expect_error(run("reconstruct -o x.h5ad rna_run r.h5ad --to atac"), 2, "model of rna");
  expect_error(run("reconstruct -o x.h5ad rna_run r.h5ad --against r.h5ad"), 2, "nothing is imputed");
  expect_error(run("preprocess -o x.h5ad rna.h5ad --like co"), 3, "with --modality");
}

TEST_F(TrainCoembed, dense_networks_have_their_own_keys) {
  expect_error(run("train atac -o x a.h5ad --set model.hidden=3"), 2, "model.network=dense");
  expect_error(run("train atac -o x a.h5ad --set model.network=dense --set block.size=3"), 2, "model.network=hierarchical");
  expect_error(run("train atac -o x a.h5ad --set model.network=dense --stage block"), 2, "no stages");
  const std::string config = read_file(at("dense_run/config.toml"));
  EXPECT_NE(config.find("network = \"dense\""), std::string::npos);
  EXPECT_EQ(config.find("[block]"), std::string::npos);
  expect_done("embed -o dense.h5ad dense_run atac.h5ad");
  expect_done("reconstruct -o dense_rec.h5ad dense_run a.h5ad --json dense.json");
  EXPECT_GT(json("dense.json")["spearman_per_sample_mean"].get<double>(), 0.4);
}

// evaluate all: the halves as models of their data, both together by their pairs, beside the single runs that are not aligned.
TEST_F(TrainCoembed, evaluate_all_judges_both_halves_and_their_pairs) {
  const Outcome o = run("evaluate all rna_run atac_run co -o results --pca 8 --seed 5 --json all.json");
  ASSERT_EQ(o.code, 0) << o.err;
  const Json j = json("results/results.json"), answer = json("all.json");
  std::vector<std::string> ids;
  for (const Json& m : j["models"])
    if (m["kind"] != "pca" && m["kind"] != "clinical")
      ids.push_back(m["id"].get<std::string>() + " " + m["kind"].get<std::string>() + " " + m["modality"].get<std::string>() + " " +
                    (m["data"] == "" ? "-" : m["data"].get<std::string>()));
  EXPECT_EQ(ids, (std::vector<std::string>{"rna_run vae rna r", "co_rna coembedding rna r", "atac_run vae atac a", "co_atac coembedding atac a",
                                           "separate separate both -", "cca cca both -", "co coembedding both -"}));
  const auto scores = [&](const std::string& kind, const std::string& model) {
    Json out = Json::array();
    for (const Json& s : j[kind])
      if (s["model"] == model) out.push_back(s);
    return out;
  };
  // Each half as its embedding would be judged by hand.
  expect_done("embed -o co_a.h5ad co a.h5ad --modality atac");
  expect_done("embed -o co_r.h5ad co r.h5ad --modality rna");
  expect_done("evaluate cohort co_a.h5ad --seed 5 --json one.json");
  EXPECT_EQ(scores("cohort", "co_atac")[0]["folds"], json("one.json")["folds"]);
  EXPECT_TRUE(scores("expression", "co_rna")[0].contains("spearman_per_sample_mean"));
  // So are the pairs, of the co-embedding and of the runs before it, on their latent units.
  expect_done("evaluate pairs co_r.h5ad co_a.h5ad --seed 5 --json one.json");
  Json one = json("one.json");
  const Json pairs = scores("pairs", "co");
  ASSERT_EQ(pairs.size(), 2u);
  for (const char* key : {"foscttm", "foscttm_within_cohort", "recall_at_10", "z", "transfer_atac_to_rna", "n_pairs"})
    EXPECT_EQ(pairs[0][key], one[key]) << key;
  EXPECT_TRUE(pairs[0]["control"].is_null());
  EXPECT_EQ(pairs[1]["control"], "permuted pairs");
  expect_done("evaluate pairs co_r.h5ad co_a.h5ad --seed 5 --control permuted --json one.json");
  EXPECT_EQ(pairs[1]["foscttm"], json("one.json")["foscttm"]);
  expect_done("embed -o r8.h5ad rna_run r.h5ad --axes latent");
  expect_done("embed -o a8.h5ad atac_run a.h5ad");
  expect_done("evaluate pairs r8.h5ad a8.h5ad --seed 5 --json one.json");
  one = json("one.json");
  ASSERT_EQ(scores("pairs", "separate").size(), 1u) << "one control is enough";
  for (const char* key : {"foscttm", "recall_at_1", "mixing_entropy"}) EXPECT_EQ(scores("pairs", "separate")[0][key], one[key]) << key;
  expect_done("cca --rna-output rc.h5ad --atac-output ac.h5ad r.h5ad a.h5ad --seed 5");
  expect_done("evaluate pairs rc.h5ad ac.h5ad --seed 5 --json one.json");
  EXPECT_EQ(scores("pairs", "cca")[0]["foscttm"], json("one.json")["foscttm"]);
  EXPECT_EQ(answer["pairs"].size(), 4u);
  EXPECT_EQ(answer["pairs"][0]["model"], "separate");
  for (const char* part : {"separate VAEs, 8", "co-embedding, adversarial, 8", "RNA, adversarial, 8", "by chance"})
    EXPECT_NE(o.out.find(part), std::string::npos) << part << o.out;
  // Both modalities in one plane: every sample once, whatever its name in the other modality.
  for (const char* model : {"separate", "cca", "co"}) {
    const data::Table plane = data::read_table(at(std::string("results/plane/") + model + ".tsv"));
    const data::Table r = data::read_dataset<float>(at("r.h5ad")).obs, a = data::read_dataset<float>(at("a.h5ad")).obs;
    ASSERT_EQ(plane.rows(), r.rows() + a.rows());
    EXPECT_EQ(plane.at("modality").text(0), "rna");
    EXPECT_EQ(plane.at("modality").text(r.rows()), "atac");
    for (int64_t i = 0; i < r.rows(); ++i) EXPECT_EQ(plane.at("split").text(i), r.at("split").text(i));
    for (int64_t i = 0; i < a.rows(); ++i) EXPECT_EQ(plane.at("donor").text(r.rows() + i), a.at("donor").text(i));
  }
  // What the networks are, as they are.
  const Json* both = nullptr;
  for (const Json& m : j["models"])
    if (m["id"] == "co") both = &m["network"];
  ASSERT_TRUE(both);
  EXPECT_EQ((*both)["mode"], "adversarial");
  EXPECT_EQ((*both)["cycle"], true);
  ASSERT_EQ((*both)["parts"].size(), 3u);
  EXPECT_EQ((*both)["parts"][0]["encoder"][0]["in"], (*both)["parts"][0]["inputs"]);
  EXPECT_EQ((*both)["parts"][1]["frozen"], true);
  EXPECT_FALSE((*both)["parts"][2].contains("frozen"));
  EXPECT_EQ((*both)["discriminator"].size(), 3u);
  EXPECT_EQ((*both)["discriminator"][0]["in"], 8);
  expect_done("report -o report.html results");
  EXPECT_NE(read_file(at("report.html")).find("Two modalities in one space"), std::string::npos);
}

// Runs of both modalities need not have donors in common, nor latents of one size.
TEST_F(TrainCoembed, evaluate_all_goes_on_where_there_are_no_pairs) {
  data::Dataset<float> d = data::read_dataset<float>(at("a.h5ad"));
  std::vector<std::string> donors;
  for (int64_t i = 0; i < d.samples(); ++i) donors.push_back("other" + std::to_string(i / 2));
  d.obs.set(data::factor_from_text("donor", donors));
  data::write_dataset(at("others.h5ad"), d);
  const Outcome o = run("evaluate all rna_run atac_run --data r.h5ad --data others.h5ad -o apart --pca none --controls none --json all.json");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("pairs are not judged"), std::string::npos) << o.err;
  EXPECT_TRUE(json("all.json")["pairs"].empty());
  expect_done("report -o report.html apart");
}

}  // namespace
