// The program as its users meet it: commands run in a shell, exit codes, messages, files.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "base/philox.h"
#include "base/safetensors.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/other_split.h"
#include "tests/tools/stopped_run.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

constexpr const char* kSmall = " --set model.hidden=32 --set model.latent=8 --set train.max_epochs=14 --set train.batch_size=16";

// One simulated study, preprocessed and trained, for all tests of this program.
class Program : public SuiteFolder<Program> {
 public:
  static void prepare() {
    expect_done("simulate -o sim --donors 120 --genes 300 --cohorts 4");
    expect_done("preprocess -o x.h5ad sim/rna.h5ad --modality rna --batch-key batch");
    expect_done(std::string("train rna -o run x.h5ad --json train.json") + kSmall);
  }
};

TEST_F(Program, version_names_commit_cuda_and_blas_quickly) {
  run("--version");
  const auto start = std::chrono::steady_clock::now();
  const Outcome o = run("--version");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(o.code, 0);
  EXPECT_NE(o.out.find("panvae 0."), std::string::npos);
  EXPECT_NE(o.out.find("CUDA"), std::string::npos);
  EXPECT_LT(seconds, 5) << "not a benchmark: a machine under load is allowed much";
}

TEST_F(Program, every_command_has_help_with_an_example) {
  for (const char* c : {"info", "simulate", "convert", "preprocess", "pca", "train rna", "embed", "reconstruct", "evaluate cohort", "evaluate alignment",
                        "evaluate survival", "evaluate expression", "demo"}) {
    const Outcome o = run(std::string(c) + " --help");
    EXPECT_EQ(o.code, 0) << c;
    EXPECT_NE(o.out.find("Example:"), std::string::npos) << c;
  }
}

// In a folder that is empty at first.
TEST_F(Program, examples_of_embed_and_reconstruct_work_as_pasted) {
  const std::string path = "PATH='" + fs::path(kProgram).parent_path().string() + "':\"$PATH\" ";
  for (const std::string c : {"embed", "reconstruct"}) {
    const std::string help = run(c + " --help").out;
    const size_t begin = help.find("Example:\n");
    ASSERT_NE(begin, std::string::npos) << help;
    const std::string example = help.substr(begin + 9, help.find('\n', begin + 9) - begin - 9);
    const std::string inner = at("pasted_" + c);
    ASSERT_TRUE(fs::create_directory(inner));
    const Outcome o = shell("{ " + path + "&& export PATH && " + example + "; }", inner);
    EXPECT_EQ(o.code, 0) << example << "\n" << o.err;
  }
}

TEST_F(Program, numbers_below_the_least_are_named_in_few_words) {
  expect_error(run("pca -o p.h5ad x.h5ad --components 0"), 2, "--components: 0 is below 1: see 'panvae pca --help'");
  expect_error(run("pca -o p.h5ad x.h5ad --threads -1"), 2, "--threads: -1 is below 0: ");
  expect_error(run("pca -o p.h5ad x.h5ad --threads few"), 2, "--threads: 'few' is no number: ");
  expect_error(run("pca -o p.h5ad x.h5ad --threads 1.5"), 2, "--threads");
  // CLI11 reads -1 into an unsigned number as the largest one.
  expect_error(run("pca -o p.h5ad x.h5ad --seed -1"), 2, "--seed: -1 is below 0: ");
}

TEST_F(Program, an_embedding_is_no_preprocessing) {
  expect_done("pca -o e.h5ad x.h5ad --components 20");
  expect_done("pca -o stored.h5ad x.h5ad --components 20 --store-components");
  expect_done("info x.h5ad --json info.json");
  EXPECT_EQ(json("info.json")["preprocessed"], true);
  for (const std::string e : {"e.h5ad", "stored.h5ad"}) {
    expect_done("info " + e + " --json info.json");
    EXPECT_EQ(json("info.json")["preprocessed"], false) << e;
    expect_error(run("preprocess -o y.h5ad --like " + e + " sim/rna.h5ad"), 3, "no preprocessing is stored there ('" + e + "')");
  }
  // What a model was trained on it takes again.
  const Outcome o = run(std::string("train rna -o run_e e.h5ad") + kSmall);
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("carries no preprocessing"), std::string::npos) << o.err;
  expect_done("embed -o z.h5ad run_e e.h5ad");
  expect_error(run("embed -o z.h5ad run_e sim/rna.h5ad"), 3, "the run holds no preprocessing");
}

TEST_F(Program, a_run_that_is_replaced_leaves_no_model_behind) {
  expect_done(std::string("train rna -o run_o x.h5ad") + kSmall);
  fs::remove(at("run_o/metrics.jsonl"));  // so that its lines are those of the second run
  stop_when(folder,
            "train rna -o run_o x.h5ad --overwrite --set model.hidden=32 --set model.latent=4 --set train.max_epochs=100000 --set train.patience=100000",
            SIGINT, [] { return read_file(at("run_o/config.toml")).find("latent = 4\n") != std::string::npos && lines_of(at("run_o/metrics.jsonl")) >= 3; });
  for (const char* name : {"model.safetensors", "training.json", "MODEL_CARD.md"}) EXPECT_FALSE(fs::exists(at("run_o/") + name)) << name;
  EXPECT_TRUE(fs::exists(at("run_o/checkpoint.safetensors")));
  expect_error(run("embed -o z.h5ad run_o x.h5ad"), 3, "no trained model");
}

// Killed before its first checkpoint, the run that replaces another has none: with --resume it starts anew, and does not go on with the other.
TEST_F(Program, a_run_that_is_replaced_leaves_no_checkpoint_behind) {
  const std::string options = " --set model.hidden=32 --set model.latent=4 --set train.max_epochs=100000 --set train.patience=100000";
  stop_when(folder, "train rna -o run_p x.h5ad" + options, SIGINT, [] { return lines_of(at("run_p/metrics.jsonl")) >= 2; });
  ASSERT_TRUE(fs::exists(at("run_p/checkpoint.safetensors")));
  fs::remove(at("run_p/metrics.jsonl"));  // so that its lines are those of the second run
  stop_when(folder, "train rna -o run_p x.h5ad --overwrite --set train.checkpoint_seconds=100000" + options, SIGKILL,
            [] { return lines_of(at("run_p/metrics.jsonl")) >= 2; });
  EXPECT_FALSE(fs::exists(at("run_p/checkpoint.safetensors")));
}

TEST_F(Program, levels_that_no_sample_has_are_not_written) {
  expect_done("convert -o two.h5ad x.h5ad --where cohort=C01,C03");
  const data::Table obs = data::read_obs(at("two.h5ad"));
  EXPECT_EQ(obs.at("cohort").levels, (std::vector<std::string>{"C01", "C03"}));
  for (int64_t r = 0; r < obs.rows(); ++r) EXPECT_TRUE(obs.at("cohort").text(r) == "C01" || obs.at("cohort").text(r) == "C03");
}

TEST_F(Program, wrong_usage_is_2_with_the_nearest_name) {
  expect_error(run("pca -o p.h5ad x.h5ad --componets 3"), 2, "--components");
  expect_error(run("train rna -o r2 x.h5ad --set train.max_epoch=3"), 2, "train.max_epochs");
  expect_error(run("train rna -o r2 x.h5ad --set train.max_epochs=soon"), 2, "whole number");
  expect_error(run("embed"), 2, "required");
  expect_error(run("preproces x.h5ad"), 2, "unknown command 'preproces': did you mean preprocess?");
  expect_error(run("evaluate cohrt x.h5ad"), 2, "unknown command 'cohrt': did you mean cohort?");
  expect_error(run("train rna --mistake"), 2, "unknown option '--mistake'");
  expect_error(run(""), 2, "");
  expect_error(run("train rna -o r2 x.h5ad --precision bf16"), 2, "GPU");
  expect_error(run("train rna -o r2 x.h5ad --provider cublas"), 2, "use auto, ours, vendor");
  expect_error(run("train rna -o r2 x.h5ad --provider ours --tune t.json"), 2, "set one of the two");
  EXPECT_FALSE(fs::exists(at("r2/model.safetensors")));
}

TEST_F(Program, wrong_input_is_3_and_says_what_to_do) {
  expect_error(run("train rna -o r3 sim/rna.h5ad"), 3, "preprocess");
  expect_error(run("embed -o e.h5ad nowhere x.h5ad"), 3, "no trained model");
  expect_error(run("pca -o p.h5ad missing.h5ad"), 3, "missing.h5ad");
  write_file(at("empty.tsv"), "");
  expect_error(run("convert -o c.h5ad empty.tsv"), 3, "empty.tsv");
  write_file(at("bad.tsv"), "s\tA\tB\nx\t1\toops\ny\t2\t3\n");
  const Outcome bad = run("convert -o c.h5ad bad.tsv");
  expect_error(bad, 3, "oops");
  EXPECT_FALSE(fs::exists(at("c.h5ad")));
  expect_error(run("train rna -o run x.h5ad"), 2, "--overwrite");
}

// A length in a heap of names that leads the HDF5 library beyond its buffer: versions before 1.14 do not survive that. Whatever
// the command, that is a fault of the file.
TEST_F(Program, genes_in_rows_are_not_taken_for_samples) {
  std::string table = "\ts1\ts2\ts3";
  for (const char* gene : {"ACTB", "GAPDH", "B2M", "PPIA", "TP53", "MYC"}) table += fmt::format("\n{}\t7\t{}\t30", gene, table.size());
  write_file(at("published.tsv"), table + "\n");
  for (const std::string command : {"info published.tsv", "convert -o turned.h5ad published.tsv", "pca -o turned.h5ad published.tsv"})
    expect_error(run(command), 3, "its rows are named like genes (such as 'PPIA')");
  EXPECT_FALSE(fs::exists(at("turned.h5ad")));
  for (const auto& [rows, samples] : {std::pair{"features", 3}, {"samples", 6}}) {
    const Outcome o = run(fmt::format("info published.tsv --json - --rows {}", rows));
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(Json::parse(o.out)["samples"], samples);
  }
}

TEST_F(Program, a_file_that_ends_the_hdf5_library_is_named) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer ends the program at the library's fault, before there is a signal";
#endif
  write_file(at("small.tsv"), "s\tA\tB\nx\t1\t2\ny\t3\t4\n");
  expect_done("convert -o small.h5ad small.tsv");
  const std::string bytes = read_file(at("small.h5ad"));
  const size_t heap = bytes.find("GCOL");
  ASSERT_NE(heap, std::string::npos);
  int refused = 0;
  for (size_t object = heap + 16; object + 16 <= bytes.size() && bytes[object] != 0;) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data() + object + 8, 8);
    std::string damaged = bytes;
    const uint64_t far = uint64_t{1} << 40;
    std::memcpy(damaged.data() + object + 8, &far, 8);
    write_file(at("damaged.h5ad"), damaged);
    for (const char* command : {"info damaged.h5ad", "convert -o c.tsv damaged.h5ad"}) {
      const Outcome o = run(command);
      if (o.code == 0) continue;  // a text that the command does not need
      expect_error(o, 3, "damaged.h5ad");
      ++refused;
    }
    object += 16 + (length + 7) / 8 * 8;
  }
  EXPECT_GT(refused, 3);
}

// Texts in a model file that are no texts of 'panvae train' are damage of the file, neither a bug nor wrong usage, and nothing is
// embedded with what is left.
TEST_F(Program, a_model_with_damaged_metadata_is_named) {
  const std::string bytes = read_file(at("run/model.safetensors"));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const Json head = Json::parse(bytes.substr(8, length));
  const std::string tensors = bytes.substr(8 + length);
  fs::create_directory(at("hurt"));
  auto refused = [&](const std::string& key, const std::string& value) {
    Json changed = head;
    changed["__metadata__"][key] = value;
    const std::string text = changed.dump();
    length = text.size();
    write_file(at("hurt/model.safetensors"), std::string(reinterpret_cast<const char*>(&length), 8) + text + tensors);
    SCOPED_TRACE(key + " = " + value);
    expect_error(run("embed -o z.h5ad hurt x.h5ad"), 3, key == "features" || key == "axes" || key == "provenance" ? "metadata '" + key + "' is broken" : "");
  };
  for (const char* key : {"features", "axes", "provenance"})
    for (const char* value : {"", "{", "[1]", "3", "null"}) refused(key, value);
  refused("axes", R"({"kept": "a"})");
  refused("axes", R"({"kept": 100000, "leading": 1})");
  refused("scale", "?");
  refused("config", "{");
  refused("config", "[model]\nhiden = 3\n");
  for (const char* key : {"input", "unknown_batch"}) {
    Json settings = Json::parse(head["__metadata__"]["preprocess.settings"].get<std::string>());
    settings[key] = 3;
    refused("preprocess.settings", settings.dump());
  }
}

TEST_F(Program, an_output_that_cannot_be_written_is_4) {
  expect_error(run("pca -o nowhere/p.h5ad x.h5ad --components 3"), 4, "nowhere");
}

TEST_F(Program, a_full_disk_is_4_and_leaves_nothing) {
  if (!fs::exists("/dev/full")) GTEST_FAIL() << "this system has no /dev/full";
  const Outcome o = shell("'" + kProgram + "' info > /dev/full; test $? -eq 4", folder);
  EXPECT_EQ(o.code, 0) << o.err;
}

TEST_F(Program, train_reports_what_the_contract_names) {
  const Json j = json("train.json");
  for (const char* key : {"epochs", "best_epoch", "stopped_because", "train_loss", "validation_loss", "samples_per_second", "seconds", "peak_memory_bytes",
                          "parameters", "device"})
    EXPECT_TRUE(j.contains(key)) << key;
  for (const char* name :
       {"run/config.toml", "run/model.safetensors", "run/metrics.jsonl", "run/checkpoint.safetensors", "run/MODEL_CARD.md", "run/training.json"})
    EXPECT_TRUE(fs::exists(at(name))) << name;
  const std::string metrics = read_file(at("run/metrics.jsonl"));
  EXPECT_EQ(j["epochs"].get<int64_t>(), std::count(metrics.begin(), metrics.end(), '\n'));
}

TEST_F(Program, a_collapsed_posterior_is_said_and_has_no_informative_axis) {
  const Outcome o = run(std::string("train rna -o collapsed x.h5ad --json collapsed.json") + kSmall +
                        " --set loss.kl_weight=1000 --set loss.kl_warmup_epochs=1 --set train.learning_rate=0.01");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("no axis of its 8 latents"), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("loss.kl_weight"), std::string::npos) << o.err;
  EXPECT_NE(o.out.find("0 of 8"), std::string::npos) << o.out;
  EXPECT_EQ(json("collapsed.json")["informative_axes"], 0);
  // The run remembers it, and its embedding is one axis of noise.
  ASSERT_EQ(run("info collapsed --json info.json").code, 0);
  EXPECT_EQ(json("info.json")["informative_axes"], 0);
  ASSERT_EQ(run("embed -o z.h5ad collapsed x.h5ad --json embed.json").code, 0);
  EXPECT_EQ(json("embed.json")["informative_axes"], 0);
  const auto z = data::read_dataset<float>(at("z.h5ad"));
  EXPECT_GT(z.x.col(0).norm(), 0);
  EXPECT_EQ(z.x.rightCols(7).norm(), 0);
}

TEST_F(Program, the_same_command_gives_the_same_bytes) {
  ASSERT_EQ(run(std::string("train rna -o again x.h5ad") + kSmall).code, 0);
  EXPECT_EQ(read_file(at("run/model.safetensors")), read_file(at("again/model.safetensors")));
  EXPECT_EQ(read_file(at("run/metrics.jsonl")), read_file(at("again/metrics.jsonl")));
}

TEST_F(Program, steps_without_graphs_give_the_same_bytes) {
  ASSERT_EQ(run(std::string("train rna -o plain x.h5ad --no-graph") + kSmall).code, 0);
  for (const char* name : {"model.safetensors", "metrics.jsonl", "config.toml"})
    EXPECT_EQ(read_file(at(std::string("run/") + name)), read_file(at(std::string("plain/") + name))) << name;
  EXPECT_EQ(Json::parse(read_file(at("plain/training.json")))["replayed_steps"], 0);
}

void interrupt_and_resume(const std::string& folder, const std::string& name, int signal) {
  const auto train = [](const std::string& run, const std::string& more) { return "train rna -o " + run + " x.h5ad " + more; };
  stop_and_resume(folder, train, std::string(kSmall) + " --set train.checkpoint_seconds=0 --set train.max_epochs=400 --set train.patience=400", "whole", name,
                  signal, 6);
}

TEST_F(Program, interrupted_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "interrupted", SIGINT);
}
TEST_F(Program, killed_and_resumed_is_bit_equal) {
  interrupt_and_resume(folder, "killed", SIGKILL);
}

// A run that was killed may have noted epochs that its last checkpoint does not know: they are trained and noted again, once.
TEST_F(Program, epochs_behind_the_checkpoint_are_noted_once) {
  stop_when(folder, std::string("train rna -o ahead x.h5ad") + kSmall + " --set train.max_epochs=300 --set train.patience=300", SIGINT,
            [] { return lines_of(at("ahead/metrics.jsonl")) >= 3; });
  const std::string path = at("ahead/metrics.jsonl");
  const int64_t done = lines_of(path);
  write_file(path, read_file(path) + fmt::format("{{\"epoch\": {}}}\n{{\"epoch\": {}}}\n{{\"epo", done + 1, done + 2));
  expect_done("train rna -o ahead x.h5ad --resume");
  std::istringstream lines(read_file(path));
  int64_t epoch = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json j = Json::parse(line);
    EXPECT_EQ(j["epoch"], ++epoch);
    EXPECT_TRUE(j.contains("train_loss")) << line;
  }
  EXPECT_EQ(epoch, 300);
}

// Of another split the values are the same, and as many samples train and validate: one of each has changed sides.
TEST_F(Program, a_run_is_resumed_with_its_values_its_split_and_its_seed_alone) {
  write_with_two_sides_exchanged(at("x.h5ad"), at("swapped.h5ad"));
  fs::copy(at("run"), at("resplit"), fs::copy_options::recursive);
  expect_error(run("train rna -o resplit swapped.h5ad --resume"), 3, "another configuration or other data");
  data::Dataset<float> d = data::read_dataset<float>(at("x.h5ad"));
  d.x(5, 7) += 1e-3f;
  data::write_dataset(at("touched.h5ad"), d);
  expect_error(run("train rna -o resplit touched.h5ad --resume"), 3, "another configuration or other data");
  expect_error(run("train rna -o resplit x.h5ad --resume --seed 9"), 3, "another configuration or other data");
  expect_done("train rna -o resplit x.h5ad --resume");
}

// The command that began it may be given again, with --resume: lines of a script, of the demo's for instance.
TEST_F(Program, a_run_is_resumed_with_its_settings_said_again_and_with_no_others) {
  fs::copy(at("run"), at("resaid"), fs::copy_options::recursive);
  expect_done(std::string("train rna -o resaid x.h5ad --resume") + kSmall);
  expect_done("train rna -o resaid x.h5ad --resume --config run/config.toml");
  for (const char* name : {"model.safetensors", "metrics.jsonl", "config.toml"})
    EXPECT_EQ(read_file(at(std::string("run/") + name)), read_file(at(std::string("resaid/") + name))) << name;
  expect_error(run(std::string("train rna -o resaid x.h5ad --resume") + kSmall + " --set train.max_epochs=1234"), 2,
               "and not 1234 (--config, --set): leave it out, or start a new run");
  expect_error(run("train rna -o resaid x.h5ad --resume --set train.max_epoch=3"), 2, "did you mean train.max_epochs?");
}

// Rows of the matrix on this side of its split.
std::vector<int64_t> rows_on(const data::Table& obs, const std::string& side) {
  std::vector<int64_t> rows;
  for (int64_t r = 0; r < obs.rows(); ++r)
    if (obs.at("split").text(r) == side) rows.push_back(r);
  return rows;
}

// Scales and axes are those of the training samples alone; the donors a run has seen are those that train and that validate.
TEST_F(Program, what_is_fitted_is_fitted_on_training_samples) {
  const auto x = data::read_dataset<double>(at("x.h5ad"));
  const std::vector<int64_t> train = rows_on(x.obs, "train"), validation = rows_on(x.obs, "validation");
  ASSERT_TRUE(train.size() > 20 && validation.size() > 2 && !rows_on(x.obs, "holdout").empty());
  const double n = static_cast<double>(train.size());
  const SafetensorsReader model(at("run/model.safetensors"));
  const std::vector<double> mean = model.doubles("scale.mean"), sd = model.doubles("scale.sd");
  for (int64_t g = 0; g < x.features(); ++g) {
    double sum = 0, squares = 0;
    for (int64_t r : train) sum += x.x(r, g) / n;
    for (int64_t r : train) squares += (x.x(r, g) - sum) * (x.x(r, g) - sum);
    EXPECT_NEAR(mean[static_cast<size_t>(g)], sum, 1e-5);
    EXPECT_NEAR(sd[static_cast<size_t>(g)], std::sqrt(squares / (n - 1)), 1e-5);
  }
  expect_done("embed -o fitted.h5ad run x.h5ad --axes canonical");
  const auto z = data::read_dataset<double>(at("fitted.h5ad"));
  double of_training = 0, of_others = 0;
  for (int64_t r : train) of_training += z.x(r, 0) / n;
  for (int64_t r : validation) of_others += z.x(r, 0) / static_cast<double>(validation.size());
  EXPECT_LT(std::abs(of_training), 1e-4 * z.x.col(0).norm() / std::sqrt(n)) << "the axes have their origin at the mean of the training samples";
  EXPECT_GT(std::abs(of_others), 1e-2 * z.x.col(0).norm() / std::sqrt(n)) << "which is not that of others";
  const std::vector<std::string> donors = data::donors_of(x.obs);
  std::set<std::string> expected, seen;
  for (const auto* rows : {&train, &validation})
    for (int64_t r : *rows) expected.insert(donors[static_cast<size_t>(r)]);
  const Json provenance = Json::parse(model.metadata().at("provenance"));
  for (const Json& d : provenance["donors_seen"]) seen.insert(d.get<std::string>());
  EXPECT_EQ(seen, expected);
}

// Steps whose gradient overflows though their loss does not: a first feature so large that its square, which the KL divergence holds, is
// still a float, and that times the weights behind it is none.
TEST_F(Program, skipped_steps_are_counted) {
  std::string values = "sample", obs = "sample\tsplit\n";
  for (int g = 0; g < 400; ++g) values += fmt::format("\tG{}", g);
  for (int i = 0; i < 12; ++i) {
    values += fmt::format("\nS{}\t5e20", i);
    for (int g = 1; g < 400; ++g) values += (i + g) % 2 ? "\t0.5" : "\t-0.5";
    obs += fmt::format("S{}\t{}\n", i, i < 8 ? "train" : "validation");
  }
  write_file(at("huge.tsv"), values + "\n");
  write_file(at("huge_obs.tsv"), obs);
  const Outcome o =
      run("train rna -o huge huge.tsv --obs huge_obs.tsv --json huge.json --set model.scale=none --set model.hidden=8 --set model.latent=2 --set "
          "train.max_epochs=3 --set train.batch_size=4 --set loss.kl_weight=1 --set loss.kl_warmup_epochs=1");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("6 steps were skipped"), std::string::npos) << o.err;
  for (const char* file : {"huge.json", "huge/training.json"}) {
    EXPECT_EQ(json(file)["steps"], 6) << "two batches in three epochs";
    EXPECT_EQ(json(file)["skipped_steps"], 6);
  }
  EXPECT_EQ(json("run/training.json")["skipped_steps"], 0);
}

// A sample that ends the training, and a checkpoint after each step before: how many these are says where the sample stands in the first pass.
TEST_F(Program, the_order_of_samples_is_drawn_by_the_seed) {
  std::string values = "sample\tG1\tG2\n", obs = "sample\tsplit\n";
  for (int i = 0; i < 8; ++i) {
    values += fmt::format("S{}\t{}\t{}.5\n", i, i == 5 ? "1e30" : "-1.5", i);
    obs += fmt::format("S{}\ttrain\n", i);
  }
  write_file(at("ends.tsv"), values);
  write_file(at("ends_obs.tsv"), obs);
  const auto steps_before_the_end = [](int seed) {
    fs::remove_all(at("ends"));
    expect_error(run("train rna -o ends ends.tsv --obs ends_obs.tsv --set model.scale=none --set model.activation=linear --set model.hidden=3 --set "
                     "model.latent=2 --set train.batch_size=1"
                     " --set train.checkpoint_seconds=0 --seed " +
                     std::to_string(seed)),
                 3, "huber_kl");
    const std::string checkpoint = at("ends/checkpoint.safetensors");
    return fs::exists(checkpoint) ? SafetensorsReader(checkpoint).doubles("position").at(1) : 0.0;
  };
  std::set<double> places;  // a position is the epochs done, the steps done of the next, and more
  for (int seed = 0; seed < 6; ++seed) places.insert(steps_before_the_end(seed));
  EXPECT_GT(places.size(), 2u);
  EXPECT_LT(*places.rbegin(), 8);
  EXPECT_EQ(steps_before_the_end(3), steps_before_the_end(3));
}

// Where no weight moves, they are those that were drawn.
TEST_F(Program, weights_are_drawn_by_the_seed) {
  std::vector<double> drawn[2];
  for (const int64_t seed : {1, 2}) {
    const std::string name = "drawn" + std::to_string(seed);
    expect_done("train rna -o " + name + " x.h5ad" + kSmall + " --set train.learning_rate=0 --set train.max_epochs=1 --seed " + std::to_string(seed));
    drawn[seed - 1] = SafetensorsReader(at(name + "/model.safetensors")).doubles("model.encoder.hidden.weight");
  }
  EXPECT_NE(drawn[0], drawn[1]);
}

double relative_difference(const Eigen::VectorXd& a, const Eigen::VectorXd& b) {
  return (a - b).norm() / a.norm();
}

TEST_F(Program, a_sample_is_embedded_the_same_alone_shuffled_and_nearly_the_same_with_genes_missing) {
  ASSERT_EQ(run("embed -o all.h5ad run sim/rna.h5ad").code, 0);
  const auto all = data::read_dataset<double>(at("all.h5ad"));
  const auto raw = data::read_dataset<double>(at("sim/rna.h5ad"));
  const int64_t row = 17;
  auto alone = raw;
  data::select_samples(alone, std::vector<int64_t>{row});
  data::write_dataset(at("alone.h5ad"), alone);
  ASSERT_EQ(run("embed -o alone_e.h5ad run alone.h5ad").code, 0);
  const auto reference = all.obs.row_of();
  const Eigen::VectorXd expected = all.x.row(reference.at(raw.obs.keys[row]));
  EXPECT_LT(relative_difference(expected, data::read_dataset<double>(at("alone_e.h5ad")).x.row(0)), 1e-5);

  std::vector<int64_t> order(static_cast<size_t>(raw.features()));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  PhiloxSequence draw({5, 0, 0});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draw.below(i)]);
  auto shuffled = alone;
  data::select_features(shuffled, order);
  data::write_dataset(at("shuffled.h5ad"), shuffled);
  ASSERT_EQ(run("embed -o shuffled_e.h5ad run shuffled.h5ad").code, 0);
  EXPECT_LT(relative_difference(expected, data::read_dataset<double>(at("shuffled_e.h5ad")).x.row(0)), 1e-5);

  order.resize(static_cast<size_t>(std::lround(0.99 * static_cast<double>(order.size()))));
  auto fewer = alone;
  data::select_features(fewer, order);
  data::write_dataset(at("fewer.h5ad"), fewer);
  ASSERT_EQ(run("embed -o fewer_e.h5ad run fewer.h5ad").code, 0);
  const Eigen::VectorXd partial = data::read_dataset<double>(at("fewer_e.h5ad")).x.row(0);
  EXPECT_GT(expected.dot(partial) / expected.norm() / partial.norm(), 0.99);

  order.resize(order.size() / 3);
  auto few = alone;
  data::select_features(few, order);
  data::write_dataset(at("few.h5ad"), few);
  expect_error(run("embed -o few_e.h5ad run few.h5ad"), 3, "99 of 300 features");
}

// Values are z-scores for the network, clipped at 10 (SPEC D6).
TEST_F(Program, a_value_counts_up_to_ten_standard_deviations) {
  const SafetensorsReader model(at("run/model.safetensors"));
  const double mean = model.doubles("scale.mean")[0], sd = model.doubles("scale.sd")[0];
  data::Dataset<double> d = data::read_dataset<double>(at("x.h5ad"));
  data::select_samples(d, std::vector<int64_t>{0, 1, 2, 3});
  const double scores[] = {9.5, 9.9, 10.5, 12};
  for (int64_t r = 0; r < 4; ++r) {
    d.x.row(r) = d.x.row(0);
    d.x(r, 0) = mean + scores[r] * sd;
  }
  data::write_dataset(at("far.h5ad"), d);
  expect_done("embed -o far_z.h5ad run far.h5ad --input processed --axes latent");
  const auto z = data::read_dataset<double>(at("far_z.h5ad"));
  EXPECT_NE(z.x.row(0), z.x.row(1));
  EXPECT_NE(z.x.row(1), z.x.row(2));
  EXPECT_EQ(z.x.row(2), z.x.row(3));
}

TEST_F(Program, json_to_stdout_is_json_alone) {
  const Outcome o = run("evaluate cohort all_pca.h5ad --json -");
  EXPECT_EQ(o.code, 3);
  ASSERT_EQ(run("pca -o all_pca.h5ad x.h5ad --components 10").code, 0);
  const Outcome good = run("evaluate cohort all_pca.h5ad --json - --on all");
  ASSERT_EQ(good.code, 0) << good.err;
  const Json j = Json::parse(good.out);
  for (const char* key : {"accuracy_mean", "accuracy_sd", "accuracy_se", "balanced_accuracy_mean", "macro_f1_mean", "folds", "n", "classes", "dropped_cohorts"})
    EXPECT_TRUE(j.contains(key)) << key;
}

TEST_F(Program, reconstruct_is_in_log2_units) {
  ASSERT_EQ(run("reconstruct -o back.h5ad run x.h5ad --json back.json").code, 0);
  const auto x = data::read_dataset<double>(at("x.h5ad")), back = data::read_dataset<double>(at("back.h5ad"));
  EXPECT_EQ(x.var.keys, back.var.keys);
  EXPECT_NEAR(x.x.mean(), back.x.mean(), 0.2);
  EXPECT_GT(json("back.json")["spearman_per_sample_mean"].get<double>(), 0.8);
  // Judged on the samples that are held out: Spearman's rho is Pearson's r of the ranks, equal values sharing theirs.
  EXPECT_EQ(json("back.json")["judged_on"], "holdout");
  const std::vector<int64_t> held = rows_on(x.obs, "holdout");
  const auto ranks = [](const Eigen::VectorXd& v) {
    Eigen::VectorXd r(v.size());
    for (int64_t i = 0; i < v.size(); ++i) r[i] = static_cast<double>((v.array() < v[i]).count()) + 0.5 * static_cast<double>((v.array() == v[i]).count());
    return Eigen::VectorXd((r.array() - r.mean()).matrix().normalized());
  };
  double rho = 0;
  for (int64_t r : held) rho += ranks(x.x.row(r).transpose()).dot(ranks(back.x.row(r).transpose())) / static_cast<double>(held.size());
  EXPECT_NEAR(json("back.json")["spearman_per_sample_mean"].get<double>(), rho, 1e-6);
}

// Values beyond ten standard deviations look alike to the network, and their reconstruction is one; they are judged as they are.
TEST_F(Program, a_reconstruction_is_held_against_values_that_are_not_clipped) {
  const auto x = data::read_dataset<double>(at("x.h5ad"));
  for (const bool up : {true, false}) {
    data::Dataset<double> d = x;
    for (int64_t g = 0; g < 60; ++g) d.x.col(g).array() = 1e4 + static_cast<double>(up ? g : -g);
    const std::string name = up ? "up" : "down";
    data::write_dataset(at(name + ".h5ad"), d);
    expect_done("reconstruct -o back_" + name + ".h5ad run " + name + ".h5ad --input processed --json " + name + ".json");
  }
  EXPECT_EQ(data::read_dataset<double>(at("back_up.h5ad")).x, data::read_dataset<double>(at("back_down.h5ad")).x);
  EXPECT_NE(json("up.json")["spearman_per_sample_mean"], json("down.json")["spearman_per_sample_mean"]);
}

}  // namespace
