#include "tests/eval/results_fixture.h"

#include <algorithm>
#include <cmath>

#include "eval/classifier.h"
#include "tests/eval/helpers.h"

namespace panvae::eval::test {

namespace {

const char* const kNames[] = {"ACC",  "BLCA", "BRCA", "CESC", "CHOL", "COAD", "DLBC", "ESCA", "GBM",  "HNSC", "KICH",
                              "KIRC", "KIRP", "LAML", "LGG",  "LIHC", "LUAD", "LUSC", "MESO", "OV",   "PAAD", "PCPG",
                              "PRAD", "READ", "SARC", "SKCM", "STAD", "TGCT", "THCA", "THYM", "UCEC", "UCS",  "UVM"};

struct FakeModel {
  const char *id, *label, *kind, *modality;
  int64_t dimensions;
  double skill;  // 0 to 1
};

bool is_baseline_kind(const std::string& kind) {
  return kind == "pca";
}

class Draws {
 public:
  explicit Draws(uint32_t op) : g_(PhiloxKey{3, op, 0}) {}
  double normal() { return g_.normal(); }
  double uniform() { return static_cast<double>(g_() >> 11) * 0x1p-53; }

 private:
  PhiloxSequence g_;
};

void set_spread(Json& j, const std::string& name, const std::vector<double>& folds) {
  const Spread s = spread(folds);
  j[name + "_mean"] = s.mean, j[name + "_sd"] = s.sd, j[name + "_se"] = s.se;
}

std::vector<double> folds_around(Draws& draws, double mean, double sd) {
  std::vector<double> out;
  for (int f = 0; f < 5; ++f) out.push_back(mean + sd * draws.normal());
  return out;
}

ResultsScore cohort_score(const FakeModel& m, const std::vector<std::string>& names, const std::vector<int>& cohort, Draws& draws) {
  ResultsScore s{m.id, "", false, "", Json::object()};
  const size_t n = names.size();
  std::vector<std::vector<int64_t>> counts(n, std::vector<int64_t>(n, 0));
  std::vector<int64_t> sizes(n, 0);
  for (int c : cohort) {
    const auto truth = static_cast<size_t>(c);
    // Neighbours in the list are like one another.
    size_t predicted = truth;
    if (draws.uniform() > 0.75 + 0.2 * m.skill)
      predicted = draws.uniform() < 0.6 ? (truth ^ 1) % n : static_cast<size_t>(draws.uniform() * static_cast<double>(n));
    ++counts[truth][predicted], ++sizes[truth];
  }
  int64_t right = 0;
  for (size_t i = 0; i < n; ++i) right += counts[i][i];
  const std::vector<double> accuracy = folds_around(draws, static_cast<double>(right) / static_cast<double>(cohort.size()), 0.012);
  set_spread(s.values, "accuracy", accuracy);
  set_spread(s.values, "balanced_accuracy", folds_around(draws, 0.97 * accuracy[0], 0.02));
  s.values["folds"] = accuracy;
  s.values["n"] = cohort.size();
  s.values["class_names"] = names;
  s.values["confusion"] = counts;
  s.values["majority_share"] = static_cast<double>(*std::max_element(sizes.begin(), sizes.end())) / static_cast<double>(cohort.size());
  return s;
}

ResultsScore survival_score(const char* model, const char* setting, bool within, double c, Draws& draws) {
  ResultsScore s{model, setting, within, "", Json::object()};
  const std::vector<double> harrell = folds_around(draws, c, 0.014), uno = folds_around(draws, c - 0.008, 0.017),
                            inner = folds_around(draws, 0.5 + (c - 0.5) * 0.45, 0.015);
  set_spread(s.values, "harrell", harrell);
  set_spread(s.values, "uno", uno);
  set_spread(s.values, "within_cohort", inner);
  s.values["folds"] = Json::array();
  for (size_t f = 0; f < harrell.size(); ++f) s.values["folds"].push_back({{"harrell", harrell[f]}, {"uno", uno[f]}, {"within_cohort", inner[f]}});
  return s;
}

data::Table keyed(const char* name, std::vector<std::string> keys) {
  data::Table t;
  t.key_name = name;
  t.keys = std::move(keys);
  return t;
}

Json layer(const std::string& name, int64_t in, int64_t out, const std::string& activation = "") {
  Json j = {{"name", name}, {"kind", "Linear"}, {"in", in}, {"out", out}, {"parameters", in * out + out}};
  if (!activation.empty()) j["activation"] = activation;
  return j;
}
Json norm(const std::string& name, int64_t n) {
  return {{"name", name}, {"kind", "BatchNorm1d"}, {"in", n}, {"out", n}, {"parameters", 2 * n}};
}
Json conv(const std::string& name, const std::string& kind, int64_t in, int64_t out, const std::string& activation = "") {
  Json j = layer(name, in, out, activation);
  j["kind"] = kind, j["window"] = 3, j["parameters"] = 3 * in * out + out;
  return j;
}
Json heads(int64_t in, int64_t latent) {
  return {layer("encoder.mean", in, latent), layer("encoder.logvar", in, latent)};
}

// The networks of the paper.
Json rna_part(const std::string& activation) {
  return {{"name", "VAE"},
          {"modality", "rna"},
          {"inputs", 19421},
          {"encoder", Json::array({layer("encoder.hidden", 19421, 1024, activation)})},
          {"heads", heads(1024, 512)},
          {"decoder", {layer("decoder.hidden", 512, 1024, activation), layer("decoder.output", 1024, 19421)}}};
}
Json modules(const std::string& name, std::vector<int64_t> widths) {
  Json out = Json::array();
  for (size_t i = 1; i < widths.size(); ++i) {
    out.push_back(layer(fmt::format("{}.modules.{}.linear", name, i - 1), widths[i - 1], widths[i], "leaky ReLU"));
    out.push_back(norm(fmt::format("{}.modules.{}.norm", name, i - 1), widths[i]));
  }
  return out;
}
Json atac_parts(bool frozen) {
  Json block = {{"name", "block VAE"},
                {"modality", "atac"},
                {"inputs", 562709},
                {"times", 113},
                {"encoder", modules("encoder", {5000, 2048, 1024, 512})},
                {"heads", heads(512, 512)},
                {"decoder", modules("decoder", {512, 1024, 2048})}};
  block["decoder"].push_back(layer("decoder.output", 2048, 5000));
  if (frozen) block["frozen"] = true;
  Json whole = {{"name", "hierarchical VAE"},
                {"modality", "atac"},
                {"inputs", 57856},
                {"encoder", {conv("encoder.conv", "Conv1d", 512, 64, "leaky ReLU"), norm("encoder.norm", 64)}},
                {"heads", heads(1024, 512)},
                {"decoder", modules("decoder", {512, 1024, 2048, 7232})}};
  for (const Json& l : modules("encoder", {7232, 2048, 1024})) whole["encoder"].push_back(l);
  whole["decoder"].push_back(conv("decoder.conv", "ConvTranspose1d", 64, 512));
  return {block, whole};
}
Json network_of(const std::string& id) {
  if (id == "rna_vae" || id == "rna_linear") return {{"parts", Json::array({rna_part(id == "rna_vae" ? "ReLU" : "")})}};
  if (id == "atac_vae") return {{"parts", atac_parts(false)}};
  Json parts = Json::array({rna_part("ReLU")});
  for (const Json& p : atac_parts(true)) parts.push_back(p);
  Json j = {{"parts", parts}, {"mode", id}, {"cycle", true}, {"pair", true}};
  if (id == "adversarial") j["discriminator"] = {layer("0", 512, 256, "leaky ReLU"), layer("1", 256, 128, "leaky ReLU"), layer("2", 128, 1)};
  return j;
}

// Models of both modalities: how near the partners are, and how far the modalities lie apart.
struct FakePair {
  const char *id, *label, *kind;
  double apart, noise;
};

void add_both(Results& r, const std::vector<std::string>& samples, const std::vector<int>& cohort, const std::vector<std::string>& names,
              const FakeStudy& study) {
  Draws draws(2);
  const size_t n = samples.size();
  for (const FakePair& m : {FakePair{"coembed_adversarial", "Co-embedding, adversarial", "coembedding", 0.1, 0.5},
                            FakePair{"coembed_contrastive", "Co-embedding, contrastive", "coembedding", 0.2, 0.7},
                            FakePair{"separate", "RNA VAE and ATAC VAE", "separate", 5, 3}, FakePair{"cca", "CCA, 20", "cca", 0, 1.3}}) {
    ResultsModel out;
    out.id = m.id, out.label = m.label, out.kind = m.kind, out.modality = "both", out.dimensions = 512, out.explained = {0.3, 0.2};
    if (out.kind == "coembedding") out.run = std::string("runs/") + m.id, out.network = network_of(out.id.substr(8));
    r.models.push_back(out);
    ResultsScore s{m.id, "", false, "", Json::object()};
    s.values = {{"n_pairs", n / 10},
                {"foscttm", 0.02 + 0.08 * m.apart},
                {"foscttm_within_cohort", 0.2 + 0.05 * m.apart},
                {"z", -12.3},
                {"recall_at_1", 0.3 / (1 + m.noise)},
                {"recall_at_5", 0.6 / (1 + m.noise)},
                {"recall_at_10", 0.9 / (1 + m.noise)},
                {"chance_foscttm", 0.5},
                {"chance_recall_at_1", 0.01},
                {"chance_recall_at_5", 0.05},
                {"chance_recall_at_10", 0.1},
                {"mixing_entropy", 0.9 / (1 + m.apart)},
                {"chance_mixing_entropy", 0.97},
                {"transfer_rna_to_atac", 0.9 / (1 + 0.2 * m.apart)},
                {"transfer_atac_to_rna", 0.85 / (1 + 0.2 * m.apart)},
                {"majority_share_atac", 0.31},
                {"majority_share_rna", 0.28}};
    r.pairs.push_back(s);
    if (study.controls && m.id == std::string("coembed_adversarial")) {
      s.control = "permuted pairs", s.values["foscttm"] = 0.4987, s.values["recall_at_10"] = 0.09;
      r.pairs.push_back(s);
    }
    if (!study.tables) continue;
    // RNA of every donor, ATAC of every second.
    std::vector<std::string> keys, modality, of, donor, split;
    std::vector<double> pc1, pc2;
    for (size_t i = 0; i < n; ++i) {
      const double c = cohort[i], x = 4 * std::cos(2.4 * c) + 0.8 * draws.normal(), y = 3 * std::sin(2.4 * c) + 0.8 * draws.normal();
      for (const char* side : {"rna", "atac"}) {
        if (side[0] == 'a' && i % 2 == 1) continue;
        keys.push_back(samples[i] + (side[0] == 'a' ? "-ATAC" : ""));
        modality.push_back(side), of.push_back(names[static_cast<size_t>(cohort[i])]), donor.push_back(samples[i].substr(0, 12));
        split.push_back(i % 5 == 0 ? "holdout" : i % 5 == 1 ? "validation" : "train");
        pc1.push_back(x + (side[0] == 'a' ? m.apart + 0.4 * m.noise * draws.normal() : 0));
        pc2.push_back(y + (side[0] == 'a' ? 0.4 * m.noise * draws.normal() : 0));
      }
    }
    data::Table plane = keyed("sample", keys);
    set_factor(plane, "modality", modality), set_factor(plane, "cohort", of), set_factor(plane, "donor", donor), set_factor(plane, "split", split);
    set_number(plane, "pc1", pc1), set_number(plane, "pc2", pc2);
    r.tables.push_back({"plane", m.id, "", std::move(plane)});
  }
}

}  // namespace

Results fake_results(const FakeStudy& study) {
  Results r;
  Draws draws(1);
  r.program = {{"version", "0.1.0"}, {"git", "0123abc"}, {"cuda", "without CUDA"}, {"blas", "OpenBLAS 0.3.21"}};
  r.command = {"panvae", "evaluate", "all", "runs/rna", "runs/rna linear", "-o", "results/"};
  r.seconds = 1834.2;
  r.peak_memory_bytes = int64_t{5} << 30;
  std::vector<std::string> names(kNames, kNames + std::min(study.cohorts, 33));
  r.data.push_back({"rna", "rna_pp.h5ad", "rna", study.samples, study.features, study.samples / 5, names});
  if (study.atac) r.data.push_back({"atac", "atac_pp.h5ad", "atac", study.samples, study.features, study.samples / 5, names});
  std::vector<FakeModel> models = {{"pca_512", "PCA, 512 components", "pca", "rna", 512, 0.72},
                                   {"pca_128", "PCA, 128 components", "pca", "rna", 128, 0.78},
                                   {"rna_vae", "RNA VAE", "vae", "rna", 512, 0.9},
                                   {"rna_linear", "RNA linear VAE", "linear_vae", "rna", 512, 0.88},
                                   {"coembed", "Co-embedding, contrastive, RNA", "coembedding", "rna", 512, 0.86}};
  if (study.atac)
    models.push_back({"atac_pca", "ATAC PCA, 100 components", "pca", "atac", 100, 0.6}), models.push_back({"atac_vae", "ATAC VAE", "vae", "atac", 512, 0.55});
  const auto n = static_cast<size_t>(study.samples);
  std::vector<int> cohort;
  std::vector<std::string> samples;
  for (size_t i = 0; i < n; ++i) {
    // Cohorts of unlike size.
    cohort.push_back(static_cast<int>(std::pow(draws.uniform(), 1.4) * static_cast<double>(names.size())));
    samples.push_back(fmt::format("TCGA-{:02X}-{:04d}-01A", 2 + cohort.back(), i));
  }
  std::vector<double> hazard, time, died;
  for (size_t i = 0; i < n; ++i) {
    hazard.push_back(0.35 * std::sin(3.7 * cohort[i]) * 2 + 0.6 * draws.normal());
    const double death = -std::log(1 - draws.uniform()) * 2400 * std::exp(-hazard.back()), censored = -std::log(1 - draws.uniform()) * 1500;
    time.push_back(std::floor(std::min(death, censored)) + 1);
    died.push_back(death <= censored);
  }
  const auto risk_table = [&](const std::string& model, const std::string& setting, double noise) {
    data::Table t = keyed("sample", samples);
    std::vector<double> risk, fold, sorted;
    for (size_t i = 0; i < n; ++i) risk.push_back(hazard[i] + noise * draws.normal()), fold.push_back(static_cast<double>(i % 5));
    sorted = risk;
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::string> group, of;
    for (size_t i = 0; i < n; ++i) {
      group.push_back(risk[i] < sorted[n / 3] ? "low" : risk[i] < sorted[2 * n / 3] ? "medium" : "high");
      of.push_back(names[static_cast<size_t>(cohort[i])]);
    }
    set_number(t, "os_time", time), set_number(t, "os_event", died), set_number(t, "risk", risk), set_number(t, "fold", fold);
    set_factor(t, "group", group), set_factor(t, "cohort", of);
    r.tables.push_back({"risk", model, setting, std::move(t)});
  };
  for (const FakeModel& m : models) {
    ResultsModel out;
    out.id = m.id, out.label = m.label, out.kind = m.kind, out.modality = m.modality, out.data = m.modality, out.dimensions = m.dimensions;
    if (!is_baseline_kind(m.kind)) {
      out.run = std::string("runs/") + m.id, out.device = "cpu", out.parameters = 42000000, out.epochs = 64, out.best_epoch = 58, out.seconds = 812.5;
      out.peak_memory_bytes = int64_t{3} << 30, out.seed = 0;
    }
    out.explained = {0.12 + 0.1 * m.skill, 0.07 + 0.05 * m.skill};
    if (m.kind == std::string("vae") || m.kind == std::string("linear_vae")) out.network = network_of(m.id);
    r.models.push_back(out);
    r.cohort.push_back(cohort_score(m, names, cohort, draws));
    ResultsScore alignment{m.id, "", false, "", Json::object()};
    alignment.values = {{"distance", 2.9 - 1.2 * m.skill},
                        {"chance_distance", 4.2},
                        {"embedding_rank", 32},
                        {"n_angles", names.size() - 1},
                        {"z", -60},
                        {"max_distance", std::sqrt(static_cast<double>(names.size() - 1)) * 1.5708}};
    r.alignment.push_back(alignment);
    ResultsScore wide = alignment;
    wide.setting = "top 100", wide.values["embedding_rank"] = 100, wide.values["distance"] = 1.1 - m.skill;
    r.alignment.push_back(wide);
    r.survival.push_back(survival_score(m.id, "embedding", false, 0.66 + 0.08 * m.skill, draws));
    r.survival.back().values["n"] = n, r.survival.back().values["events"] = std::count(died.begin(), died.end(), 1.0);
    r.survival.push_back(survival_score(m.id, "embedding+clinical", false, 0.68 + 0.08 * m.skill, draws));
    ResultsScore expression{m.id, "", false, "", Json::object()};
    const double n_de = std::floor(30 * (1 - m.skill) * (1 - m.skill) * 20);
    expression.values = {{"n_de", n_de},
                         {"baseline_n_de", 4},
                         {"ratio", n_de / 4},
                         {"spearman_per_sample_mean", 0.9 + 0.06 * m.skill},
                         {"spearman_per_feature_mean", 0.4 + 0.4 * m.skill},
                         {"r2", 0.3 + 0.3 * m.skill},
                         {"cohort_mean_n_de", 1},
                         {"cohort_mean_spearman_per_sample_mean", 0.9},
                         {"cohort_mean_spearman_per_feature_mean", 0.21},
                         {"cohort_mean_r2", 0.04}};
    r.expression.push_back(expression);
    if (study.controls) {
      ResultsScore control = r.cohort.back();
      control.control = "permuted labels";
      set_spread(control.values, "accuracy", folds_around(draws, 0.09, 0.01));
      r.cohort.push_back(control);
      alignment.control = "permuted labels", alignment.values["distance"] = 4.18;
      r.alignment.push_back(alignment);
      r.survival.push_back(survival_score(m.id, "embedding", false, 0.5, draws));
      r.survival.back().control = "permuted labels";
    }
    if (!study.tables) continue;
    data::Table points = keyed("sample", samples);
    std::vector<double> pc1, pc2;
    std::vector<std::string> of, split;
    for (size_t i = 0; i < n; ++i) {
      const double c = cohort[i], spread_of = 1.6 - 1.2 * m.skill;
      pc1.push_back(4 * std::cos(2.4 * c) * std::sqrt(0.3 + c / 9) * m.skill + spread_of * draws.normal());
      pc2.push_back(3 * std::sin(2.4 * c) * std::sqrt(0.3 + c / 9) * m.skill + spread_of * draws.normal());
      of.push_back(names[static_cast<size_t>(cohort[i])]);
      split.push_back(i % 5 == 0 ? "holdout" : "train");
    }
    set_factor(points, "cohort", of), set_number(points, "pc1", pc1), set_number(points, "pc2", pc2), set_factor(points, "split", split);
    r.tables.push_back({"points", m.id, "", std::move(points)});
    risk_table(m.id, "embedding", 1.4 - m.skill);
    if (m.kind == std::string("vae")) risk_table(m.id, "embedding+clinical", 0.4);
    std::vector<std::string> features, symbols;
    std::vector<double> change, t_value, p, fdr, observed, reconstructed, per_feature, per_sample;
    for (int64_t g = 0; g < study.features; ++g) {
      features.push_back(fmt::format("ENSG{:011d}", 17 * g + 3));
      symbols.push_back(fmt::format("GENE{}", g + 1));
      const double scale = g % 50 == 0 ? 1.1 : 0.35;
      change.push_back(scale * (1.3 - m.skill) * 2 * draws.normal());
      t_value.push_back(change.back() / 0.12 + draws.normal());
      p.push_back(std::erfc(std::abs(t_value.back()) / std::sqrt(2.0)));
      fdr.push_back(std::min(1.0, p.back() * 3));
      observed.push_back(6 + 2 * draws.normal());
      reconstructed.push_back(observed.back() + change.back());
      per_feature.push_back(std::tanh(0.4 + 1.1 * m.skill + 0.45 * draws.normal()));
    }
    for (size_t i = 0; i < n; ++i) per_sample.push_back(1 - 0.12 * (1.2 - m.skill) * std::exp(0.35 * draws.normal()));
    data::Table de = keyed("feature", features);
    de.set(data::factor_from_text("symbol", symbols));
    set_number(de, "log2fc", change), set_number(de, "t", t_value), set_number(de, "p", p), set_number(de, "fdr", fdr),
        set_number(de, "mean_observed", observed), set_number(de, "mean_reconstructed", reconstructed);
    r.tables.push_back({"de", m.id, "", std::move(de)});
    data::Table by_feature = keyed("feature", features), by_sample = keyed("sample", samples);
    set_number(by_feature, "spearman", per_feature), set_number(by_sample, "spearman", per_sample);
    r.tables.push_back({"spearman", m.id, "feature", std::move(by_feature)});
    r.tables.push_back({"spearman", m.id, "sample", std::move(by_sample)});
    if (is_baseline_kind(m.kind)) continue;
    std::vector<std::string> epochs;
    std::vector<double> train, validation, weight;
    for (int e = 1; e <= 64; ++e) {
      epochs.push_back(std::to_string(e));
      const double level = 2100 + 5200 * std::exp(-0.14 * e) + 20000 * std::exp(-1.3 * e);
      train.push_back(level + 20 * draws.normal()), validation.push_back(level + 120 + 0.02 * (e - 58) * (e - 58) + 25 * draws.normal()),
          weight.push_back(std::min(1.0, e / 10.0));
    }
    data::Table curves = keyed("epoch", epochs);
    set_number(curves, "train_loss", train), set_number(curves, "validation_loss", validation), set_number(curves, "kl_weight", weight);
    r.tables.push_back({"curves", m.id, "", std::move(curves)});
  }
  if (study.both) add_both(r, samples, cohort, names, study);
  ResultsModel clinical;
  clinical.id = "clinical", clinical.label = "Clinical (age, sex, cohort)", clinical.kind = "clinical", clinical.data = "rna";
  r.models.push_back(clinical);
  r.survival.push_back(survival_score("clinical", "clinical", false, 0.7, draws));
  if (study.tables) risk_table("clinical", "clinical", 1.0);
  r.warnings = {"RNA VAE: 161 hold-out samples are few for 512 dimensions: compare models of equal size only",
                "survival: 3 samples without a time are left out"};
  return r;
}

}  // namespace panvae::eval::test
