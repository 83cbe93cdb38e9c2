#include "eval/survival.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/threads.h"
#include "data/read.h"
#include "eval/concordance.h"
#include "eval/cox.h"
#include "eval/folds.h"
#include "eval/pca.h"
#include "eval/survival_data.h"
#include "eval/too_few.h"
#include "eval/warnings.h"

namespace panvae::eval {

namespace {

using RowMatrix = data::RowMatrix<double>;
using Rows = std::vector<int64_t>;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kCandidates[] = {5, 10, 20, 50, 100};
constexpr int kInnerFolds = 5;
constexpr int kBrierSteps = 100;
constexpr double kHorizon = 0.9;  // quantile of event times: later ones rest on few patients

template <class T>
std::vector<T> pick(const std::vector<T>& from, const Rows& at) {
  std::vector<T> out;
  if (from.empty()) return out;
  out.reserve(at.size());
  for (int64_t i : at) out.push_back(from[static_cast<size_t>(i)]);
  return out;
}

RowMatrix pick(const RowMatrix& from, const Rows& at) {
  RowMatrix out(static_cast<Eigen::Index>(at.size()), from.cols());
  for (size_t i = 0; i < at.size(); ++i) out.row(static_cast<Eigen::Index>(i)) = from.row(at[i]);
  return out;
}

// The patients of the evaluation, in the order of their names, and what is the same for every fold.
struct Study {
  const data::Dataset<double>& embedding;
  const SurvivalOptions& options;
  Rows row;
  std::vector<double> time;
  std::vector<uint8_t> event;
  std::vector<std::string> donor;
  // The event, which folds spread evenly. Not event and cohort: the chance excess of deaths in a cohort would then be dealt to
  // training and test patients alike, and C of permuted outcomes was 0.514 where it must be 0.5.
  std::vector<int32_t> label;
  std::vector<int32_t> cohort, strata, baseline;  // codes, empty where there are none
  std::vector<Covariate> covariates;
  int64_t covariate_columns = 0;
};

// One split into training and test patients (positions in the study) with the columns of its models.
struct Split {
  Rows train, test;
  RowMatrix clinical;    // [n, c], training means in place of missing values
  RowMatrix components;  // [n, k], each divided by its standard deviation over the training patients
};

// Columns of a model for these patients: covariates, then the first k components.
RowMatrix design(const Split& s, const Rows& rows, int64_t k) {
  RowMatrix x(static_cast<Eigen::Index>(rows.size()), s.clinical.cols() + k);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto to = static_cast<Eigen::Index>(i);
    x.row(to).head(s.clinical.cols()) = s.clinical.row(rows[i]);
    x.row(to).tail(k) = s.components.row(rows[i]).head(k);
  }
  return x;
}

CoxFit fit_model(const Study& study, const Split& s, const Rows& rows, int64_t k) {
  CoxOptions o;
  o.penalty.assign(static_cast<size_t>(s.clinical.cols()), 0);
  o.penalty.resize(static_cast<size_t>(s.clinical.cols() + k), study.options.ridge);
  return fit_cox(pick(study.time, rows), pick(study.event, rows), design(s, rows, k), pick(study.baseline, rows), o);
}

int64_t deaths(const Study& study, const Rows& rows) {
  int64_t n = 0;
  for (int64_t i : rows) n += study.event[static_cast<size_t>(i)];
  return n;
}

Split make_split(const Study& study, Rows train, Rows test, int64_t components) {
  Split s;
  const auto n = static_cast<Eigen::Index>(study.row.size());
  s.clinical.resize(n, study.covariate_columns);
  Eigen::Index column = 0;
  for (const Covariate& c : study.covariates) {
    auto to = s.clinical.middleCols(column, c.x.cols());
    to = c.x;
    if (c.count_missing > 0 && !c.missing.empty()) {
      double sum = 0, known = 0;
      for (int64_t i : train)
        if (!c.missing[static_cast<size_t>(i)]) sum += c.x(i, 0), known += 1;
      for (Eigen::Index i = 0; i < n; ++i)
        if (c.missing[static_cast<size_t>(i)]) to(i, 0) = known > 0 ? sum / known : 0;
    }
    column += c.x.cols();
  }
  s.components.resize(n, 0);
  if (components > 0) {
    PcaOptions o;
    o.components = components;
    o.seed = study.options.seed;
    const PcaModel pca = fit_pca(study.embedding.x, pick(study.row, train), o);
    s.components = pick(transform(pca, study.embedding.x), study.row);
    // The mean is zero over the training patients, and so the standard deviation the root of the explained variance.
    s.components.array().rowwise() /= pca.explained_variance().array().sqrt().transpose();
  }
  s.train = std::move(train);
  s.test = std::move(test);
  return s;
}

double harrell(const Study& study, const std::vector<double>& risk, const Rows& rows, const std::vector<int32_t>& strata) {
  return concordance(risk, pick(study.time, rows), pick(study.event, rows), pick(strata, rows)).c();
}

// Of the candidates, the one whose models of the training patients tell best who dies first among those they have not seen.
// The components are those of the whole training fold: no outcome went into them.
int64_t choose_top_k(const Study& study, const Split& s) {
  const int64_t available = s.components.cols();
  std::vector<int64_t> candidates;
  for (int64_t k : kCandidates)
    if (k <= available) candidates.push_back(k);
  if (candidates.empty()) return available;
  const std::vector<std::string> donor = pick(study.donor, s.train);
  const auto donors = static_cast<int>(std::set<std::string>(donor.begin(), donor.end()).size());
  if (donors < 2) return candidates.front();
  const auto fold = stratified_group_folds(donor, pick(study.label, s.train), 2, std::min(kInnerFolds, donors), study.options.seed + 1);
  int64_t best = candidates.front();
  double best_c = -1;
  for (int64_t k : candidates) {
    std::vector<double> scores;
    for (int32_t f = 0; f < std::min(kInnerFolds, donors); ++f) {
      Rows train, test;
      for (size_t i = 0; i < s.train.size(); ++i) (fold[i] == f ? test : train).push_back(s.train[i]);
      if (test.empty() || deaths(study, train) == 0) continue;
      const CoxFit fit = fit_model(study, s, train, k);
      const double c = harrell(study, linear_predictor(fit, design(s, test, k)), test, study.strata);
      if (std::isfinite(c)) scores.push_back(c);
    }
    const double mean = scores.empty() ? -1 : spread(scores).mean;
    if (mean > best_c + 1e-12) best = k, best_c = mean;
  }
  return best;
}

// Integrated Brier scores of the model and of the training patients' Kaplan-Meier curve.
void score_brier(const Study& study, const Split& s, const CoxFit& fit, const std::vector<double>& risk, double horizon, SurvivalFold& f) {
  f.brier = f.brier_reference = kNaN;
  if (!(horizon > 0)) return;
  const auto train_time = pick(study.time, s.train), test_time = pick(study.time, s.test);
  const auto train_event = pick(study.event, s.train), test_event = pick(study.event, s.test);
  std::vector<double> at;
  for (int k = 1; k <= kBrierSteps; ++k) at.push_back(horizon * k / kBrierSteps);
  const auto n = static_cast<Eigen::Index>(s.test.size());
  RowMatrix model(n, kBrierSteps), reference(n, kBrierSteps);
  const BaselineHazard hazard = baseline_hazard(fit, train_time, train_event, design(s, s.train, f.top_k), pick(study.baseline, s.train));
  const KaplanMeier km = kaplan_meier(train_time, train_event);
  const auto code = pick(study.baseline, s.test);
  for (Eigen::Index i = 0; i < n; ++i) {
    const size_t stratum = code.empty() ? 0 : static_cast<size_t>(code[static_cast<size_t>(i)]);
    for (Eigen::Index k = 0; k < kBrierSteps; ++k) {
      const double t = at[static_cast<size_t>(k)];
      model(i, k) = stratum < hazard.strata.size() ? std::exp(-std::exp(hazard.strata[stratum].log_at(t) + risk[static_cast<size_t>(i)])) : 1;
      reference(i, k) = km.at(t);
    }
  }
  const CensoringDistribution g(train_time, train_event);
  f.brier = integrated_brier(at, brier_scores(at, test_time, test_event, model, g));
  f.brier_reference = integrated_brier(at, brier_scores(at, test_time, test_event, reference, g));
}

// Trains on one side of a split and scores the other. risk, group: of the test patients.
SurvivalFold run_fold(const Study& study, const Split& s, int32_t number, std::vector<double>& risk, std::vector<int32_t>& group) {
  const SurvivalOptions& o = study.options;
  SurvivalFold f;
  f.fold = number;
  f.train = static_cast<int64_t>(s.train.size());
  f.test = static_cast<int64_t>(s.test.size());
  f.train_events = deaths(study, s.train);
  f.test_events = deaths(study, s.test);
  f.top_k = o.top_k == kAutoTopK ? choose_top_k(study, s) : std::min<int64_t>(o.top_k, s.components.cols());
  const CoxFit fit = fit_model(study, s, s.train, f.top_k);
  f.loglik = fit.loglik;
  f.loglik_null = fit.loglik_null;
  f.converged = fit.converged;
  for (const Covariate& c : study.covariates)
    for (const std::string& name : c.names) f.terms.push_back({name, 0, 0, SurvivalTerm::Status::fitted});
  for (int64_t k = 0; k < f.top_k; ++k) f.terms.push_back({fmt::format("PC{}", k + 1), 0, 0, SurvivalTerm::Status::fitted});
  for (size_t j = 0; j < f.terms.size(); ++j) {
    f.terms[j].coefficient = fit.coefficient[static_cast<Eigen::Index>(j)];
    f.terms[j].standard_error = fit.standard_error[static_cast<Eigen::Index>(j)];
  }
  for (int64_t j : fit.constant) f.terms[static_cast<size_t>(j)].status = SurvivalTerm::Status::constant;
  for (int64_t j : fit.aliased) f.terms[static_cast<size_t>(j)].status = SurvivalTerm::Status::aliased;
  for (int64_t j : fit.diverging) f.terms[static_cast<size_t>(j)].status = SurvivalTerm::Status::diverging;

  const auto train_time = pick(study.time, s.train), test_time = pick(study.time, s.test);
  const auto train_event = pick(study.event, s.train), test_event = pick(study.event, s.test);
  std::vector<double> event_times;
  for (size_t i = 0; i < train_time.size(); ++i)
    if (train_event[i]) event_times.push_back(train_time[i]);
  const double horizon = quantile(event_times, kHorizon);
  f.tau = o.tau.kind == Tau::Kind::automatic ? horizon : o.tau.kind == Tau::Kind::days ? o.tau.days : std::numeric_limits<double>::infinity();

  risk = linear_predictor(fit, design(s, s.test, f.top_k));
  std::vector<double> train_risk = linear_predictor(fit, design(s, s.train, f.top_k));
  const double low = quantile(train_risk, 1.0 / 3), high = quantile(train_risk, 2.0 / 3);
  for (double r : risk) group.push_back(r <= low ? 0 : r <= high ? 1 : 2);

  const auto strata = pick(study.strata, s.test);
  const Concordance all = concordance(risk, test_time, test_event, strata);
  f.harrell = all.c();
  f.pairs = all.pairs;
  const CensoringDistribution g(o.censoring_from_test ? test_time : train_time, o.censoring_from_test ? test_event : train_event);
  ConcordanceOptions uno;
  uno.censoring = &g;
  uno.tau = f.tau;
  uno.tau_inclusive = o.tau_inclusive;
  uno.right = o.g_right;
  f.uno = concordance(risk, test_time, test_event, strata, uno).c();
  f.within_cohort = study.cohort.empty() ? kNaN : harrell(study, risk, s.test, study.cohort);
  score_brier(study, s, fit, risk, std::min(horizon, f.tau), f);
  return f;
}

// Runs task(i) for every fold, folds side by side. Within a fold everything runs on one thread, so that the number of threads
// shows in no result. The error of the first fold that has one is thrown.
void run_side_by_side(size_t tasks, const std::function<void(size_t)>& task) {
  std::vector<std::exception_ptr> errors(tasks);
  std::atomic<int64_t> done{0};
  Progress progress("survival", static_cast<int64_t>(tasks), "folds");
  int64_t told = 0;
  parallel_chunks(static_cast<int64_t>(tasks), 1, [&](int64_t i, int64_t, int64_t thread) {
    try {
      throw_if_interrupted();
      task(static_cast<size_t>(i));
    } catch (...) {
      errors[static_cast<size_t>(i)] = std::current_exception();
    }
    done.fetch_add(1);
    if (thread == 0) {
      const int64_t now = done.load();
      progress.advance(now - told);
      told = now;
    }
  });
  for (const std::exception_ptr& e : errors)
    if (e) std::rethrow_exception(e);
}

Spread spread_of(const std::vector<SurvivalFold>& folds, double SurvivalFold::*value) {
  std::vector<double> known;
  for (const SurvivalFold& f : folds)
    if (std::isfinite(f.*value)) known.push_back(f.*value);
  return spread(known);
}

// "0, 2 and 4", "all"
std::string list_folds(const std::vector<int32_t>& folds, size_t all) {
  if (folds.size() == all) return "every fold";
  std::string out = folds.size() > 1 ? "folds " : "fold ";
  for (size_t i = 0; i < folds.size(); ++i) out += fmt::format("{}{}", i == 0 ? "" : i + 1 == folds.size() ? " and " : ", ", folds[i]);
  return out;
}

void warn_terms(SurvivalResult& r) {
  using Status = SurvivalTerm::Status;
  std::map<Status, std::map<std::vector<int32_t>, std::vector<std::string>>> found;
  std::vector<std::string> names;  // in the order of the terms
  std::map<std::string, std::map<Status, std::vector<int32_t>>> folds_of;
  for (const SurvivalFold& f : r.folds)
    for (const SurvivalTerm& t : f.terms)
      if (t.status != Status::fitted) {
        if (!folds_of.count(t.name)) names.push_back(t.name);
        folds_of[t.name][t.status].push_back(f.fold);
      }
  for (const std::string& name : names)
    for (const auto& [status, folds] : folds_of[name]) found[status][folds].push_back(panvae::quoted(name));
  for (const auto& [status, groups] : found)
    for (const auto& [folds, terms] : groups) {
      std::string list;
      for (size_t i = 0; i < terms.size() && i < 8; ++i) list += (i ? ", " : "") + terms[i];
      if (terms.size() > 8) list += fmt::format(" and {} more", terms.size() - 8);
      const std::string where = list_folds(folds, r.folds.size());
      if (status == Status::constant) r.warnings.push_back(fmt::format("{}: one value among the training patients of {}, left out there", list, where));
      if (status == Status::aliased)
        r.warnings.push_back(fmt::format("{}: a combination of the terms before it among the training patients of {}, left out there", list, where));
      if (status == Status::diverging)
        r.warnings.push_back(
            fmt::format("{}: no finite coefficient in {} (monotone likelihood: none of those with it died, say); the order of risks stands, "
                        "but merge rare levels or leave it out before reading coefficients",
                        list, where));
    }
  std::vector<int32_t> open;
  for (const SurvivalFold& f : r.folds)
    if (!f.converged) open.push_back(f.fold);
  if (!open.empty())
    r.warnings.push_back(fmt::format("the Cox model of {} has not converged: use a larger --ridge or fewer covariates", list_folds(open, r.folds.size())));
}

void warn_folds(SurvivalResult& r) {
  const auto missing = [&](double SurvivalFold::*value, const std::string& what) {
    std::vector<int32_t> without;
    for (const SurvivalFold& f : r.folds)
      if (!std::isfinite(f.*value)) without.push_back(f.fold);
    if (!without.empty())
      r.warnings.push_back(
          fmt::format("{} of {} is not defined and counts in no mean: {}", what, list_folds(without, r.folds.size()),
                      value == &SurvivalFold::brier ? "too few training patients are followed to the end" : "there is no usable pair of patients"));
  };
  missing(&SurvivalFold::uno, "Uno's C");
  missing(&SurvivalFold::harrell, "Harrell's C");
  missing(&SurvivalFold::brier, "the Brier score");
  const SurvivalFold *lean = &r.folds.front(), *quiet = lean;
  const auto per_term = [](const SurvivalFold& f) { return static_cast<double>(f.train_events) / std::max<double>(1, static_cast<double>(f.terms.size())); };
  for (const SurvivalFold& f : r.folds) {
    if (per_term(f) < per_term(*lean)) lean = &f;
    if (f.test_events < quiet->test_events) quiet = &f;
  }
  if (per_term(*lean) < 10)
    r.warnings.push_back(fmt::format("fold {} has {} deaths for {} terms of the model, {:.1f} each: below 10 the coefficients are unreliable", lean->fold,
                                     lean->train_events, lean->terms.size(), per_term(*lean)));
  if (quiet->test_events < 10) r.warnings.push_back(fmt::format("fold {} is tested on {} deaths: its C is mostly chance", quiet->fold, quiet->test_events));
}

void check_options(const SurvivalOptions& o, int64_t dimensions) {
  if (o.folds < 2) fail_usage(fmt::format("{} folds", o.folds), "--folds", "at least 2 are needed");
  if (!(o.ridge >= 0) || !std::isfinite(o.ridge)) fail_usage(fmt::format("a ridge of {}", o.ridge), "--ridge", "0 (none) or more");
  if (o.top_k < 0 && o.top_k != kAutoTopK) fail_usage(fmt::format("{} components", o.top_k), "--top-k", "auto, 0 (covariates only) or more");
  if (o.top_k == 0 && o.covariates.empty()) fail_usage("a model without components and without covariates", "--top-k 0", "name covariates with --covariate");
  if (o.tau.kind == Tau::Kind::days && !(o.tau.days > 0 && std::isfinite(o.tau.days)))
    fail_usage(fmt::format("a tau of {} days", o.tau.days), "--tau", "days above 0");
  if (o.top_k != 0 && dimensions == 0) fail_input("the embedding has no dimensions");
  std::set<std::string> seen;
  for (const std::string& c : o.covariates)
    if (!seen.insert(c).second) fail_usage(fmt::format("{} is given twice", panvae::quoted(c)), "--covariate", "name each covariate once");
}

}  // namespace

Tau parse_tau(const std::string& text) {
  Tau tau;
  if (text == "auto") return tau;
  tau.kind = text == "none" ? Tau::Kind::none : Tau::Kind::days;
  if (tau.kind == Tau::Kind::days && !(data::parse_number(text, tau.days) && tau.days > 0 && std::isfinite(tau.days)))
    fail_usage(fmt::format("{} is no tau", panvae::quoted(text)), "--tau", "say auto, none or a number of days above 0");
  return tau;
}

int64_t parse_top_k(const std::string& text) {
  if (text == "auto") return kAutoTopK;
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    fail_usage(fmt::format("{} is no number of components", panvae::quoted(text)), "--top-k", "say auto, 0 (covariates only) or a number");
  return std::stoll(text);
}

SurvivalResult evaluate_survival(const data::Dataset<double>& e, const SurvivalOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  check_options(options, e.features());
  SurvivalResult r;
  r.options = options;
  r.auto_top_k = options.top_k == kAutoTopK;
  r.setting = options.top_k == 0 ? "clinical" : options.covariates.empty() ? "embedding" : "embedding+clinical";
  r.dimensions = e.features();
  Selection selection = select_evaluated(e.obs, options.on);
  r.on = selection.name();
  sort_by_name(selection.rows, e.obs);
  Outcomes outcomes = read_outcomes(e.obs, selection.rows);
  r.dropped = outcomes.unknown + outcomes.negative;
  r.warnings = warn_outcomes(outcomes);

  Study study{e, r.options, outcomes.row, std::move(outcomes.time), std::move(outcomes.event), {}, {}, {}, {}, {}, {}, 0};
  const size_t n = study.row.size();
  const int64_t events = std::accumulate(study.event.begin(), study.event.end(), int64_t{0});
  if (events < 2)
    throw TooFew(fmt::format("{} of {} patients died, and at least two deaths are needed", events, n),
                 fmt::format("{} samples evaluated ({}), {} without a time or an event", selection.rows.size(), r.on, r.dropped),
                 r.on == "holdout" ? "use --on all, or fill os_time and os_event" : "fill os_time and os_event (1 = died)");
  if (options.top_k != 0) check_finite(e, study.row);
  study.donor = pick(data::donors_of(e.obs), study.row);
  r.donors = static_cast<int64_t>(std::set<std::string>(study.donor.begin(), study.donor.end()).size());
  if (options.control == Control::permuted) {
    const Rows from = permute_donors(study.donor, options.seed);
    add_warning(r.warnings, warn_unpermuted(study.donor));
    study.time = pick(study.time, from);
    study.event = pick(study.event, from);
  }
  if (e.obs.find("cohort")) study.cohort = codes_of(e.obs, "cohort", study.row, Unknown::apart);
  if (!options.stratify.empty()) study.strata = codes_of(e.obs, options.stratify, study.row, Unknown::apart);
  if (!options.cox_strata.empty()) study.baseline = codes_of(e.obs, options.cox_strata, study.row, Unknown::together);
  study.label.assign(study.event.begin(), study.event.end());
  for (const std::string& name : options.covariates) {
    study.covariates.push_back(read_covariate(e.obs, name, study.row));
    study.covariate_columns += study.covariates.back().x.cols();
    r.covariate_missing.push_back(study.covariates.back().count_missing);
  }
  r.n = static_cast<int64_t>(n);
  r.events = events;
  r.row = study.row;
  r.time = study.time;
  r.event = study.event;

  r.fold = options.fold_key.empty() ? stratified_group_folds(study.donor, study.label, 2, options.folds, options.seed)
                                    : folds_of_column(e.obs, options.fold_key, study.row);
  const std::set<int32_t> numbers(r.fold.begin(), r.fold.end());
  if (numbers.size() < 2)
    throw TooFew(fmt::format("all {} evaluated samples are in one fold", n),
                 options.fold_key.empty() ? std::string("donors") : fmt::format("column {}", panvae::quoted(options.fold_key)),
                 "at least two folds are needed");
  std::vector<std::pair<Rows, Rows>> sides;
  const std::vector<int32_t> order(numbers.begin(), numbers.end());
  for (int32_t f : order) {
    Rows train, test;
    for (size_t i = 0; i < n; ++i) (r.fold[i] == f ? test : train).push_back(static_cast<int64_t>(i));
    if (deaths(study, train) == 0)
      throw TooFew(fmt::format("all {} deaths are in fold {}, and its model is trained on the other folds", events, f), fmt::format("{} samples", n),
                   "spread the deaths over the folds");
    sides.emplace_back(std::move(train), std::move(test));
  }

  const int64_t components = options.top_k == kAutoTopK ? *std::max_element(std::begin(kCandidates), std::end(kCandidates)) : options.top_k;
  r.folds.resize(order.size());
  std::vector<std::vector<double>> risk(order.size());
  std::vector<std::vector<int32_t>> group(order.size());
  std::atomic<int64_t> least{components};
  run_side_by_side(order.size(), [&](size_t f) {
    const Split split = make_split(study, sides[f].first, sides[f].second, components);
    for (int64_t now = least.load(), have = split.components.cols(); have < now && !least.compare_exchange_weak(now, have);) {
    }
    r.folds[f] = run_fold(study, split, order[f], risk[f], group[f]);
  });
  r.risk.resize(n);
  r.group.resize(n);
  for (size_t f = 0; f < order.size(); ++f)
    for (size_t i = 0; i < sides[f].second.size(); ++i) {
      const auto at = static_cast<size_t>(sides[f].second[i]);
      r.risk[at] = risk[f][i];
      r.group[at] = group[f][i];
    }

  std::map<int64_t, int64_t> chosen;
  for (const SurvivalFold& f : r.folds) ++chosen[f.top_k];
  r.top_k = std::max_element(chosen.begin(), chosen.end(), [](const auto& a, const auto& b) { return a.second < b.second; })->first;
  r.harrell = spread_of(r.folds, &SurvivalFold::harrell);
  r.uno = spread_of(r.folds, &SurvivalFold::uno);
  r.within_cohort = spread_of(r.folds, &SurvivalFold::within_cohort);
  r.brier = spread_of(r.folds, &SurvivalFold::brier);
  r.brier_reference = spread_of(r.folds, &SurvivalFold::brier_reference);
  r.log_rank = log_rank(r.time, r.event, r.group, 3);
  for (int32_t g = 0; g < 3; ++g) {
    Rows members;
    for (size_t i = 0; i < n; ++i)
      if (r.group[i] == g) members.push_back(static_cast<int64_t>(i));
    r.median.push_back(kaplan_meier(pick(r.time, members), pick(r.event, members)).median());
  }

  if (options.top_k > least.load())
    r.warnings.push_back(fmt::format("{} components were asked for, the training folds have {}: all of them are used", options.top_k, least.load()));
  add_warning(r.warnings, warn_shared_donors(study.donor, r.fold));
  if (r.donors < r.n)
    r.warnings.push_back(fmt::format("{} samples are of {} donors: samples of one donor have one outcome and count as so many patients", r.n, r.donors));
  warn_folds(r);
  warn_terms(r);
  if (!study.cohort.empty() && options.stratify != "cohort") {
    std::vector<std::string> cohort;
    for (int64_t row : study.row) cohort.push_back(e.obs.at("cohort").text(row));
    const std::string aliased = warn_aliased(e.obs, study.row, cohort);
    add_warning(r.warnings, aliased.empty() ? warn_nearly_aliased(e.obs, study.row) : aliased);
  }
  if (!options.cox_strata.empty() && options.stratify != options.cox_strata)
    r.warnings.push_back(fmt::format("risks of different levels of {} have no common scale with --cox-strata: compare within them (--stratify {})",
                                     panvae::quoted(options.cox_strata), options.cox_strata));
  int64_t without_baseline = 0;
  for (size_t f = 0; f < order.size() && !study.baseline.empty(); ++f) {
    std::set<int32_t> known;  // strata
    for (int64_t i : sides[f].first)
      if (study.event[static_cast<size_t>(i)]) known.insert(study.baseline[static_cast<size_t>(i)]);
    for (int64_t i : sides[f].second) without_baseline += !known.count(study.baseline[static_cast<size_t>(i)]);
  }
  if (without_baseline > 0)
    r.warnings.push_back(
        fmt::format("{} samples are of levels of {} in which nobody died among the training patients: they have no baseline hazard, and the Brier score has "
                    "them survive",
                    without_baseline, panvae::quoted(options.cox_strata)));
  std::set<std::string> compared;
  if (!study.cohort.empty()) compared.insert("cohort");
  if (!options.stratify.empty()) compared.insert(options.stratify);
  for (const std::string& name : compared) {
    const data::Column& column = e.obs.at(name);
    if (const auto without = std::count_if(study.row.begin(), study.row.end(), [&](int64_t row) { return column.missing(row); }); without > 0)
      r.warnings.push_back(fmt::format("{} samples have no {}: they are in no pair of equal {}", without, panvae::quoted(name), panvae::quoted(name)));
  }
  for (size_t c = 0; c < r.covariate_missing.size(); ++c)
    if (2 * r.covariate_missing[c] > r.n)
      r.warnings.push_back(fmt::format("{} of {} samples have no {}", r.covariate_missing[c], r.n, panvae::quoted(options.covariates[c])));
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return r;
}

}  // namespace panvae::eval
