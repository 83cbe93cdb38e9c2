#include "eval/classifier.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/threads.h"
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

std::vector<Classified> classify_side_by_side(std::span<const Classification> tasks, const std::string& name) {
  std::vector<Classified> results(tasks.size());
  if (tasks.empty()) return results;
  xgboost::api();  // a missing library is told before any thread starts
  // The longest first, so that none is left over when the others are done.
  std::vector<size_t> order(tasks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto cost = [&](size_t t) { return static_cast<double>(tasks[t].x->cols()) * static_cast<double>(tasks[t].classes); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return cost(a) > cost(b); });
  // Side by side rather than by threads of its own each: trees on some thousand samples are too small to share, and what one
  // thread trains is the same whatever the number of cores.
  const auto available = static_cast<size_t>(std::max(1, threads())), workers = std::min(available, tasks.size());
  const auto threads_of_each = static_cast<int>(std::max<size_t>(1, available / workers));
  std::mutex mutex;
  std::condition_variable changed;
  std::exception_ptr error;
  std::atomic<size_t> next{0}, done{0};
  std::atomic<int64_t> rounds{0};
  std::atomic<bool> stop{false};
  struct Stopped {};
  size_t running = workers;
  const auto work = [&] {
    try {
      for (size_t i; (i = next.fetch_add(1)) < order.size(); done.fetch_add(1)) {
        const Classification& c = tasks[order[i]];
        TreeOptions trees = c.trees;
        trees.threads = threads_of_each;
        const auto start = std::chrono::steady_clock::now();
        std::vector<int32_t> predicted = train_and_predict(*c.x, c.train, c.label, c.test, c.classes, trees, [&] {
          rounds.fetch_add(1);
          if (stop) throw Stopped{};
        });
        results[order[i]] = {std::move(predicted), std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
      }
    } catch (const Stopped&) {
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      stop = true;
    }
    const std::lock_guard lock(mutex);
    --running;
    changed.notify_one();
  };
  {
    int64_t all_rounds = 0;
    for (const Classification& c : tasks) all_rounds += c.trees.rounds;
    Progress progress(name, all_rounds, "rounds");
    std::vector<std::jthread> pool;
    for (size_t w = 0; w < workers; ++w) pool.emplace_back(work);
    int64_t told = 0;
    for (bool busy = true; busy;) {
      {
        std::unique_lock lock(mutex);
        changed.wait_for(lock, std::chrono::milliseconds(100), [&] { return running == 0; });
        busy = running > 0;
      }
      const int64_t now = rounds.load();
      progress.advance(now - told, fmt::format("{} of {} trained", done.load(), tasks.size()));
      told = now;
    }
  }
  if (error) std::rethrow_exception(error);
  return results;
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
