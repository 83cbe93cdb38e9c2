// Shared by the tests of trainers.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/interrupt.h"
#include "engine/batch_source.h"
#include "engine/module.h"

namespace panvae::test {

// Counts batches, and stops the run after a given number of them.
class WatchedSource : public BatchSource {
 public:
  // `width`: of the rows that are made, 0: as many as there are features.
  WatchedSource(Context& c, const std::vector<float>& x, int64_t samples, int64_t width = 0)
      : inner_(c, x.data(), samples, static_cast<int64_t>(x.size()) / samples, width > 0 ? width : static_cast<int64_t>(x.size()) / samples) {}
  int64_t samples() const override { return inner_.samples(); }
  int64_t features() const override { return inner_.features(); }
  int64_t width() const override { return inner_.width(); }
  void fill(const std::vector<int64_t>& r, Tensor& x) override {
    inner_.fill(r, x);
    asked.push_back(r);
    if (static_cast<int64_t>(asked.size()) == interrupt_at) set_interrupted(true);
  }
  bool queues() const override { return ahead; }
  bool ahead = false;  // asked for a batch while the step before is under way
  int64_t interrupt_at = -1;
  std::vector<std::vector<int64_t>> asked;

 private:
  MatrixSource inner_;
};

// The largest difference, relative to the largest value of b.
inline double worst_relative(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0, largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(d <= worst)) worst = d;
    largest = std::max<double>(largest, std::abs(b[i]));
  }
  return worst / largest;
}

// Behind the used part of every parameter there are zeros.
inline void expect_zero_padding(const ModuleState& state) {
  for (const auto& e : state.entries()) {
    if (!e.padded()) continue;
    const std::vector<float> values = e.tensor.host<float>();
    for (int64_t i = 0; i < e.tensor.count(); ++i) {
      const int64_t row = e.used.rank() == 2 ? i / e.tensor.size(-1) : 0, column = i % e.tensor.size(-1);
      const bool padding = column >= e.used[-1] || (e.used.rank() == 2 && row >= e.used[0]);
      if (padding) {
        ASSERT_EQ(values[static_cast<size_t>(i)], 0) << e.name << " " << row << " " << column;
      }
    }
  }
}

}  // namespace panvae::test
