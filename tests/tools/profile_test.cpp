// --profile: the same numbers as without it, a table, and a trace that browsers read.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "tests/tools/suite_folder.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

class ProfileOption : public SuiteFolder<ProfileOption> {
 public:
  static void prepare() {
    expect_done("simulate -o . --donors 40 --genes 90");
    expect_done("preprocess -o r.h5ad rna.h5ad --modality rna");
  }
};

TEST_F(ProfileOption, a_training_is_measured_and_stays_the_same) {
  const std::string train = "train rna r.h5ad --set model.hidden=16 --set model.latent=4 --set train.max_epochs=2";
  ASSERT_EQ(run(train + " -o plain").code, 0);
  const Outcome o = run(train + " -o measured --profile trace.json --quiet");
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(read_file(folder + "/plain/model.safetensors"), read_file(folder + "/measured/model.safetensors"));
  for (const char* word :
       {"matmul NT ", "adam ", "huber_kl ", "linear [", "] backward", "batch [", "outside of kernels", "100.0", "ceilings measured here", "trace.json"})
    EXPECT_NE(o.err.find(word), std::string::npos) << word << "\n" << o.err;
  EXPECT_EQ(o.out.find("matmul"), std::string::npos) << "results alone go to stdout";
  const Json trace = Json::parse(read_file(folder + "/trace.json"));
  const Json& events = trace["traceEvents"];
  size_t calls = 0, operations = 0;
  double end = 0, operation_end = 0;
  for (const Json& e : events) {
    const bool operation = e["cat"] == "operation";
    ++(operation ? operations : calls);
    EXPECT_EQ(e["ph"], "X");
    const double begin = e["ts"].get<double>(), last = begin + e["dur"].get<double>();
    EXPECT_GE(begin, (operation ? operation_end : end) - 1e-3) << "calls of one stream do not overlap";
    EXPECT_GE(last, begin);
    EXPECT_TRUE(operation || last <= operation_end + 1e-3) << "a call lies within its operation";
    (operation ? operation_end : end) = last;
  }
  EXPECT_GT(operations, 30u);
  EXPECT_GT(calls, operations) << "some operations call several kernels";
  EXPECT_EQ(trace["otherData"]["calls"].get<size_t>(), calls);
}

TEST_F(ProfileOption, of_a_command_that_calls_no_kernel_and_of_one_that_fails) {
  const Outcome o = run("embed -o z.h5ad nowhere r.h5ad --profile t.json");
  expect_error(o, 3, "no trained model");
  EXPECT_FALSE(fs::exists(folder + "/t.json"));
  expect_error(run("embed -o z.h5ad nowhere r.h5ad --profile no/such/t.json"), 4, "no/such");
}

}  // namespace
