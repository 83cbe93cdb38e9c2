// The summary in words and numbers, the four benchmarks of the paper's Figure 2, and what each should beat.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "base/error.h"
#include "eval/classifier.h"
#include "eval/report/bars.h"

namespace panvae::eval {

namespace {

// "0.851 ± 0.012 with RNA VAE, 512"
std::string phrase(const Results& r, Benchmark b, const std::string& model) {
  const Value v = value_of(r, b, model);
  return fmt::format("{} with {}", with_error(v.mean, v.se, info_of(b, r).digits), r.find_model(model)->label);
}

// The best of those that `in` takes, empty if none has a score.
template <class F>
std::string best_of(const Results& r, Benchmark b, F&& in) {
  std::string best;
  for (const ResultsModel& m : r.models) {
    const double v = value_of(r, b, m.id).mean;
    if (!in(m) || !std::isfinite(v)) continue;
    if (best.empty() || (info_of(b, r).higher_is_better ? v > value_of(r, b, best).mean : v < value_of(r, b, best).mean)) best = m.id;
  }
  return best;
}

// What the score of this model would be without any knowledge, NaN where there is no such value.
double chance_of(const Results& r, Benchmark b, std::string_view model) {
  if (b == Benchmark::survival) return 0.5;
  const ResultsScore* s = find_score(r, b, model);
  return !s || b == Benchmark::expression ? kUnknown : number(*s, b == Benchmark::cohort ? "majority_share" : "chance_distance");
}

// One sentence: the best model of a group against the best of its PCA baselines, on the same folds.
std::string sentence(const Results& r, Benchmark b, const std::string& group) {
  const BenchmarkInfo info = info_of(b, r);
  const std::string model = best_of(r, b, [&](const ResultsModel& m) { return is_embedding(m) && !is_baseline(m) && group_of(m) == group; });
  const std::string baseline = best_of(r, b, [&](const ResultsModel& m) { return is_baseline(m) && group_of(m) == group; });
  if (model.empty() && baseline.empty()) return {};
  std::string out = info.name;
  if (const std::string words = group_words(r, group); !words.empty()) out += ", " + words;
  out += fmt::format(" ({}, {} is better): ", info.axis, info.higher_is_better ? "higher" : "lower");
  if (model.empty() || baseline.empty()) return out + phrase(r, b, model.empty() ? baseline : model) + ".";
  out += fmt::format("{}, against {}", phrase(r, b, model), phrase(r, b, baseline));
  const Value x = value_of(r, b, model), y = value_of(r, b, baseline);
  if (x.mean == y.mean) return out + ": no difference.";
  if (b == Benchmark::alignment) {
    const double components = number(*find_score(r, b, model), "embedding_rank"), baseline_components = number(*find_score(r, b, baseline), "embedding_rank");
    if (std::isfinite(components) && std::isfinite(baseline_components) && components != baseline_components)
      out += fmt::format("; they have {:.0f} and {:.0f} components, so that the two cannot be compared as they stand", components, baseline_components);
  }
  if (x.folds.size() != y.folds.size() || x.folds.size() < 2) return out + ".";
  std::vector<double> difference;
  for (size_t i = 0; i < x.folds.size(); ++i) difference.push_back(x.folds[i] - y.folds[i]);
  const Spread s = spread(difference);
  out += fmt::format("; fold by fold the difference is {}", with_error(s.mean, s.se, info.digits));
  return out + (std::abs(s.mean) < 2 * s.se ? ", which is less than two standard errors: no finding." : ".");
}

double nice_top(double x) {
  const double scale = std::pow(10, std::floor(std::log10(x)));
  for (double f : {1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0})
    if (f * scale >= x) return f * scale;
  return x;
}

std::vector<std::string> groups(const Results& r) {
  std::vector<std::string> out;
  for (const ResultsModel& m : r.models)
    if (is_embedding(m) && std::find(out.begin(), out.end(), group_of(m)) == out.end()) out.push_back(group_of(m));
  return out;
}

// A model that was judged, with or without a score that is defined.
bool has_bar(const Results& r, Benchmark b, const ResultsModel& m) {
  return find_score(r, b, m.id, {}, is_embedding(m) ? "embedding" : "clinical") != nullptr;
}

void add_bars(Page& page, const Results& r, Benchmark b) {
  const BenchmarkInfo info = info_of(b, r);
  const std::vector<std::string> best = best_models(r, b);
  const std::string number_of = std::to_string(static_cast<int>(b));
  Bars bars{.table = "scores-" + number_of,
            .figure = "figure-" + number_of,
            .name = info.name,
            .axis = info.axis,
            .higher_is_better = info.higher_is_better,
            .digits = info.digits};
  double top = 0, low = 1;
  for (const ResultsModel& m : r.models) {
    const Value v = value_of(r, b, m.id);
    if (!has_bar(r, b, m)) continue;
    const bool is_best = std::find(best.begin(), best.end(), m.id) != best.end();
    const Bar& bar = bars.bars.emplace_back(Bar{m.label, v.mean, v.se, chance_of(r, b, m.id), control_of(r, b, m.id),
                                                is_best           ? "best"
                                                : is_baseline(m)  ? "baseline"
                                                : is_embedding(m) ? "model"
                                                                  : "clinical",
                                                with_error(v.mean, v.se, info.digits)});
    for (double x : {v.mean + (std::isfinite(v.se) ? v.se : 0), bar.control, bar.chance})
      if (std::isfinite(x)) top = std::max(top, x), low = std::min(low, x);
  }
  if (bars.bars.empty()) return;
  if (b == Benchmark::survival) bars.from = low < 0.5 ? std::floor(low * 20) / 20 : 0.5, bars.to = std::min(1.0, std::ceil(top * 20) / 20);
  else if (b != Benchmark::cohort) bars.to = nice_top(std::max(top, 1e-9) * 1.02);
  bars.square_root = b == Benchmark::expression && top > 30;
  std::string dashed;
  if (bars.any(&Bar::chance)) dashed = b == Benchmark::cohort ? "Dashed: always guessing the largest cohort. " : "Dashed: chance. ";
  if (bars.any(&Bar::control)) dashed += b == Benchmark::expression ? "Red diamonds: the cohort mean as a reconstruction. " : "Red diamonds: labels permuted. ";
  switch (b) {
    case Benchmark::cohort:
      bars.caption = dashed + "XGBoost, folds keep donors whole.";
      break;
    case Benchmark::alignment:
      bars.caption = dashed + "More components come nearer to any labels, as their lower chance says: compare embeddings of one size.";
      break;
    case Benchmark::survival:
      bars.caption = dashed + "Cox regression on the embedding's top components alone; the axis starts at " + fmt::format("{:.2f}.", bars.from);
      break;
    case Benchmark::expression:
      bars.caption = dashed + "Reconstructed against observed, one cohort. Few is good only where the reconstruction also follows each patient: see Spearman.";
      break;
  }
  bars.add_to(page);
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) out += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return out;
}

// A row per model; rows and columns without a single value are left out.
void headline(Page& page, const Results& r) {
  const std::string features = feature_words(r);
  struct Column {
    std::string name;
    int digits;
    int better;  // 1 higher, -1 lower
    std::function<Value(const ResultsModel&)> value;
  };
  const auto score = [&](Benchmark b, const char* mean, const char* se = "") {
    return [&r, b, mean, se](const ResultsModel& m) {
      const ResultsScore* s = find_score(r, b, m.id, {}, is_embedding(m) ? "embedding" : "clinical");
      return s ? Value{number(*s, mean), number(*s, se), {}} : Value();
    };
  };
  const auto concordance = [&](const char* name) {
    return [&r, name](const ResultsModel& m) {
      const ResultsScore* s = find_score(r, Benchmark::survival, m.id, {}, is_embedding(m) ? "embedding" : "clinical");
      return s ? c_statistic(*s, name) : Value();
    };
  };
  const std::vector<Column> columns = {
      {"accuracy", 3, 1, score(Benchmark::cohort, "accuracy_mean", "accuracy_se")},
      {"balanced accuracy", 3, 1, score(Benchmark::cohort, "balanced_accuracy_mean", "balanced_accuracy_se")},
      {"Grassmann distance", 3, -1, score(Benchmark::alignment, "distance")},
      {"C (Uno)", 3, 1, concordance("uno")},
      {"C (Harrell)", 3, 1, concordance("harrell")},
      {"C within cohort", 3, 1, [&](const ResultsModel& m) { return within_cohort(r, m.id, is_embedding(m) ? "embedding" : "clinical"); }},
      {"differential " + features, 0, -1, score(Benchmark::expression, "n_de")},
      {"Spearman, samples", 3, 1, score(Benchmark::expression, "spearman_per_sample_mean")},
      {"Spearman, " + features, 3, 1, score(Benchmark::expression, "spearman_per_feature_mean")},
  };
  PageTable t;
  t.id = "headline";
  t.columns = {{"model"}};
  std::vector<size_t> muted;
  // Models that are judged by pairs alone have no row here.
  std::vector<const ResultsModel*> models;
  for (const ResultsModel& m : r.models)
    if (std::any_of(columns.begin(), columns.end(), [&](const Column& c) { return std::isfinite(c.value(m).mean); })) models.push_back(&m);
  for (size_t i = 0; i < models.size(); ++i) {
    t.columns[0].values.push_back(models[i]->label);
    if (is_baseline(*models[i]) || !is_embedding(*models[i])) muted.push_back(i);
  }
  std::vector<std::pair<size_t, size_t>> strong;
  for (const Column& c : columns) {
    PageColumn out{c.name, Json::array(), -1};
    bool some = false;
    std::map<std::string, std::pair<double, std::vector<size_t>>> best;
    for (size_t i = 0; i < models.size(); ++i) {
      const ResultsModel& m = *models[i];
      const Value v = c.value(m);
      const std::string text = with_error(v.mean, v.se, c.digits);
      out.values.push_back(text == "–" ? Json() : Json(text));
      some |= std::isfinite(v.mean);
      if (!std::isfinite(v.mean) || !is_embedding(m)) continue;
      auto& [value, rows] = best.emplace(group_of(m), std::pair(v.mean, std::vector<size_t>())).first->second;
      if (c.better > 0 ? v.mean > value : v.mean < value) value = v.mean, rows.clear();
      if (v.mean == value) rows.push_back(i);
    }
    if (!some) continue;
    for (const auto& [group, of] : best)
      for (size_t i : of.second) strong.emplace_back(i, t.columns.size());
    t.columns.push_back(std::move(out));
  }
  if (t.rows() == 0 || t.columns.size() < 2) return;
  page.table(t, strong, muted);
  page.note(
      "Mean ± standard error over the folds. The best embedding of each data set stands out; it is picked by the numbers shown, so its lead is somewhat "
      "flattered. Baselines and clinical variables are grey.");
}

// A subspace of more dimensions is nearer to any labels, so the number of components belongs to a distance.
void add_alignments(Page& page, const Results& r) {
  PageTable t;
  t.id = "alignment-table";
  t.columns = {{"model"}, {"embedding"}, {"components"}, {"angles"}, {"distance", {}, 3}, {"by chance", {}, 3}, {"share of chance", {}, 3}, {"z", {}, 1}};
  std::vector<size_t> muted;
  for (const ResultsModel& m : r.models) {
    for (const ResultsScore& s : r.alignment) {
      if (s.model != m.id || !s.control.empty()) continue;
      const double distance = number(s, "distance"), chance = number(s, "chance_distance");
      // An embedding of fewer components than another setting takes is judged on all of them both times.
      const ResultsScore* whole = find_score(r, Benchmark::alignment, m.id);
      if (!s.setting.empty() && whole && number(*whole, "embedding_rank") == number(s, "embedding_rank")) continue;
      if (is_baseline(m)) muted.push_back(t.rows());
      t.row({m.label, s.setting.empty() ? "as in the figure" : s.setting + " components", significant(number(s, "embedding_rank"), 6),
             significant(number(s, "n_angles"), 6), significant(distance, 9), significant(chance, 9), significant(distance / chance, 9),
             significant(number(s, "z"), 4)});
    }
  }
  if (t.rows() == 0) return;
  page.subtitle("Alignment, with the components it is judged on");
  page.table(t, {}, muted);
  page.note("z: distance less that of permuted labels, in their standard deviations. Compare rows of equal numbers of components.");
}

}  // namespace

void add_summary(Page& page, const ReportContent& content) {
  const Results& r = content.results;
  page.section("summary", "Summary");
  std::vector<std::string> sentences;
  for (Benchmark b : kBenchmarks)
    for (const std::string& group : groups(r))
      if (std::string s = sentence(r, b, group); !s.empty()) sentences.push_back(std::move(s));
  if (std::string s = pairs_sentence(r); !s.empty()) sentences.push_back(std::move(s));
  if (!sentences.empty()) page.list(sentences);

  headline(page, r);
  if (!r.warnings.empty()) {
    page.subtitle("Warnings");
    page.warnings(r.warnings);
  }
  if (!content.missing.empty()) page.note("Not in these results, so not on this page: " + joined(content.missing) + ".");
}

void add_benchmarks(Page& page, ReportContent& content) {
  const Results& r = content.results;
  const auto scored = [&](Benchmark b) { return std::any_of(r.models.begin(), r.models.end(), [&](const ResultsModel& m) { return has_bar(r, b, m); }); };
  if (std::none_of(std::begin(kBenchmarks), std::end(kBenchmarks), scored)) {
    content.missing.push_back("benchmarks");
    return;
  }
  page.section("benchmarks", "Four benchmarks");
  page.note(
      "PCA baselines in grey, the best model of each data set in green; whiskers are standard errors over the folds, which are somewhat too small since folds "
      "share training samples. The layout is "
      "that of Figure 2 of Nagaraj et al.");
  page.begin_figures(440);
  for (Benchmark b : kBenchmarks) add_bars(page, r, b);
  page.end_figures();
  add_alignments(page, r);
}

void add_controls(Page& page, ReportContent& content) {
  const Results& r = content.results;
  PageTable t;
  t.id = "controls-table";
  t.columns = {{"benchmark"}, {"model"}, {"control"}, {"score of the model", {}, 3}, {"score of the control", {}, 3}, {"by chance", {}, 3}};
  for (Benchmark b : {Benchmark::cohort, Benchmark::alignment, Benchmark::survival}) {
    for (const ResultsScore& s : scores_of(r, b)) {
      if (s.control.empty()) continue;
      const ResultsScore* own = find_score(r, b, s.model, {}, s.setting, s.within_cohort);
      std::string name = info_of(b, r).name;
      if (b == Benchmark::survival) name += fmt::format(", {}{}", s.setting, s.within_cohort ? ", within cohort" : "");
      double chance = b == Benchmark::survival ? 0.5 : kUnknown;
      if (own && b == Benchmark::cohort) chance = number(*own, "majority_share");
      if (own && b == Benchmark::alignment) chance = number(*own, "chance_distance");
      t.row({name, r.find_model(s.model)->label, s.control, own ? significant(value_of(r, b, *own).mean, 6) : Json(), significant(value_of(r, b, s).mean, 6),
             significant(chance, 6)});
    }
  }
  // A reconstruction beside the mean of the cohort, which the evaluator gives with it or as a score of its own.
  PageTable mean;
  const std::string features = feature_words(r);
  mean.id = "cohort-mean-table";
  mean.columns = {{"model"}, {"reconstruction"}, {"differential " + features}, {"Spearman, samples", {}, 3}, {"Spearman, " + features, {}, 3}, {"R²", {}, 3}};
  std::vector<size_t> muted;
  for (const ResultsScore& s : r.expression) {
    if (!s.control.empty()) continue;
    const std::string& label = r.find_model(s.model)->label;
    const auto row = [&](const ResultsScore& from, const char* what, const std::string& prefix) {
      const auto value = [&](const char* key) { return significant(number(from, (prefix + key).c_str()), 6); };
      mean.row({label, what, value("n_de"), value("spearman_per_sample_mean"), value("spearman_per_feature_mean"), value("r2")});
    };
    row(s, "the model's", "");
    const ResultsScore* control = find_score(r, Benchmark::expression, s.model, "cohort mean");
    if (!control && std::isnan(number(s, "cohort_mean_n_de"))) continue;
    muted.push_back(mean.rows());
    row(control ? *control : s, "mean of the cohort", control ? "" : "cohort_mean_");
  }
  if (t.rows() == 0 && muted.empty()) {
    content.missing.push_back("controls");
    return;
  }
  page.section("controls", "Controls");
  if (t.rows() > 0) {
    page.paragraph(
        "Each benchmark once more where it should find nothing. With labels or outcomes permuted among the patients accuracy falls to at most the share of the "
        "largest cohort, the "
        "C-statistic to 0.5, and the distance rises to its chance level.");
    page.table(t);
  }
  if (!muted.empty()) {
    page.paragraph(
        "The mean of the cohort, given as the reconstruction of each of its patients, has few differential features or none, although it knows nothing of a "
        "patient. That count means something "
        "only where the features' correlations are above those of the mean.");
    page.table(mean, {}, muted);
  }
}

}  // namespace panvae::eval
