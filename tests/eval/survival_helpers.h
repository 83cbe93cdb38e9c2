// Patients shared by the tests of survival.
#pragma once
#include <cmath>
#include <map>

#include "data/read.h"
#include "tests/eval/helpers.h"

namespace panvae::eval::test {

inline const std::string kStats = std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/";

struct Patients {
  std::vector<double> time, risk;
  std::vector<uint8_t> event;
  std::vector<int32_t> stratum;
  data::RowMatrix<double> x;

  Patients reordered(const std::vector<int64_t>& rows) const {
    Patients p;
    p.x.resize(static_cast<Eigen::Index>(rows.size()), x.cols());
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto r = static_cast<size_t>(rows[i]);
      p.time.push_back(time[r]);
      p.event.push_back(event[r]);
      p.stratum.push_back(stratum[r]);
      p.risk.push_back(risk[r]);
      p.x.row(static_cast<Eigen::Index>(i)) = x.row(rows[i]);
    }
    return p;
  }
};

// n patients, d covariates; times and risks are whole numbers of at most `ticks` values each, so many are equal.
inline Patients patients(int64_t n, int64_t d, uint64_t ticks, uint32_t seed) {
  Patients p;
  p.x.resize(n, d);
  PhiloxSequence g(PhiloxKey{seed, 77, 0});
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < d; ++j) p.x(i, j) = g.normal();
    p.time.push_back(static_cast<double>(g.below(ticks)));
    p.event.push_back(g.uniform() < 0.6);
    p.stratum.push_back(static_cast<int32_t>(g.below(3)));
    p.risk.push_back(static_cast<double>(g.below(ticks)) / 4);
  }
  return p;
}

inline std::vector<int64_t> shuffled(int64_t n, uint32_t seed) {
  std::vector<int64_t> rows = all_rows(n);
  PhiloxSequence g(PhiloxKey{seed, 78, 0});
  for (size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[g.below(i)]);
  return rows;
}

// The patients of tests/reference/survival_rows.R, and R's answers. x: age, marker, treated; stratum: site.
struct TiedPatients : Patients {
  std::vector<int32_t> group;
  std::map<std::string, double> expected;

  TiedPatients() {
    const data::Table t = data::read_table(kStats + "survival_ties.tsv"), e = data::read_table(kStats + "survival_ties_expected.tsv");
    x.resize(t.rows(), 3);
    for (int64_t i = 0; i < t.rows(); ++i) {
      const auto r = static_cast<size_t>(i);
      time.push_back(t.at("time").number[r]);
      event.push_back(t.at("event").number[r] == 1);
      stratum.push_back(static_cast<int32_t>(t.at("site").number[r]));
      risk.push_back(t.at("risk").number[r]);
      group.push_back(static_cast<int32_t>(t.at("group").number[r]));
      x.row(i) << t.at("age").number[r], t.at("marker").number[r], t.at("treated").number[r];
    }
    for (int64_t i = 0; i < e.rows(); ++i) expected[e.keys[static_cast<size_t>(i)]] = e.at("value").number[static_cast<size_t>(i)];
  }
  // key.0, key.1, ...
  std::vector<double> list(const std::string& key) const {
    std::vector<double> out;
    for (auto at = expected.find(key + ".0"); at != expected.end(); at = expected.find(fmt::format("{}.{}", key, out.size()))) out.push_back(at->second);
    return out;
  }
};

inline void expect_relative(double value, double expected, double tolerance, const std::string& what) {
  EXPECT_NEAR(value, expected, tolerance * std::abs(expected)) << what;
}

}  // namespace panvae::eval::test
