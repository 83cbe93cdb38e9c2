// What `evaluate survival` prints and writes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "eval/survival.h"

namespace panvae::eval {

namespace {

const char* name_of(SurvivalTerm::Status status) {
  switch (status) {
    case SurvivalTerm::Status::constant:
      return "constant";
    case SurvivalTerm::Status::aliased:
      return "aliased";
    case SurvivalTerm::Status::diverging:
      return "diverging";
    case SurvivalTerm::Status::fitted:
      break;
  }
  return "fitted";
}

// NaN and infinity have no JSON number: null.
Json number(double x) {
  return std::isfinite(x) ? Json(x) : Json(nullptr);
}

std::string fixed(double x) {
  return std::isfinite(x) ? fmt::format("{:.4f}", x) : "-";
}

// "p = 0.0123". A p-value is not zero, however small: below the range of doubles it is said to be small.
std::string p_text(double p) {
  if (!std::isfinite(p)) return "p = -";
  return p < 1e-300 ? std::string("p < 1e-300") : p < 1e-4 ? fmt::format("p = {:.1e}", p) : fmt::format("p = {:.4f}", p);
}

}  // namespace

Json to_json(const SurvivalResult& r) {
  Json j;
  const auto spread = [&](const char* name, const Spread& s) {
    j[fmt::format("{}_mean", name)] = number(s.mean);
    j[fmt::format("{}_sd", name)] = number(s.sd);
    j[fmt::format("{}_se", name)] = number(s.se);
  };
  spread("uno", r.uno);
  spread("harrell", r.harrell);
  spread("within_cohort", r.within_cohort);
  spread("brier", r.brier);
  spread("brier_reference", r.brier_reference);
  j["top_k"] = r.top_k;
  j["n"] = r.n;
  j["events"] = r.events;
  j["dropped"] = r.dropped;
  j["donors"] = r.donors;
  j["dimensions"] = r.dimensions;
  j["setting"] = r.setting;
  j["control"] = r.options.control == Control::permuted ? Json("permuted") : Json(nullptr);
  j["on"] = r.on;
  j["folds"] = Json::array();
  for (const SurvivalFold& f : r.folds) {
    Json fold;
    fold["fold"] = f.fold;
    fold["harrell"] = number(f.harrell);
    fold["uno"] = number(f.uno);
    fold["within_cohort"] = number(f.within_cohort);
    fold["brier"] = number(f.brier);
    fold["brier_reference"] = number(f.brier_reference);
    fold["coefficients"] = Json::object();
    fold["standard_errors"] = Json::object();
    fold["left_out"] = Json::object();
    for (const SurvivalTerm& t : f.terms) {
      fold["coefficients"][t.name] = number(t.coefficient);
      fold["standard_errors"][t.name] = number(t.standard_error);
      if (t.status != SurvivalTerm::Status::fitted) fold["left_out"][t.name] = name_of(t.status);
    }
    fold["loglik"] = f.loglik;
    fold["loglik_null"] = f.loglik_null;
    fold["tau"] = number(f.tau);
    fold["top_k"] = f.top_k;
    fold["converged"] = f.converged;
    fold["train"] = f.train;
    fold["test"] = f.test;
    fold["train_events"] = f.train_events;
    fold["test_events"] = f.test_events;
    fold["pairs"] = f.pairs;
    j["folds"].push_back(std::move(fold));
  }
  j["risk_groups"] = Json::array();
  for (size_t g = 0; g < r.median.size(); ++g)
    j["risk_groups"].push_back({{"group", kRiskGroups[g]},
                                {"n", r.log_rank.n[g]},
                                {"events", r.log_rank.observed[g]},
                                {"expected", number(r.log_rank.expected[g])},
                                {"median_days", number(r.median[g])}});
  j["log_rank"] = {{"chi_square", number(r.log_rank.chi_square)}, {"degrees", r.log_rank.degrees}, {"p", number(r.log_rank.p_value)}};
  const SurvivalOptions& o = r.options;
  Json settings;
  settings["top_k"] = r.auto_top_k ? Json("auto") : Json(o.top_k);
  settings["covariates"] = o.covariates;
  settings["covariate_missing"] = r.covariate_missing;
  settings["ridge"] = o.ridge;
  settings["folds"] = r.folds.size();
  settings["fold_key"] = o.fold_key.empty() ? Json(nullptr) : Json(o.fold_key);
  settings["seed"] = o.seed;
  settings["tau"] = o.tau.kind == Tau::Kind::automatic ? Json("auto") : o.tau.kind == Tau::Kind::none ? Json("none") : Json(o.tau.days);
  settings["tau_inclusive"] = o.tau_inclusive;
  settings["uno_censoring"] = o.censoring_from_test ? "test" : "train";
  settings["g"] = o.g_right ? "right" : "left";
  settings["stratify"] = o.stratify.empty() ? Json(nullptr) : Json(o.stratify);
  settings["cox_strata"] = o.cox_strata.empty() ? Json(nullptr) : Json(o.cox_strata);
  j["settings"] = std::move(settings);
  j["warnings"] = r.warnings;
  return j;
}

std::string to_text(const SurvivalResult& r) {
  std::string out = fmt::format("{} patients of {} donors ({}), {} died, {} left out without a time or an event\n", r.n, r.donors, r.on, r.events, r.dropped);
  std::string terms;
  for (const std::string& c : r.options.covariates) terms += (terms.empty() ? "" : ", ") + c;
  if (r.options.top_k != 0) {
    std::string k = std::to_string(r.top_k);
    if (r.auto_top_k) {
      k.clear();
      for (const SurvivalFold& f : r.folds) k += fmt::format("{}{}", k.empty() ? "" : " ", f.top_k);
      k = fmt::format("{} (by fold: {})", r.top_k, k);
    }
    terms += fmt::format("{}top {} components of {} dimensions, ridge {}", terms.empty() ? "" : ", ", k, r.dimensions, shortest(r.options.ridge));
  }
  out += fmt::format("Cox model ({}): {}\n", r.setting, terms);
  if (!r.options.stratify.empty()) out += fmt::format("C compares patients of equal {} only\n", r.options.stratify);
  if (r.options.control == Control::permuted) out += "CONTROL: outcomes are permuted among donors, so C should be 0.5\n";
  TextTable scores({"score", "mean", "sd", "se", "folds"});
  const auto add = [&](const char* name, const Spread& s, double SurvivalFold::*value) {
    std::string folds;
    for (const SurvivalFold& f : r.folds) folds += fmt::format("{}{}", folds.empty() ? "" : " ", fixed(f.*value));
    scores.row({name, fixed(s.mean), fixed(s.sd), fixed(s.se), folds});
  };
  add("Uno's C", r.uno, &SurvivalFold::uno);
  add("Harrell's C", r.harrell, &SurvivalFold::harrell);
  if (std::isfinite(r.within_cohort.mean)) add("Harrell's C within cohorts", r.within_cohort, &SurvivalFold::within_cohort);
  add("Brier score", r.brier, &SurvivalFold::brier);
  add("Brier score, one curve for all", r.brier_reference, &SurvivalFold::brier_reference);
  out += "\n" + scores.str();

  // Covariates have one meaning in every fold; a component of one fold is not that of another.
  TextTable effects({"covariate", "hazard ratio", "coefficient", "se", "folds fitted"});
  std::vector<std::string> names;
  std::map<std::string, std::vector<const SurvivalTerm*>> by_name;
  for (const SurvivalFold& f : r.folds)
    for (size_t j = 0; j + static_cast<size_t>(f.top_k) < f.terms.size(); ++j) {
      if (!by_name.count(f.terms[j].name)) names.push_back(f.terms[j].name);
      by_name[f.terms[j].name].push_back(&f.terms[j]);
    }
  for (const std::string& name : names) {
    double b = 0, se = 0;
    int fitted = 0, diverging = 0;
    for (const SurvivalTerm* t : by_name[name]) {
      if (t->status == SurvivalTerm::Status::fitted) b += t->coefficient, se += t->standard_error, ++fitted;
      diverging += t->status == SurvivalTerm::Status::diverging;
    }
    const auto cell = [&](int digits, double x) { return fitted ? fmt::format("{:.{}f}", x, digits) : std::string("-"); };
    const int among = std::max(1, fitted);
    effects.row({name, cell(3, std::exp(b / among)), cell(4, b / among), cell(4, se / among),
                 diverging ? fmt::format("{}, {} without end", fitted, diverging) : std::to_string(fitted)});
  }
  if (!names.empty()) out += "\n" + effects.str();

  TextTable groups({"predicted risk", "patients", "died", "expected", "median days"});
  for (size_t g = 0; g < r.median.size(); ++g)
    groups.row({kRiskGroups[g], std::to_string(r.log_rank.n[g]), std::to_string(r.log_rank.observed[g]), fmt::format("{:.1f}", r.log_rank.expected[g]),
                std::isfinite(r.median[g]) ? fmt::format("{:.0f}", r.median[g]) : "-"});
  out += "\n" + groups.str() +
         fmt::format("log-rank test: chi-square {}, {} degrees of freedom, {}\n", fixed(r.log_rank.chi_square), r.log_rank.degrees, p_text(r.log_rank.p_value));
  return out;
}

data::Table risk_table(const SurvivalResult& r, const data::Table& obs) {
  data::Table t;
  t.key_name = "sample";
  std::vector<double> event, fold;
  std::vector<std::string> group, cohort;
  const data::Column* of = obs.find("cohort");
  for (size_t i = 0; i < r.row.size(); ++i) {
    t.keys.push_back(obs.keys[static_cast<size_t>(r.row[i])]);
    event.push_back(r.event[i]);
    fold.push_back(r.fold[i]);
    group.push_back(kRiskGroups[r.group[i]]);
    if (of) cohort.push_back(of->text(r.row[i]));
  }
  t.set(data::numeric_column("os_time", r.time));
  t.set(data::numeric_column("os_event", event));
  t.set(data::numeric_column("risk", r.risk));
  t.set(data::numeric_column("fold", fold));
  t.set(data::factor_from_text("group", group));
  if (of) t.set(data::factor_from_text("cohort", cohort));
  return t;
}

}  // namespace panvae::eval
