#include "bench/rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace panvae::bench {
namespace {

constexpr Device kCpu{DeviceType::cpu, 0}, kSimt{DeviceType::simt, 0}, kCuda{DeviceType::cuda, 0};

Options parsed(std::vector<std::string> words) {
  words.insert(words.begin(), "panvae_bench");
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  int argc = static_cast<int>(words.size());
  return parse_options(argc, argv.data());
}

std::set<std::string> names(const std::vector<Row>& rows) {
  std::set<std::string> set;
  for (const Row& r : rows) set.insert(r.name());
  return set;
}

std::string failure(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage) << e.what();
    return e.what();
  }
  return "no error";
}

TEST(rows, every_case_has_rows_with_names_of_their_own) {
  const std::vector<Row> rows = make_rows({}, kCpu);
  EXPECT_EQ(names(rows).size(), rows.size());
  std::set<std::string> covered;
  for (const Row& r : rows) covered.insert(r.op->kernel_name());
  for (const cases::OpCase& c : cases::all_cases()) EXPECT_TRUE(covered.count(c.kernel_name())) << c.name << " has no row in the bench";
}

TEST(rows, names_say_case_type_size_and_provider) {
  EXPECT_TRUE(names(make_rows({}, kCpu)).count("huber_kl/f32/B256xG19421xZ512/ours"));
  EXPECT_EQ(names(make_rows(parsed({"--shape", "huber_kl=3,4,5", "--dtype=f32,f64"}), kCpu)),
            (std::set<std::string>{"huber_kl/f32/B3xG4xZ5/ours", "huber_kl/f64/B3xG4xZ5/ours"}));
}

TEST(rows, shapes_may_be_repeated_and_bring_every_provider) {
  EXPECT_EQ(names(make_rows(parsed({"--shape", "matmul=8,9,10,1,0", "--shape=fill=7"}), kCpu)),
            (std::set<std::string>{"matmul/f32/M8xN9xK10/tn/plain/ours", "matmul/f32/M8xN9xK10/tn/plain/blas", "fill/f32/N7/ours"}));
  EXPECT_EQ(make_rows(parsed({"--shape", "matmul=8,9,10,1,0", "--provider", "blas"}), kCpu).size(), 1u);
}

// What asks the vendor's library (kernels/vendor.h) has a row by it, be it a product or some rows of one, where that library is.
TEST(rows, products_stand_beside_the_vendors) {
  const Contender* const vendor = contender("cublaslt", DeviceType::cuda);
  ASSERT_TRUE(vendor);
  for (const cases::OpCase& c : cases::all_cases()) {
    const std::string name = c.name;
    const bool fused = name.rfind("matmul_adam", 0) == 0;
    if (fused || name == "matmul_tf32" || name == "matmul_rows" || name == "matmul_rows_tf32") {
      EXPECT_EQ(vendor->covers(c), !fused) << name;
    }
  }
  const std::set<std::string> on_cuda = names(make_rows({}, kCuda));
  const bool here = vendor->why_absent().empty();
  for (const char* row : {"matmul_tf32/f32/M256xN1024xK19421/nt/bias_relu/", "matmul_rows/f32/M1024xN19424xK256/tn/rows128/",
                          "matmul_rows_tf32/f32/M1024xN19424xK256/tn/rows128/"}) {
    EXPECT_TRUE(on_cuda.count(row + std::string("ours"))) << row;
    EXPECT_EQ(on_cuda.count(row + std::string("cublaslt")) == 1, here) << row;
  }
}

TEST(rows, what_is_named_several_times_is_read_once) {
  const auto bytes = [](const char* shape) { return make_rows(parsed({"--shape", shape}), kCpu).front().bytes(); };
  EXPECT_EQ(bytes("gather_rows=2,100,10"), 4 * (100 + 2) * 10 + 8 * 100);
  EXPECT_EQ(bytes("gather_rows=100,2,10"), 4 * (2 + 2) * 10 + 8 * 2);
  EXPECT_EQ(bytes("gather_blocks=2,7,100,5"), 4 * (100 * 5 + 2 * 7) + 16 * 100);
  EXPECT_EQ(bytes("scatter_add_rows=1000,2,10,1,0"), 4 * (2 + 2 * 2) * 10 + 8 * 2) << "of the others nothing is read nor written";
  EXPECT_EQ(bytes("triplet=100,3,4,10,0"), 4 * 2 * (3 + 4) * 10 + 24 * 100);
  EXPECT_EQ(bytes("triplet=100,3,3,10,1"), 4 * 2 * 3 * 10 + 24 * 100) << "one matrix, one gradient";
}

TEST(rows, math_modes_are_rows_where_the_device_has_them) {
  const auto count = [](const std::vector<Row>& rows, MathMode m) {
    return std::count_if(rows.begin(), rows.end(), [&](const Row& r) { return r.op->math == m; });
  };
  EXPECT_EQ(count(make_rows({}, kCpu), MathMode::tf32), 0);
  EXPECT_GT(count(make_rows({}, kCuda), MathMode::tf32), 0);
  const std::vector<Row> bf16 = make_rows(parsed({"--precision", "bf16"}), kSimt);
  EXPECT_GT(bf16.size(), 0u);
  EXPECT_EQ(count(bf16, MathMode::bf16), static_cast<int64_t>(bf16.size()));
}

TEST(rows, filters_are_extended_regular_expressions) {
  const auto matching = [](const std::string& filter) { return filtered(make_rows({}, kCpu), filter).size(); };
  const size_t all = matching("");
  EXPECT_EQ(matching("all"), all);
  EXPECT_EQ(matching("^huber_kl/.*G5000.*/(ours|blas)$"), 1u);
  EXPECT_EQ(matching("-^huber_kl/"), all - matching("^huber_kl/"));
  EXPECT_EQ(matching("no such row"), 0u);
  EXPECT_NE(failure([&] { matching("["); }).find("is no regular expression"), std::string::npos);
}

TEST(rows, what_there_is_not_is_named) {
  const auto message = [](std::vector<std::string> words) { return failure([&] { make_rows(parsed(std::move(words)), kCpu); }); };
  EXPECT_NE(message({"--shape", "huber_lk=1,2,3"}).find("did you mean huber_kl?"), std::string::npos);
  EXPECT_NE(message({"--shape", "huber_kl=1,2"}).find("huber_kl takes 3 sizes, first B, G, Z; 2 are given"), std::string::npos);
  EXPECT_NE(message({"--shape", "huber_kl"}).find("has no sizes"), std::string::npos);
  EXPECT_NE(message({"--shape", "huber_kl=1,x,3"}).find("'x' is no number"), std::string::npos);
  EXPECT_NE(message({"--shape", "huber_kl=1,-2,3"}).find("is no number of 0 or more"), std::string::npos);
  EXPECT_NE(message({"--shape", "matmul=1,2,3,1,99"}).find("size 5 of matmul is 99; the case knows 0 to 6"), std::string::npos);
  EXPECT_NE(message({"--shape", "gather_rows=0,5,3"}).find("size 1 of gather_rows is 0; the case knows 1 and more"), std::string::npos);
  EXPECT_NE(message({"--shape", "layernorm=4,0"}).find("size 2 of layernorm is 0"), std::string::npos);
  EXPECT_NE(message({"--shape", "batchnorm_train=0,3,1"}).find("size 1 of batchnorm_train is 0"), std::string::npos);
  EXPECT_NE(message({"--shape", "conv1d=1,1,5,1,3,0,0,1,0"}).find("size 6 of conv1d is 0; the case knows 1 to 4"), std::string::npos);
  EXPECT_NE(message({"--shape", "conv1d=1,1,5,1,9,1,1,1,0"}).find("do not go together: the window covers 9 elements, the padded input has 7"),
            std::string::npos);
  EXPECT_NE(message({"--shape", "matmul_rows=8,3,2,0,5,4"}).find("rows 5 to 9 are asked for, there are 8"), std::string::npos);
  EXPECT_EQ(message({"--shape", "conv1d=1,1,4,1,4,1,0,1,0", "--shape", "gather_rows=5,0,3", "--shape", "relu=0"}), "no error");
  EXPECT_NE(message({"--seconds", "inf"}).find("'inf' is no number"), std::string::npos);
  EXPECT_NE(message({"--memory", "1e999"}).find("is no number"), std::string::npos);
  EXPECT_NE(message({"--provider", "cublas"}).find("use ours, blas"), std::string::npos);
  EXPECT_NE(message({"--precision", "ieee,tf32"}).find("there is no tf32 on cpu: use ieee"), std::string::npos);
  EXPECT_NE(message({"--dtype", "f16"}).find("use f32, f64"), std::string::npos);
  EXPECT_NE(message({"--seconds"}).find("needs a value"), std::string::npos);
  EXPECT_NE(message({"--nonsense"}).find("unknown option"), std::string::npos);
}

}  // namespace
}  // namespace panvae::bench
