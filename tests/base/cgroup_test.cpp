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

TEST(MemoryLeft, OfTheSecondVersion) {
  const Folder f;
  const std::string root = f.file("cgroup");
  EXPECT_FALSE(memory_left(root, "0::/a/b\n")) << "nothing there";
  put(root + "/a/b/memory.max", "max\n");
  put(root + "/a/b/memory.current", "300\n");
  EXPECT_FALSE(memory_left(root, "0::/a/b\n"));
  put(root + "/a/b/memory.max", "1000\n");
  EXPECT_EQ(memory_left(root, "0::/a/b\n"), 700);
  put(root + "/a/b/memory.stat", "anon 100\nfile 200\ninactive_file 150\nactive_file 20\n");
  EXPECT_EQ(memory_left(root, "0::/a/b\n"), 870) << "cached files are given back";
  put(root + "/a/memory.max", "1200\n");
  put(root + "/a/memory.current", "1100\n");
  EXPECT_EQ(memory_left(root, "0::/a/b\n"), 100) << "a group above allows less";
  EXPECT_FALSE(memory_left(root, "0::/c\n")) << "another group";
  put(root + "/memory.max", "500\n");
  put(root + "/memory.current", "600\n");
  EXPECT_EQ(memory_left(root, "0::/docker/of_the_host\n"), 0) << "a container that sees its host's path, over its limit";
}

TEST(MemoryLeft, OfTheFirstVersion) {
  const Folder f;
  const std::string root = f.file("cgroup");
  const std::string group = "5:cpu:/x\n4:memory:/job\n0::/\n";
  put(root + "/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
  put(root + "/memory/job/memory.usage_in_bytes", "4096\n");
  EXPECT_EQ(memory_left(root, group), 9223372036854771712 - 4096) << "no limit that matters";
  put(root + "/memory/job/memory.limit_in_bytes", "10000\n");
  put(root + "/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 1000\ntotal_active_file 96\n");
  EXPECT_EQ(memory_left(root, group), 7000);
  EXPECT_FALSE(memory_left(root, "4:cpu:/job\n")) << "another controller";
}

}  // namespace
}  // namespace panvae::test
