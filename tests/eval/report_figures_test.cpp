// Figures of the report whose numbers are computed for them: survival curves, volcano plots, histograms.
#include <algorithm>
#include <cmath>

#include "eval/kaplan_meier.h"
#include "tests/eval/helpers.h"
#include "tests/eval/report_page.h"
#include "tests/eval/results_fixture.h"

namespace panvae::eval {
namespace {

using namespace test;

TEST(Report, KaplanMeierCurvesAndLogRankAreThoseOfEval) {
  const Results r = fake_results();
  const ResultsTable* risk = r.find_table("risk", "rna_vae", "embedding");
  ASSERT_TRUE(risk);
  std::vector<uint8_t> event;
  std::vector<int32_t> group;
  const data::Table& t = risk->table;
  std::vector<double> low_time;
  std::vector<uint8_t> low_event;
  for (int64_t i = 0; i < t.rows(); ++i) {
    event.push_back(t.at("os_event").number[static_cast<size_t>(i)] != 0);
    const std::string g = t.at("group").text(i);
    group.push_back(g == "low" ? 0 : g == "medium" ? 1 : 2);
    if (g == "low") low_time.push_back(t.at("os_time").number[static_cast<size_t>(i)]), low_event.push_back(event.back());
  }
  const LogRank test = log_rank(t.at("os_time").number, event, group, 3);
  const std::string page = page_of(r);
  EXPECT_CONTAINS(page, fmt::format("χ² = {:.1f} on 2 degrees of freedom", test.chi_square));
  const Json data = data_of(page);
  EXPECT_EQ(signal(chart(data, "kaplan-meier-rna_vae-embedding"), "test"), fmt::format("log-rank p = {:.1e}", test.p_value));
  const KaplanMeier km = kaplan_meier(low_time, low_event);
  const std::string table = "survival-curves-rna_vae-embedding";
  const std::vector<Json> groups = column(data, table, "group"), years = column(data, table, "years"), survival = column(data, table, "survival");
  int64_t checked = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] != "low" || i == 0) continue;
    // Rounded to four digits, and within a pixel of the step.
    const double days = years[i].get<double>() * 365.25;
    EXPECT_NEAR(survival[i].get<double>(), km.at(days * (1 + 2e-4)), 0.02) << years[i];
    ++checked;
  }
  EXPECT_GT(checked, 20);
  EXPECT_EQ(survival[0], 1);
  const std::vector<Json> at_risk = column(data, "at-risk-rna_vae-embedding", "at risk");
  EXPECT_EQ(at_risk[0], low_time.size());
  // Each curve ends while one in twenty of its own patients is watched: a death of the last one would draw it down to zero.
  for (size_t i = 0; i < groups.size(); ++i) {
    if (i + 1 < groups.size() && groups[i + 1] == groups[i]) continue;
    int64_t all = 0, watched = 0;
    for (size_t j = 0; j < group.size(); ++j) {
      if (group[j] != (groups[i] == "low" ? 0 : groups[i] == "medium" ? 1 : 2)) continue;
      ++all, watched += t.at("os_time").number[j] >= years[i].get<double>() * 365.25 * (1 - 1e-4);
    }
    EXPECT_GE(20 * watched, all) << groups[i];
  }
}

// Where a curve ends one in twenty is left, of whom a death would take a large part: the last day's is not drawn.
TEST(Report, KaplanMeierCurvesDoNotFallWhereTheyEnd) {
  Results r = fake_results();
  for (ResultsTable& t : r.tables)
    for (data::Column& c : t.table.columns)
      if (c.name == "os_event") c.number.assign(c.number.size(), 1.0);
  const data::Table& t = r.find_table("risk", "rna_vae", "embedding")->table;
  const Json data = data_of(page_of(r));
  const std::string table = "survival-curves-rna_vae-embedding";
  const std::vector<Json> groups = column(data, table, "group"), years = column(data, table, "years"), survival = column(data, table, "survival");
  int64_t ends = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (i + 1 < groups.size() && groups[i + 1] == groups[i]) continue;
    // Everybody dies, so a curve is the share of those who are left: here of those left before the day on which it ends.
    const auto group = groups[i].get<std::string>();
    double all = 0, watched = 0;
    for (int64_t j = 0; j < t.rows(); ++j)
      if (t.at("group").text(j) == group) ++all, watched += t.at("os_time").number[static_cast<size_t>(j)] >= years[i].get<double>() * 365.25 * (1 - 1e-4);
    EXPECT_GT(watched, 1) << groups[i];
    EXPECT_NEAR(survival[i].get<double>(), watched / all, 1e-3) << groups[i];
    ++ends;
  }
  EXPECT_EQ(ends, 3);
}

// Times that are no days, or a placeholder for an unknown one, are drawn with as many ticks as others.
TEST(Report, KaplanMeierAxisOfAnyLengthHasFewTicks) {
  for (const double scale : {1e-3, 1.0, 86400.0, 1e12, 1e300}) {
    Results r = fake_results();
    for (ResultsTable& t : r.tables)
      for (data::Column& c : t.table.columns)
        if (c.name == "os_time")
          for (double& days : c.number) days *= scale;
    const Json ticks = signal(chart(data_of(page_of(r)), "kaplan-meier-rna_vae-embedding"), "ticks");
    EXPECT_GE(ticks.size(), 2u) << scale;
    EXPECT_LE(ticks.size(), 9u) << scale;
  }
}

TEST(Report, VolcanoKeepsWhatDiffersAndThinsTheRest) {
  const Results r = fake_results({.features = 6000});
  const ResultsTable* de = r.find_table("de", "rna_vae");
  int64_t different = 0;
  for (size_t i = 0; i < de->table.keys.size(); ++i) different += de->table.at("fdr").number[i] < 0.05 && std::abs(de->table.at("log2fc").number[i]) > 1;
  const std::string page = page_of(r);
  const Json data = data_of(page);
  const std::vector<Json> kind = column(data, "differential-rna_vae", "kind"), name = column(data, "differential-rna_vae", "feature");
  EXPECT_EQ(std::count_if(kind.begin(), kind.end(), [](const Json& k) { return k != "-"; }), different);
  EXPECT_GT(different, 10);
  EXPECT_LT(kind.size(), 5000u);
  EXPECT_GT(kind.size(), 500u);
  EXPECT_EQ(name[0].get<std::string>().rfind("GENE", 0), 0u);  // symbols, not identifiers
  EXPECT_CONTAINS(page, fmt::format("{} of 6,000 differ", different));
}

// A threshold of 0 and a reconstruction that is what was observed, of which no axis can be made.
TEST(Report, VolcanoOfNoChangeHasAnAxis) {
  Results r = fake_results();
  for (ResultsScore& score : r.expression) score.values["lfc"] = 0;
  for (ResultsTable& t : r.tables)
    for (data::Column& c : t.table.columns)
      if (t.kind == "de" && c.name == "log2fc") std::fill(c.number.begin(), c.number.end(), 0.0);
  const Json data = data_of(page_of(r));
  EXPECT_EQ(signal(chart(data, "volcano-rna_vae"), "extent"), 1.05);
  EXPECT_FALSE(column(data, "differential-rna_vae", "kind").empty());
}

// Correlations are read from a file.
TEST(Report, HistogramsHoldWhatIsBeyondTheirAxis) {
  Results r = fake_results();
  int64_t samples = 0;
  for (ResultsTable& t : r.tables)
    if (t.kind == "spearman" && t.model == "rna_vae" && t.setting == "sample")
      for (data::Column& c : t.table.columns)
        if (c.name == "spearman") c.number[0] = -1e300, c.number[1] = 1e300, samples = c.size();
  ASSERT_GT(samples, 2);
  const Json data = data_of(page_of(r));
  const std::vector<Json> counts = column(data, "spearman-bins-sample", "count"), model = column(data, "spearman-bins-sample", "model"),
                          to = column(data, "spearman-bins-sample", "to");
  int64_t total = 0, last = 0;
  for (size_t i = 0; i < counts.size(); ++i)
    if (model[i] == "RNA VAE") {
      total += counts[i].get<int64_t>();
      if (to[i] == 1) last += counts[i].get<int64_t>();
    }
  EXPECT_EQ(total, samples);
  EXPECT_GE(last, 1) << "of the largest";
}

}  // namespace
}  // namespace panvae::eval
