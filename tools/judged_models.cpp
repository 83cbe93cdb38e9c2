#include "tools/judged_models.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>
#include <unordered_set>

#include "base/file.h"
#include "base/log.h"
#include "base/read_json.h"
#include "base/threads.h"
#include "data/sample_source.h"
#include "eval/cca.h"
#include "eval/classifier.h"
#include "eval/wide_pca.h"
#include "models/architecture.h"
#include "models/discriminator.h"

namespace panvae::tools {

namespace {

std::string without_slashes(std::string folder) {
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  return folder;
}
std::string last_part(const std::string& path) {
  const std::string p = without_slashes(path);
  const size_t slash = p.rfind('/');
  return slash == std::string::npos ? p : p.substr(slash + 1);
}
std::string parent(const std::string& path) {
  const std::string p = without_slashes(path);
  const size_t slash = p.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : p.substr(0, slash);
}

// A name of letters, digits, _ and - that is not taken yet.
std::string unique_id(const std::string& name, std::set<std::string>& taken) {
  std::string id;
  for (char c : name) id += std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ? c : '_';
  if (id.empty()) id = "model";
  std::string candidate = id;
  for (int i = 2; !taken.insert(candidate).second; ++i) candidate = fmt::format("{}_{}", id, i);
  return candidate;
}

// The file of a run's samples.
std::string file_of(const Run& run, const std::string& folder, const std::vector<std::string>& files, const std::vector<data::Table>& features) {
  if (files.empty()) {
    const std::string name = member<std::string>(run.provenance, "input").value_or("");
    for (const std::string& path : {parent(folder) + "/" + name, name})
      if (!name.empty() && exists(path)) return path;
    fail_input(fmt::format("the data of the run, {}, is neither beside its folder nor here", quoted(name, 200)), quoted(folder, 400),
               "name it with --data FILE");
  }
  const std::unordered_set<std::string> wanted(run.features.begin(), run.features.end());
  size_t best = 0;
  int64_t most = -1;
  for (size_t i = 0; i < files.size(); ++i) {
    const int64_t shared = std::count_if(features[i].keys.begin(), features[i].keys.end(), [&](const std::string& k) { return wanted.count(k) > 0; });
    if (shared > most) most = shared, best = i;
  }
  if (2 * most < static_cast<int64_t>(wanted.size()))
    fail_input(fmt::format("no --data file has its features: {} of {} are in {}", most, wanted.size(), quoted(files[best], 200)), quoted(folder, 400),
               "name the preprocessed matrix it was trained on with --data FILE");
  return files[best];
}

// Of a training in stages those of the last, which made the embedding.
data::Table curves_of(const std::string& folder) {
  data::Table t;
  t.key_name = "epoch";
  const std::string path = folder + "/metrics.jsonl";
  if (!exists(path)) return t;
  std::vector<Json> epochs;
  std::istringstream in(read_file(path));
  for (std::string line; std::getline(in, line);) {
    Json j = parse_json(line);
    if (!j.is_object() || !j.contains("epoch")) continue;  // an unfinished line
    if (!epochs.empty() && member<std::string>(epochs.back(), "stage") != member<std::string>(j, "stage")) epochs.clear();
    epochs.push_back(std::move(j));
  }
  if (epochs.empty()) return t;
  // Not every epoch has every term; the losses have a column where no epoch knows them.
  std::vector<std::pair<std::string, std::vector<double>>> columns = {{"train_loss", {}}, {"validation_loss", {}}};
  for (const Json& j : epochs)
    for (const auto& [key, value] : j.items()) {
      const auto known = [&, &name = key](const auto& column) { return column.first == name; };
      if (key != "epoch" && (value.is_number() || value.is_null()) && std::none_of(columns.begin(), columns.end(), known)) columns.push_back({key, {}});
    }
  for (const Json& j : epochs) {
    t.keys.push_back(j["epoch"].dump());
    for (auto& [key, values] : columns)
      values.push_back(j.contains(key) && j[key].is_number() ? j[key].get<double>() : std::numeric_limits<double>::quiet_NaN());
  }
  for (auto& [key, values] : columns) t.set(data::numeric_column(key, std::move(values)));
  return t;
}

data::Dataset<double> as_embedding(const data::RowMatrix<float>& x, const data::Table& obs, const std::string& axis) {
  data::Dataset<double> d;
  d.x = x.cast<double>();
  d.obs = obs;
  d.kind = "embedding";
  for (int64_t i = 0; i < x.cols(); ++i) d.var.keys.push_back(fmt::format("{}{}", axis, i + 1));
  return d;
}

// Rows of x as their own matrix.
data::RowMatrix<float> rows_of(const data::RowMatrix<float>& x, const std::vector<int64_t>& rows) {
  data::RowMatrix<float> y(static_cast<int64_t>(rows.size()), x.cols());
  for (size_t i = 0; i < rows.size(); ++i) y.row(static_cast<int64_t>(i)) = x.row(rows[i]);
  return y;
}

// What 'train' said of the run.
void describe_training(eval::ResultsModel& info, const Json& provenance, const std::string& folder) {
  info.run = folder;
  info.epochs = member<int64_t>(provenance, "epochs");
  info.best_epoch = member<int64_t>(provenance, "best_epoch");
  info.seed = member<uint64_t>(provenance, "seed");
  if (!exists(folder + "/training.json")) return;
  const Json training = parse_json(read_file(folder + "/training.json"));
  info.seconds = member<double>(training, "seconds");
  info.peak_memory_bytes = member<int64_t>(training, "peak_memory_bytes");
  info.device = member<std::string>(training, "device").value_or("");
}

// "adversarial", "contrastive, no pairs"
std::string mode_words(const CoembedConfig& c) {
  return c.mode + (c.pair > 0 ? "" : ", no pairs");
}

JudgedModel judged_run(Context& context, std::shared_ptr<Run> run, const std::string& folder, const std::string& path, const data::ReadOptions& read) {
  JudgedModel m;
  const std::string modality = run->config.modality == "atac" ? "ATAC" : "RNA";
  const bool linear = run->config.is_dense() && run->config.dense.activation == "linear";
  const int64_t latent = run->model->latent();
  m.info.label = run->coembedded ? fmt::format("{}, {}, {}", modality, mode_words(coembedding_config(folder).coembed), latent)
                                 : fmt::format("{} {}, {}", modality, linear ? "linear VAE" : "VAE", latent);
  m.info.kind = run->coembedded ? "coembedding" : linear ? "linear_vae" : "vae";
  m.info.modality = run->config.modality;
  m.info.run = folder;
  m.info.dimensions = latent;
  m.info.parameters = run->model->parameter_count();
  if (!run->coembedded) {
    describe_training(m.info, run->provenance, folder);
    m.info.network = {{"parts", run->model->stages(run->config.modality)}};
    m.curves = curves_of(folder);
  }
  const auto in = std::make_shared<RunSamples>(*run, path, read, "");
  const bool canonical = run->canonical_axes();
  m.embedding = as_embedding(embedding_of(context, *run, *in, canonical), in->obs(), "z");
  if (canonical) m.on_latent_units = [&context, run, in] { return as_embedding(embedding_of(context, *run, *in, false), in->obs(), "z"); };
  m.reconstruct = [&context, run, in](const std::vector<int64_t>& rows) {
    data::RowMatrix<float> out(static_cast<int64_t>(rows.size()), run->model->features());
    for_reconstructions(context, *run, *in, rows, [&](int64_t i, std::span<const float>, std::span<const float> decoded) {
      std::copy(decoded.begin(), decoded.end(), out.row(i).data());
    });
    return out;
  };
  return m;
}

// The stages of both halves. What does not have the latents stays as it was in the single run.
Json network_of(Context& context, const RunConfig& config, Run& rna, Run& atac) {
  Json parts = Json::array();
  for (Run* run : {&rna, &atac}) {
    Json stages = run->model->stages(run->config.modality);
    for (size_t i = 0; i < stages.size(); ++i) {
      if (i + 1 < stages.size()) stages[i]["frozen"] = true;
      parts.push_back(std::move(stages[i]));
    }
  }
  const CoembedConfig& c = config.coembed;
  Json network = {{"mode", c.mode}, {"cycle", c.cycle > 0}, {"pair", c.pair > 0}, {"parts", std::move(parts)}};
  if (c.mode == "adversarial") {
    Discriminator discriminator({.latent = rna.model->latent(), .widths = config.coembed_train().discriminator_widths});
    const ModuleState state(context, discriminator, 0);
    network["discriminator"] = layers_of(discriminator, "discriminator");
  }
  return network;
}

// Of 8, 16, 32, ... components the number with which most validation samples are given their cohort; 0 where that cannot be
// asked.
int64_t best_on_validation(const data::RowMatrix<float>& scores, const data::Table& obs, uint64_t seed, std::vector<std::string>& warnings) {
  const data::Column* cohort = obs.find("cohort");
  std::vector<int64_t> train, validation;
  if (cohort && obs.find("split")) {
    for (int64_t r : data::rows_of_split(obs, "train"))
      if (!cohort->missing(r)) train.push_back(r);
    for (int64_t r : data::rows_of_split(obs, "validation"))
      if (!cohort->missing(r)) validation.push_back(r);
  }
  if (train.empty() || validation.empty()) {
    warnings.push_back("no PCA baseline with the number of components that is best on validation: that needs cohorts and validation samples");
    return 0;
  }
  const data::Column factor = data::as_factor(*cohort);
  std::vector<int32_t> label = factor.code;
  eval::TreeOptions trees;
  trees.seed = seed;
  std::vector<data::RowMatrix<double>> tried;
  for (int64_t k = 8; k < scores.cols(); k *= 2) tried.emplace_back(scores.leftCols(k).cast<double>());
  tried.emplace_back(scores.cast<double>());
  std::vector<eval::Classification> tasks;
  for (const data::RowMatrix<double>& x : tried) tasks.push_back({&x, train, label, validation, static_cast<int32_t>(factor.levels.size()), trees});
  const std::vector<eval::Classified> found = eval::classify_side_by_side(tasks, "components of the PCA");
  int64_t best = 0, best_right = -1;
  for (size_t t = 0; t < tried.size(); ++t) {
    const int64_t k = tried[t].cols();
    int64_t right = 0;
    for (size_t i = 0; i < validation.size(); ++i) right += found[t].predicted[i] == label[static_cast<size_t>(validation[i])];
    log::info("PCA, {} components: {} of {} validation samples are given their cohort", k, right, validation.size());
    if (right > best_right) best_right = right, best = k;
  }
  return best;
}

void add_baselines(JudgedData& d, const std::vector<int64_t>& latents, const PcaBaselines& baselines, uint64_t seed) {
  std::set<int64_t> wanted(baselines.components.begin(), baselines.components.end());
  if (baselines.latent) wanted.insert(latents.begin(), latents.end());
  if (wanted.empty() && !baselines.best) return;
  eval::PcaOptions options;
  options.seed = seed;
  for (int64_t k : wanted) options.components = std::max(options.components, k);
  // At the width of ATAC the components would take more memory than the data: there they are made when they are needed.
  const bool wide = eval::is_wide(d.matrix.samples(), d.matrix.features());
  const auto pca = std::make_shared<eval::WidePca>();
  if (wide) {
    *pca = eval::fit_wide_pca(d.matrix.x, data::training_rows(d.matrix.obs), options);
  } else {
    pca->model = eval::fit_pca(d.matrix.x, data::training_rows(d.matrix.obs), options);
    pca->scores = eval::transform(pca->model, d.matrix.x);
  }
  const std::shared_ptr<const eval::PcaModel> model(pca, &pca->model);
  const data::RowMatrix<float> scores = pca->scores.cast<float>();
  std::map<int64_t, std::string> made;  // components: why, where that is to be said
  for (int64_t k : wanted) made.emplace(std::min(k, model->count()), "");
  if (baselines.best)
    if (const int64_t k = best_on_validation(scores, d.matrix.obs, seed, d.warnings); k > 0) made[k] = " (best on validation)";
  const data::Dataset<float>* matrix = &d.matrix;
  for (const auto& [k, why] : made) {
    JudgedModel m;
    m.info.label = fmt::format("PCA, {}{}", k, why);
    m.info.kind = "pca";
    m.info.modality = d.info.modality;
    m.info.dimensions = k;
    m.info.seed = seed;
    const Eigen::VectorXd ratio = model->explained_ratio();
    for (int64_t i = 0; i < std::min<int64_t>(2, k); ++i) m.info.explained.push_back(ratio[i]);
    m.embedding = as_embedding(scores.leftCols(k), d.matrix.obs, "PC");
    m.reconstruct = [pca, wide, matrix, k = k](const std::vector<int64_t>& rows) {
      data::RowMatrix<double> z(static_cast<int64_t>(rows.size()), pca->model.count());
      if (wide)
        for (size_t i = 0; i < rows.size(); ++i) z.row(static_cast<int64_t>(i)) = pca->scores.row(rows[i]);
      else z = eval::transform(pca->model, rows_of(matrix->x, rows));
      z.rightCols(z.cols() - k).setZero();
      return wide ? eval::inverse_transform(*pca, matrix->x, z) : eval::inverse_transform<float>(pca->model, z);
    };
    d.models.push_back(std::move(m));
  }
}

}  // namespace

PcaBaselines parse_pca_baselines(const std::string& text) {
  PcaBaselines b;
  if (text == "none") return b;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    int64_t k = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), k);
    if (part == "latent") b.latent = true;
    else if (part == "best") b.best = true;
    else if (error == std::errc() && end == part.data() + part.size() && k > 0 && k <= 1000000) b.components.push_back(k);
    else
      fail_usage(fmt::format("{} is no PCA baseline", quoted(part)), "--pca", "give numbers of components, 'latent' or 'best', with commas between, or 'none'");
  }
  return b;
}

namespace {

// A run, or half of one, and the file of its samples.
struct Loaded {
  std::string folder, path;
  std::shared_ptr<Run> run;
  size_t data = 0, model = 0;  // where it is judged
};

// Where the modalities of a run are compared: on the latent units, made once.
class LatentUnits {
 public:
  explicit LatentUnits(const std::vector<JudgedData>& data) : data_(data) {}
  std::shared_ptr<const data::Dataset<double>> of(const Loaded& l) {
    std::shared_ptr<const data::Dataset<double>>& made = made_[{l.data, l.model}];
    const JudgedModel& m = data_[l.data].models[l.model];
    if (!made) made = std::make_shared<data::Dataset<double>>(m.on_latent_units ? m.on_latent_units() : m.embedding);
    return made;
  }

 private:
  const std::vector<JudgedData>& data_;
  std::map<std::pair<size_t, size_t>, std::shared_ptr<const data::Dataset<double>>> made_;
};

// What goes into a canonical correlation analysis: the matrix, or where it is wide the scores of the baseline with most
// components, if there is one.
std::optional<data::Dataset<double>> cca_input(const JudgedData& d) {
  if (eval::is_wide(d.matrix.samples(), d.matrix.features())) {
    const JudgedModel* widest = nullptr;
    for (const JudgedModel& m : d.models)
      if (m.info.kind == "pca" && (!widest || *m.info.dimensions > *widest->info.dimensions)) widest = &m;
    if (!widest) return std::nullopt;
    return widest->embedding;
  }
  data::Dataset<double> out;
  out.x = d.matrix.x.cast<double>();
  out.obs = d.matrix.obs;
  out.var = d.matrix.var;
  out.kind = d.matrix.kind;
  out.path = d.matrix.path;
  return out;
}

// The classical baseline of two modalities, with the defaults of 'panvae cca'. Nothing where no donor of both trains.
std::optional<JudgedPair> judged_cca(const JudgedData& rna, const JudgedData& atac, uint64_t seed) {
  const std::optional<data::Dataset<double>> x = cca_input(rna), y = cca_input(atac);
  if (!x || !y) return std::nullopt;
  eval::CcaOptions options;
  options.seed = seed;
  try {
    const eval::CcaResult r = eval::embed_by_cca(*x, *y, options);
    JudgedPair pair;
    pair.info.kind = "cca";
    pair.info.label = fmt::format("CCA, {}", r.singular.size());
    pair.info.dimensions = r.singular.size();
    pair.info.seed = seed;
    const auto embedding = [](const eval::CcaSide& side, const data::Table& obs) {
      return std::make_shared<const data::Dataset<double>>(as_embedding(side.scores.cast<float>(), obs, "CC"));
    };
    pair.rna = embedding(r.rna, x->obs);
    pair.atac = embedding(r.atac, y->obs);
    return pair;
  } catch (const Error& e) {
    if (e.code() != ErrorCode::input) throw;
    log::warning("no canonical correlation analysis of {} and {}: {}", rna.info.label, atac.info.label, e.what());
    return std::nullopt;
  }
}

std::vector<JudgedPair> judged_pairs(Context& context, const std::vector<Loaded>& loaded, const std::vector<JudgedData>& data, bool baselines, uint64_t seed,
                                     std::set<std::string>& ids, std::set<std::string>& labels) {
  std::vector<JudgedPair> out;
  LatentUnits units(data);
  const auto add = [&](JudgedPair pair, const std::string& id) {
    pair.info.id = unique_id(id, ids);
    pair.info.modality = "both";
    if (!labels.insert(pair.info.label).second) labels.insert(pair.info.label += fmt::format(" ({})", pair.info.id));
    out.push_back(std::move(pair));
  };
  const auto add_runs = [&](JudgedPair pair, const Loaded& rna, const Loaded& atac, const std::string& id) {
    pair.info.dimensions = rna.run->model->latent();
    pair.rna = units.of(rna);
    pair.atac = units.of(atac);
    add(std::move(pair), id);
  };
  const auto is = [](const Loaded& l, const char* modality, bool coembedded) { return l.run->config.modality == modality && l.run->coembedded == coembedded; };
  std::vector<std::pair<const Loaded*, const Loaded*>> separate;
  for (const Loaded& rna : loaded)
    for (const Loaded& atac : loaded)
      if (is(rna, "rna", false) && is(atac, "atac", false) && rna.run->model->latent() == atac.run->model->latent()) separate.emplace_back(&rna, &atac);
  for (const auto& [rna, atac] : separate) {
    JudgedPair pair;
    pair.info.kind = "separate";
    pair.info.label = fmt::format("separate VAEs, {}", rna->run->model->latent());
    if (separate.size() > 1) pair.info.label += fmt::format(" ({} and {})", last_part(rna->folder), last_part(atac->folder));
    add_runs(std::move(pair), *rna, *atac, "separate");
  }
  for (const JudgedData& rna : data)
    for (const JudgedData& atac : data) {
      if (!baselines || rna.info.modality != "rna" || atac.info.modality != "atac") continue;
      if (std::optional<JudgedPair> pair = judged_cca(rna, atac, seed)) add(std::move(*pair), "cca");
    }
  for (size_t i = 0; i + 1 < loaded.size(); ++i) {
    const Loaded &rna = loaded[i], &atac = loaded[i + 1];  // the halves of a co-embedding follow one another
    if (!is(rna, "rna", true)) continue;
    const RunConfig config = coembedding_config(rna.folder);
    JudgedPair pair;
    pair.info.kind = "coembedding";
    pair.info.label = fmt::format("co-embedding, {}, {}", mode_words(config.coembed), rna.run->model->latent());
    pair.info.parameters = rna.run->model->parameter_count() + atac.run->model->parameter_count();
    describe_training(pair.info, rna.run->provenance, rna.folder);
    pair.info.network = network_of(context, config, *rna.run, *atac.run);
    pair.curves = curves_of(rna.folder);
    add_runs(std::move(pair), rna, atac, last_part(rna.folder));
  }
  return out;
}

}  // namespace

Judged load_judged(Context& context, const std::vector<std::string>& runs, const std::vector<std::string>& files, const DatasetOptions& options,
                   const PcaBaselines& baselines, uint64_t seed) {
  const data::ReadOptions read = options.read();
  std::vector<data::Table> features;
  for (const std::string& f : files) features.push_back(data::SampleSource(f, read).var());

  std::vector<std::string> paths;  // of each data
  std::vector<Loaded> loaded;
  for (const std::string& folder : runs)
    for (const char* modality : is_coembedding(folder) ? std::vector<const char*>{"rna", "atac"} : std::vector<const char*>{""}) {
      Loaded l;
      l.folder = folder;
      l.run = std::make_shared<Run>(load_run(context, folder, modality));
      l.path = file_of(*l.run, folder, files, features);
      l.data = static_cast<size_t>(std::find(paths.begin(), paths.end(), l.path) - paths.begin());
      if (l.data == paths.size()) paths.push_back(l.path);
      loaded.push_back(std::move(l));
    }
  for (size_t i = 0; i < files.size(); ++i)
    if (std::find(paths.begin(), paths.end(), files[i]) == paths.end()) log::warning("no run has the features of {}: it is not used", quoted(files[i], 200));

  // Whether there is one matrix of the modality: then its models need no other name.
  const auto alone = [&](const std::string& modality) {
    std::set<size_t> of;
    for (const Loaded& l : loaded)
      if (l.run->config.modality == modality) of.insert(l.data);
    return of.size() == 1;
  };
  std::set<std::string> data_ids, model_ids, labels;
  Judged out;
  std::vector<JudgedData>& all = out.data;
  all.resize(paths.size());
  for (size_t i = 0; i < paths.size(); ++i) {
    JudgedData& d = all[i];
    std::vector<Loaded*> of_data;
    for (Loaded& l : loaded)
      if (l.data == i) of_data.push_back(&l);
    d.info.modality = of_data.front()->run->config.modality;
    d.matrix = data::read_dataset<float>(paths[i], read);
    if (d.matrix.kind == "counts")
      fail_input("raw counts have no baseline", quoted(paths[i], 400),
                 fmt::format("give the preprocessed matrix: panvae preprocess --modality {} -o OUT {}", d.info.modality, paths[i]));
    std::string stem = last_part(paths[i]);
    d.info.label = stem;
    if (const size_t dot = stem.find('.'); dot != std::string::npos && dot > 0) stem.resize(dot);
    d.info.id = unique_id(stem, data_ids);
    d.info.samples = d.matrix.samples();
    d.info.features = d.matrix.features();
    if (d.matrix.obs.find("split")) d.info.holdout = static_cast<int64_t>(data::rows_of_split(d.matrix.obs, "holdout").size());
    if (const data::Column* c = d.matrix.obs.find("cohort")) d.info.cohorts = data::as_factor(*c).levels;
    std::vector<int64_t> latents;
    for (const Loaded* l : of_data) latents.push_back(l->run->model->latent());
    add_baselines(d, latents, baselines, seed);
    for (Loaded* l : of_data) {
      l->model = d.models.size();
      d.models.push_back(judged_run(context, l->run, l->folder, paths[i], read));
    }
    for (JudgedModel& m : d.models) {
      m.info.data = d.info.id;
      const std::string name = m.info.run.empty() ? fmt::format("pca{}", *m.info.dimensions) : last_part(m.info.run);
      m.info.id = unique_id(name + (m.info.kind == "coembedding" ? "_" + m.info.modality : ""), model_ids);
      if (paths.size() > 1 && (m.info.run.empty() || !alone(d.info.modality))) m.info.label += fmt::format(", {}", d.info.id);
      if (!labels.insert(m.info.label).second) labels.insert(m.info.label += fmt::format(" ({})", m.info.id));
    }
  }
  const bool some_baseline = !baselines.components.empty() || baselines.latent || baselines.best;
  out.pairs = judged_pairs(context, loaded, all, some_baseline, seed, model_ids, labels);
  return out;
}

}  // namespace panvae::tools
