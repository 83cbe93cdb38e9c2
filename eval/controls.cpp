#include "eval/controls.h"

#include <map>

#include "base/error.h"
#include "base/philox.h"

namespace panvae::eval {

Control parse_control(const std::string& text) {
  if (text.empty() || text == "none") return Control::none;
  if (text == "permuted") return Control::permuted;
  fail_usage(fmt::format("no control is called {}", panvae::quoted(text)), "--control", "say none or permuted");
}

std::vector<int64_t> permute_donors(std::span<const std::string> donor, uint64_t seed, uint32_t round) {
  std::map<std::string, std::vector<int64_t>> samples_of;
  for (size_t i = 0; i < donor.size(); ++i) samples_of[donor[i]].push_back(static_cast<int64_t>(i));
  std::map<size_t, std::vector<const std::vector<int64_t>*>> by_size;
  for (const auto& [name, samples] : samples_of) by_size[samples.size()].push_back(&samples);
  std::vector<int64_t> from(donor.size());
  constexpr uint32_t kStream = 0x70657231;  // "per1"
  PhiloxSequence random(PhiloxKey{seed, kStream, round});
  for (const auto& [size, donors] : by_size) {
    std::vector<size_t> order(donors.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    for (size_t i = 0; i < order.size(); ++i)
      for (size_t k = 0; k < size; ++k) from[static_cast<size_t>((*donors[i])[k])] = (*donors[order[i]])[k];
  }
  return from;
}

}  // namespace panvae::eval
