// Registers the modes of every case as tests of their own, "leaky_relu.simt_reverse", and sees to it that the table of
// kernels and the list of cases agree.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "base/file.h"
#include "kernels/profile.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

class CaseTest : public testing::Test {
 public:
  CaseTest(size_t index, Mode mode) : index_(index), mode_(mode) {}
  void TestBody() override { run_case(all_cases()[index_], mode_); }

 private:
  size_t index_;
  Mode mode_;
};

std::set<std::string> kernels_of(const std::string& table) {
  std::set<std::string> names;
  const std::string opening = "PV_KERNEL(";
  for (size_t at = table.find(opening); at != std::string::npos; at = table.find(opening, at + 1)) {
    const size_t name = at + opening.size(), end = table.find(',', name);
    if ((at == 0 || table[at - 1] == '\n') && end != std::string::npos) names.insert(table.substr(name, end - name));
  }
  return names;
}

std::set<std::string> covered() {
  std::set<std::string> names;
  for (const OpCase& c : all_cases()) names.insert(c.kernel_name());
  return names;
}

TEST(table, every_kernel_has_a_case) {
  const std::set<std::string> kernels = kernels_of(read_file(PANVAE_SOURCE_DIR "/kernels/kernels.h")), cases = covered();
  EXPECT_GE(kernels.size(), 20u) << "is the table read rightly?";
  for (const std::string& k : kernels) EXPECT_TRUE(cases.count(k)) << k << " has no OpCase in tests/cases";
  for (const std::string& k : cases) EXPECT_TRUE(kernels.count(k)) << k << " is no kernel of kernels/kernels.h";
}

TEST(table, a_kernel_without_a_case_is_noticed) {
  const std::string table = "#define PV_KERNEL(name, ...)\nPV_KERNEL(fill, Out<T> y)\n// PV_KERNEL(no, )\nPV_KERNEL(planted_kernel, Out<T> y)\n";
  const std::set<std::string> kernels = kernels_of(table);
  EXPECT_EQ(kernels, (std::set<std::string>{"fill", "planted_kernel"}));
  EXPECT_EQ(covered().count("planted_kernel"), 0u);
}

TEST(table, every_case_is_whole) {
  for (const OpCase& c : all_cases()) {
    EXPECT_TRUE(c.f32 || c.f64) << c.name;
    EXPECT_FALSE(c.sizes.empty()) << c.name;
    EXPECT_TRUE(c.op && c.op_inputs && !c.op_sizes.empty()) << c.name << " lacks its op, so grad and graph would test nothing";
    EXPECT_EQ(static_cast<bool>(c.unfused_f32), static_cast<bool>(c.unfused_bytes)) << c.name << " lacks the unfused kernels, or their bytes";
    EXPECT_TRUE(c.flops && c.bytes && (c.label || !c.dims.empty())) << c.name << " lacks what bench counts, or names of its sizes";
  }
}

// The profile counts the bytes and operations that bench counts.
TEST(table, the_profile_and_the_bench_count_the_same_work) {
  for (const OpCase& c : all_cases()) {
    for (const Sizes& s : c.sizes) {
      if (std::any_of(s.begin(), s.end(), [](int64_t v) { return v > 2000; })) continue;
      Profile profile;
      Stream stream({DeviceType::cpu, 0});
      stream.profile = &profile;
      const auto call = [&]<class T>(T, const auto& body) {
        cases::Run<T> run(stream, 1, Calls::Shift::none, 0);
        body(run, s);
        return static_cast<double>(sizeof(T));
      };
      const double item = c.f32 ? call(float{}, c.f32) : call(double{}, c.f64);
      profile.settle(stream);
      ASSERT_EQ(profile.calls().size(), 1u) << c.name << " " << label_of(c, s);
      const Profile::Call& seen = profile.calls().front();
      EXPECT_EQ(seen.kernel, c.kernel_name());
      EXPECT_DOUBLE_EQ(seen.work.bytes, c.bytes(s, item)) << c.name << " " << label_of(c, s);
      EXPECT_DOUBLE_EQ(seen.work.flops, c.flops(s)) << c.name << " " << label_of(c, s);
      EXPECT_EQ(seen.work.reads_only, c.reads_only) << c.name;
      EXPECT_GE(seen.seconds, 0);
    }
  }
}

}  // namespace
}  // namespace panvae::cases

int main(int argc, char** argv) {
  using namespace panvae;
  using namespace panvae::cases;
  testing::InitGoogleTest(&argc, argv);
  std::vector<Mode> modes = {Mode::ref, Mode::simt_forward, Mode::simt_reverse, Mode::simt_random, Mode::grad, Mode::graph};
  if (cuda_backend().device_count() > 0) modes.push_back(Mode::cuda);
  else if (!testing::GTEST_FLAG(list_tests)) std::printf("no mode `cuda`: %s\n", cuda_backend().why_unusable().c_str());
  for (size_t i = 0; i < all_cases().size(); ++i)
    for (Mode m : modes)
      testing::RegisterTest(all_cases()[i].name.c_str(), mode_name(m), nullptr, nullptr, __FILE__, __LINE__,
                            [i, m]() -> testing::Test* { return new CaseTest(i, m); });
  return RUN_ALL_TESTS();
}
