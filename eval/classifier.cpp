#include "eval/classifier.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
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

xgboost::Matrix training_rows(const Classification& c, int threads) {
  PV_CHECK(c.classes >= 2, "train_and_predict: {} classes", c.classes);
  PV_CHECK(static_cast<int64_t>(c.label.size()) == c.x->rows(), "train_and_predict: {} labels for {} rows", c.label.size(), c.x->rows());
  PV_CHECK(!c.train.empty() && !c.test.empty(), "train_and_predict: {} rows to train on, {} to predict", c.train.size(), c.test.size());
  PV_CHECK(c.trees.rounds >= 1, "train_and_predict: {} rounds", c.trees.rounds);
  xgboost::Matrix fit(gather_float(*c.x, c.train), static_cast<int64_t>(c.train.size()), c.x->cols(), threads);
  std::vector<float> train_label;
  train_label.reserve(c.train.size());
  for (int64_t row : c.train) {
    const int32_t code = c.label[static_cast<size_t>(row)];
    PV_CHECK(code >= 0 && code < c.classes, "train_and_predict: class {} of {}", code, c.classes);
    train_label.push_back(static_cast<float>(code));
  }
  fit.set_label(train_label);
  return fit;
}

// One training, round by round; the rounds may be different threads'.
class Training {
 public:
  Training(const Classification& c, int threads)
      : c_(c),
        threads_(threads),
        fit_(training_rows(c, threads)),
        booster_(fit_, {{"booster", "gbtree"},
                        {"objective", "multi:softprob"},
                        {"num_class", std::to_string(c.classes)},
                        {"tree_method", "hist"},
                        {"max_depth", std::to_string(c.trees.max_depth)},
                        {"eta", shortest(c.trees.eta)},
                        {"lambda", shortest(c.trees.lambda)},
                        {"gamma", shortest(c.trees.gamma)},
                        {"min_child_weight", shortest(c.trees.min_child)},
                        {"max_bin", std::to_string(c.trees.max_bin)},
                        {"nthread", std::to_string(threads)},
                        {"seed", std::to_string(c.trees.seed % 2147483647)},  // XGBoost's seed is an int
                        {"verbosity", "0"}}) {}

  int rounds_left() const { return c_.trees.rounds - done_; }
  void round() {
    throw_if_interrupted();
    booster_.update(done_++, fit_);
  }
  std::vector<int32_t> predict() const {
    const std::vector<float> probability =
        booster_.predict(xgboost::Matrix(gather_float(*c_.x, c_.test), static_cast<int64_t>(c_.test.size()), c_.x->cols(), threads_));
    PV_ASSERT(probability.size() == c_.test.size() * static_cast<size_t>(c_.classes));
    std::vector<int32_t> predicted(c_.test.size());
    for (size_t i = 0; i < c_.test.size(); ++i) {
      const auto first = probability.begin() + static_cast<std::ptrdiff_t>(i * static_cast<size_t>(c_.classes));
      predicted[i] = static_cast<int32_t>(std::max_element(first, first + c_.classes) - first);
    }
    return predicted;
  }

 private:
  const Classification& c_;
  int threads_;
  xgboost::Matrix fit_;
  xgboost::Booster booster_;
  int done_ = 0;
};

// Gives trainings to workers, the longest first. While enough are left to begin, a worker ends what it has begun. The last ones
// change hands between rounds, always for the one with most work left, so that all workers are busy to the end: five folds take
// two of them two and a half times as long as one fold, not three times. Fewer than two for each worker are begun at any time.
class Trainings {
 public:
  struct Task {
    const Classification* what;
    Classified* result;
    double cost;  // of a round, relative to those of others
    std::unique_ptr<Training> training;
    double work_left() const { return cost * (training ? training->rounds_left() : what->trees.rounds); }
  };

  Trainings(std::span<const Classification> tasks, std::span<Classified> results, size_t workers) : workers_(workers), unbegun_(tasks.size()) {
    for (size_t i = 0; i < tasks.size(); ++i) {
      const Classification& c = tasks[i];
      tasks_.push_back({&c, &results[i], static_cast<double>(c.x->cols()) * static_cast<double>(c.classes), nullptr});
    }
    for (Task& t : tasks_) waiting_.push_back(&t);
  }

  // What a worker shall go on with that has `mine` in hand, or nothing; nullptr: nothing is left.
  Task* next(Task* mine) {
    const std::lock_guard lock(mutex_);
    if (mine && unbegun_ >= workers_) return mine;
    const auto most = std::max_element(waiting_.begin(), waiting_.end(), [](const Task* a, const Task* b) { return a->work_left() < b->work_left(); });
    if (most == waiting_.end() || (mine && (*most)->work_left() <= mine->work_left() + kRoundsKept * mine->cost)) return mine;
    Task* const taken = *most;
    waiting_.erase(most);
    if (mine) waiting_.push_back(mine);
    if (!taken->training) --unbegun_;
    return taken;
  }

 private:
  static constexpr double kRoundsKept = 4;  // so that equals do not change hands at every round

  std::mutex mutex_;
  std::vector<Task> tasks_;
  std::vector<Task*> waiting_;  // that no worker has in hand
  size_t workers_, unbegun_;
};

}  // namespace

std::vector<int32_t> train_and_predict(const data::RowMatrix<double>& x, std::span<const int64_t> train, std::span<const int32_t> label,
                                       std::span<const int64_t> test, int32_t classes, const TreeOptions& options) {
  const Classification c{&x, train, label, test, classes, options};
  Training training(c, options.threads);
  while (training.rounds_left() > 0) training.round();
  return training.predict();
}

std::vector<Classified> classify_side_by_side(std::span<const Classification> tasks, const std::string& name) {
  std::vector<Classified> results(tasks.size());
  if (tasks.empty()) return results;
  xgboost::api();  // a missing library is told before any thread starts
  // Side by side rather than by threads of its own each: trees on some thousand samples are too small to share, and what one
  // thread trains is the same whatever the number of cores.
  const auto available = static_cast<size_t>(std::max(1, threads())), workers = std::min(available, tasks.size());
  const auto threads_of_each = static_cast<int>(std::max<size_t>(1, available / workers));
  Trainings trainings(tasks, results, workers);
  std::mutex mutex;
  std::condition_variable changed;
  std::exception_ptr error;
  std::atomic<size_t> done{0};
  std::atomic<int64_t> rounds{0};
  std::atomic<bool> stop{false};
  size_t running = workers;
  const auto work = [&] {
    try {
      for (Trainings::Task* task = nullptr; !stop && (task = trainings.next(task));) {
        const auto start = std::chrono::steady_clock::now();
        if (!task->training) task->training = std::make_unique<Training>(*task->what, threads_of_each);
        task->training->round();
        rounds.fetch_add(1);
        const bool ended = task->training->rounds_left() == 0;
        if (ended) task->result->predicted = task->training->predict();
        task->result->seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (!ended) continue;
        task->training.reset();
        task = nullptr;
        done.fetch_add(1);
      }
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
