#include "eval/report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/file.h"
#include "tests/base/helpers.h"
#include "tests/eval/helpers.h"
#include "tests/eval/report_page.h"
#include "tests/eval/results_fixture.h"

namespace panvae::eval {
namespace {

using panvae::test::contains;
using namespace test;

// What holds of every page: parts belong together, and nothing is loaded.
void expect_sound(const std::string& page) {
  const Json data = data_of(page);
  std::set<std::string> charts;
  for (const Json& c : data["charts"]) {
    const std::string id = c["id"].get<std::string>();
    EXPECT_TRUE(charts.insert(id).second) << id;
    EXPECT_EQ(c["spec"]["$schema"], "https://vega.github.io/schema/vega/v5.json");
    EXPECT_FALSE(c["spec"]["description"].get<std::string>().empty()) << id;
    for (const Json& d : c["data"]) {
      ASSERT_TRUE(data["tables"].contains(d["table"].get<std::string>())) << id;
      std::set<std::string> fields;
      for (const auto& [field, name] : d["fields"].items()) {
        fields.insert(field);
        EXPECT_FALSE(column(data, d["table"].get<std::string>(), name.get<std::string>()).empty()) << id << ' ' << name;
      }
      for (const Json& needed : d["needs"]) EXPECT_TRUE(fields.count(needed.get<std::string>())) << id;
      EXPECT_TRUE(std::any_of(c["spec"]["data"].begin(), c["spec"]["data"].end(), [&](const Json& x) { return x["name"] == d["name"]; })) << id;
    }
  }
  for (const auto& [name, columns] : data["tables"].items()) {
    std::set<size_t> rows;
    for (const Json& c : columns) rows.insert((c.contains("values") ? c["values"] : c["codes"]).size());
    EXPECT_EQ(rows.size(), 1u) << name;
  }
  const std::vector<std::string> figures = all_between(page, "<figure ", "</figure>");
  EXPECT_EQ(figures.size(), data["charts"].size());
  for (const std::string& f : figures) {
    EXPECT_TRUE(charts.count(between(f, "data-chart=\"", "\""))) << f;
    EXPECT_FALSE(between(f, "aria-label=\"", "\"").empty()) << f;
    EXPECT_TRUE(data["tables"].contains(between(f, "<details data-table=\"", "\""))) << f;
    EXPECT_EQ(between(f, "<details data-table=\"", "\""), between(f, "data-copy=\"", "\""));
  }
  std::set<std::string> ids;
  for (const std::string& id : all_between(page, " id=\"", "\"")) EXPECT_TRUE(ids.insert(id).second) << id << " stands twice";
  for (const std::string& s : all_between(page, "<section ", "</section>")) {
    const std::string id = between(s, "id=\"", "\"");
    EXPECT_CONTAINS(page, "<a href=\"#" + id + "\">");
    EXPECT_TRUE(id == "summary" || contains(s, "<table") || contains(s, "data-table")) << id;
  }
  EXPECT_EQ(count(page, "<script"), 3);
  EXPECT_EQ(count(page, "</script"), 3);
  const std::string text = page.substr(0, page.find("<script"));
  for (const char* loaded : {"<link", "<img", "<script src", "@import", "url(", "<iframe"}) EXPECT_EQ(count(text, loaded), 0) << loaded;
  EXPECT_EQ(page.rfind("<!doctype html>", 0), 0u);
}

TEST(Report, HoldsEverySection) {
  FakeStudy study;
  study.atac = study.both = true;
  const std::string page = page_of(fake_results(study), true);
  expect_sound(page);
  for (const char* id :
       {"summary", "networks", "pairs", "benchmarks", "survival", "embeddings", "confusion", "expression", "controls", "training", "literature", "provenance"})
    EXPECT_CONTAINS(page, fmt::format("<section id=\"{}\">", id));
  EXPECT_FALSE(contains(page, "Not in these results"));
  for (const char* text : {"University of Washington Interactive Data Lab", "Redistribution and use in source and binary forms", "Mike Bostock",
                           "Ariya Hidayat", "0123abc", "&#39;runs/rna linear&#39;", "30 min 34 s", "5.00 GiB", "161 hold-out samples are few", "42,000,000"})
    EXPECT_CONTAINS(page, text);
  const Json data = data_of(page);
  std::map<std::string, int> kinds;
  for (const Json& c : data["charts"]) ++kinds[c["id"].get<std::string>().substr(0, 8)];
  EXPECT_EQ(kinds["figure-0"] + kinds["figure-1"] + kinds["figure-2"] + kinds["figure-3"], 4);
  EXPECT_EQ(kinds["points-p"] + kinds["points-r"] + kinds["points-c"] + kinds["points-a"], 7);
  EXPECT_EQ(kinds["volcano-"], 7);
  EXPECT_EQ(kinds["training"], 4);  // a baseline has no curve
  EXPECT_EQ(kinds["kaplan-m"], 10);
}

TEST(Report, BarsShowTheScoresBaselinesAndTheBest) {
  const Results r = fake_results();
  const Json data = data_of(page_of(r)), c = chart(data, "figure-0");
  const std::vector<Json> label = column(data, "scores-0", "model"), kind = column(data, "scores-0", "kind"), accuracy = column(data, "scores-0", "accuracy"),
                          se = column(data, "scores-0", "standard error"), control = column(data, "scores-0", "control");
  ASSERT_EQ(label.size(), 5u);  // clinical variables have no accuracy
  double best = 0;
  for (const ResultsScore& s : r.cohort)
    if (s.control.empty()) best = std::max(best, s.values["accuracy_mean"].get<double>());
  size_t row = 0;
  for (const ResultsModel& m : r.models) {
    for (const ResultsScore& s : r.cohort) {
      if (s.model != m.id) continue;
      if (!s.control.empty()) {
        EXPECT_NEAR(control[row - 1].get<double>(), s.values["accuracy_mean"].get<double>(), 1e-6);
        continue;
      }
      EXPECT_EQ(label[row], m.label);
      EXPECT_NEAR(accuracy[row].get<double>(), s.values["accuracy_mean"].get<double>(), 1e-6);
      EXPECT_NEAR(se[row].get<double>(), s.values["accuracy_se"].get<double>(), 1e-5);
      EXPECT_EQ(kind[row], s.values["accuracy_mean"] == best ? "best" : m.kind == "pca" ? "baseline" : "model");
      ++row;
    }
  }
  EXPECT_EQ(signal(c, "from"), 0);
  EXPECT_NEAR(column(data, "scores-0", "by chance")[2].get<double>(), r.cohort[0].values["majority_share"].get<double>(), 1e-5);
  // The picture has the distances at equal numbers of components; the others stand in the table beneath it.
  const std::string table = between(page_of(r), "<table id=\"alignment-table\">", "</table>");
  EXPECT_EQ(count(table, "as in the figure"), 5);
  EXPECT_EQ(count(table, "top 100 components</td><td class=\"number\">100"), 5);
  // Where an embedding has no more than those, both are one row.
  Results small = r;
  for (ResultsScore& s : small.alignment) s.values["embedding_rank"] = 32;
  const std::string once = between(page_of(small), "<table id=\"alignment-table\">", "</table>");
  EXPECT_EQ(count(once, "as in the figure"), 5);
  EXPECT_EQ(count(once, "top 100 components"), 0);
  // Lower is better: the best has the smallest distance.
  const std::vector<Json> distance = column(data, "scores-1", "Grassmann distance (L2, radians)"), kinds = column(data, "scores-1", "kind");
  const auto least = std::min_element(distance.begin(), distance.end(), [](const Json& a, const Json& b) { return a.get<double>() < b.get<double>(); });
  EXPECT_EQ(kinds[static_cast<size_t>(least - distance.begin())], "best");
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), Json("best")), 1);
  // Clinical variables stand among the survival scores, but are never the best embedding.
  const std::vector<Json> with_clinical = column(data, "scores-2", "model");
  EXPECT_EQ(with_clinical.back(), "Clinical (age, sex, cohort)");
  EXPECT_EQ(column(data, "scores-2", "kind").back(), "clinical");
}

TEST(Report, HarrellStandsInWhereUnoIsUnknown) {
  Results r = fake_results();
  EXPECT_CONTAINS(page_of(r), "C-statistic (Uno)");
  r.survival[0].values["uno_mean"] = nullptr;
  const std::string page = page_of(r);
  EXPECT_FALSE(contains(page, "C-statistic (Uno)"));
  const std::vector<Json> c = column(data_of(page), "scores-2", "C-statistic (Harrell)");
  EXPECT_NEAR(c[0].get<double>(), r.survival[0].values["harrell_mean"].get<double>(), 1e-6);
}

TEST(Report, TheCountIsShownWhereThereIsNoBaseline) {
  Results r = fake_results();
  const std::vector<Json> ratio = column(data_of(page_of(r)), "scores-3", "number, relative to technical noise");
  r.expression[0].values["ratio"] = nullptr;
  const std::vector<Json> n = column(data_of(page_of(r)), "scores-3", "number of features");
  EXPECT_EQ(n[0].get<double>(), r.expression[0].values["n_de"].get<double>());
  EXPECT_EQ(ratio[1].get<double>(), r.expression[1].values["n_de"].get<double>() / 4);
}

// The words of the summary, from numbers that are easy to follow.
TEST(Report, SummaryComparesFoldByFold) {
  Results r = fake_results({.samples = 60, .tables = false});
  for (ResultsScore& s : r.cohort)
    s.values["accuracy_mean"] = s.model == "rna_vae" && s.control.empty() ? 0.9 : s.model == "pca_128" && s.control.empty() ? 0.8 : 0.1;
  for (ResultsScore& s : r.cohort) {
    s.values["accuracy_se"] = 0.01;
    s.values["folds"] = s.model == "rna_vae" ? Json({0.9, 0.91, 0.89, 0.9, 0.9}) : Json({0.8, 0.81, 0.79, 0.8, 0.8});
  }
  EXPECT_CONTAINS(page_of(r),
                  "0.900\u00a0±\u00a00.010 with RNA VAE, against 0.800\u00a0±\u00a00.010 with PCA, 128 components; fold by fold the difference is "
                  "0.100\u00a0±\u00a00.000.");
  for (ResultsScore& s : r.cohort)
    if (s.model == "rna_vae") s.values["folds"] = {0.7, 0.95, 0.79, 0.85, 0.8};
  EXPECT_CONTAINS(page_of(r), "less than two standard errors: no finding.");
}

// Peaks are accessible where genes are expressed. Beside genes both are features.
TEST(Report, AtacIsSpokenOfAsAccessibility) {
  const Results both = fake_results({.atac = true});
  const std::string page = page_of(both);
  for (const char* part :
       {"Differential features", "reconstructed against observed accessibility", "log\u2082 fold change of accessibility", "Per feature, across samples"})
    EXPECT_CONTAINS(page, part);
  EXPECT_EQ(page.find("accessible peaks"), std::string::npos);
  EXPECT_EQ(column(data_of(page), "differential-atac_vae", "peak").size(),
            column(data_of(page), "differential-atac_vae", "mean accessibility, observed").size());
  EXPECT_FALSE(column(data_of(page), "differential-rna_vae", "feature").empty());
  Results atac = both;
  std::erase_if(atac.models, [](const ResultsModel& m) { return m.modality != "atac"; });
  const auto gone = [&](const std::string& model) { return !atac.find_model(model); };
  for (auto* scores : {&atac.cohort, &atac.alignment, &atac.survival, &atac.expression})
    std::erase_if(*scores, [&](const ResultsScore& s) { return gone(s.model); });
  std::erase_if(atac.tables, [&](const ResultsTable& t) { return gone(t.model); });
  std::erase_if(atac.data, [](const ResultsData& d) { return d.modality != "atac"; });
  const std::string alone = page_of(atac);
  for (const char* part : {"Differentially accessible peaks", "Per peak, across samples", "Per sample, across peaks", "differential peaks", "Spearman, peaks"})
    EXPECT_CONTAINS(alone, part);
  EXPECT_EQ(alone.find("Differential features"), std::string::npos);
  EXPECT_EQ(alone.find("Per feature"), std::string::npos);
}

// Names are data: whatever they hold, they are text.
TEST(Report, NamesAreHarmless) {
  const std::vector<std::string> evil = {
      "</script><script>document.title='broken'</script>", "<img src=x onerror=alert(1)>", "<!--", "a & \"b\" 'c'", "\xE2\x80\xA8{{data}}", "\xff\xfe"};
  Results r = fake_results({.atac = true, .both = true});
  for (size_t i = 0; i < r.models.size(); ++i) r.models[i].label = evil[i % evil.size()] + std::to_string(i);
  r.data[0].label = evil[0];
  r.command = evil;
  r.warnings = evil;
  r.program = {{evil[0], evil[1]}};
  for (ResultsScore& s : r.cohort) s.values["class_names"] = {evil[0], evil[1], evil[2], evil[3], evil[4]};
  for (ResultsModel& m : r.models) {
    if (m.network.is_null()) continue;
    Json& part = m.network["parts"][0];
    part["name"] = evil[0], part["encoder"][0]["name"] = evil[1], part["encoder"][0]["kind"] = evil[0], part["encoder"][0]["activation"] = evil[5];
  }
  for (ResultsTable& t : r.tables) {
    for (size_t i = 0; i < t.table.keys.size() && t.kind != "curves"; ++i) t.table.keys[i] = evil[i % evil.size()] + t.table.keys[i];
    for (data::Column& c : t.table.columns)
      for (std::string& level : c.levels)
        if (c.name == "cohort" || c.name == "symbol" || c.name == "donor") level = evil[0] + level;
  }
  const std::string page = report_html({{evil[1], r}}, {evil[0], evil[2], true});
  expect_sound(page);
  EXPECT_CONTAINS(page, "&lt;img src=x onerror=alert(1)&gt;");
  EXPECT_EQ(count(page, "<title>&lt;/script&gt;"), 1);
  const Json data = data_of(page);
  EXPECT_EQ(column(data, "scores-0", "model")[0], evil[0] + "0");
  EXPECT_EQ(column(data, "points", "sample")[4].get<std::string>().substr(3, 8), "{{data}}");
}

TEST(Report, PairsOfCoembeddings) {
  Results r = fake_results();
  EXPECT_FALSE(contains(page_of(r), "<section id=\"pairs\">"));
  ResultsScore s{"coembed", "", false, "", Json::object()};
  s.values = {{"n_pairs", 160},        {"foscttm", 0.1234},          {"foscttm_within_cohort", 0.3456}, {"z", -12.3},
              {"recall_at_1", 0.25},   {"recall_at_5", 0.5},         {"recall_at_10", nullptr},         {"chance_foscttm", 0.5012},
              {"mixing_entropy", 0.9}, {"transfer_rna_to_atac", 0.8}};
  r.pairs.push_back(s);
  s.control = "permuted pairs", s.values["foscttm"] = 0.4987;
  r.pairs.push_back(s);
  const std::string page = page_of(r);
  expect_sound(page);
  const std::string table = between(page, "<table id=\"pairs-table\">", "</table>");
  for (const char* text : {"Co-embedding, contrastive, RNA", "permuted pairs", "by chance", "160", "0.123", "0.346", "12.3", "0.501", "0.499", "0.800"})
    EXPECT_CONTAINS(table, text);
  // A number that no model has is no picture.
  const Json data = data_of(page);
  EXPECT_FALSE(data["tables"].contains("pairs-recall"));
  EXPECT_EQ(column(data, "pairs-foscttm", "control")[0], 0.4987);
  EXPECT_EQ(signal(chart(data, "pairs-foscttm-bars"), "to"), 0.55);
}

// What is not aligned stands first, whatever the order of the models; chance, where it is the same, in one row.
TEST(Report, PairsOfSeveralKindsStandTogether) {
  const Results r = fake_results({.atac = true, .both = true});
  const std::string page = page_of(r);
  const Json data = data_of(page);
  EXPECT_EQ(column(data, "pairs-foscttm", "model"),
            (std::vector<Json>{"RNA VAE and ATAC VAE", "Co-embedding, adversarial", "Co-embedding, contrastive", "CCA, 20"}));
  EXPECT_EQ(column(data, "pairs-foscttm", "kind"), (std::vector<Json>{"baseline", "model", "model", "best"})) << "the smallest is best";
  EXPECT_EQ(column(data, "pairs-recall", "kind"), (std::vector<Json>{"baseline", "best", "model", "baseline"})) << "the highest is best";
  EXPECT_EQ(column(data, "pairs-transfer", "by chance"), (std::vector<Json>(4, 0.31)));
  EXPECT_EQ(column(data, "pairs-within", "by chance"), (std::vector<Json>(4, 0.5)));
  std::string table = between(page, "<table id=\"pairs-table\">", "</table>");
  EXPECT_EQ(count(table, "by chance"), 1);
  EXPECT_EQ(count(table, "<tr"), 1 + 4 + 1 + 1) << "the head, four models, one control, chance";
  Results other = r;
  for (ResultsScore& s : other.pairs)
    if (s.model == "cca") s.values["n_pairs"] = 7;
  table = between(page_of(other), "<table id=\"pairs-table\">", "</table>");
  EXPECT_EQ(count(table, "by chance"), 2) << "of other pairs chance is another";
  // They have no row among the models that are judged on data.
  EXPECT_FALSE(contains(between(page, "<table id=\"headline\">", "</table>"), "RNA VAE and ATAC VAE"));
  const std::string summary = between(page, "<section id=\"summary\">", "</section>");
  EXPECT_CONTAINS(summary,
                  "RNA and ATAC of a donor in one space (FOSCTTM, lower is better): 0.028 with Co-embedding, adversarial, against 0.420 with RNA VAE and "
                  "ATAC VAE and 0.020 with CCA, 20; 0.5 by chance.");
}

TEST(Report, BothModalitiesStandInOnePlane) {
  const Results r = fake_results({.atac = true, .both = true});
  const Json data = data_of(page_of(r));
  std::vector<std::string> order;
  for (const Json& c : data["charts"])
    if (const std::string id = c["id"]; id.rfind("plane-", 0) == 0) order.push_back(id.substr(6));
  EXPECT_EQ(order, (std::vector<std::string>{"separate-modality", "coembed_adversarial-modality", "coembed_contrastive-modality", "cca-modality",
                                             "separate-cohort", "coembed_adversarial-cohort", "coembed_contrastive-cohort", "cca-cohort"}));
  const std::vector<Json> modality = column(data, "plane-separate", "modality"), held = column(data, "plane-separate", "held out");
  EXPECT_EQ(std::count(modality.begin(), modality.end(), Json("RNA")), 300);
  EXPECT_EQ(std::count(modality.begin(), modality.end(), Json("ATAC")), 150);
  EXPECT_EQ(std::count(held.begin(), held.end(), Json("yes")), 60 + 30);
  // A line between the held-out samples of a donor, from where the one stands to where the other does.
  const std::vector<Json> donor = column(data, "plane-separate-partners", "donor"), x = column(data, "plane-separate-partners", "rna pc1"),
                          x2 = column(data, "plane-separate-partners", "atac pc1");
  EXPECT_EQ(donor.size(), 30u);
  const std::vector<Json> donors = column(data, "plane-separate", "donor"), pc1 = column(data, "plane-separate", "pc1");
  for (size_t i = 0; i < donors.size(); ++i)
    if (donors[i] == donor[3]) {
      EXPECT_EQ(pc1[i], modality[i] == "RNA" ? x[3] : x2[3]);
    }
  EXPECT_EQ(signal(chart(data, "plane-separate-modality"), "some_held_out"), true);
  EXPECT_EQ(chart(data, "plane-separate-cohort")["data"].size(), 1u) << "no lines among the cohorts";
  // Without a hold-out all pairs are joined, up to a number; without donors none is.
  Results all = fake_results({.samples = 600, .atac = true, .both = true});
  for (ResultsTable& t : all.tables)
    if (t.kind == "plane") std::erase_if(t.table.columns, [](const data::Column& c) { return c.name == "split"; });
  const std::string page = page_of(all);
  expect_sound(page);
  EXPECT_EQ(column(data_of(page), "plane-cca-partners", "donor").size(), 250u);
  EXPECT_CONTAINS(page, "(250 of 300 pairs are drawn)");
  EXPECT_FALSE(contains(page, "outlined"));
  for (ResultsTable& t : all.tables)
    if (t.kind == "plane") std::erase_if(t.table.columns, [](const data::Column& c) { return c.name == "donor" || c.name == "cohort"; });
  const std::string bare = page_of(all);
  expect_sound(bare);
  EXPECT_FALSE(contains(bare, "plane-cca-partners"));
  EXPECT_FALSE(contains(bare, "plane-cca-cohort"));
  // The plane without scores, and scores without a plane.
  all.pairs.clear();
  expect_sound(page_of(all));
  Results scores = r;
  std::erase_if(scores.tables, [](const ResultsTable& t) { return t.kind == "plane"; });
  expect_sound(page_of(scores));
}

TEST(Report, NetworksAreDrawnAsTheyAre) {
  const Results r = fake_results({.atac = true, .both = true});
  const std::string page = page_of(r);
  const Json data = data_of(page);
  // Both co-embeddings are of the same networks, which those of the single runs are too; the linear one is another.
  std::vector<std::string> drawn;
  for (const Json& c : data["charts"])
    if (const std::string id = c["id"]; id.rfind("network-", 0) == 0) drawn.push_back(id);
  EXPECT_EQ(drawn, (std::vector<std::string>{"network-coembed_adversarial", "network-rna_linear"}));
  EXPECT_CONTAINS(page, "Drawn from the modules of: Co-embedding, adversarial; Co-embedding, contrastive; RNA VAE; ATAC VAE.");
  const std::vector<Json> text = column(data, "network-coembed_adversarial-texts", "text");
  for (const char* part : {"19,421",
                           "1,024",
                           "5,000",
                           "512 × 113",
                           "64 × 113",
                           "one for all 113 blocks",
                           "discriminator of the adversarial mode",
                           "164 k parameters",
                           "RNA or ATAC?",
                           "triplets of the contrastive mode",
                           "z of RNA",
                           "z of ATAC",
                           "one space",
                           "hierarchical encoder",
                           "block decoder",
                           "RNA, 19,421 features",
                           "19.9 M",
                           "Linear, ReLU",
                           "Linear, leaky ReLU, BatchNorm1d",
                           "Conv1d (window 3), leaky ReLU, BatchNorm1d",
                           "ConvTranspose1d (window 3)",
                           "cycle: z of ATAC, decoded to RNA and encoded again, comes back"})
    EXPECT_NE(std::find(text.begin(), text.end(), Json(part)), text.end()) << part;
  // Everything stands within the picture.
  const double width = signal(chart(data, drawn[0]), "width").get<double>(), height = signal(chart(data, drawn[0]), "height").get<double>();
  EXPECT_EQ(width, 1000);
  const std::vector<Json> xs = column(data, "network-coembed_adversarial-texts", "x"), ys = column(data, "network-coembed_adversarial-texts", "y");
  for (size_t i = 0; i < xs.size(); ++i) {
    EXPECT_TRUE(xs[i] >= 0 && xs[i] <= width) << text[i];
    EXPECT_TRUE(ys[i] >= 8 && ys[i] <= height) << text[i];
  }
  // All modules stand in the table, those that the picture puts together too.
  const std::vector<Json> layer = column(data, "network-coembed_adversarial-layers", "layer");
  EXPECT_EQ(layer.size(), 5u + (6 + 2 + 5) + (6 + 2 + 7) + 3);
  const std::vector<Json> linear = column(data, "network-rna_linear-layers", "activation");
  EXPECT_TRUE(std::all_of(linear.begin(), linear.end(), [](const Json& a) { return a.is_null(); }));
  // Of one modality alone only that is shown.
  const Json alone = data_of(page_of(fake_results()));
  const std::vector<Json> rna = column(alone, "network-rna_vae-texts", "text");
  EXPECT_EQ(std::count_if(rna.begin(), rna.end(), [](const Json& t) { return contains(t.get<std::string>(), "ATAC"); }), 0);
  // A changed network is a changed picture.
  Results changed = r;
  for (ResultsModel& m : changed.models)
    if (m.id == "rna_vae") m.network["parts"][0]["encoder"][0]["out"] = 777, m.network["parts"][0]["heads"][0]["in"] = 777;
  const Json of_changed = data_of(page_of(changed));
  const std::vector<Json> texts = column(of_changed, "network-rna_vae-texts", "text");
  EXPECT_NE(std::find(texts.begin(), texts.end(), Json("777")), texts.end());
}

TEST(Report, BadNetworksAreErrorsThatNameTheModel) {
  const auto refused = [](const char* part, auto&& change) {
    Results r = fake_results();
    change(r.models[2].network);
    EXPECT_ERROR(ErrorCode::input, part, page_of(r));
    EXPECT_ERROR(ErrorCode::input, "'rna_vae'", page_of(r));
  };
  refused("'parts'", [](Json& n) { n.erase("parts"); });
  refused("no parts", [](Json& n) { n["parts"] = Json::array(); });
  refused("'parts'", [](Json& n) { n["parts"][0] = 3; });
  refused("'modality'", [](Json& n) { n["parts"][0].erase("modality"); });
  refused("'inputs'", [](Json& n) { n["parts"][0]["inputs"] = 0; });
  refused("'inputs'", [](Json& n) { n["parts"][0]["inputs"] = 1e300; });
  refused("'times'", [](Json& n) { n["parts"][0]["times"] = 1.5; });
  refused("'frozen'", [](Json& n) { n["parts"][0]["frozen"] = "yes"; });
  refused("an empty list 'encoder'", [](Json& n) { n["parts"][0]["encoder"] = Json::array(); });
  refused("'heads'", [](Json& n) { n["parts"][0].erase("heads"); });
  refused("'kind'", [](Json& n) { n["parts"][0]["decoder"][0]["kind"] = 1; });
  refused("'in'", [](Json& n) { n["parts"][0]["decoder"][0]["in"] = -4; });
  refused("'cycle'", [](Json& n) { n["cycle"] = 1; });
  refused("'mode'", [](Json& n) { n["mode"] = 1; });
  refused("'discriminator'", [](Json& n) { n["discriminator"] = Json::object(); });
}

TEST(Report, EqualInputsGiveEqualBytes) {
  const Results r = fake_results();
  EXPECT_EQ(page_of(r, true), page_of(fake_results(), true));
  test::Threads one(1);
  EXPECT_EQ(page_of(r, true), page_of(fake_results(), true));
}

TEST(Report, SectionsWithoutResultsAreLeftOutAndNamed) {
  const std::string empty = page_of({});
  expect_sound(empty);
  EXPECT_CONTAINS(
      empty,
      "Not in these results, so not on this page: networks, benchmarks, survival, pictures of the embeddings, confusion matrices, expression, controls and "
      "training curves.");
  EXPECT_EQ(all_between(empty, "<section ", ">").size(), 2u);
  // Each list alone, and each kind of table alone.
  const Results all = fake_results({.atac = true, .both = true});
  for (int part = 0; part < 11; ++part) {
    Results r = all;
    if (part != 0) r.cohort.clear();
    if (part != 1) r.alignment.clear();
    if (part != 2) r.survival.clear();
    if (part != 3) r.expression.clear();
    if (part != 4) r.pairs.clear();
    const char* kinds[] = {"curves", "points", "risk", "de", "spearman", "plane"};
    std::erase_if(r.tables, [&](const ResultsTable& t) { return part < 5 || t.kind != kinds[part - 5]; });
    if (part % 2 == 0)
      for (ResultsModel& m : r.models) m.network = nullptr;
    SCOPED_TRACE(part);
    expect_sound(page_of(r));
  }
}

TEST(Report, SeveralFoldersStandSideBySide) {
  Results other = fake_results();
  other.seed = 7;
  other.models[2].label = "Another VAE";
  other.data[0].samples = 11;
  const std::string page = report_html({{"a/first/", fake_results()}, {"b/second", other}, {"c/second", Results()}}, {});
  expect_sound(page);
  const Json data = data_of(page);
  const std::vector<Json> label = column(data, "scores-0", "model");
  EXPECT_EQ(label.size(), 10u);
  EXPECT_EQ(label[0], "PCA, 512 components (first)");
  EXPECT_EQ(label[2], "RNA VAE");  // a name that only one folder has stays as it is
  EXPECT_EQ(label[5], "PCA, 512 components (b/second)");
  EXPECT_EQ(label[7], "Another VAE");
  EXPECT_CONTAINS(page, "first: survival: 3 samples");
  const std::string runs = between(page, "<table id=\"runs-table\">", "</table>");
  EXPECT_CONTAINS(runs, "<th scope=\"row\">first</th><td class=\"number\">0</td>");
  EXPECT_CONTAINS(runs, "<th scope=\"row\">b/second</th><td class=\"number\">7</td>");
  EXPECT_CONTAINS(runs, "<th scope=\"row\">c/second</th>");
  EXPECT_EQ(count(between(page, "<table id=\"data-table\">", "</table>"), "<tr>"), 3);  // with its head
  // Models are compared, and the best is picked, within one data set and one set of folds only.
  const std::vector<Json> kind = column(data, "scores-0", "kind");
  EXPECT_EQ(std::count(kind.begin(), kind.begin() + 5, Json("best")), 1);
  EXPECT_EQ(std::count(kind.begin() + 5, kind.end(), Json("best")), 1);
  EXPECT_CONTAINS(page, "Cohort classification, RNA, rna_pp.h5ad (first) (accuracy");
  EXPECT_CONTAINS(page, "Cohort classification, RNA, rna_pp.h5ad (b/second) (accuracy");
  // Another seed means other folds, whatever the data; the same seed is one contest.
  Results seed = fake_results();
  seed.seed = 1;
  EXPECT_EQ(count(report_html({{"x", fake_results()}, {"y", seed}}), "<li>Cohort classification"), 2);
  EXPECT_EQ(count(report_html({{"x", fake_results()}, {"y", fake_results()}}), "<li>Cohort classification"), 1);
  EXPECT_CONTAINS(report_html({{"x/results/", fake_results()}, {"x/results", Results()}}), "<th scope=\"row\">x-2</th>");
}

TEST(Report, AFewThousandSamplesStaySmall) {
  const std::string page = page_of(fake_results({.samples = 5000, .features = 4000, .cohorts = 33}), true);
  EXPECT_LT(page.size(), 3'000'000u);
}

TEST(Report, BadScoresAreErrorsThatNameTheModel) {
  const auto refused = [](const char* part, auto&& change) {
    Results r = fake_results();
    change(r);
    EXPECT_ERROR(ErrorCode::input, part, page_of(r));
  };
  refused("'accuracy_mean'", [](Results& r) { r.cohort[0].values["accuracy_mean"] = "high"; });
  refused("'pca_512'", [](Results& r) { r.cohort[0].values["accuracy_mean"] = "high"; });
  refused("square matrix", [](Results& r) { r.cohort[0].values["confusion"].erase(0); });
  refused("square matrix", [](Results& r) { r.cohort[0].values["confusion"][0] = 3; });
  refused("square matrix", [](Results& r) { r.cohort[0].values["confusion"][0][0] = -1; });
  refused("square matrix", [](Results& r) { r.cohort[0].values["class_names"][0] = 1; });
  refused("the epoch 'x'", [](Results& r) {
    for (ResultsTable& t : r.tables)
      if (t.kind == "curves") t.table.keys[0] = "x";
  });
  refused("risk group 'huge'", [](Results& r) {
    for (ResultsTable& t : r.tables)
      for (data::Column& c : t.table.columns)
        if (c.name == "group") c.levels[0] = "huge";
  });
  for (const Json& count : {Json(), Json(-1), Json(0.5), Json(1e300)})
    refused("'events' is no whole number", [&](Results& r) {
      for (ResultsScore& s : r.survival) s.values["events"] = count;
    });
  EXPECT_ERROR(ErrorCode::usage, "no results", report_html({}, {}));
}

}  // namespace
}  // namespace panvae::eval
