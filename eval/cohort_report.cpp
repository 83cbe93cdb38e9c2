// What `evaluate cohort` prints and writes.
#include <fmt/format.h>

#include "base/text.h"
#include "eval/cohort.h"

namespace panvae::eval {

Json to_json(const CohortResult& r) {
  Json j;
  j["accuracy_mean"] = r.accuracy.mean;
  j["accuracy_sd"] = r.accuracy.sd;
  j["accuracy_se"] = r.accuracy.se;
  j["balanced_accuracy_mean"] = r.balanced_accuracy.mean;
  j["balanced_accuracy_sd"] = r.balanced_accuracy.sd;
  j["balanced_accuracy_se"] = r.balanced_accuracy.se;
  j["macro_f1_mean"] = r.macro_f1.mean;
  j["macro_f1_sd"] = r.macro_f1.sd;
  j["macro_f1_se"] = r.macro_f1.se;
  j["folds"] = Json::array();
  j["fold_details"] = Json::array();
  for (const CohortFold& f : r.folds) {
    j["folds"].push_back(f.accuracy);
    j["fold_details"].push_back({{"fold", f.fold},
                                 {"train", f.train},
                                 {"test", f.test},
                                 {"accuracy", f.accuracy},
                                 {"balanced_accuracy", f.balanced_accuracy},
                                 {"macro_f1", f.macro_f1}});
  }
  j["n"] = r.n;
  j["donors"] = r.donors;
  j["dimensions"] = r.dimensions;
  j["classes"] = r.classes.size();
  j["class_names"] = r.classes;
  j["dropped_cohorts"] = Json::array();
  for (const DroppedCohort& d : r.dropped) j["dropped_cohorts"].push_back(d.name);
  j["unlabelled"] = r.unlabelled;
  j["majority_share"] = r.majority_share;
  j["on"] = r.on;
  j["control"] = r.control == Control::permuted ? "permuted" : "none";
  j["confusion"] = Json::array();
  for (Eigen::Index i = 0; i < r.confusion.rows(); ++i) {
    Json row = Json::array();
    for (Eigen::Index k = 0; k < r.confusion.cols(); ++k) row.push_back(r.confusion(i, k));
    j["confusion"].push_back(std::move(row));
  }
  j["warnings"] = r.warnings;
  return j;
}

std::string to_text(const CohortResult& r) {
  TextTable scores({"score", "mean", "sd", "se", "folds"});
  const auto add = [&](const char* name, const Spread& s, double CohortFold::*value) {
    std::string folds;
    for (const CohortFold& f : r.folds) folds += fmt::format("{}{:.4f}", folds.empty() ? "" : " ", f.*value);
    scores.row({name, fmt::format("{:.4f}", s.mean), fmt::format("{:.4f}", s.sd), fmt::format("{:.4f}", s.se), folds});
  };
  add("accuracy", r.accuracy, &CohortFold::accuracy);
  add("balanced accuracy", r.balanced_accuracy, &CohortFold::balanced_accuracy);
  add("macro-F1", r.macro_f1, &CohortFold::macro_f1);
  TextTable cohorts({"cohort", "samples", "recall", "precision", "most often taken for"});
  for (Eigen::Index c = 0; c < r.confusion.rows(); ++c) {
    const int64_t n = r.confusion.row(c).sum(), predicted = r.confusion.col(c).sum(), right = r.confusion(c, c);
    Eigen::Index other = -1;
    for (Eigen::Index k = 0; k < r.confusion.cols(); ++k)
      if (k != c && r.confusion(c, k) > 0 && (other < 0 || r.confusion(c, k) > r.confusion(c, other))) other = k;
    cohorts.row({r.classes[static_cast<size_t>(c)], std::to_string(n), fmt::format("{:.3f}", static_cast<double>(right) / static_cast<double>(n)),
                 predicted ? fmt::format("{:.3f}", static_cast<double>(right) / static_cast<double>(predicted)) : "-",
                 other < 0 ? "-" : fmt::format("{} ({})", r.classes[static_cast<size_t>(other)], r.confusion(c, other))});
  }
  std::string out =
      fmt::format("{} samples of {} donors ({}), {} cohorts, {} dimensions; the largest cohort holds {:.4f}\n{}\n", r.n, r.donors, r.on, r.classes.size(),
                  r.dimensions, r.majority_share, r.control == Control::permuted ? "control: cohorts permuted among donors\n" : "");
  out += scores.str() + "\n" + cohorts.str();
  if (!r.dropped.empty()) {
    out += "\nleft out, too few donors: ";
    for (size_t i = 0; i < r.dropped.size(); ++i) out += fmt::format("{}{} ({})", i ? ", " : "", r.dropped[i].name, r.dropped[i].donors);
    out += "\n";
  }
  return out;
}

}  // namespace panvae::eval
