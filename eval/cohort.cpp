#include "eval/cohort.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "data/read.h"
#include "eval/folds.h"
#include "eval/labels.h"
#include "eval/too_few.h"
#include "eval/warnings.h"

namespace panvae::eval {

namespace {

struct Task {
  std::vector<int64_t> train, test;  // positions in the evaluated samples
};

// A job with its folds dealt: all but the classifiers.
struct Prepared {
  CohortResult result;
  data::RowMatrix<double> x;  // of the evaluated samples
  std::vector<Task> tasks;
  TreeOptions trees;
};

// Trains every fold of every job. Returns those of each job's tasks.
std::vector<std::vector<Classified>> run_folds(const std::vector<Prepared>& jobs) {
  std::vector<Classification> folds;
  for (const Prepared& job : jobs)
    for (const Task& task : job.tasks)
      folds.push_back({&job.x, task.train, job.result.label, task.test, static_cast<int32_t>(job.result.classes.size()), job.trees});
  std::vector<Classified> all = classify_side_by_side(folds, "cohort accuracy");
  std::vector<std::vector<Classified>> out;
  auto next = std::make_move_iterator(all.begin());
  for (const Prepared& job : jobs) {
    const auto end = next + static_cast<std::ptrdiff_t>(job.tasks.size());
    out.emplace_back(next, end);
    next = end;
  }
  return out;
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

Prepared prepare(const data::Dataset<double>& e, const CohortOptions& options) {
  if (options.folds < 2) fail_usage(fmt::format("{} folds", options.folds), "--folds", "at least 2 are needed");
  Prepared job;
  job.trees = options.trees;
  CohortResult& r = job.result;
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
    throw TooFew(
        fmt::format("{} of {} cohorts have at least {} donors, and two are needed", r.classes.size(), donors_of_cohort.size(), options.folds),
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
    add_warning(r.warnings, warn_unpermuted(donor));
    for (size_t i = 0; i < n; ++i) r.label[i] = label[static_cast<size_t>(from[i])];
  }
  const std::set<int32_t> numbers(r.fold.begin(), r.fold.end());
  if (numbers.size() < 2)
    throw TooFew(fmt::format("all {} evaluated samples are in one fold", n), given ? fmt::format("column {}", panvae::quoted(options.fold_key)) : "donors",
                 "at least two folds are needed");

  std::vector<std::vector<int64_t>> class_folds(r.classes.size());
  for (int32_t f : numbers) {
    Task task;
    for (auto& counts : class_folds) counts.push_back(0);
    for (size_t i = 0; i < n; ++i) {
      (r.fold[i] == f ? task.test : task.train).push_back(static_cast<int64_t>(i));
      if (r.fold[i] == f) ++class_folds[static_cast<size_t>(r.label[i])].back();
    }
    r.folds.push_back({f, static_cast<int64_t>(task.train.size()), static_cast<int64_t>(task.test.size()), 0, 0, 0});
    job.tasks.push_back(std::move(task));
  }
  add_warnings(r, donor, class_folds, given);
  std::vector<std::string> cohort;
  for (int64_t row : r.row) cohort.push_back(name[static_cast<size_t>(row)]);
  add_warning(r.warnings, warn_aliased(e.obs, r.row, cohort));

  job.x.resize(r.n, e.features());
  for (size_t i = 0; i < n; ++i) job.x.row(static_cast<int64_t>(i)) = e.x.row(r.row[i]);
  return job;
}

CohortResult scored(Prepared job, const std::vector<Classified>& trained) {
  CohortResult r = std::move(job.result);
  const auto classes = static_cast<int32_t>(r.classes.size());
  r.predicted.assign(static_cast<size_t>(r.n), -1);
  r.confusion = Confusion::Zero(classes, classes);
  std::vector<double> accuracies, balanced, f1;
  for (size_t t = 0; t < job.tasks.size(); ++t) {
    const std::vector<int64_t>& test = job.tasks[t].test;
    std::vector<int32_t> truth;
    for (size_t i = 0; i < test.size(); ++i) {
      const auto at = static_cast<size_t>(test[i]);
      truth.push_back(r.label[at]);
      r.predicted[at] = trained[t].predicted[i];
    }
    const Confusion c = confusion(truth, trained[t].predicted, classes);
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
  return r;
}

}  // namespace

std::vector<CohortResult> evaluate_cohorts(std::span<const CohortJob> jobs) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<Prepared> prepared;
  for (const CohortJob& job : jobs) prepared.push_back(prepare(*job.embedding, job.options));
  const std::vector<std::vector<Classified>> trained = run_folds(prepared);
  std::vector<double> busy;
  for (const std::vector<Classified>& of_job : trained)
    busy.push_back(std::accumulate(of_job.begin(), of_job.end(), 0.0, [](double sum, const Classified& c) { return sum + c.seconds; }));
  const double all = std::accumulate(busy.begin(), busy.end(), 0.0);
  std::vector<CohortResult> results;
  for (size_t j = 0; j < prepared.size(); ++j) results.push_back(scored(std::move(prepared[j]), trained[j]));
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (size_t j = 0; j < results.size(); ++j) results[j].seconds = elapsed * busy[j] / all;
  return results;
}

CohortResult evaluate_cohort(const data::Dataset<double>& embedding, const CohortOptions& options) {
  const CohortJob job{&embedding, options};
  return std::move(evaluate_cohorts(std::span(&job, 1)).front());
}

}  // namespace panvae::eval
