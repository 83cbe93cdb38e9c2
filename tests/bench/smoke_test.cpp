// The program as its users meet it: rows are verified, JSON parses, wrong arguments are named. No speed is asserted.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/file.h"
#include "base/json.h"

namespace panvae {
namespace {

struct Outcome {
  int code;
  std::string out, err;
};

class smoke : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/panvae_bench_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  Outcome run(const std::string& arguments, const std::string& program = PANVAE_BENCH_PROGRAM) {
    const std::string command = "cd '" + folder + "' && '" + program + "' " + arguments + " >stdout.txt 2>stderr.txt";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, read_file(folder + "/stdout.txt"), read_file(folder + "/stderr.txt")};
  }
  std::map<std::string, Json> rows(const std::string& file) {
    std::map<std::string, Json> map;
    const Json json = Json::parse(read_file(folder + "/" + file));
    for (const Json& row : json["benchmarks"]) map[row["name"]] = row;
    return map;
  }
  std::string folder;
};

// Rows without flops in a hot cache have no ceiling that a busy machine could push below them.
constexpr const char* kFast = " --quick --seconds 0.01 --hot --benchmark_min_time=0.001";

TEST_F(smoke, rows_are_verified_and_written) {
  const Outcome o =
      run("--device cpu --shape copy=1000 --shape fill=70 --shape gather_rows=9,5,33 --dtype f32,f64 --benchmark_out=a.json" + std::string(kFast));
  ASSERT_EQ(o.code, 0) << o.out << o.err;
  EXPECT_NE(o.out.find("copy/f64/N1000/ours "), std::string::npos) << o.out;
  const auto map = rows("a.json");
  ASSERT_EQ(map.size(), 6u);
  const Json& copy = map.at("copy/f32/N1000/ours");
  EXPECT_GE(copy["verified"], 200);
  EXPECT_EQ(copy["bytes"], 8000);
  EXPECT_EQ(copy["hot"], 1);
  EXPECT_EQ(copy["copies"], 1);
  EXPECT_GT(copy["GB/s"], 0);
  EXPECT_EQ(copy["real_time"], copy["median_ns"]);
  EXPECT_LE(copy["low_ns"], copy["median_ns"]);
  EXPECT_LE(copy["median_ns"], copy["high_ns"]);
  EXPECT_NE(copy["label"].get<std::string>().find("case=copy sizes=1000 dtype=f32 math=ieee provider=ours"), std::string::npos) << copy["label"];
}

TEST_F(smoke, providers_stand_side_by_side) {
  const Outcome o =
      run("--device cpu --shape matmul=20,30,40,2,1 --shape conv1d=2,3,20,5,3,2,1,1,1 --shape conv1d_grad_input=2,3,20,5,3,2,1,2,0 "
          "--shape conv1d_grad_weight=3,3,20,5,3,1,1,1,0 --dtype f32,f64 --benchmark_out=a.json" +
          std::string(kFast));
  ASSERT_TRUE(o.code == 0 || o.out.find(" over") != std::string::npos) << o.out << o.err;
  EXPECT_EQ(o.out.find("ERROR"), std::string::npos) << o.out;
  const auto map = rows("a.json");
  EXPECT_EQ(map.size(), 16u);
  EXPECT_EQ(map.at("matmul/f32/M20xN30xK40/nt/bias/blas")["verified"], 200);
}

TEST_F(smoke, fused_kernels_stand_beside_what_they_stand_for) {
  const Outcome o = run("--device cpu --shape linear_huber_kl=4,300,20,3,1 --shape linear_batchnorm=20,300,10,2 --benchmark_out=a.json" + std::string(kFast));
  ASSERT_TRUE(o.code == 0 || o.out.find(" over") != std::string::npos) << o.out << o.err;
  EXPECT_EQ(o.out.find("ERROR"), std::string::npos) << o.out;
  const auto map = rows("a.json");
  EXPECT_EQ(map.size(), 4u);
  const Json &ours = map.at("linear_huber_kl/f32/B4xG300xH20xZ3/ours"), &unfused = map.at("linear_huber_kl/f32/B4xG300xH20xZ3/unfused");
  EXPECT_EQ(ours["saved_bytes"], 4 * 3 * 4 * 300) << "the reconstruction is not written nor read, its gradient not read for the bias";
  EXPECT_EQ(ours["bytes"].get<double>() + ours["saved_bytes"].get<double>(), unfused["bytes"]);
  EXPECT_FALSE(unfused.contains("saved_bytes"));
  EXPECT_NE(o.out.find("saves 0.0 MB of 0.1 MB"), std::string::npos) << o.out;
}

TEST_F(smoke, rows_that_cannot_leave_the_cache_are_marked) {
  const Outcome o = run("--device cpu --shape fill=1000 --quick --memory 0.0001 --benchmark_out=a.json");
  ASSERT_EQ(o.code, 0) << o.out << o.err;
  const auto map = rows("a.json");
  const Json& row = map.at("fill/f32/N1000/ours");
  EXPECT_EQ(row["copies"], 1);
  EXPECT_EQ(row["hot"], 1);
  const Json context = Json::parse(read_file(folder + "/a.json"))["context"];
  for (const char* key : {"panvae", "device", "device_name", "threads", "blas", "compiler", "ceiling_bandwidth", "date", "load_avg"})
    EXPECT_TRUE(context.contains(key)) << key;
}

TEST_F(smoke, the_cuda_source_runs_on_simt_without_a_ceiling) {
  const Outcome o = run("--device simt --shape add=100 --shape matmul_bf16=17,9,20,0,0 --quick --seconds 0 --benchmark_out=a.json");
  ASSERT_EQ(o.code, 0) << o.out << o.err;
  const auto map = rows("a.json");
  EXPECT_FALSE(map.at("add/f32/N100/ours").contains("percent_of_ceiling"));
  EXPECT_GT(map.at("matmul_bf16/f32/M17xN9xK20/nn/plain/ours")["verified"], 100);
}

TEST_F(smoke, rows_are_listed_without_running) {
  const Outcome o = run("--device cpu --benchmark_list_tests --benchmark_filter='^huber_kl.*G5000'");
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, "huber_kl/f32/B256xG5000xZ512/ours\n");
}

TEST_F(smoke, json_on_stdout) {
  const Outcome o = run("--device cpu --shape fill=70 --benchmark_format=json" + std::string(kFast));
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(Json::parse(o.out)["benchmarks"][0]["name"], "fill/f32/N70/ours");
}

TEST_F(smoke, a_file_that_cannot_be_written_is_named_before_anything_is_measured) {
  const Outcome o = run("--device cpu --shape fill=70 --benchmark_out=nowhere/a.json");
  EXPECT_EQ(o.code, 4);
  EXPECT_EQ(o.out, "");
  EXPECT_NE(o.err.find("cannot write 'nowhere/a.json'"), std::string::npos) << o.err;
}

TEST_F(smoke, sizes_beyond_all_memory_are_a_row_that_says_so) {
  const Outcome o = run("--device simt --shape fill=9000000000000000000");
  EXPECT_EQ(o.code, 1);
  EXPECT_NE(o.out.find("ERROR out of memory"), std::string::npos) << o.out;
}

TEST_F(smoke, wrong_arguments_end_with_2_and_say_what_is_wrong) {
  const std::pair<const char*, const char*> wrong[] = {{"--benchmark_filter=no_such_row", "no row of these options matches 'no_such_row'"},
                                                       {"--shape fil=3", "did you mean fill?"},
                                                       {"--shape fill=3,4", "fill takes 1 sizes, first N; 2 are given"},
                                                       {"--device tpu", "no such device"},
                                                       {"--colour red", "unknown option"}};
  for (const auto& [arguments, message] : wrong) {
    const Outcome o = run(arguments);
    EXPECT_EQ(o.code, 2) << arguments;
    EXPECT_NE(o.err.find(message), std::string::npos) << o.err;
    EXPECT_EQ(o.err.find("panvae_bench: error: "), 0u) << o.err;
  }
  EXPECT_EQ(run("--help").code, 0);
}

// A step may be asked for in ways that exclude each other: none of them is measured under the name of another.
TEST_F(smoke, a_training_step_is_taken_as_asked_or_not_at_all) {
  const auto step = [this](const std::string& how) { return run("--genes 30 --hidden 8 --latent 3 --batch 4 --steps 1 " + how, PANVAE_TRAIN_STEP_PROGRAM); };
  for (const char* how : {"--written-gradients", "--unfused"}) {
    const Outcome o = step("--kept-products " + std::string(how));
    EXPECT_EQ(o.code, 2) << how;
    EXPECT_NE(o.err.find("--kept-products writes no gradients of weights, and " + std::string(how) + " asks for them"), std::string::npos) << o.err;
  }
}

}  // namespace
}  // namespace panvae
