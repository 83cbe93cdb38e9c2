#include "eval/cohort.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/threads.h"
#include "data/read.h"
#include "eval/folds.h"
#include "eval/labels.h"
#include "eval/warnings.h"
#include "eval/xgboost_library.h"

namespace panvae::eval {

namespace {

struct Task {
  std::vector<int64_t> train, test;  // positions in the evaluated samples
};

// Trains every fold, several at a time, each by `trees.threads` threads. Progress is told by the calling thread.
std::vector<std::vector<int32_t>> run_folds(const data::RowMatrix<double>& x, std::span<const int32_t> label, int32_t classes, const std::vector<Task>& tasks,
                                            const TreeOptions& trees, int workers) {
  std::vector<std::vector<int32_t>> predicted(tasks.size());
  std::mutex mutex;
  std::condition_variable changed;
  std::exception_ptr error;
  std::atomic<size_t> next{0};
  std::atomic<int64_t> rounds{0};
  std::atomic<bool> stop{false};
  struct Stopped {};
  int running = workers;
  const auto work = [&] {
    try {
      for (size_t t; (t = next.fetch_add(1)) < tasks.size();)
        predicted[t] = train_and_predict(x, tasks[t].train, label, tasks[t].test, classes, trees, [&] {
          rounds.fetch_add(1);
          if (stop) throw Stopped{};
        });
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
  xgboost::api();  // a missing library is told before any thread starts
  {
    Progress progress("cohort accuracy", static_cast<int64_t>(tasks.size()) * trees.rounds, "rounds");
    std::vector<std::jthread> threads;
    for (int w = 0; w < workers; ++w) threads.emplace_back(work);
    int64_t told = 0;
    for (bool busy = true; busy;) {
      {
        std::unique_lock lock(mutex);
        changed.wait_for(lock, std::chrono::milliseconds(100), [&] { return running == 0; });
        busy = running > 0;
      }
      const int64_t done = rounds.load();
      progress.advance(done - told, fmt::format("fold {} of {}", std::min<int64_t>(done / trees.rounds + 1, static_cast<int64_t>(tasks.size())), tasks.size()));
      told = done;
    }
  }
  if (error) std::rethrow_exception(error);
  return predicted;
}

void add_warnings(CohortResult& r, const std::vector<std::string>& donor, const std::vector<std::vector<int64_t>>& class_folds, bool folds_given) {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const CohortFold& f : r.folds) least = std::min(least, f.train);
  add_warning(r.warnings, warn_few_samples(least, r.dimensions, "a fold trains on", "accuracy"));
  if (folds_given) {
    add_warning(r.warnings, warn_shared_donors(donor, r.fold));
    for (int32_t k = 0, at = 0; at < static_cast<int32_t>(r.folds.size()); ++k) {
      if (r.folds[static_cast<size_t>(at)].fold == k) {
        ++at;
      } else {
        r.warnings.push_back(fmt::format("the evaluated samples lack fold {}: the others are used", k));
        k = r.folds[static_cast<size_t>(at)].fold - 1;  // said once per gap
      }
    }
  }
  for (size_t c = 0; c < class_folds.size(); ++c) {
    const auto used = std::count_if(class_folds[c].begin(), class_folds[c].end(), [](int64_t n) { return n > 0; });
    if (used < 2)
      r.warnings.push_back(fmt::format("all samples of cohort {} are in one fold: no model that is tested on them has seen it", panvae::quoted(r.classes[c])));
  }
}

}  // namespace

CohortResult evaluate_cohort(const data::Dataset<double>& e, const CohortOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.folds < 2) fail_usage(fmt::format("{} folds", options.folds), "--folds", "at least 2 are needed");
  CohortResult r;
  const std::vector<std::string> name = cohort_names(e.obs, options.cohort_map);
  const std::vector<std::string> all_donors = data::donors_of(e.obs);
  Selection selection = select_evaluated(e.obs, options.on);
  r.on = selection.name();
  r.dimensions = e.features();
  r.control = options.control;

  std::vector<int64_t> labelled;
  for (int64_t row : selection.rows) name[static_cast<size_t>(row)].empty() ? void(++r.unlabelled) : labelled.push_back(row);
  sort_by_name(labelled, e.obs);
  check_finite(e, labelled);
  // Values beyond the range of float32 would reach the classifier as infinities.
  for (int64_t row : labelled)
    for (int64_t j = 0; j < e.features(); ++j)
      if (std::abs(e.x(row, j)) > std::numeric_limits<float>::max())
        fail_input("a value does not fit float32, in which the classifier computes",
                   fmt::format("sample {}", panvae::quoted(e.obs.keys[static_cast<size_t>(row)])), "scale the embedding");

  std::map<std::string, std::set<std::string>> donors_of_cohort;
  std::map<std::string, int64_t> samples_of_cohort;
  for (int64_t row : labelled) {
    donors_of_cohort[name[static_cast<size_t>(row)]].insert(all_donors[static_cast<size_t>(row)]);
    ++samples_of_cohort[name[static_cast<size_t>(row)]];
  }
  std::map<std::string, int32_t> code;
  for (const auto& [cohort, donors] : donors_of_cohort) {
    const auto n_donors = static_cast<int64_t>(donors.size());
    if (n_donors < options.folds) {
      r.dropped.push_back({cohort, samples_of_cohort[cohort], n_donors});
    } else {
      code[cohort] = static_cast<int32_t>(r.classes.size());
      r.classes.push_back(cohort);
    }
  }
  if (r.classes.size() < 2) {
    std::string dropped;
    for (const DroppedCohort& d : r.dropped) dropped += fmt::format("{}{} ({} donors)", dropped.empty() ? "" : ", ", panvae::quoted(d.name), d.donors);
    if (dropped.size() > 300) dropped = dropped.substr(0, 300) + " ...";
    fail_input(fmt::format("{} of {} cohorts have at least {} donors, and two are needed", r.classes.size(), donors_of_cohort.size(), options.folds),
               fmt::format("{} samples evaluated ({}){}", labelled.size(), r.on, dropped.empty() ? "" : "; dropped: " + dropped),
               r.on == "holdout" ? "use --on all, fewer --folds, or merge cohorts with --cohort-map" : "use fewer --folds, or merge cohorts with --cohort-map");
  }

  std::vector<std::string> donor;
  for (int64_t row : labelled) {
    const auto at = code.find(name[static_cast<size_t>(row)]);
    if (at == code.end()) continue;
    r.row.push_back(row);
    r.label.push_back(at->second);
    donor.push_back(all_donors[static_cast<size_t>(row)]);
  }
  const int32_t classes = static_cast<int32_t>(r.classes.size());
  const size_t n = r.row.size();
  r.n = static_cast<int64_t>(n);
  r.donors = static_cast<int64_t>(std::set<std::string>(donor.begin(), donor.end()).size());
  std::vector<int64_t> class_size(r.classes.size(), 0);
  for (int32_t c : r.label) ++class_size[static_cast<size_t>(c)];
  r.majority_share = static_cast<double>(*std::max_element(class_size.begin(), class_size.end())) / static_cast<double>(n);

  const bool given = !options.fold_key.empty();
  r.fold = given ? folds_of_column(e.obs, options.fold_key, r.row) : stratified_group_folds(donor, r.label, classes, options.folds, options.seed);
  if (options.control == Control::permuted) {
    // Folds stay those of the true labels: the row beside this one differs in the labels alone.
    const std::vector<int32_t> label = r.label;
    const std::vector<int64_t> from = permute_donors(donor, options.seed);
    for (size_t i = 0; i < n; ++i) r.label[i] = label[static_cast<size_t>(from[i])];
  }
  const std::set<int32_t> numbers(r.fold.begin(), r.fold.end());
  if (numbers.size() < 2)
    fail_input(fmt::format("all {} evaluated samples are in one fold", n), given ? fmt::format("column {}", panvae::quoted(options.fold_key)) : "donors",
               "at least two folds are needed");

  std::vector<Task> tasks;
  std::vector<std::vector<int64_t>> class_folds(r.classes.size());
  for (int32_t f : numbers) {
    Task task;
    for (auto& counts : class_folds) counts.push_back(0);
    for (size_t i = 0; i < n; ++i) {
      (r.fold[i] == f ? task.test : task.train).push_back(static_cast<int64_t>(i));
      if (r.fold[i] == f) ++class_folds[static_cast<size_t>(r.label[i])].back();
    }
    r.folds.push_back({f, static_cast<int64_t>(task.train.size()), static_cast<int64_t>(task.test.size()), 0, 0, 0});
    tasks.push_back(std::move(task));
  }
  add_warnings(r, donor, class_folds, given);
  std::vector<std::string> cohort;
  for (int64_t row : r.row) cohort.push_back(name[static_cast<size_t>(row)]);
  add_warning(r.warnings, warn_aliased(e.obs, r.row, cohort));

  data::RowMatrix<double> x(r.n, e.features());
  for (size_t i = 0; i < n; ++i) x.row(static_cast<int64_t>(i)) = e.x.row(r.row[i]);
  // Folds side by side rather than threads within a fold: trees on some thousand samples are too small to share, and a
  // fold trained by one thread gives the same trees whatever the number of cores.
  TreeOptions trees = options.trees;
  const int available = std::max(1, threads()), workers = std::min<int>(available, static_cast<int>(tasks.size()));
  trees.threads = std::max(1, available / workers);
  const auto predicted = run_folds(x, r.label, classes, tasks, trees, workers);

  r.predicted.assign(n, -1);
  r.confusion = Confusion::Zero(classes, classes);
  std::vector<double> accuracies, balanced, f1;
  for (size_t t = 0; t < tasks.size(); ++t) {
    std::vector<int32_t> truth;
    for (size_t i = 0; i < tasks[t].test.size(); ++i) {
      const auto at = static_cast<size_t>(tasks[t].test[i]);
      truth.push_back(r.label[at]);
      r.predicted[at] = predicted[t][i];
    }
    const Confusion c = confusion(truth, predicted[t], classes);
    r.confusion += c;
    r.folds[t].accuracy = accuracy(c);
    r.folds[t].balanced_accuracy = balanced_accuracy(c);
    r.folds[t].macro_f1 = macro_f1(c);
    accuracies.push_back(r.folds[t].accuracy);
    balanced.push_back(r.folds[t].balanced_accuracy);
    f1.push_back(r.folds[t].macro_f1);
  }
  r.accuracy = spread(accuracies);
  r.balanced_accuracy = spread(balanced);
  r.macro_f1 = spread(f1);
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return r;
}

}  // namespace panvae::eval
