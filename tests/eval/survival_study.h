// Studies with a known effect, and what evaluations of them warn of.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "eval/survival.h"
#include "tests/eval/survival_helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {

using test::expect_relative;
using test::kStats;
using test::set_factor;
using test::set_number;

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

inline data::Dataset<double> reference() {
  data::ReadOptions read;
  read.obs_table = kStats + "embedding_obs.tsv";
  return data::read_dataset<double>(kStats + "embedding.tsv", read);
}

inline data::Dataset<double> reordered(const data::Dataset<double>& d, const std::vector<int64_t>& rows) {
  data::Dataset<double> out = d;
  out.obs = d.obs.select(rows);
  out.x.resize(static_cast<Eigen::Index>(rows.size()), d.x.cols());
  for (size_t i = 0; i < rows.size(); ++i) out.x.row(static_cast<int64_t>(i)) = d.x.row(rows[i]);
  return out;
}

// n patients whose hazard follows the first dimension, by exp(effect * z0), of the largest variance.
inline data::Dataset<double> study(int64_t n, int64_t dimensions, double effect, uint32_t op = 21) {
  data::RowMatrix<double> x = test::gaussian(n, dimensions, op);
  x.col(0) *= 3;
  PhiloxSequence g(PhiloxKey{op, 99, 0});
  std::vector<double> time, event, age;
  std::vector<std::string> sex, cohort;
  for (int64_t i = 0; i < n; ++i) {
    const double death = -1000 * std::log(1 - g.uniform()) * std::exp(-effect * x(i, 0) / 3), lost = 3000 * g.uniform() + 1;
    time.push_back(std::ceil(std::min(death, lost)));
    event.push_back(death <= lost);
    age.push_back(std::round(60 + 10 * g.normal()));
    sex.push_back(g.below(2) ? "male" : "female");
    cohort.push_back(g.below(2) ? "A" : "B");
  }
  data::Dataset<double> d = test::dataset(std::move(x));
  set_number(d.obs, "os_time", time);
  set_number(d.obs, "os_event", event);
  set_number(d.obs, "age", age);
  set_factor(d.obs, "sex", sex);
  set_factor(d.obs, "cohort", cohort);
  return d;
}

inline SurvivalOptions with(int64_t k, std::vector<std::string> covariates = {}) {
  SurvivalOptions o;
  o.top_k = k;
  o.covariates = std::move(covariates);
  return o;
}

inline bool warned(const SurvivalResult& r, const std::string& part) {
  return std::any_of(r.warnings.begin(), r.warnings.end(), [&](const std::string& w) { return w.find(part) != std::string::npos; });
}

inline std::string all_warnings(const SurvivalResult& r) {
  std::string out;
  for (const std::string& w : r.warnings) out += w + "\n";
  return out;
}

}  // namespace panvae::eval
