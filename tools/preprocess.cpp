// panvae preprocess: raw counts to the matrix that models learn from.
#include "data/preprocess.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/read_json.h"
#include "base/text.h"
#include "data/describe.h"
#include "data/matrix_path.h"
#include "data/peaks.h"
#include "data/row_names.h"
#include "data/split.h"
#include "data/write.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/memory_option.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  UnknownBatchOption unknown_batch;
  std::string in, out, modality, like, variables, input = "counts", variance = "nzv:0.01", fit_on = "train", split = "donor", type = "float32";
  MemoryOption memory;
  std::vector<std::string> preserve;
  bool no_quantile = false, no_batch = false;
  data::PreprocessOptions fit;
  data::SplitOptions draw;
  std::vector<const CLI::Option*> fitting;  // options that --like makes meaningless
};

template <class Data>
Json result_json(const Data& data, const data::PreprocessReport& report) {
  Json json;
  json["samples"] = data.samples();
  json["features"] = data.features();
  json["dropped_samples"] = report.dropped_samples;
  json["dropped_features_zero"] = report.dropped_features_zero;
  json["dropped_features_variance"] = report.dropped_features_variance;
  json["aliased"] = report.aliased;
  const bool has_split = data.obs.find("split") != nullptr;
  const data::SplitCounts split = has_split ? data::count_split(data.obs) : data::SplitCounts{};
  json["split"] = has_split ? Json{{"train", split.train}, {"validation", split.validation}, {"holdout", split.holdout}} : Json(nullptr);
  json["coverage"] = report.coverage;
  return json;
}

std::string result_text(const Json& json, const std::string& out) {
  TextTable table({"preprocessed", ""});
  auto number = [&](const char* label, const Json& value) { table.row({label, value.dump()}); };
  number("samples", json["samples"]);
  number("features", json["features"]);
  number("dropped: samples without counts", json["dropped_samples"]);
  number("dropped: features all zero", json["dropped_features_zero"]);
  number("dropped: features that hardly vary", json["dropped_features_variance"]);
  if (json["split"].is_object())
    for (const auto& [side, count] : json["split"].items()) number(side.c_str(), count);
  if (json["coverage"].get<double>() < 1) table.row({"coverage of the model's features", fmt::format("{:.1f} %", 100 * json["coverage"].get<double>())});
  std::string aliased;
  for (const Json& name : json["aliased"]) aliased += (aliased.empty() ? "" : ", ") + name.get<std::string>();
  if (!aliased.empty()) table.row({"aliased, not corrected", aliased});
  return table.str() + "\nwritten: " + out + "\n";
}

void warn_about_batches(const Options& o, const data::Table& obs) {
  if (o.no_batch || !o.fit.batch_keys.empty() || !o.fit.covariates.empty()) return;
  std::string names;
  for (const std::string& name : data::columns_like_batches(obs)) names += (names.empty() ? "" : ", ") + quoted(name);
  if (!names.empty()) log::info("no batch named, none removed; columns that look like batches: {} (name them with --batch-key)", names);
}

// Names that nobody knows do not show that a table lies on its side; its shape may.
void warn_about_rows(const Options& o, int64_t samples, int64_t features) {
  if (samples <= features || o.dataset.rows.value() != data::Rows::unsaid || !o.dataset.read_options.obs_table.empty() ||
      data::parse_matrix_path(o.in).format != data::MatrixPath::Format::text)
    return;
  log::warning("{} samples of {} features: if the rows are features, say --rows features (--rows samples: they are samples)", samples, features);
}

// One modality taken for the other goes through without an error, and means nothing.
void warn_about_modality(const std::string& modality, const std::vector<std::string>& features) {
  const size_t seen = std::min<size_t>(features.size(), 1000);
  if (const auto date = std::find_if(features.begin(), features.end(), data::is_date); date != features.end())
    log::warning("the feature {} is a date, as Excel makes of genes such as MARCHF1 and SEPTIN2 ({} such names): they will not be found by their names",
                 quoted(*date), std::count_if(features.begin(), features.end(), data::is_date));
  size_t peaks = 0, genes = 0;
  for (size_t i = 0; i < seen; ++i) {
    std::string_view chromosome;
    int64_t start = 0, end = 0;
    peaks += data::parse_peak_name(features[i], chromosome, start, end);
    genes += data::is_ensembl_id(features[i]);
  }
  if (modality == "rna" && 2 * peaks > seen)
    log::warning("the features look like peaks (first: {}), but are taken as genes (--modality rna)", quoted(features.front(), 60));
  if (modality == "atac" && 2 * genes > seen)
    log::warning("the features look like genes (first: {}), but are taken as peaks (--modality atac)", quoted(features.front(), 60));
}

// Everything after reading, in memory or on disk.
template <class Data>
void finish(Data data, data::Preprocessor& preprocessor, Options& o, data::Storage storage, const Session& session) {
  const bool is_log = o.like.empty() ? o.input == "log" : preprocessor.input_is_log();
  log::info("{}: {} samples x {} features", o.in, data.samples(), data.features());
  warn_about_rows(o, data.samples(), data.features());
  if (is_log && data::holds_natural_logs(data::parse_matrix_path(o.in)))
    log::warning("{} holds natural logarithms (uns/log1p), where logs to base 2 are meant: log fold changes come out {:.2f} times as large", quoted(o.in, 200),
                 std::log(2.0));

  data::PreprocessReport report;
  if (!o.like.empty()) {
    report = preprocessor.apply(data, o.unknown_batch.value().value_or(preprocessor.unknown_batch()));
    if (!o.draw.from.empty()) data::assign_split(data.obs, o.draw);
  } else {
    o.fit.modality = o.modality;
    o.fit.input_is_log = is_log;
    o.fit.variance = data::VarianceFilter::parse(o.variance);
    o.fit.quantile = !o.no_quantile;
    o.fit.batch = !o.no_batch;
    o.fit.unknown_batch = o.unknown_batch.value().value_or(data::UnknownBatch::error);
    o.fit.fit_on_all = o.fit_on == "all";
    o.draw.by_sample = o.split == "sample";
    o.draw.seed = session.globals.seed;
    if (o.preserve.empty() && data.obs.find("cohort")) o.fit.preserve = {"cohort"};
    for (const std::string& name : o.preserve)
      if (name != "none") o.fit.preserve.push_back(name);
    warn_about_modality(o.modality, data.var.keys);
    warn_about_batches(o, data.obs);
    if (o.modality == "atac" && (!is_log || data::has_positions(data.var))) data::sort_peaks(data);
    if (!is_log) data::Preprocessor::drop_empty(data, report);
    data::assign_split(data.obs, o.draw);
    const data::PreprocessReport fitted = preprocessor.fit(data, o.fit);
    report.dropped_features_variance = fitted.dropped_features_variance;
    report.aliased = fitted.aliased;
  }
  data::write_dataset(o.out, data, storage);
  const Json json = result_json(data, report);
  session.emit(result_text(json, o.out), json);
}

void run(const std::shared_ptr<Options>& o, const Session& session) {
  session.begin();
  const data::Storage storage = o->type == "float16" ? data::Storage::float16 : data::Storage::same;
  data::check_output(o->out, storage);
  data::ReadOptions read = o->dataset.read();
  read.var_table = o->variables;
  data::Preprocessor preprocessor;
  if (!o->like.empty()) {
    for (const CLI::Option* option : o->fitting)
      if (option->count() > 0)
        fail_usage(fmt::format("{} cannot be combined with --like", option->get_name()), {}, "the steps are those of the fit that exists");
    preprocessor = data::Preprocessor::from(data::read_frozen(o->like, o->modality));
    const std::string modality = member<std::string>(preprocessor.frozen().settings, "modality").value_or("");
    if (!o->modality.empty() && o->modality != modality)
      fail_input(fmt::format("fitted on {}, not on {}", modality, o->modality), quoted(o->like, 400), "name a fit of the same modality");
  } else if (o->modality.empty()) {
    fail_usage("--modality is required", {}, "say --modality rna, or apply a fit that exists with --like");
  }
  const bool is_log = o->like.empty() ? o->input == "log" : preprocessor.input_is_log();
  if (read.missing == data::Missing::mean) {
    if (!is_log) fail_usage("missing counts cannot be filled", "--missing mean", "it is for logs (--input log)");
    read.missing = data::Missing::keep;  // the preprocessing leaves them out of ranks and fills them at the end
  }
  // In memory where twice the matrix fits (a selection of features copies it); else on disk beside the output.
  const double allowed = o->memory.allowed(), needed = 2.2 * data::matrix_bytes(o->in, allowed / 2.2) + (64 << 20);
  if (needed <= allowed) {
    finish(data::read_dataset<float>(o->in, read), preprocessor, *o, storage, session);
    return;
  }
  finish(data::read_large_dataset(o->in, read, temporary_folder(o->in, o->out, needed, allowed)), preprocessor, *o, storage, session);
}

}  // namespace

void add_preprocess(CLI::App& root, Session& session) {
  CLI::App* cmd = add_command(
      root, "preprocess", "Counts to normalised log2 values: filters, log-CPM, quantile normalisation, batch removal, split",
      "panvae simulate -o sim --donors 120 --genes 500 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna --batch-key batch --covariate age");
  auto o = std::make_shared<Options>();
  cmd->add_option("IN", o->in, "Raw counts: .h5ad, .tsv, .csv or .mtx, samples in rows")->required();
  session.writes(cmd->add_option("-o,--output", o->out, "Output: .h5ad (with the fit in uns/panvae), .tsv or .csv"))->required()->type_name("OUT");
  cmd->add_option("--modality", o->modality, "What was measured (required without --like)")->check(CLI::IsMember({"rna", "atac"}));
  cmd->add_option("--like", o->like, "Apply the fit of a RUN folder or a preprocessed .h5ad, instead of fitting")->type_name("RUN_OR_H5AD");
  cmd->add_option("--type", o->type, "Type of the numbers written; float16 halves the file and keeps three digits (.h5ad only)")
      ->check(CLI::IsMember({"float32", "float16"}))
      ->capture_default_str();
  o->memory.declare(*cmd);
  cmd->add_option("--var", o->variables,
                  "Table of features (first column the feature's name) whose columns are joined: chrom, start, end of peaks, for instance")
      ->type_name("TABLE")
      ->group("Input");
  o->dataset.declare(*cmd);
  auto fitting = [&](CLI::Option* option, const char* group) {
    o->fitting.push_back(option->group(group));
    return option;
  };
  fitting(cmd->add_option("--input", o->input, "What IN holds: counts, or log2 values (steps before the quantiles are left out)"), "Steps")
      ->check(CLI::IsMember({"counts", "log"}))
      ->capture_default_str();
  fitting(cmd->add_option("--var-filter", o->variance,
                          "nzv:X: drop features that differ from their most frequent value in less than a share X of the training samples; cv2:X: variance / "
                          "mean^2 below X; quantile:X: the share X of lowest log variance; none"),
          "Steps")
      ->capture_default_str();
  fitting(cmd->add_option("--prior-count", o->fit.prior_count, "Added to each count, scaled by library size (counts)"), "Steps")->capture_default_str();
  fitting(cmd->add_flag("--tmm", o->fit.tmm, "Scale library sizes by TMM factors"), "Steps");
  fitting(cmd->add_flag("--no-quantile", o->no_quantile, "No quantile normalisation"), "Steps");
  fitting(cmd->add_flag("--no-batch", o->no_batch, "Remove no batch effects, whatever is named"), "Steps");
  fitting(cmd->add_option("--batch-key", o->fit.batch_keys, "Column whose effect is removed, as a factor; repeatable"), "Steps")
      ->type_name("COLUMN")
      ->allow_extra_args(false);
  fitting(cmd->add_option("--covariate", o->fit.covariates, "Column whose effect is removed, numeric (centred) or a factor; repeatable"), "Steps")
      ->type_name("COLUMN")
      ->allow_extra_args(false);
  fitting(cmd->add_option("--preserve", o->preserve, "Column whose effect stays (default: cohort where it exists; none: nothing); repeatable"), "Steps")
      ->type_name("COLUMN")
      ->allow_extra_args(false);
  o->unknown_batch.declare(*cmd, "with --like as the fit says, else error")->group("Steps");
  fitting(cmd->add_option("--fit-on", o->fit_on, "Samples that the filters, quantiles and effects are fitted on"), "Steps")
      ->check(CLI::IsMember({"train", "all"}))
      ->capture_default_str();
  cmd->add_option("--split-from", o->draw.from, "Take each donor's side from this file (.h5ad or table with columns donor and split)")
      ->type_name("FILE")
      ->group("Split");
  fitting(cmd->add_option("--split", o->split, "Draw donors, or samples (replicates of a donor then leak)"), "Split")
      ->check(CLI::IsMember({"donor", "sample"}))
      ->capture_default_str();
  fitting(cmd->add_option("--holdout", o->draw.holdout, "Share of the donors of each cohort that is held out"), "Split")->capture_default_str();
  fitting(cmd->add_option("--validation", o->draw.validation, "Share of the other donors that validates"), "Split")->capture_default_str();
  session.common(*cmd, Session::seed);
  cmd->callback([o, &session] { run(o, session); });
}

}  // namespace panvae::tools
