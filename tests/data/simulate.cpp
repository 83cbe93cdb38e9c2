// The simulator: samplers, statistics of what it makes, files.
#include "data/simulate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "data/random.h"
#include "support.h"

namespace panvae::data::test {
namespace {

struct Moments {
  double mean = 0, variance = 0;
};

template <class F>
Moments moments(int64_t n, F&& draw) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double x = draw();
    sum += x;
    squares += x * x;
  }
  const auto d = static_cast<double>(n);
  return {sum / d, squares / d - sum / d * sum / d};
}

TEST(Random, MeansAndVariances) {
  PhiloxSequence random({11, 0, 0});
  constexpr int64_t n = 200000;
  for (double shape : {0.3, 1.0, 4.5, 60.0}) {
    const Moments m = moments(n, [&] { return gamma_draw(random, shape); });
    EXPECT_NEAR(m.mean / shape, 1, 5 / std::sqrt(shape * n) + 1e-3) << shape;
    EXPECT_NEAR(m.variance / shape, 1, 0.05) << shape;
  }
  for (double mean : {0.01, 0.7, 9.9, 10.1, 250.0, 1e6}) {
    const Moments m = moments(n, [&] { return poisson_draw(random, mean); });
    EXPECT_NEAR(m.mean / mean, 1, 5 / std::sqrt(mean * n)) << mean;
    EXPECT_NEAR(m.variance / mean, 1, mean < 0.1 ? 0.1 : 0.03) << mean;
  }
  const Moments m = moments(n, [&] { return negative_binomial_draw(random, 50, 0.1); });
  EXPECT_NEAR(m.mean, 50, 0.3);
  EXPECT_NEAR(m.variance, 50 + 0.1 * 2500, 10);
  EXPECT_EQ(poisson_draw(random, 0), 0);
}

TEST(Simulate, SameSeedSameStudy) {
  SimulateOptions o;
  o.donors = 40;
  o.genes = 120;
  o.cohorts = 4;
  const SimulatedStudy a = simulate_study(o), b = simulate_study(o);
  EXPECT_EQ(a.rna.x, b.rna.x);
  EXPECT_EQ(a.truth, b.truth);
  o.seed = 1;
  const SimulatedStudy other = simulate_study(o);
  const int64_t rows = std::min(a.rna.samples(), other.rna.samples());  // which donors have replicates is drawn, too
  EXPECT_NE(other.rna.x.topRows(rows), a.rna.x.topRows(rows));
}

TEST(Simulate, StudyLooksAsAsked) {
  SimulateOptions o;
  o.donors = 300;
  o.genes = 500;
  o.cohorts = 6;
  const SimulatedStudy s = simulate_study(o);
  EXPECT_EQ(s.rna.features(), 500);
  EXPECT_EQ(s.donors.obs.rows(), 300);
  EXPECT_NEAR(static_cast<double>(s.rna.samples()), 330, 20) << "a tenth of the donors has two samples";
  EXPECT_EQ(detect_kind(s.rna.x), "counts");
  const double mean_library = s.rna.x.cast<double>().rowwise().sum().mean();
  EXPECT_NEAR(mean_library / 5e5, 1, 0.1);
  const Column& cohort = s.rna.obs.at("cohort");
  EXPECT_EQ(cohort.levels.size(), 6u);
  const double events = s.truth["survival"]["events"];
  EXPECT_NEAR(events / 300, 0.4, 0.01);
  // The truth predicts survival, clearly and not perfectly.
  const double oracle = s.truth["survival"]["oracle_harrell"];
  EXPECT_GT(oracle, 0.68);
  EXPECT_LT(oracle, 0.9);
  EXPECT_GT(s.truth["survival"]["oracle_harrell_within_cohort"].get<double>(), 0.6);
  // Replicates resemble each other more than other donors of the same cohort do.
  for (const char* column : {"donor", "dataset", "batch", "age", "sex", "ethnicity", "os_time", "os_event", "split", "subtype"})
    EXPECT_NE(s.rna.obs.find(column), nullptr) << column;
  RowMatrix<double> log = (s.rna.x.cast<double>().array() + 1).log().matrix();
  log = log.colwise() - log.rowwise().mean();
  double replicates = 0, strangers = 0;
  int64_t pairs = 0;
  for (int64_t r = 1; r < s.rna.samples(); ++r) {
    if (s.rna.obs.at("donor").text(r) != s.rna.obs.at("donor").text(r - 1)) continue;
    EXPECT_EQ(s.rna.obs.at("split").text(r), s.rna.obs.at("split").text(r - 1));
    int64_t other = (r + 7) % s.rna.samples();
    while (cohort.code[static_cast<size_t>(other)] != cohort.code[static_cast<size_t>(r)] || other == r || other == r - 1)
      other = (other + 1) % s.rna.samples();
    replicates += (log.row(r) - log.row(r - 1)).norm();
    strangers += (log.row(r) - log.row(other)).norm();
    ++pairs;
  }
  ASSERT_GT(pairs, 10);
  EXPECT_LT(replicates, 0.75 * strangers);
}

TEST(Simulate, ConcordanceByHand) {
  // Pairs: (1,2) (1,3) (2,3) usable since 1 and 2 died; scores 1, 0.5, 0.
  EXPECT_DOUBLE_EQ(concordance({3, 2, 3}, {1, 2, 3}, {1, 1, 0}), 0.5);
  EXPECT_TRUE(std::isnan(concordance({1, 2}, {1, 2}, {0, 0})));
  EXPECT_DOUBLE_EQ(concordance({3, 2, 9}, {1, 2, 3}, {1, 1, 0}, {0, 0, 1}), 1);
}

TEST(Simulate, ImpossibleOptions) {
  auto refused = [](const std::function<void(SimulateOptions&)>& change) {
    SimulateOptions o;
    change(o);
    error_of([&] { simulate_study(o); }, ErrorCode::usage);
  };
  refused([](auto& o) { o.donors = 3; });
  refused([](auto& o) { o.genes = 0; });
  refused([](auto& o) { o.cohorts = 0; });
  refused([](auto& o) { o.replicates = 0; });
  refused([](auto& o) { o.event_rate = 2; });
  refused([](auto& o) { o.holdout = 1; });
  refused([](auto& o) { o.donors = -1; });
  refused([](auto& o) { o.cohorts = std::numeric_limits<int64_t>::max(); });  // twice as many donors would be no number
}

class SimulateFiles : public Files {};

TEST_F(SimulateFiles, AreWrittenAndRead) {
  SimulateOptions o;
  o.donors = 30;
  o.genes = 60;
  o.cohorts = 3;
  const SimulatedStudy s = simulate_study(o);
  write_study(path("sim"), s);
  const auto rna = read_dataset<float>(path("sim/rna.h5ad"));
  EXPECT_EQ(rna.x, s.rna.x);
  EXPECT_EQ(rna.kind, "counts");
  EXPECT_EQ(read_table(path("sim/genes.tsv")).keys, s.genes.keys);
  const Table latents = read_table(path("sim/latents.tsv"));
  EXPECT_EQ(latents.keys, s.donors.obs.keys);
  EXPECT_EQ(latents.at("log_hazard").number, s.donors.risk);
  const Json truth = Json::parse(read_file(path("sim/truth.json")));
  EXPECT_EQ(truth["options"]["donors"], 30);
  EXPECT_EQ(truth["cohorts"].size(), 3u);
  EXPECT_NE(read_file(path("sim/sets.gmt")).find("program_01\tsimulated\tSIM"), std::string::npos);
  put("file", "");
  error_of([&] { write_study(path("file/sim"), s); }, ErrorCode::machine);
}

}  // namespace
}  // namespace panvae::data::test
