#include "eval/results.h"

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "tests/base/helpers.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using panvae::test::Folder;

data::Table table(const std::string& key, std::vector<std::string> keys) {
  data::Table t;
  t.key_name = key;
  t.keys = std::move(keys);
  return t;
}

// One of everything, with names that need care.
Results some() {
  Results r;
  r.program = {{"version", "0.1.0"}, {"git", "abc"}};
  r.command = {"panvae", "evaluate", "all", "a \"run\""};
  r.seed = 18446744073709551615u;
  r.seconds = 12.5;
  r.data.push_back({"rna", "rna\tpp.h5ad", "rna", 3, 20000, 1, {"BRCA", "</script>", "ü"}});
  ResultsModel m;
  m.id = "rna_vae";
  m.label = "RNA VAE";
  m.kind = "vae";
  m.data = "rna";
  m.dimensions = 512;
  m.explained = {0.25, 0.125};
  m.network = {{"parts", Json::array({{{"name", "VAE"}}})}};
  r.models = {m};
  m.network = nullptr;
  m.id = "pca-512", m.label = "PCA", m.kind = "pca", m.dimensions.reset(), m.data = "";
  r.models.push_back(m);
  r.cohort.push_back({"rna_vae", "", false, "", {{"accuracy_mean", 0.5}, {"folds", {0.25, 0.75}}}});
  r.cohort.push_back({"rna_vae", "", false, "permuted labels", {{"accuracy_mean", std::nan("")}}});
  r.pairs.push_back({"rna_vae", "", false, "permuted pairs", {{"foscttm", 0.5}, {"z", std::nan("")}}});
  r.survival.push_back({"pca-512", "embedding+clinical", true, "", {{"harrell_mean", 0.7}, {"setting", "other"}, {"control", "permuted"}}});
  data::Table points = table("sample", {"a\tb", "NA", "\"q\""});
  test::set_factor(points, "cohort", {"x", "", "1"});
  test::set_number(points, "pc1", {1, 1e-300, -2.5});
  test::set_number(points, "pc2", {0.1, 0.2, 0.3});
  r.tables.push_back({"points", "rna_vae", "", points});
  data::Table plane = table("sample", {"a", "b"});
  test::set_factor(plane, "modality", {"rna", "atac"});
  test::set_factor(plane, "donor", {"d", ""});
  test::set_number(plane, "pc1", {1, 2});
  test::set_number(plane, "pc2", {0.5, -2});
  r.tables.push_back({"plane", "rna_vae", "", plane});
  data::Table risk = table("sample", {"a"});
  for (const char* name : {"os_time", "os_event", "risk", "fold"}) test::set_number(risk, name, {1});
  test::set_factor(risk, "group", {"low"});
  r.tables.push_back({"risk", "pca-512", "embedding+clinical+within", risk});
  data::Table curves = table("epoch", {"1", "2"});
  test::set_number(curves, "train_loss", {2, 1});
  test::set_number(curves, "validation_loss", {std::nan(""), std::nan("")});
  r.tables.push_back({"curves", "rna_vae", "", curves});
  r.warnings = {"few samples"};
  return r;
}

TEST(Results, ReadsWhatItWrote) {
  Folder folder;
  write_results(folder.file("out"), some());
  const Results r = read_results(folder.file("out"));
  EXPECT_EQ(r.program["git"], "abc");
  EXPECT_EQ(r.command, some().command);
  EXPECT_EQ(r.seed, some().seed);
  EXPECT_EQ(r.seconds, 12.5);
  EXPECT_FALSE(r.peak_memory_bytes);
  EXPECT_EQ(r.data.at(0).cohorts, some().data[0].cohorts);
  EXPECT_EQ(r.find_data("rna")->label, "rna\tpp.h5ad");
  ASSERT_EQ(r.models.size(), 2u);
  EXPECT_EQ(r.models[0].dimensions, 512);
  EXPECT_FALSE(r.models[1].dimensions);
  EXPECT_EQ(r.models[0].explained, some().models[0].explained);
  EXPECT_EQ(r.models[0].network, some().models[0].network);
  EXPECT_TRUE(r.models[1].network.is_null());
  ASSERT_EQ(r.cohort.size(), 2u);
  EXPECT_EQ(r.cohort[0].control, "");
  EXPECT_EQ(r.cohort[0].values, some().cohort[0].values);
  EXPECT_EQ(r.cohort[1].control, "permuted labels");
  EXPECT_TRUE(r.cohort[1].values["accuracy_mean"].is_null());
  EXPECT_EQ(r.survival.at(0).setting, "embedding+clinical");
  EXPECT_TRUE(r.survival[0].within_cohort);
  EXPECT_EQ(r.survival[0].control, "");
  EXPECT_EQ(r.survival[0].values, Json({{"harrell_mean", 0.7}}));
  EXPECT_TRUE(r.alignment.empty());
  ASSERT_EQ(r.pairs.size(), 1u);
  EXPECT_EQ(r.pairs[0].control, "permuted pairs");
  EXPECT_EQ(r.pairs[0].values["foscttm"], 0.5);
  EXPECT_TRUE(r.pairs[0].values["z"].is_null());
  const ResultsTable* points = r.find_table("points", "rna_vae");
  ASSERT_TRUE(points);
  EXPECT_EQ(points->table.keys, some().tables[0].table.keys);
  EXPECT_EQ(points->table.at("pc1").number, (std::vector<double>{1, 1e-300, -2.5}));
  EXPECT_TRUE(points->table.at("cohort").missing(1));
  const ResultsTable* plane = r.find_table("plane", "rna_vae");
  ASSERT_TRUE(plane);
  EXPECT_EQ(plane->table.at("modality").text(1), "atac");
  EXPECT_TRUE(plane->table.at("donor").missing(1));
  EXPECT_TRUE(r.find_table("risk", "pca-512", "embedding+clinical+within"));
  EXPECT_FALSE(r.find_table("risk", "pca-512"));
  EXPECT_EQ(r.warnings, some().warnings);
}

TEST(Results, EachNumberComesBackInItsPlace) {
  Folder folder;
  Results r;
  r.seed = 3, r.folds = 7, r.seconds = 0.5, r.peak_memory_bytes = int64_t{1} << 40;
  r.data.push_back({"d", "a label", "atac", 11, 12, 13, {}});
  ResultsModel& m = r.models.emplace_back();
  m.id = "m", m.label = "M", m.kind = "vae", m.modality = "atac", m.data = "d", m.run = "runs/m", m.device = "cpu";
  m.dimensions = 1, m.parameters = 2, m.epochs = 3, m.best_epoch = 4, m.peak_memory_bytes = 5, m.seconds = 6.5, m.seed = 18446744073709551615u;
  write_results(folder.file("out"), r);
  const Results read = read_results(folder.file("out"));
  EXPECT_EQ(read.seed, r.seed);
  EXPECT_EQ(read.folds, r.folds);
  EXPECT_EQ(read.seconds, r.seconds);
  EXPECT_EQ(read.peak_memory_bytes, r.peak_memory_bytes);
  const ResultsData& d = read.data.at(0);
  EXPECT_EQ((std::vector<int64_t>{d.samples, d.features, d.holdout}), (std::vector<int64_t>{11, 12, 13}));
  EXPECT_EQ((std::vector<std::string>{d.label, d.modality}), (std::vector<std::string>{"a label", "atac"}));
  const ResultsModel& back = read.models.at(0);
  EXPECT_EQ((std::vector<std::string>{back.label, back.kind, back.modality, back.data, back.run, back.device}),
            (std::vector<std::string>{"M", "vae", "atac", "d", "runs/m", "cpu"}));
  EXPECT_EQ((std::vector{back.dimensions, back.parameters, back.epochs, back.best_epoch, back.peak_memory_bytes}),
            (std::vector<std::optional<int64_t>>{1, 2, 3, 4, 5}));
  EXPECT_EQ(back.seconds, 6.5);
  EXPECT_EQ(back.seed, m.seed);
}

TEST(Results, EqualResultsAreEqualBytes) {
  Folder folder;
  write_results(folder.file("a"), some());
  write_results(folder.file("b"), read_results(folder.file("a")));
  for (const char* name : {"results.json", "points/rna_vae.tsv", "plane/rna_vae.tsv", "curves/rna_vae.tsv", "risk/pca-512.embedding+clinical+within.tsv"})
    EXPECT_EQ(read_file(folder.file("a/") + name), read_file(folder.file("b/") + name)) << name;
}

TEST(Results, NothingButTheFormatIsNeeded) {
  Folder folder;
  write_file(folder.file("results.json"), R"({"format": "panvae-results", "version": 1})");
  const Results r = read_results(folder.path().string());
  EXPECT_TRUE(r.models.empty());
  write_results(folder.path().string(), Results());
  EXPECT_TRUE(read_results(folder.path().string()).tables.empty());
}

// Each line changes one thing of a good file; the message names what and where.
TEST(Results, BadFilesAreErrorsThatNameTheKey) {
  Folder folder;
  const std::string out = folder.file("out"), file = out + "/results.json";
  write_results(out, some());
  const std::string good = read_file(file);
  struct Case {
    const char *pointer, *value, *part;
  };
  for (const Case& c : {Case{"/format", "\"other\"", "format"},
                        {"/version", "2", "version 2"},
                        {"/version", "2", "use a newer panvae"},
                        {"/version", "0", "evaluate again"},
                        {"/version", "\"1\"", "version"},
                        {"/seed", "-1", "seed"},
                        {"/folds", "1.5", "folds"},
                        {"/folds", "3000000000", "too large"},
                        {"/panvae", "[]", "panvae"},
                        {"/panvae/git", "3", "panvae.git"},
                        {"/command", "[1]", "command[0]"},
                        {"/data/0", "7", "data[0]"},
                        {"/data/0/id", "\"../x\"", "data[0].id"},
                        {"/data/0/samples", "null", "data[0].samples"},
                        {"/data/0/samples", "9223372036854775808", "too large"},
                        {"/models", "{}", "models"},
                        {"/models/1/id", "\"rna_vae\"", "models[1].id"},
                        {"/models/1/label", "\"RNA VAE\"", "models[1].label"},
                        {"/models/0/kind", "null", "models[0].kind"},
                        {"/models/0/data", "\"atac\"", "models[0].data"},
                        {"/models/0/dimensions", "\"x\"", "models[0].dimensions"},
                        {"/models/0/explained", "[\"x\"]", "models[0].explained[0]"},
                        {"/models/0/network", "[1]", "models[0].network"},
                        {"/cohort/0/model", "\"nobody\"", "cohort[0].model"},
                        {"/survival/0/within_cohort", "1", "survival[0].within_cohort"},
                        {"/tables/0", "\"points/nobody.tsv\"", "cannot"},
                        {"/tables/0", "\"points/../x.tsv\"", "no table"},
                        {"/tables/0", "\"points/rna_vae.x.tsv\"", "no table"},
                        {"/tables/0", "\"other/rna_vae.tsv\"", "no table"},
                        {"/tables/0", "\"plane/rna_vae.x.tsv\"", "no table"},
                        {"/tables/0", "\"curves/rna_vae.tsv\"", "twice"}}) {
    Json j = Json::parse(good);
    j[Json::json_pointer(c.pointer)] = Json::parse(c.value);
    write_file(file, j.dump());
    SCOPED_TRACE(std::string(c.pointer) + " = " + c.value);
    EXPECT_ERROR(ErrorCode::input, c.part, read_results(out));
    EXPECT_ERROR(ErrorCode::input, out, read_results(out));
  }
  write_file(file, good.substr(0, good.size() / 2));
  EXPECT_ERROR(ErrorCode::input, "no JSON", read_results(out));
  write_file(file, "[]");
  EXPECT_ERROR(ErrorCode::input, "object", read_results(out));
  write_file(file, good);
  const std::string points = out + "/points/rna_vae.tsv";
  write_file(points, "sample\tcohort\tpc1\ns\tx\t1\n");
  EXPECT_ERROR(ErrorCode::input, "no column pc2", read_results(out));
  write_file(points, "sample\tcohort\tpc1\tpc2\ns\tx\t1\tNA\n");
  EXPECT_ERROR(ErrorCode::input, "column pc2 is missing for 's'", read_results(out));
  write_file(points, "sample\tcohort\tpc1\tpc2\ns\tx\t1\ty\n");
  EXPECT_ERROR(ErrorCode::input, "numbers", read_results(out));
  write_file(points, "sample\tcohort\tpc1\tpc2\ns\tx\t1\t2\n");
  const std::string plane = out + "/plane/rna_vae.tsv";
  write_file(plane, "sample\tpc1\tpc2\ns\t1\t2\n");
  EXPECT_ERROR(ErrorCode::input, "no column modality", read_results(out));
  write_file(plane, "sample\tmodality\tpc1\tpc2\ns\trna\t1\t2\nt\t\t1\t2\n");
  EXPECT_ERROR(ErrorCode::input, "the modality of 't' is '', which is neither rna nor atac", read_results(out));
  write_file(plane, "sample\tmodality\tpc1\tpc2\ns\tother\t1\t2\n");
  EXPECT_ERROR(ErrorCode::input, "the modality of 's' is 'other'", read_results(out));
  write_file(plane, "sample\tmodality\tpc1\tpc2\ns\trna\t1\tinf\n");
  EXPECT_ERROR(ErrorCode::input, "column pc2 is infinite for 's'", read_results(out));
  std::filesystem::remove(points);
  EXPECT_ERROR(ErrorCode::input, points, read_results(out));
  EXPECT_ERROR(ErrorCode::input, "nowhere", read_results(folder.file("nowhere")));
}

TEST(Results, WritingRefusesWhatCouldNotBeRead) {
  Folder folder;
  const std::string out = folder.file("out");
  const auto refused = [&](const char* part, auto&& change) {
    Results r = some();
    change(r);
    EXPECT_ERROR(ErrorCode::usage, part, write_results(out, r));
    EXPECT_EQ(folder.files(), 0u);
  };
  refused("models[0].id", [](Results& r) { r.models[0].id = "a/b"; });
  refused("data[0].id", [](Results& r) { r.data[0].id = ""; });
  refused("models[1].id", [](Results& r) { r.models[1].id = std::string(101, 'x'); });
  refused("models[1].label", [](Results& r) { r.models[1].label = "RNA VAE"; });
  refused("survival[0].model", [](Results& r) { r.survival[0].model = "x"; });
  refused("cohort[1]", [](Results& r) { r.cohort[1].values = 3; });
  refused("points/rna_vae.tsv", [](Results& r) { r.tables[0].table.columns.pop_back(); });
  refused("no rows", [](Results& r) { r.tables[0].table = r.tables[0].table.select({}); });
  refused("setting", [](Results& r) { r.tables[2].setting = "other"; });
  refused("models[1].network", [](Results& r) { r.models[1].network = 3; });
  refused("twice", [](Results& r) { r.tables.push_back(r.tables[0]); });
}

}  // namespace
}  // namespace panvae::eval
