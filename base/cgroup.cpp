#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

namespace panvae {

namespace {

// "QUOTA PERIOD" in microseconds, as cpu.max has it; 0 where there is no limit or nothing to read.
double quota_in(std::istream& text) {
  double quota = 0, period = 0;
  return text >> quota >> period && quota > 0 && period > 0 ? quota / period : 0;
}

double quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  return quota_in(file);
}

double quota_v1(const std::string& folder) {
  std::ifstream quota(folder + "/cpu.cfs_quota_us"), period(folder + "/cpu.cfs_period_us");
  std::stringstream both;
  both << quota.rdbuf() << ' ' << period.rdbuf();
  return quota_in(both);
}

int64_t bytes_in(const std::string& path) {
  std::ifstream file(path);
  int64_t bytes = 0;
  return file >> bytes ? bytes : -1;  // "max" stands for no limit
}

// `cached`: the names of lines "NAME BYTES" in the group's memory.stat.
std::optional<int64_t> left_in(const std::string& folder, const char* limit_file, const char* used_file, const std::set<std::string>& cached) {
  const int64_t limit = bytes_in(folder + limit_file), used = bytes_in(folder + used_file);
  if (limit < 0 || used < 0) return {};
  int64_t files = 0, bytes = 0;
  std::ifstream statistics(folder + "/memory.stat");
  for (std::string name; statistics >> name >> bytes;)
    if (cached.contains(name)) files += bytes;
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, used - files));
}

std::optional<int64_t> left_v2(const std::string& folder) {
  return left_in(folder, "/memory.max", "/memory.current", {"active_file", "inactive_file"});
}

std::optional<int64_t> left_v1(const std::string& folder) {
  return left_in(folder, "/memory.limit_in_bytes", "/memory.usage_in_bytes", {"total_active_file", "total_inactive_file"});
}

bool holds(const std::string& controllers, const std::string& name) {
  return (',' + controllers + ',').find(',' + name + ',') != std::string::npos;
}

// use(v1, folder) for the process's group of this controller and for each above it.
template <class F>
void for_groups(const std::string& folder, const std::string& membership, const std::string& controller, F&& use) {
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // NUMBER:CONTROLLERS:PATH
    const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = holds(controllers, controller);
    if (!v1 && !controllers.empty()) continue;
    // A container may see the path that its host sees, which is not there, and its own group at the top.
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      use(v1, v1 ? folder + '/' + controller + path : folder + path);
      if (path.find('/') == std::string::npos) break;
    }
  }
}

std::string own_membership() {
  std::ifstream file("/proc/self/cgroup");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

constexpr const char* kGroups = "/sys/fs/cgroup";

}  // namespace

double cpu_quota(const std::string& folder, const std::string& membership) {
  double least = 0;
  for_groups(folder, membership, "cpu", [&](bool v1, const std::string& group) {
    const double quota = v1 ? quota_v1(group) : quota_v2(group);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  });
  return least;
}

double cpu_quota() {
  return cpu_quota(kGroups, own_membership());
}

std::optional<int64_t> memory_left(const std::string& folder, const std::string& membership) {
  std::optional<int64_t> least;
  for_groups(folder, membership, "memory", [&](bool v1, const std::string& group) {
    const std::optional<int64_t> left = v1 ? left_v1(group) : left_v2(group);
    if (left) least = std::min(*left, least.value_or(*left));
  });
  return least;
}

std::optional<int64_t> memory_left() {
  return memory_left(kGroups, own_membership());
}

}  // namespace panvae
