#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
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

bool holds(const std::string& controllers, const std::string& name) {
  return (',' + controllers + ',').find(',' + name + ',') != std::string::npos;
}

}  // namespace

double cpu_quota(const std::string& folder, const std::string& membership) {
  double least = 0;
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // NUMBER:CONTROLLERS:PATH
    const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = holds(controllers, "cpu");
    if (!v1 && !controllers.empty()) continue;
    // A container may see the path that its host sees, which is not there, and its own group at the top.
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      const double quota = v1 ? quota_v1(folder + "/cpu" + path) : quota_v2(folder + path);
      if (quota > 0 && (least == 0 || quota < least)) least = quota;
      if (path.find('/') == std::string::npos) break;
    }
  }
  return least;
}

double cpu_quota() {
  std::ifstream file("/proc/self/cgroup");
  std::stringstream membership;
  membership << file.rdbuf();
  return cpu_quota("/sys/fs/cgroup", membership.str());
}

}  // namespace panvae
