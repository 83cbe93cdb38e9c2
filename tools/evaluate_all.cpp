// panvae evaluate all: every benchmark on every run and on its PCA baselines, into a results folder for `panvae report`.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "base/blas.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/read.h"
#include "eval/alignment.h"
#include "eval/cohort.h"
#include "eval/expression.h"
#include "eval/pairs.h"
#include "eval/pca.h"
#include "eval/survival.h"
#include "eval/too_few.h"
#include "kernels/device.h"
#include "tools/commands.h"
#include "tools/device_options.h"
#include "tools/judged_models.h"
#include "tools/judging_options.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  std::vector<std::string> runs, files, covariates;
  JudgingOptions judging;
  std::string out, survival_on, pca = "512,latent,best", top_k = "auto", tau = "auto", expression_cohort, test = "paired", controls = "one", baseline = "none",
                                counts;
  int folds = 5;
  int64_t angles = 100;
  double ridge = 1, lfc = 1, fdr = 0.05;
};

// One results folder in the making.
class Judge {
 public:
  Judge(const Options& o, uint64_t seed)
      : o_(o), seed_(seed), on_(eval::parse_on(o.judging.on)), survival_on_(o.survival_on.empty() ? on_ : eval::parse_on(o.survival_on)) {
    o_.judging.map();  // a table that cannot be read is known before the work
  }

  eval::Results results;

  void judge(const JudgedData& d) {
    const data::Table& obs = d.matrix.obs;
    results.data.push_back(d.info);
    for (const std::string& w : d.warnings) warn(d.info.label, w);
    bool controlled = false;  // whether one model of the data has a control
    std::vector<const JudgedModel*> controlled_models;
    for (const JudgedModel& m : d.models) {
      const bool control = o_.controls == "all" || (o_.controls == "one" && !controlled && !m.info.run.empty());
      controlled |= control;
      results.models.push_back(m.info);
      add_points(m);
      if (m.curves.rows() > 0) results.tables.push_back({"curves", m.info.id, "", m.curves});
      if (control && obs.find("cohort")) controlled_models.push_back(&m);
      if (has_outcomes(obs))
        where_enough(d, "survival is", [&] {
          judge_survival(m, d, "embedding", control);
          if (!covariates(obs).empty()) judge_survival(m, d, "embedding+clinical", control);
        });
      judge_expression(m, d);
    }
    if (obs.find("cohort")) {
      where_enough(d, "cohort accuracy is", [&] { judge_cohorts(d, controlled_models); });
      where_enough(d, "alignment is", [&] { judge_alignments(d, controlled_models); });
    }
    if (!obs.find("cohort")) warn(d.info.label, "no column cohort: cohort accuracy and alignment are not judged");
    if (!has_outcomes(obs)) warn(d.info.label, "no columns os_time and os_event: survival is not judged");
    else if (!d.models.empty() && !covariates(obs).empty()) where_enough(d, "survival is", [&] { judge_clinical(d); });
  }

  // Both modalities of donors in one space.
  void judge(const JudgedPair& p, bool control) {
    results.models.push_back(p.info);
    add_plane(p);
    if (p.curves.rows() > 0) results.tables.push_back({"curves", p.info.id, "", p.curves});
    judge_pairs(p, eval::Control::none);
    if (control) judge_pairs(p, eval::Control::permuted);
  }
  // Which of the pairs have a control: one that was trained together, where there is one.
  void judge(const std::vector<JudgedPair>& pairs) {
    const JudgedPair* controlled = nullptr;
    for (const JudgedPair& p : pairs)
      if (!controlled || (controlled->info.kind != "coembedding" && p.info.kind == "coembedding")) controlled = &p;
    for (const JudgedPair& p : pairs) judge(p, o_.controls == "all" || (o_.controls == "one" && &p == controlled));
  }

 private:
  // Said once, though several models of the data may have it: most warnings are about the samples.
  void warn(const std::string& where, const std::string& text) {
    if (!said_.insert(text).second) return;
    const std::string line = where + ": " + text;
    log::warning("{}", line);
    results.warnings.push_back(line);
  }
  void warn_all(const std::string& where, const std::vector<std::string>& texts) {
    for (const std::string& t : texts) warn(where, t);
  }
  // Samples too few for one judgement may be enough for the others.
  template <class F>
  void where_enough(const JudgedData& d, const char* what, F&& judge) {
    try {
      judge();
    } catch (const eval::TooFew& e) {
      warn(d.info.label, fmt::format("{} not judged: {}", what, e.what()));
    }
  }
  static void say(const JudgedModel& m, const std::string& what) { log::info("{}: {}", m.info.label, what); }

  static bool has_outcomes(const data::Table& obs) { return obs.find("os_time") && obs.find("os_event"); }
  // --covariate, else those of age, sex and cohort that the samples have.
  std::vector<std::string> covariates(const data::Table& obs) const {
    if (!o_.covariates.empty()) return o_.covariates;
    std::vector<std::string> names;
    for (const char* name : {"age", "sex", "cohort"})
      if (const data::Column* c = obs.find(name); c && c->count_missing() < c->size()) names.push_back(name);
    return names;
  }

  void add_score(std::vector<eval::ResultsScore>& to, eval::ResultsScore score, double seconds) {
    score.values["seconds"] = seconds;
    to.push_back(std::move(score));
  }

  void judge_cohorts(const JudgedData& d, const std::vector<const JudgedModel*>& controlled) {
    std::vector<eval::CohortJob> jobs;
    std::vector<const JudgedModel*> models;
    const auto add = [&](const JudgedModel& m, eval::Control control) {
      eval::CohortOptions options;
      options.folds = o_.folds;
      options.on = on_;
      options.cohort_map = o_.judging.map();
      options.seed = seed_;
      options.control = control;
      jobs.push_back({&m.embedding, options});
      models.push_back(&m);
    };
    for (const JudgedModel& m : d.models) {
      add(m, eval::Control::none);
      if (std::find(controlled.begin(), controlled.end(), &m) != controlled.end()) add(m, eval::Control::permuted);
    }
    log::info("{}: cohort accuracy of {} embeddings{}", d.info.label, d.models.size(),
              controlled.empty() ? std::string() : fmt::format(", of {} with permuted labels as well", controlled.size()));
    const std::vector<eval::CohortResult> scores = eval::evaluate_cohorts(jobs);
    for (size_t j = 0; j < jobs.size(); ++j) {
      const eval::Control control = jobs[j].options.control;
      if (control == eval::Control::none) warn_all(models[j]->info.label, scores[j].warnings);
      add_score(results.cohort, {models[j]->info.id, "", false, name(control), eval::to_json(scores[j])}, scores[j].seconds);
    }
  }

  eval::AlignmentResult align(const JudgedModel& m, int64_t angles, eval::Control control) const {
    eval::AlignmentOptions options;
    options.angles = angles;
    options.on = on_;
    options.cohort_map = o_.judging.map();
    options.seed = seed_;
    options.control = control;
    return eval::evaluate_alignment(m.embedding, options);
  }
  // A subspace of more dimensions is nearer to anything, so embeddings are compared at equal dimensions: those of the run with
  // the fewest. As wide as --angles allows, which is the paper's score, each is judged as well.
  void judge_alignments(const JudgedData& d, const std::vector<const JudgedModel*>& controlled) {
    std::vector<eval::AlignmentResult> wide;
    int64_t equal = o_.angles;
    for (const JudgedModel& m : d.models) {
      say(m, "subspace alignment");
      wide.push_back(align(m, o_.angles, eval::Control::none));
      warn_all(m.info.label, wide.back().warnings);
      if (!m.info.run.empty()) equal = std::min(equal, wide.back().embedding_rank);
    }
    for (size_t i = 0; i < wide.size(); ++i) {
      const JudgedModel& m = d.models[i];
      const bool cut = wide[i].embedding_rank > equal;
      const eval::AlignmentResult r = cut ? align(m, equal, eval::Control::none) : wide[i];
      add_score(results.alignment, {m.info.id, "", false, "", eval::to_json(r)}, r.seconds);
      add_score(results.alignment, {m.info.id, fmt::format("top {}", o_.angles), false, "", eval::to_json(wide[i])}, wide[i].seconds);
    }
    for (const JudgedModel* m : controlled) {
      say(*m, "subspace alignment with permuted labels");
      const eval::AlignmentResult r = align(*m, equal, eval::Control::permuted);
      add_score(results.alignment, {m->info.id, "", false, name(eval::Control::permuted), eval::to_json(r)}, r.seconds);
    }
  }

  void survive(const JudgedModel& m, const std::string& id, const std::string& setting, bool within, eval::Control control) {
    eval::SurvivalOptions options;
    options.top_k = setting == "clinical" ? 0 : eval::parse_top_k(o_.top_k);
    if (setting != "embedding") options.covariates = covariates(m.embedding.obs);
    options.ridge = o_.ridge;
    options.folds = o_.folds;
    options.on = survival_on_;
    options.seed = seed_;
    options.tau = eval::parse_tau(o_.tau);
    options.control = control;
    if (within) options.stratify = "cohort";
    const eval::SurvivalResult r = eval::evaluate_survival(m.embedding, options);
    if (control == eval::Control::none) {
      warn_all((setting == "clinical" ? "" : m.info.label + ", ") + "survival by " + setting, r.warnings);
      results.tables.push_back({"risk", id, setting + (within ? "+within" : ""), eval::risk_table(r, m.embedding.obs)});
    }
    add_score(results.survival, {id, setting, within, name(control), eval::to_json(r)}, r.seconds);
  }
  void judge_survival(const JudgedModel& m, const JudgedData& d, const std::string& setting, bool control) {
    say(m, "survival by " + setting);
    const bool cohorts = d.info.cohorts.size() > 1;
    survive(m, m.info.id, setting, false, eval::Control::none);
    if (cohorts) survive(m, m.info.id, setting, true, eval::Control::none);
    if (control && setting == "embedding") {
      say(m, "survival with permuted outcomes");
      survive(m, m.info.id, setting, false, eval::Control::permuted);
    }
  }
  void judge_clinical(const JudgedData& d) {
    const JudgedModel& any = d.models.front();
    eval::ResultsModel clinical;
    clinical.id = "clinical_" + d.info.id;
    std::string names;
    for (const std::string& c : covariates(d.matrix.obs)) names += (names.empty() ? "" : ", ") + c;
    clinical.label = "clinical: " + names;
    const bool taken = std::any_of(results.models.begin(), results.models.end(), [&](const eval::ResultsModel& m) { return m.label == clinical.label; });
    if (taken) clinical.label += " (" + d.info.id + ")";
    clinical.kind = "clinical";
    clinical.modality = d.info.modality;
    clinical.data = d.info.id;
    log::info("{}: survival", clinical.label);
    survive(any, clinical.id, "clinical", false, eval::Control::none);
    results.models.push_back(clinical);
    if (d.info.cohorts.size() > 1) survive(any, clinical.id, "clinical", true, eval::Control::none);
  }

  // The cohort whose reconstruction is judged: BRCA as in the paper where there are eight of it, else the largest.
  std::string expression_cohort(const data::Table& obs, const std::vector<int64_t>& rows) const {
    if (!o_.expression_cohort.empty()) return o_.expression_cohort == "all" ? "" : o_.expression_cohort;
    const data::Column* c = obs.find("cohort");
    if (!c) return "";
    std::map<std::string, int64_t> count;
    for (int64_t r : rows)
      if (!c->missing(r)) ++count[c->text(r)];
    if (const auto at = count.find("BRCA"); at != count.end() && at->second >= 8) return "BRCA";
    std::string largest;
    int64_t most = 0;
    for (const auto& [cohort, n] : count)
      if (n > most) most = n, largest = cohort;
    return largest;
  }

  void judge_expression(const JudgedModel& m, const JudgedData& d) {
    if (!m.reconstruct) return;
    const data::Table& obs = d.matrix.obs;
    std::vector<int64_t> rows = eval::select_evaluated(obs, on_).rows;
    eval::ExpressionOptions options;
    options.on = on_;
    options.cohort = expression_cohort(obs, rows);
    if (!options.cohort.empty()) std::erase_if(rows, [&, &c = obs.at("cohort")](int64_t r) { return c.text(r) != options.cohort; });
    if (rows.size() < 2 && !o_.expression_cohort.empty())
      fail_input(fmt::format("{} evaluated samples of cohort {}", rows.size(), quoted(options.cohort)), quoted(d.matrix.path, 400),
                 "name another with --expression-cohort");
    if (rows.size() < 2) {
      warn(d.info.label, fmt::format("{} samples of {} to judge reconstructions by: they are not judged", rows.size(), options.cohort));
      return;
    }
    say(m, fmt::format("differential {} of the reconstructions of {} samples{}", eval::words_of(d.info.modality).what, rows.size(),
                       options.cohort.empty() ? "" : " of " + options.cohort));
    options.test = eval::parse_expression_test(o_.test);
    options.lfc = o_.lfc;
    options.fdr = o_.fdr;
    options.seed = seed_;
    options.baseline = eval::parse_baseline(o_.baseline);
    std::optional<data::SampleSource> counts;
    if (!o_.counts.empty()) counts.emplace(o_.counts, o_.dataset.read()), options.counts = &*counts;
    data::Dataset<double> reconstructed;
    reconstructed.x = m.reconstruct(rows).cast<double>();
    reconstructed.obs = obs.select(rows);
    reconstructed.var = d.matrix.var;
    reconstructed.kind = "log";
    const data::SampleSource observed(d.matrix.path, o_.dataset.read()), source(std::move(reconstructed));
    const eval::ExpressionResult r = eval::evaluate_expression(observed, source, options);
    warn_all(m.info.label, r.warnings);
    data::Table de = eval::de_table(r);
    if (const data::Column* symbol = d.matrix.var.find("symbol")) {
      const auto row = d.matrix.var.row_of();
      std::vector<std::string> cells;
      for (const std::string& key : de.keys) cells.push_back(symbol->text(row.at(key)));
      de.set(data::factor_from_text("symbol", cells));
    }
    results.tables.push_back({"de", m.info.id, "", std::move(de)});
    add_spearman(m.info.id, "sample", r.samples, r.reconstruction.spearman_per_sample);
    add_spearman(m.info.id, "feature", r.features, r.reconstruction.spearman_per_feature);
    add_score(results.expression, {m.info.id, "", false, "", eval::to_json(r)}, r.seconds);
  }
  void add_spearman(const std::string& model, const std::string& of, const std::vector<std::string>& names, const std::vector<double>& values) {
    data::Table t;
    t.key_name = of;
    t.keys = names;
    t.set(data::numeric_column("spearman", values));
    results.tables.push_back({"spearman", model, of, std::move(t)});
  }

  void judge_pairs(const JudgedPair& p, eval::Control control) {
    log::info("{}: pairs of RNA and ATAC{}", p.info.label, control == eval::Control::none ? "" : ", permuted");
    eval::PairsOptions options;
    options.on = on_;
    options.cohort_map = o_.judging.map();
    options.seed = seed_;
    options.control = control;
    eval::PairsResult r;
    try {
      r = eval::evaluate_pairs(*p.rna, *p.atac, options);
    } catch (const Error& e) {
      // Runs of the two modalities need not have donors in common.
      if (e.code() != ErrorCode::input) throw;
      warn(p.info.label, fmt::format("pairs are not judged: {}", e.what()));
      return;
    }
    if (control == eval::Control::none) warn_all(p.info.label, r.warnings);
    add_score(results.pairs, {p.info.id, "", false, control == eval::Control::none ? "" : "permuted pairs", eval::to_json(r)}, r.seconds);
  }

  // The first two principal components of both modalities together, fitted on all samples.
  void add_plane(const JudgedPair& p) {
    const int64_t rna = p.rna->samples(), n = rna + p.atac->samples();
    if (p.rna->x.cols() < 2) return;
    data::RowMatrix<double> x(n, p.rna->x.cols());
    x << p.rna->x, p.atac->x;
    eval::PcaOptions two;
    two.components = 2;
    const eval::PcaModel pca = eval::fit_pca(x, data::all_rows(n), two);
    const data::RowMatrix<double> xy = eval::transform(pca, x);
    if (xy.cols() < 2) return;
    const Eigen::VectorXd ratio = pca.explained_ratio();
    results.models.back().explained.assign(ratio.begin(), ratio.end());
    data::Table t;
    t.key_name = "sample";
    t.keys = p.rna->obs.keys;
    // A donor's samples may have one name in both modalities.
    std::set<std::string> taken(t.keys.begin(), t.keys.end());
    for (std::string key : p.atac->obs.keys) {
      while (!taken.insert(key).second) key += " (ATAC)";
      t.keys.push_back(std::move(key));
    }
    std::vector<std::string> modality(static_cast<size_t>(rna), "rna");
    modality.resize(static_cast<size_t>(n), "atac");
    t.set(data::factor_from_text("modality", modality));
    for (const char* name : {"cohort", "donor", "split"}) {
      std::vector<std::string> cells;
      for (const data::Table* obs : {&p.rna->obs, &p.atac->obs}) {
        const data::Column* c = obs->find(name);
        for (int64_t r = 0; r < obs->rows(); ++r) cells.push_back(c ? c->text(r) : "");
      }
      if (std::any_of(cells.begin(), cells.end(), [](const std::string& cell) { return !cell.empty(); })) t.set(data::factor_from_text(name, cells));
    }
    std::vector<double> pc1, pc2;
    for (int64_t r = 0; r < n; ++r) pc1.push_back(xy(r, 0)), pc2.push_back(xy(r, 1));
    t.set(data::numeric_column("pc1", std::move(pc1)));
    t.set(data::numeric_column("pc2", std::move(pc2)));
    results.tables.push_back({"plane", p.info.id, "", std::move(t)});
  }

  // The first two principal components of an embedding, fitted on all samples: a picture, not a judgement.
  void add_points(const JudgedModel& m) {
    const data::Dataset<double>& e = m.embedding;
    data::RowMatrix<double> xy;
    if (m.info.kind == "pca") {
      xy = e.x.leftCols(std::min<int64_t>(2, e.x.cols()));
    } else {
      eval::PcaOptions two;
      two.components = 2;
      const eval::PcaModel pca = eval::fit_pca(e.x, data::all_rows(e.samples()), two);
      xy = eval::transform(pca, e.x);
      const Eigen::VectorXd ratio = pca.explained_ratio();
      results.models.back().explained.assign(ratio.begin(), ratio.end());
    }
    if (xy.cols() < 2) return;
    data::Table t;
    t.key_name = "sample";
    t.keys = e.obs.keys;
    std::vector<double> pc1(static_cast<size_t>(xy.rows())), pc2 = pc1;
    for (int64_t r = 0; r < xy.rows(); ++r) pc1[static_cast<size_t>(r)] = xy(r, 0), pc2[static_cast<size_t>(r)] = xy(r, 1);
    for (const char* name : {"cohort", "donor", "split"})
      if (const data::Column* c = e.obs.find(name)) t.set(*c);
    if (!t.find("cohort")) t.set(data::factor_from_text("cohort", std::vector<std::string>(t.keys.size())));
    t.set(data::numeric_column("pc1", std::move(pc1)));
    t.set(data::numeric_column("pc2", std::move(pc2)));
    results.tables.push_back({"points", m.info.id, "", std::move(t)});
  }

  static std::string name(eval::Control control) { return control == eval::Control::none ? "" : "permuted labels"; }

  const Options& o_;
  uint64_t seed_;
  eval::On on_, survival_on_;
  std::set<std::string> said_;
};

// "0.712 +- 0.010", "-" where there is no such number.
std::string cell(const Json& values, const char* mean, const char* se = nullptr, int digits = 3) {
  if (!values.contains(mean) || !values[mean].is_number()) return "-";
  std::string s = fmt::format("{:.{}f}", values[mean].get<double>(), digits);
  if (se && values.contains(se) && values[se].is_number()) s += fmt::format(" +- {:.{}f}", values[se].get<double>(), digits);
  return s;
}

std::string summary(const eval::Results& r) {
  // Peaks are accessible, not expressed.
  const auto atac = static_cast<size_t>(std::count_if(r.data.begin(), r.data.end(), [](const eval::ResultsData& d) { return d.modality == "atac"; }));
  const std::string differential = atac == 0 ? "DE features" : atac == r.data.size() ? "DA peaks" : "DE or DA features";
  TextTable t({"model", "cohort accuracy", "Grassmann (p)", "C, embedding", "C, with clinical", "C within cohort", differential, "cohort mean's", "Spearman"});
  const auto find = [](const std::vector<eval::ResultsScore>& scores, const std::string& model, const std::string& setting, bool within,
                       const std::string& control) {
    for (const eval::ResultsScore& s : scores)
      if (s.model == model && s.setting == setting && s.within_cohort == within && s.control == control) return s.values;
    return Json(Json::object());
  };
  const auto whole = [](const Json& j, const char* key) { return j.contains(key) && j[key].is_number() ? j[key].dump() : std::string("-"); };
  const auto distance = [&](const Json& j) { return j.contains("embedding_rank") ? cell(j, "distance") + " (" + whole(j, "embedding_rank") + ")" : "-"; };
  for (const eval::ResultsModel& m : r.models) {
    if (m.modality == "both") continue;
    const bool clinical = m.kind == "clinical";
    const std::string setting = clinical ? "clinical" : "embedding";
    const Json expression = find(r.expression, m.id, "", false, "");
    const std::string c = cell(find(r.survival, m.id, setting, false, ""), "uno_mean"),
                      within = cell(find(r.survival, m.id, setting, true, ""), "harrell_mean");
    t.row({m.label, cell(find(r.cohort, m.id, "", false, ""), "accuracy_mean", "accuracy_se"), distance(find(r.alignment, m.id, "", false, "")),
           clinical ? "-" : c, clinical ? c : cell(find(r.survival, m.id, "embedding+clinical", false, ""), "uno_mean"), within, whole(expression, "n_de"),
           whole(expression, "cohort_mean_n_de"), cell(expression, "spearman_per_sample_mean")});
    const Json permuted = find(r.cohort, m.id, "", false, "permuted labels"), outcomes = find(r.survival, m.id, "embedding", false, "permuted labels");
    if (permuted.empty() && outcomes.empty()) continue;
    t.row({"  labels permuted", cell(permuted, "accuracy_mean", "accuracy_se"), distance(find(r.alignment, m.id, "", false, "permuted labels")),
           cell(outcomes, "uno_mean"), "-", "-", "-", "-", "-"});
  }
  return t.str();
}

// Pairs of RNA and ATAC, and at the end what chance gives, once where it is the same; empty where there are none.
std::string pairs_summary(const eval::Results& r) {
  if (r.pairs.empty()) return {};
  TextTable t({"RNA and ATAC", "pairs", "FOSCTTM", "within cohort", "recall at 1", "recall at 10", "mixing", "cohort to ATAC", "cohort to RNA"});
  const auto cells = [](const eval::ResultsScore& s, const std::string& label, const std::vector<const char*>& keys) {
    std::vector<std::string> out = {label, s.values["n_pairs"].dump()};
    for (const char* key : keys) out.push_back(cell(s.values, key));
    return out;
  };
  std::vector<std::vector<std::string>> chances;
  for (const eval::ResultsScore& s : r.pairs) {
    t.row(cells(s, s.control.empty() ? r.find_model(s.model)->label : "  permuted",
                {"foscttm", "foscttm_within_cohort", "recall_at_1", "recall_at_10", "mixing_entropy", "transfer_rna_to_atac", "transfer_atac_to_rna"}));
    if (!s.control.empty()) continue;
    std::vector<std::string> chance =
        cells(s, "by chance", {"", "", "chance_recall_at_1", "chance_recall_at_10", "chance_mixing_entropy", "majority_share_atac", "majority_share_rna"});
    chance[2] = chance[3] = "0.500";
    if (std::find(chances.begin(), chances.end(), chance) == chances.end()) chances.push_back(std::move(chance));
  }
  for (std::vector<std::string>& chance : chances) t.row(std::move(chance));
  return "\n" + t.str();
}

void run(const std::shared_ptr<Options>& o, const Session& session) {
  session.begin();
  const auto start = std::chrono::steady_clock::now();
  { const AtomicFolder place(o->out, "results.json"); }  // what cannot be written is said now, not after all the work
  Judge judge(*o, session.globals.seed);
  const PcaBaselines baselines = parse_pca_baselines(o->pca);
  std::unique_ptr<Context> context = make_context(session.globals);
  const Judged judged = load_judged(*context, o->runs, o->files, o->dataset, baselines, session.globals.seed);
  for (const JudgedData& d : judged.data) judge.judge(d);
  judge.judge(judged.pairs);
  eval::Results& r = judge.results;
  r.program = {{"version", version_short()}, {"cuda", cuda_toolkit_version().empty() ? "none" : cuda_toolkit_version()}, {"blas", blas_description()}};
  r.command = session.arguments;
  r.seed = session.globals.seed;
  r.folds = o->folds;
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  r.peak_memory_bytes = peak_resident_bytes();
  eval::write_results(o->out, r);
  Json json = {{"models", Json::array()}, {"output", o->out}, {"seconds", *r.seconds}, {"warnings", r.warnings}};
  for (const eval::ResultsModel& m : r.models) json["models"].push_back(m.label);
  const auto scores = [&](const char* key, const std::vector<eval::ResultsScore>& list) {
    json[key] = Json::array();
    for (const eval::ResultsScore& s : list) {
      Json row = {{"model", s.model}, {"setting", s.setting}, {"within_cohort", s.within_cohort}, {"control", s.control}};
      row.update(s.values);
      json[key].push_back(std::move(row));
    }
  };
  scores("cohort", r.cohort), scores("alignment", r.alignment), scores("survival", r.survival), scores("expression", r.expression), scores("pairs", r.pairs);
  session.emit(summary(r) + pairs_summary(r) + fmt::format("\nwritten: {}/  (a page of it: panvae report -o report.html {})\n", o->out, o->out), json);
}

}  // namespace

void add_evaluate_all(CLI::App& evaluate, Session& session) {
  CLI::App* cmd =
      add_command(evaluate, "all", "Every benchmark on trained runs and on their PCA baselines, into a folder that 'panvae report' makes a page of",
                  "panvae simulate -o sim --donors 300 --genes 500 --cohorts 4 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                  "panvae train rna -o sim/run sim/rna_pp.h5ad --set train.max_epochs=12 && panvae evaluate all sim/run -o sim/results");
  auto o = std::make_shared<Options>();
  cmd->add_option("RUN", o->runs, "Folders of trained models; an RNA run, an ATAC run and co-embeddings of them are compared by their pairs, too")->required();
  session.writes(cmd->add_option("-o,--output", o->out, "Folder of the results; results of before are replaced"))->required()->type_name("DIR");
  cmd->add_option("--data", o->files,
                  "Preprocessed matrix of runs, matched by its features; repeatable (default: the file a run was trained on, beside it or here)")
      ->type_name("FILE")
      ->allow_extra_args(false);
  cmd->add_option("--pca", o->pca, "Baselines: numbers of components, latent (as many as the run has), best (on validation), with commas between; or none")
      ->type_name("LIST")
      ->capture_default_str();
  o->judging.declare_on(*cmd);
  cmd->add_option("--survival-on", o->survival_on, "The same for survival, where a hold-out may have too few deaths (default: as --on)")
      ->check(CLI::IsMember({"auto", "holdout", "all"}));
  cmd->add_option("--folds", o->folds, "Folds of the cross-validations")->capture_default_str();
  cmd->add_option("--controls", o->controls, "Permuted labels for one model of each matrix, for all, or none")
      ->check(CLI::IsMember({"one", "all", "none"}))
      ->capture_default_str();
  o->judging.declare_cohort_map(*cmd);
  cmd->add_option("--angles", o->angles, "Alignment: the embedding is cut to so many principal components")->capture_default_str();
  cmd->add_option("--top-k", o->top_k, "Survival: principal components in the model, or auto")->type_name("K|auto")->capture_default_str();
  cmd->add_option("--covariate", o->covariates, "Survival: clinical columns (default: those of age, sex, cohort that there are); repeatable")
      ->type_name("COLUMN")
      ->allow_extra_args(false);
  cmd->add_option("--ridge", o->ridge, "Survival: penalty theta / 2 b^2 on each standardised component")->capture_default_str();
  cmd->add_option("--tau", o->tau, "Survival: Uno's C counts deaths before tau")->type_name("DAYS|none|auto")->capture_default_str();
  cmd->add_option("--expression-cohort", o->expression_cohort,
                  "Cohort whose reconstructions are compared, or all (default: BRCA where there are 8 samples, else the largest)")
      ->type_name("COHORT");
  cmd->add_option("--test", o->test, "Test of reconstructions: paired, limma, limma-trend or welch")
      ->check(CLI::IsMember({"paired", "limma", "limma-trend", "welch"}))
      ->capture_default_str();
  cmd->add_option("--lfc", o->lfc, "Features differ above this absolute log2 fold change")->capture_default_str();
  cmd->add_option("--fdr", o->fdr, "... and below this false discovery rate")->capture_default_str();
  cmd->add_option("--baseline", o->baseline, "How many features differ between technical replicates or halves of thinned counts")
      ->check(CLI::IsMember({"none", "techrep", "thin"}))
      ->capture_default_str();
  cmd->add_option("--counts", o->counts, "Raw counts of the same samples, for --baseline")->type_name("RAW");
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::seed | Session::device | Session::precision | Session::blas);
  cmd->callback([o, &session] { run(o, session); });
}

}  // namespace panvae::tools
