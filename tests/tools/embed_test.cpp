// What embed and reconstruct take a file for, and the samples they leave out.
#include <cmath>
#include <numeric>

#include "data/read.h"
#include "data/write.h"
#include "tests/tools/suite_folder.h"

namespace panvae::test {
namespace {

using data::Dataset;
using data::read_dataset;

class Embed : public SuiteFolder<Embed> {
 public:
  static void prepare() {
    expect_done("simulate -o sim --donors 60 --genes 200 --peaks 0 --cohorts 3 --replicates 1");
    expect_done("preprocess -o pp.h5ad sim/rna.h5ad --modality rna");
    expect_done("train rna -o run pp.h5ad --set train.max_epochs=8 --set model.hidden=16 --set model.latent=4 --set loss.kl_weight=0.01");
    expect_done("embed -o all.tsv run sim/rna.h5ad --axes latent");
  }

 protected:
  static Dataset<double> counts() {
    Dataset<double> d = read_dataset<double>(at("sim/rna.h5ad"));
    d.kind.clear();
    return d;
  }
  static void write(const std::string& name, Dataset<double> d) {
    d.obs.columns.clear();
    d.frozen = {};
    data::write_dataset(at(name), d);
  }
  // The largest difference between the embeddings of samples that both files have.
  static double apart(const std::string& a, const std::string& b) {
    const Dataset<double> x = read_dataset<double>(at(a)), y = read_dataset<double>(at(b));
    const auto row = y.obs.row_of();
    double most = 0;
    for (int64_t r = 0; r < x.samples(); ++r) most = std::max(most, (x.x.row(r) - y.x.row(row.at(x.obs.keys[static_cast<size_t>(r)]))).cwiseAbs().maxCoeff());
    return most;
  }
};

// Else every sample behind an empty one would have the vector of its neighbour, and the last none.
TEST_F(Embed, samples_without_counts_are_left_out_and_the_others_stay_what_they_are) {
  Dataset<double> d = counts();
  const int64_t n = d.samples();
  d.x.row(0).setZero();
  d.x.row(7).setZero();
  for (const char* file : {"empty.tsv", "empty.h5ad"}) {
    write(file, d);
    const Outcome o = run(std::string("embed -o z.tsv run ") + file + " --axes latent --json z.json");
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_NE(o.err.find("2 samples without counts in the features of the model left out ('" + std::string(file) + "', first '" + d.obs.keys[0] + "')"),
              std::string::npos)
        << o.err;
    EXPECT_EQ(json("z.json")["samples"], n - 2);
    const Dataset<double> z = read_dataset<double>(at("z.tsv"));
    ASSERT_EQ(z.samples(), n - 2);
    EXPECT_FALSE(z.obs.row_of().contains(d.obs.keys[7]));
    EXPECT_LT(apart("z.tsv", "all.tsv"), 1e-5);
    expect_done(std::string("reconstruct -o back.tsv run ") + file);
    EXPECT_EQ(read_dataset<double>(at("back.tsv")).samples(), n - 2);
  }
  d.x.setZero();
  write("nothing.tsv", d);
  expect_error(run("embed -o z.tsv run nothing.tsv"), 3, "no sample has any count in the features of the model");
}

TEST_F(Embed, expected_counts_are_counts) {
  Dataset<double> d = counts();
  d.x.array() += (d.x.array() > 100).select(0.25, Eigen::ArrayXXd::Zero(d.x.rows(), d.x.cols()));
  write("rsem.tsv", d);
  const Outcome o = run("embed -o z.tsv run rsem.tsv --axes latent");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("'rsem.tsv' is taken as counts"), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("of the counts are fractions"), std::string::npos) << o.err;
  EXPECT_EQ(o.err.find("of the counts are fractions"), o.err.rfind("of the counts are fractions")) << o.err;
  EXPECT_LT(apart("z.tsv", "all.tsv"), 0.05);
  // As preprocess has it, values per million are none.
  for (int64_t r = 0; r < d.samples(); ++r) d.x.row(r) *= 1e6 / d.x.row(r).sum();
  write("tpm.tsv", d);
  expect_error(run("embed -o z.tsv run tpm.tsv"), 3, "add up to 1e+06");
}

TEST_F(Embed, logs_are_taken_as_processed_where_they_are_on_the_scale_of_the_run) {
  write("pp.tsv", read_dataset<double>(at("pp.h5ad")));
  const Outcome o = run("embed -o z.tsv run pp.tsv --axes latent");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("'pp.tsv' is taken as processed"), std::string::npos) << o.err;
  EXPECT_LT(apart("z.tsv", "all.tsv"), 1e-4);
  Dataset<double> d = read_dataset<double>(at("pp.h5ad"));
  d.x.array() /= std::log2(M_E) * 1.5;
  write("other.tsv", d);
  expect_error(run("embed -o z.tsv run other.tsv"), 3, "neither counts nor on the scale of the preprocessed training samples");
  expect_error(run("embed -o z.tsv run other.tsv"), 3, "sample '" + d.obs.keys[0] + "'");
  expect_done("embed -o z.tsv run other.tsv --input processed");
}

TEST_F(Embed, a_matrix_of_another_fit_is_pointed_out) {
  expect_done("preprocess -o own.h5ad sim/rna.h5ad --modality rna --prior-count 20");
  expect_done("preprocess -o like.h5ad sim/rna.h5ad --like run");
  const std::string words = "preprocessed by another fit";
  EXPECT_NE(run("embed -o z.tsv run own.h5ad").err.find("'own.h5ad' was " + words), std::string::npos);
  for (const char* file : {"pp.h5ad", "like.h5ad"}) {
    const Outcome o = run(std::string("embed -o z.tsv run ") + file);
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.err.find(words), std::string::npos) << o.err;
  }
}

// New samples come from new batches.
TEST_F(Embed, effects_of_batches_that_training_never_saw_stay_in_where_that_is_said) {
  expect_done("preprocess -o b.h5ad sim/rna.h5ad --modality rna --batch-key batch --unknown-batch zero");
  expect_done("train rna -o strict b.h5ad --set train.max_epochs=1 --set model.hidden=4 --set model.latent=2");
  write("new.tsv", counts());
  for (const char* command : {"embed", "reconstruct"}) {
    const std::string c = command;
    expect_error(run(c + " -o z.tsv strict new.tsv --unknown-batch error"), 3, "no column 'batch'");
    expect_done(c + " -o z.tsv strict new.tsv --unknown-batch zero");
  }
}

TEST_F(Embed, features_that_are_not_found_are_said_once) {
  Dataset<double> d = counts();
  std::vector<int64_t> some(150);
  std::iota(some.begin(), some.end(), 0);
  data::select_features(d, some);
  write("fewer.tsv", d);
  const Outcome o = run("embed -o z.tsv run fewer.tsv");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.err.find("features of the model are in the data"), std::string::npos) << o.err;
  EXPECT_EQ(o.err.find("training mean"), o.err.rfind("training mean")) << o.err;
}

}  // namespace
}  // namespace panvae::test
