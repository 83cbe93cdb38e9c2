#include "base/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "tests/base/helpers.h"

namespace panvae::test {
namespace {

void put(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  write_file(path, text);
}

TEST(CpuQuota, OfTheSecondVersion) {
  const Folder f;
  const std::string root = f.file("cgroup");
  EXPECT_EQ(cpu_quota(root, "0::/a/b\n"), 0) << "nothing there";
  put(root + "/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cpu_quota(root, "0::/a/b\n"), 0);
  put(root + "/a/b/cpu.max", "250000 100000\n");
  EXPECT_EQ(cpu_quota(root, "0::/a/b\n"), 2.5);
  put(root + "/a/cpu.max", "150000 100000\n");
  EXPECT_EQ(cpu_quota(root, "0::/a/b\n"), 1.5) << "a group above allows less";
  EXPECT_EQ(cpu_quota(root, "0::/c\n"), 0) << "another group";
  put(root + "/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpu_quota(root, "0::/docker/of_the_host\n"), 4) << "a container that sees its host's path";
  EXPECT_EQ(cpu_quota(root, "0::/\n"), 4);
  EXPECT_EQ(cpu_quota(root, "0::\n"), 4);
}

TEST(CpuQuota, OfTheFirstVersion) {
  const Folder f;
  const std::string root = f.file("cgroup");
  put(root + "/cpu/job/cpu.cfs_quota_us", "-1\n");
  put(root + "/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpu_quota(root, "5:memory:/x\n4:cpuacct,cpu:/job\n"), 0);
  put(root + "/cpu/job/cpu.cfs_quota_us", "50000\n");
  EXPECT_EQ(cpu_quota(root, "5:memory:/x\n4:cpuacct,cpu:/job\n0::/\n"), 0.5);
  EXPECT_EQ(cpu_quota(root, "4:cpuset:/job\n"), 0) << "another controller";
}

TEST(CpuQuota, OfWhatIsNoQuota) {
  const Folder f;
  const std::string root = f.file("cgroup");
  for (const char* text : {"", "much", "0 100000", "-5 100000", "100000", "100000 0"}) {
    put(root + "/cpu.max", text);
    EXPECT_EQ(cpu_quota(root, "0::/\n"), 0) << text;
  }
  EXPECT_EQ(cpu_quota(root, "no line of it\n\n::\n:"), 0);
}

}  // namespace
}  // namespace panvae::test
