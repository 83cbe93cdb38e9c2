// ATAC through the program: two stages trained, stopped and continued, embedded and reconstructed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/other_split.h"
#include "tests/tools/stopped_run.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

constexpr const char* kSmall =
    " --set block.size=150 --set block.slide=50 --set block.widths=32,16 --set block.latent=8 --set block.batch_size=64 --set hierarchical.channels=4"
    " --set hierarchical.widths=16 --set hierarchical.latent=6 --set train.batch_size=16 --set loss.kl_warmup_epochs=2 --set train.max_epochs=5"
    " --set train.learning_rate=0.001 --set train.epoch_steps=1";

// One simulated study with ATAC, preprocessed and trained, for all tests.
class TrainAtac : public SuiteFolder<TrainAtac> {
 public:
  static void prepare() {
    expect_done("simulate -o sim --donors 60 --genes 100 --peaks 700 --cohorts 3 --atac-fraction 1");
    expect_done("preprocess -o a.h5ad sim/atac.h5ad --modality atac");
    expect_done(std::string("train atac -o run a.h5ad --json train.json") + kSmall);
  }

 protected:
  static void expect_same_run(const std::string& a, const std::string& b) {
    for (const char* file : {"model.safetensors", "metrics.jsonl", "config.toml"})
      EXPECT_EQ(read_file(at(a + "/" + file)), read_file(at(b + "/" + file))) << file;
  }
};

TEST_F(TrainAtac, both_stages_are_reported) {
  const Json j = json("train.json");
  for (const char* key : {"epochs", "best_epoch", "stopped_because", "train_loss", "validation_loss", "samples_per_second", "seconds", "peak_memory_bytes",
                          "parameters", "device"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_EQ(j["modality"], "atac");
  EXPECT_EQ(j["parameters"].get<int64_t>(), j["stages"]["block"]["parameters"].get<int64_t>() + j["stages"]["hierarchical"]["parameters"].get<int64_t>());
  for (const char* name : {"run/config.toml", "run/model.safetensors", "run/blocks.safetensors", "run/metrics.jsonl", "run/checkpoint.safetensors",
                           "run/MODEL_CARD.md", "run/training.json"})
    EXPECT_TRUE(fs::exists(at(name))) << name;
  int64_t blocks = 0, whole = 0;
  std::istringstream lines(read_file(at("run/metrics.jsonl")));
  for (std::string line; std::getline(lines, line);) {
    const Json m = Json::parse(line);
    (m["stage"] == "block" ? blocks : whole) += 1;
    EXPECT_TRUE(std::isfinite(m["validation_loss"].get<double>()));
  }
  EXPECT_EQ(blocks, j["stages"]["block"]["epochs"].get<int64_t>());
  EXPECT_EQ(whole, j["epochs"].get<int64_t>());
  EXPECT_NE(read_file(at("run/MODEL_CARD.md")).find("chromatin accessibility"), std::string::npos);
  const Outcome info = run("info run");
  EXPECT_EQ(info.code, 0);
  EXPECT_NE(info.out.find("5 blocks of 150 peaks"), std::string::npos) << info.out;
}

TEST_F(TrainAtac, the_same_command_gives_the_same_bytes) {
  ASSERT_EQ(run(std::string("train atac -o again a.h5ad") + kSmall).code, 0);
  expect_same_run("run", "again");
}

TEST_F(TrainAtac, stages_apart_are_the_same_as_both_at_once) {
  ASSERT_EQ(run(std::string("train atac -o apart a.h5ad --stage block --json block.json") + kSmall).code, 0);
  EXPECT_EQ(json("block.json")["stage"], "block");
  EXPECT_FALSE(fs::exists(at("apart/model.safetensors")));
  expect_error(run("embed -o e.h5ad apart a.h5ad"), 3, "no trained model");
  const Outcome second = run("train atac -o apart a.h5ad --stage hierarchical");
  ASSERT_EQ(second.code, 0) << second.err;
  expect_same_run("run", "apart");
  // Another second stage on the same blocks.
  const Outcome other = run("train atac -o apart a.h5ad --stage hierarchical --set hierarchical.latent=3 --set train.max_epochs=3 --overwrite");
  ASSERT_EQ(other.code, 0) << other.err;
  ASSERT_EQ(run("embed -o e3.h5ad apart a.h5ad").code, 0);
  const std::string model = read_file(at("apart/model.safetensors"));
  ASSERT_EQ(run("train atac -o apart a.h5ad --resume").code, 0);  // does not train blocks anew, though train.max_epochs is another now
  EXPECT_EQ(read_file(at("apart/model.safetensors")), model);
  EXPECT_EQ(data::read_dataset<float>(at("e3.h5ad")).features(), 3);
  expect_error(run("train atac -o apart a.h5ad --stage hierarchical --set block.latent=4 --overwrite"), 3, "another configuration");
  expect_error(run("train atac -o nothing a.h5ad --stage hierarchical"), 3, "no block VAE");
}

// As many samples train and validate as before, but one of each has changed sides: what the blocks were trained on must not validate
// what is trained on them. Who names the wrong matrix loses nothing.
TEST_F(TrainAtac, another_split_is_other_data) {
  write_with_two_sides_exchanged(at("a.h5ad"), at("swapped.h5ad"));
  fs::copy(at("run"), at("resplit"), fs::copy_options::recursive);
  expect_error(run("train atac -o resplit swapped.h5ad --stage hierarchical --overwrite"), 3, "on other data");
  for (const bool begun : {true, false}) {  // the second stage: with a checkpoint of it, and ended before the first
    if (!begun)
      for (const char* file : {"resplit/model.safetensors", "resplit/checkpoint.safetensors"}) fs::remove(at(file));
    expect_error(run("train atac -o resplit swapped.h5ad --resume"), 3, "on other data");
    expect_done("train atac -o resplit a.h5ad --resume");
    expect_same_run("run", "resplit");
  }
}

void interrupt_and_resume(const std::string& folder, const std::string& name, int signal, int64_t lines) {
  const auto train = [](const std::string& run, const std::string& more) { return "train atac -o " + run + " a.h5ad " + more; };
  stop_and_resume(folder, train, std::string(kSmall) + " --set train.checkpoint_seconds=0 --set train.max_epochs=60 --set train.patience=60", "long", name,
                  signal, lines);
}

TEST_F(TrainAtac, killed_in_the_first_stage_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "first_killed", SIGKILL, 4);
}
TEST_F(TrainAtac, interrupted_in_the_first_stage_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "first_interrupted", SIGINT, 4);
}
TEST_F(TrainAtac, killed_in_the_second_stage_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "second_killed", SIGKILL, 64);
}
TEST_F(TrainAtac, interrupted_in_the_second_stage_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "second_interrupted", SIGINT, 64);
}
TEST_F(TrainAtac, a_finished_run_resumed_stays_what_it_is) {
  fs::copy(at("run"), at("finished"), fs::copy_options::recursive);
  ASSERT_EQ(run("train atac -o finished a.h5ad --resume").code, 0);
  expect_same_run("run", "finished");
  ASSERT_EQ(run(std::string("train atac -o finished a.h5ad --resume") + kSmall).code, 0);
  expect_same_run("run", "finished");
}

TEST_F(TrainAtac, a_sample_is_embedded_the_same_alone_from_counts_and_in_any_order) {
  ASSERT_EQ(run("embed -o all.h5ad run a.h5ad").code, 0);
  const data::Dataset<float> all = data::read_dataset<float>(at("all.h5ad"));
  ASSERT_EQ(all.features(), 6);
  ASSERT_TRUE(all.x.allFinite());
  EXPECT_GT(all.x.squaredNorm(), 0);
  // Counts of one sample, peaks turned around.
  data::Dataset<float> counts = data::read_dataset<float>(at("sim/atac.h5ad"));
  const auto row = std::find(counts.obs.keys.begin(), counts.obs.keys.end(), all.obs.keys[7]) - counts.obs.keys.begin();
  data::select_samples(counts, {row});
  std::vector<int64_t> backwards;
  for (int64_t i = counts.features(); i-- > 0;) backwards.push_back(i);
  data::select_features(counts, backwards);
  counts.frozen = {};
  data::write_dataset(at("one.h5ad"), counts);
  const Outcome o = run("embed -o one_z.h5ad run one.h5ad");
  ASSERT_EQ(o.code, 0) << o.err;
  const data::Dataset<float> one = data::read_dataset<float>(at("one_z.h5ad"));
  EXPECT_LT((one.x.row(0) - all.x.row(7)).norm(), 1e-4f * all.x.row(7).norm());
  expect_error(run("embed -o e.h5ad run a.h5ad --modality rna"), 2, "model of atac");
}

TEST_F(TrainAtac, reconstructions_are_in_the_units_of_the_preprocessed_data) {
  ASSERT_EQ(run("reconstruct -o rec.h5ad run a.h5ad --json rec.json").code, 0);
  const data::Dataset<float> x = data::read_dataset<float>(at("a.h5ad")), rec = data::read_dataset<float>(at("rec.h5ad"));
  ASSERT_EQ(rec.var.keys, x.var.keys);
  EXPECT_NEAR(rec.x.mean(), x.x.mean(), 0.2f);
  EXPECT_GT(json("rec.json")["spearman_per_sample_mean"].get<double>(), 0.4);
  EXPECT_LT((rec.x - x.x).squaredNorm(), (x.x.array() - x.x.mean()).matrix().squaredNorm());
  ASSERT_EQ(run("evaluate expression a.h5ad rec.h5ad --json de.json").code, 0);
}

TEST_F(TrainAtac, evaluate_all_and_report_show_accessibility) {
  const Outcome all = run("evaluate all run --data a.h5ad --pca 6 --on all --folds 3 -o results");
  ASSERT_EQ(all.code, 0) << all.err;
  EXPECT_NE(all.out.find("ATAC VAE, 6"), std::string::npos) << all.out;
  const Outcome report = run("report -o report.html results");
  ASSERT_EQ(report.code, 0) << report.err;
  EXPECT_NE(read_file(at("report.html")).find("accessib"), std::string::npos);
}

TEST_F(TrainAtac, end_to_end_training_with_the_peak_loss) {
  ASSERT_EQ(run("train atac -o apart_peaks a.h5ad --stage block" + std::string(kSmall)).code, 0);
  const Outcome o = run("train atac -o apart_peaks a.h5ad --stage hierarchical --set hierarchical.loss=peaks --json peaks.json");
  ASSERT_EQ(o.code, 0) << o.err;
  // A loss over 750 peaks of the tiles, not over 40 block means.
  EXPECT_GT(json("peaks.json")["validation_loss"].get<double>(), 2 * json("train.json")["validation_loss"].get<double>());
  ASSERT_EQ(run("reconstruct -o rec_peaks.h5ad apart_peaks a.h5ad --quiet").code, 0);
}

// What the first stage wrote of the second's settings was chosen for the loss and the preset that it knew.
TEST_F(TrainAtac, a_second_stage_of_another_loss_or_preset_chooses_what_goes_with_them) {
  const std::string sizes =
      " --set block.size=60 --set block.slide=30 --set block.widths=16,8 --set block.latent=3 --set train.max_epochs=1 --set train.epoch_steps=1";
  const auto settings = [](const std::string& of) { return read_file(at(of + "/config.toml")); };
  const auto first_and_second = [&](const std::string& second) {
    const Outcome o = run("train atac -o anew a.h5ad --overwrite --stage block" + sizes);
    EXPECT_EQ(o.code, 0) << o.err;
    const Outcome p = run("train atac -o anew a.h5ad --stage hierarchical" + second);
    EXPECT_EQ(p.code, 0) << p.err;
    return settings("anew");
  };
  for (const std::string second : {" --set hierarchical.loss=peaks", " --set model.preset=medium", " --set model.preset=medium --set hierarchical.latent=7"}) {
    const Outcome o = run("train atac -o at_once a.h5ad --overwrite" + sizes + second);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(first_and_second(second), settings("at_once")) << second;
  }
  EXPECT_NE(first_and_second(" --set hierarchical.loss=peaks --set loss.kl_weight=0.5").find("kl_weight = 0.5"), std::string::npos);
}

TEST_F(TrainAtac, what_it_refuses) {
  expect_error(run("train atac -o r2 a.h5ad --set block.sizes=3"), 2, "block.size");
  expect_error(run("train atac -o r2 a.h5ad --set block.widths=32,x"), 2, "2048,1024,512");
  expect_error(run("train atac -o r2 a.h5ad --set model.width=3"), 2, "unknown configuration key");
  expect_error(run("train atac -o r2 a.h5ad --set model.preset=tiny"), 2, "medium");
  expect_error(run("train atac -o r2 sim/atac.h5ad"), 3, "preprocess --modality atac");
  expect_error(run("train rna -o r2 a.h5ad"), 3, "panvae train atac");
  ASSERT_EQ(run("preprocess -o rna.h5ad sim/rna.h5ad --modality rna").code, 0);
  expect_error(run("train atac -o r2 rna.h5ad"), 3, "panvae train rna");
  expect_error(run("train atac -o run a.h5ad"), 2, "--overwrite");
  expect_error(run("train atac -o run a.h5ad --resume --set train.max_epochs=9"), 2, "--resume goes on with the configuration of the run");
  data::Dataset<float> d = data::read_dataset<float>(at("a.h5ad"));
  d.frozen = {};
  std::vector<int64_t> order;
  for (int64_t i = 0; i < d.features(); ++i) order.push_back(i);
  std::swap(order[3], order[9]);
  data::select_features(d, order);
  data::write_dataset(at("disorder.h5ad"), d);
  expect_error(run("train atac -o r2 disorder.h5ad"), 3, "out of genome order");
  EXPECT_FALSE(fs::exists(at("r2/config.toml")));
}

TEST_F(TrainAtac, fewer_peaks_than_a_block_and_sizes_by_the_number_of_peaks) {
  const Outcome o = run("train atac -o wide a.h5ad --set train.max_epochs=1 --set block.widths=16 --set hierarchical.widths=8");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("preset small"), std::string::npos) << o.err;
  const std::string config = read_file(at("wide/config.toml"));
  EXPECT_NE(config.find("preset = \"small\""), std::string::npos);
  EXPECT_NE(config.find("widths = [16]"), std::string::npos);
  ASSERT_EQ(run("embed -o wide.h5ad wide a.h5ad").code, 0);
}

}  // namespace
