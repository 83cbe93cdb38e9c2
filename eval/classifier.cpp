#include "eval/classifier.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "eval/xgboost_library.h"

namespace panvae::eval {

namespace {

std::vector<float> gather_float(const data::RowMatrix<double>& x, std::span<const int64_t> rows) {
  const int64_t d = x.cols();
  std::vector<float> out(rows.size() * static_cast<size_t>(d));
  float* to = out.data();
  for (int64_t row : rows) {
    PV_CHECK(row >= 0 && row < x.rows(), "train_and_predict: row {} of {}", row, x.rows());
    for (int64_t j = 0; j < d; ++j) *to++ = static_cast<float>(x(row, j));
  }
  return out;
}

}  // namespace

std::vector<int32_t> train_and_predict(const data::RowMatrix<double>& x, std::span<const int64_t> train, std::span<const int32_t> label,
                                       std::span<const int64_t> test, int32_t classes, const TreeOptions& o, const std::function<void()>& after_round) {
  PV_CHECK(classes >= 2, "train_and_predict: {} classes", classes);
  PV_CHECK(static_cast<int64_t>(label.size()) == x.rows(), "train_and_predict: {} labels for {} rows", label.size(), x.rows());
  PV_CHECK(!train.empty() && !test.empty(), "train_and_predict: {} rows to train on, {} to predict", train.size(), test.size());
  PV_CHECK(o.rounds >= 1, "train_and_predict: {} rounds", o.rounds);
  std::vector<float> train_label;
  train_label.reserve(train.size());
  for (int64_t row : train) {
    const int32_t code = label[static_cast<size_t>(row)];
    PV_CHECK(code >= 0 && code < classes, "train_and_predict: class {} of {}", code, classes);
    train_label.push_back(static_cast<float>(code));
  }
  xgboost::Matrix fit(gather_float(x, train), static_cast<int64_t>(train.size()), x.cols(), o.threads);
  fit.set_label(train_label);
  xgboost::Booster booster(fit, {{"booster", "gbtree"},
                                 {"objective", "multi:softprob"},
                                 {"num_class", std::to_string(classes)},
                                 {"tree_method", "hist"},
                                 {"max_depth", std::to_string(o.max_depth)},
                                 {"eta", shortest(o.eta)},
                                 {"lambda", shortest(o.lambda)},
                                 {"gamma", shortest(o.gamma)},
                                 {"min_child_weight", shortest(o.min_child)},
                                 {"max_bin", std::to_string(o.max_bin)},
                                 {"nthread", std::to_string(o.threads)},
                                 {"seed", std::to_string(o.seed % 2147483647)},  // XGBoost's seed is an int
                                 {"verbosity", "0"}});
  for (int round = 0; round < o.rounds; ++round) {
    throw_if_interrupted();
    booster.update(round, fit);
    if (after_round) after_round();
  }
  const std::vector<float> probability = booster.predict(xgboost::Matrix(gather_float(x, test), static_cast<int64_t>(test.size()), x.cols(), o.threads));
  PV_ASSERT(probability.size() == test.size() * static_cast<size_t>(classes));
  std::vector<int32_t> predicted(test.size());
  for (size_t i = 0; i < test.size(); ++i) {
    const auto first = probability.begin() + static_cast<std::ptrdiff_t>(i * static_cast<size_t>(classes));
    predicted[i] = static_cast<int32_t>(std::max_element(first, first + classes) - first);
  }
  return predicted;
}

Confusion confusion(std::span<const int32_t> truth, std::span<const int32_t> predicted, int32_t classes) {
  PV_CHECK(truth.size() == predicted.size(), "confusion: {} true and {} predicted classes", truth.size(), predicted.size());
  Confusion c = Confusion::Zero(classes, classes);
  for (size_t i = 0; i < truth.size(); ++i) {
    PV_CHECK(truth[i] >= 0 && truth[i] < classes && predicted[i] >= 0 && predicted[i] < classes, "confusion: class {} or {} of {}", truth[i], predicted[i],
             classes);
    ++c(truth[i], predicted[i]);
  }
  return c;
}

double accuracy(const Confusion& c) {
  const int64_t n = c.sum();
  return n ? static_cast<double>(c.trace()) / static_cast<double>(n) : std::numeric_limits<double>::quiet_NaN();
}

double balanced_accuracy(const Confusion& c) {
  double sum = 0;
  int present = 0;
  for (Eigen::Index k = 0; k < c.rows(); ++k)
    if (const int64_t n = c.row(k).sum()) sum += static_cast<double>(c(k, k)) / static_cast<double>(n), ++present;
  return present ? sum / present : std::numeric_limits<double>::quiet_NaN();
}

double macro_f1(const Confusion& c) {
  double sum = 0;
  int present = 0;
  for (Eigen::Index k = 0; k < c.rows(); ++k)
    if (const int64_t n = c.row(k).sum() + c.col(k).sum()) sum += 2.0 * static_cast<double>(c(k, k)) / static_cast<double>(n), ++present;
  return present ? sum / present : std::numeric_limits<double>::quiet_NaN();
}

Spread spread(std::span<const double> values) {
  const double n = static_cast<double>(values.size()), nan = std::numeric_limits<double>::quiet_NaN();
  if (values.empty()) return {nan, nan, nan};
  double sum = 0, squares = 0;
  for (double v : values) sum += v;
  const double mean = sum / n;
  for (double v : values) squares += (v - mean) * (v - mean);
  const double sd = values.size() < 2 ? nan : std::sqrt(squares / (n - 1));
  return {mean, sd, sd / std::sqrt(n)};
}

}  // namespace panvae::eval
