#include "tools/imputation.h"

#include <map>

#include "base/log.h"

namespace panvae::tools {

namespace {

std::string cohort_of(const data::Table& obs, int64_t row) {
  const data::Column* c = obs.find("cohort");
  return c ? c->text(row) : "";
}

// Mean profiles of training samples by cohort; "" is that of all.
std::map<std::string, Eigen::RowVectorXd> training_means(const RunSamples& observed) {
  std::map<std::string, Eigen::RowVectorXd> sums;
  std::map<std::string, int64_t> counts;
  const std::vector<int64_t> rows = data::training_rows(observed.obs());
  observed.for_values(rows, [&](int64_t i, std::span<const float> values) {
    const Eigen::RowVectorXd x = Eigen::Map<const Eigen::RowVectorXf>(values.data(), static_cast<int64_t>(values.size())).cast<double>();
    const std::string cohort = cohort_of(observed.obs(), rows[static_cast<size_t>(i)]);
    for (const std::string& group : cohort.empty() ? std::vector<std::string>{""} : std::vector<std::string>{"", cohort}) {
      Eigen::RowVectorXd& sum = sums[group];
      if (sum.size() == 0) sum = x;
      else sum += x;
      ++counts[group];
    }
  });
  for (auto& [group, sum] : sums) sum /= static_cast<double>(counts[group]);
  return sums;
}

}  // namespace

eval::ImputationResult judge_imputation(const data::Table& obs, const data::RowMatrix<float>& imputed, const RunSamples& observed, eval::On on) {
  const eval::Selection judged = eval::select_evaluated(obs, on), judged_observed = eval::select_evaluated(observed.obs(), on);
  const std::vector<std::string> donors = data::donors_of(obs), observed_donors = data::donors_of(observed.obs());
  std::map<std::string, std::vector<int64_t>> rows_of;
  for (int64_t r : judged_observed.rows) rows_of[observed_donors[static_cast<size_t>(r)]].push_back(r);
  std::vector<int64_t> left, right;
  for (int64_t r : judged.rows)
    if (const auto at = rows_of.find(donors[static_cast<size_t>(r)]); at != rows_of.end())
      for (int64_t partner : at->second) left.push_back(r), right.push_back(partner);
  if (left.size() < 2)
    fail_input(fmt::format("{} of the {} judged samples have a partner of their donor there", left.size(), judged.rows.size()), quoted(observed.path(), 400),
               "give the other modality of the same donors, with the column donor in both");

  const int64_t n = static_cast<int64_t>(left.size()), p = imputed.cols();
  const std::map<std::string, Eigen::RowVectorXd> means = training_means(observed);
  data::RowMatrix<double> truth(n, p), guess(n, p), cohort_mean(n, p);
  int64_t unseen = 0;
  std::vector<std::string> cohort;
  for (int64_t i = 0; i < n; ++i) {
    guess.row(i) = imputed.row(left[static_cast<size_t>(i)]).cast<double>();
    cohort.push_back(cohort_of(obs, left[static_cast<size_t>(i)]));
    auto mean = means.find(cohort.back());
    if (mean == means.end()) mean = means.find(""), ++unseen;
    cohort_mean.row(i) = mean->second;
  }
  if (unseen > 0) log::warning("{} pairs are of cohorts without training samples: their mean is that of all training samples", unseen);
  observed.for_values(right,
                      [&](int64_t i, std::span<const float> values) { truth.row(i) = Eigen::Map<const Eigen::RowVectorXf>(values.data(), p).cast<double>(); });
  // Where no cohort is known all pairs are of one.
  std::map<std::string, int32_t> code;
  for (const std::string& c : cohort)
    if (!c.empty()) code.emplace(c, static_cast<int32_t>(code.size()));
  std::vector<int32_t> codes;
  for (const std::string& c : cohort) codes.push_back(code.empty() ? 0 : c.empty() ? -1 : code.at(c));
  return eval::evaluate_imputation(truth, guess, cohort_mean, codes);
}

}  // namespace panvae::tools
