// Optimal assignment against all assignments there are.
#include "data/assignment.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "base/philox.h"
#include "support.h"

namespace panvae::data::test {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

struct Outcome {
  int64_t assigned = 0;
  double cost = 0;
};

Outcome best_of_all(const std::vector<std::vector<double>>& cost, size_t columns) {
  Outcome best;
  std::vector<bool> used(columns, false);
  const std::function<void(size_t, Outcome)> go = [&](size_t row, Outcome so_far) {
    if (row == cost.size()) {
      if (so_far.assigned > best.assigned || (so_far.assigned == best.assigned && so_far.cost < best.cost)) best = so_far;
      return;
    }
    go(row + 1, so_far);
    for (size_t j = 0; j < columns; ++j)
      if (!used[j] && std::isfinite(cost[row][j])) {
        used[j] = true;
        go(row + 1, {so_far.assigned + 1, so_far.cost + cost[row][j]});
        used[j] = false;
      }
  };
  go(0, {});
  return best;
}

TEST(Assignment, IsTheBestOfAll) {
  PhiloxSequence random({3, 1, 0});
  for (int round = 0; round < 300; ++round) {
    const size_t n = random.below(6), m = random.below(7);
    std::vector<std::vector<double>> cost(n, std::vector<double>(m));
    for (auto& row : cost)
      for (double& c : row) c = random.uniform() < 0.35 ? infinite : static_cast<double>(random.below(10));
    const auto chosen =
        assign(static_cast<int64_t>(n), static_cast<int64_t>(m), [&](int64_t i, int64_t j) { return cost[static_cast<size_t>(i)][static_cast<size_t>(j)]; });
    ASSERT_EQ(chosen.size(), n);
    Outcome got;
    std::set<int64_t> columns;
    for (size_t i = 0; i < n; ++i) {
      if (chosen[i] < 0) continue;
      ASSERT_TRUE(columns.insert(chosen[i]).second) << "column twice";
      ASSERT_TRUE(std::isfinite(cost[i][static_cast<size_t>(chosen[i])]));
      ++got.assigned;
      got.cost += cost[i][static_cast<size_t>(chosen[i])];
    }
    const Outcome best = best_of_all(cost, m);
    EXPECT_EQ(got.assigned, best.assigned) << "round " << round;
    EXPECT_NEAR(got.cost, best.cost, 1e-9) << "round " << round;
  }
}

TEST(Assignment, GivesWayWhereTheNearestIsWantedByAnother) {
  // Row 0 is nearest to column 0, but row 1 can have no other.
  const double cost[2][2] = {{0, 5}, {1, infinite}};
  EXPECT_EQ(assign(2, 2, [&](int64_t i, int64_t j) { return cost[i][j]; }), (std::vector<int64_t>{1, 0}));
}

TEST(Assignment, LargeSortedCostsPairNeighbours) {
  // On a line the best pairing of equally many points keeps their order.
  PhiloxSequence random({3, 2, 0});
  std::vector<double> x(150), y(150);
  for (double& v : x) v = random.normal();
  for (double& v : y) v = random.normal();
  std::sort(x.begin(), x.end());
  std::sort(y.begin(), y.end());
  double wanted = 0, got = 0;
  for (size_t i = 0; i < x.size(); ++i) wanted += std::abs(x[i] - y[i]);
  const auto cost = [&](int64_t i, int64_t j) { return std::abs(x[static_cast<size_t>(i)] - y[static_cast<size_t>(j)]); };
  const auto chosen = assign(150, 150, cost);
  for (size_t i = 0; i < x.size(); ++i) got += cost(static_cast<int64_t>(i), chosen[i]);
  EXPECT_NEAR(got, wanted, 1e-9);
}

TEST(Assignment, EmptyAndHopeless) {
  const auto never = [](int64_t, int64_t) { return infinite; };
  EXPECT_TRUE(assign(0, 5, never).empty());
  EXPECT_EQ(assign(2, 0, never), (std::vector<int64_t>{-1, -1}));
  EXPECT_EQ(assign(2, 3, never), (std::vector<int64_t>{-1, -1}));
  expect_names(error_of([&] { assign(1, 1, [](int64_t, int64_t) { return -1.0; }); }, ErrorCode::usage), {"assign", "-1"});
}

}  // namespace
}  // namespace panvae::data::test
