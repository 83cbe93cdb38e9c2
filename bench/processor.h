#pragma once
#include <istream>
#include <string>

namespace panvae::bench {

// What /proc/cpuinfo says the processor is: its "model name"; on Arm, where there is none, the numbers of its designer and of the design,
// as in "CPU implementer 0x41, part 0xd4f"; where neither is said, "CPU".
std::string processor_name(std::istream& cpuinfo);

}  // namespace panvae::bench
