#include "bench/processor.h"

#include <gtest/gtest.h>

#include <sstream>

namespace panvae::bench {
namespace {

std::string name_in(const char* cpuinfo) {
  std::istringstream file(cpuinfo);
  return processor_name(file);
}

TEST(processor, is_called_by_its_model_name) {
  EXPECT_EQ(
      name_in("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R): 2.10GHz\n\nprocessor\t: 1\nmodel name\t: other\n"),
      "Intel(R) Xeon(R): 2.10GHz");
}

// Two of them are not the same machine for compare.py.
TEST(processor, of_arm_is_called_by_its_numbers) {
  EXPECT_EQ(name_in("processor\t: 0\nBogoMIPS\t: 2000.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
                    "CPU part\t: 0xd4f\nCPU revision\t: 0\n\nprocessor\t: 1\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"),
            "CPU implementer 0x41, part 0xd4f");
}

TEST(processor, that_nothing_names_is_a_cpu) {
  EXPECT_EQ(name_in(""), "CPU");
  EXPECT_EQ(name_in("processor\t: 0\nisa\t: rv64imafdc\nCPU part\t: 0xd4f\n"), "CPU");
}

}  // namespace
}  // namespace panvae::bench
