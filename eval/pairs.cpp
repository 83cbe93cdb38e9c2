#include "eval/pairs.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "data/read.h"
#include "eval/labels.h"
#include "eval/warnings.h"

namespace panvae::eval {

namespace {

using Matrix = data::RowMatrix<double>;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kRecalls = std::size(kRecallAt);

// The evaluated samples of one modality, by name.
struct Side {
  std::vector<std::string> name, donor, cohort;  // cohort: "" where unknown
  Matrix x;                                      // [samples, dimensions]
  bool holdout = false;
  int64_t size() const { return x.rows(); }
};

Side select(const data::Dataset<double>& e, const PairsOptions& options) {
  const Selection selection = select_evaluated(e.obs, options.on);
  std::vector<int64_t> rows = selection.rows;
  sort_by_name(rows, e.obs);
  check_finite(e, rows);
  Side s;
  s.holdout = selection.holdout;
  const std::vector<std::string> donors = data::donors_of(e.obs);
  std::vector<std::string> cohorts(e.obs.keys.size());
  if (e.obs.find("cohort")) cohorts = cohort_names(e.obs, options.cohort_map);
  s.x.resize(static_cast<int64_t>(rows.size()), e.features());
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto r = static_cast<size_t>(rows[i]);
    s.name.push_back(e.obs.keys[r]);
    s.donor.push_back(donors[r]);
    s.cohort.push_back(cohorts[r]);
    s.x.row(static_cast<int64_t>(i)) = e.x.row(rows[i]);
  }
  return s;
}

// Squared distances of a point to all rows of y. Always the sum over dimensions, so that equal points are at exactly 0.
void distances(const double* x, const Matrix& y, double* out) {
  for (int64_t j = 0; j < y.rows(); ++j) {
    const double* row = y.data() + j * y.cols();
    double sum = 0;
    for (int64_t d = 0; d < y.cols(); ++d) sum += (x[d] - row[d]) * (x[d] - row[d]);
    out[j] = sum;
  }
}

Matrix all_distances(const Matrix& x, const Matrix& y) {
  Matrix out(x.rows(), y.rows());
  constexpr int64_t kSlice = 256;  // between slices Ctrl-C is heard
  for (int64_t first = 0; first < x.rows(); first += kSlice) {
    throw_if_interrupted();
    parallel_chunks(std::min(kSlice, x.rows() - first), 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = first + begin; i < first + end; ++i) distances(x.data() + i * x.cols(), y, out.data() + i * out.cols());
    });
  }
  return out;
}

// calls use(j, weight) for the k nearest of the n candidates: weight 1 for those nearer than the k-th, equal fractions for all at
// its distance.
template <class F>
void nearest(const std::vector<double>& distance, int64_t k, std::vector<double>& scratch, F&& use) {
  scratch = distance;
  std::nth_element(scratch.begin(), scratch.begin() + (k - 1), scratch.end());
  const double edge = scratch[static_cast<size_t>(k - 1)];
  int64_t nearer = 0, tied = 0;
  for (double d : distance) nearer += d < edge, tied += d == edge;
  const double fraction = static_cast<double>(k - nearer) / static_cast<double>(tied);
  for (size_t j = 0; j < distance.size(); ++j)
    if (distance[j] <= edge) use(static_cast<int64_t>(j), distance[j] < edge ? 1.0 : fraction);
}

// Among `others` + `partners` in random order: the chance that a partner is among the first `places`.
double chance_among(int64_t partners, int64_t others, int64_t places) {
  double none = 1;
  for (int64_t i = 0; i < places && none > 0; ++i)
    none *= static_cast<double>(std::max<int64_t>(0, others - i)) / static_cast<double>(std::max<int64_t>(1, partners + others - i));
  return places <= 0 ? 0 : 1 - none;
}

// Partners of the queries of one modality, as indices into the paired samples of the other.
struct Queries {
  std::vector<std::vector<int64_t>> partners;
  std::vector<std::string> cohort;      // of each query
  std::vector<std::string> candidates;  // cohorts of the candidates
};

struct QueryScore {
  double foscttm = kNaN, within = kNaN, recall[kRecalls] = {}, chance[kRecalls] = {};
};

// distance [candidates]; is_partner is scratch, all false before and after.
double fraction_closer(const double* distance, int64_t n, const std::vector<int64_t>& partners, std::vector<char>& is_partner) {
  const int64_t others = n - static_cast<int64_t>(partners.size());
  if (others <= 0) return kNaN;
  for (int64_t p : partners) is_partner[static_cast<size_t>(p)] = 1;
  double sum = 0;
  for (int64_t p : partners) {
    int64_t closer = 0, tied = 0;
    for (int64_t c = 0; c < n; ++c)
      if (!is_partner[static_cast<size_t>(c)]) closer += distance[c] < distance[p], tied += distance[c] == distance[p];
    sum += (static_cast<double>(closer) + 0.5 * static_cast<double>(tied)) / static_cast<double>(others);
  }
  for (int64_t p : partners) is_partner[static_cast<size_t>(p)] = 0;
  return sum / static_cast<double>(partners.size());
}

QueryScore score_query(const double* distance, int64_t n, const std::vector<int64_t>& partners, const std::string& cohort,
                       const std::vector<std::string>& candidate_cohorts) {
  QueryScore s;
  std::vector<char> flag(static_cast<size_t>(n), 0);
  s.foscttm = fraction_closer(distance, n, partners, flag);
  for (int64_t p : partners) flag[static_cast<size_t>(p)] = 1;
  // The same among candidates of the query's cohort.
  if (!cohort.empty()) {
    std::vector<double> of_cohort;
    std::vector<int64_t> places;
    for (int64_t c = 0; c < n; ++c) {
      if (flag[static_cast<size_t>(c)]) places.push_back(static_cast<int64_t>(of_cohort.size()));
      else if (candidate_cohorts[static_cast<size_t>(c)] != cohort) continue;
      of_cohort.push_back(distance[c]);
    }
    std::vector<char> scratch(of_cohort.size(), 0);
    s.within = fraction_closer(of_cohort.data(), static_cast<int64_t>(of_cohort.size()), places, scratch);
  }
  double best = std::numeric_limits<double>::infinity();
  for (int64_t p : partners) best = std::min(best, distance[p]);
  int64_t closer = 0, tied = 0, partners_there = 0;
  for (int64_t c = 0; c < n; ++c) {
    closer += distance[c] < best;
    if (distance[c] == best) ++(flag[static_cast<size_t>(c)] ? partners_there : tied);
  }
  const auto all = static_cast<int64_t>(partners.size());
  for (size_t k = 0; k < kRecalls; ++k) {
    s.recall[k] = chance_among(partners_there, tied, std::min(kRecallAt[k] - closer, partners_there + tied));
    s.chance[k] = chance_among(all, n - all, std::min(kRecallAt[k], n));
  }
  return s;
}

// distance [queries, candidates]
PairsDirection score_direction(const Matrix& distance, const Queries& q) {
  std::vector<QueryScore> scores(q.partners.size());
  parallel_chunks(distance.rows(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      scores[static_cast<size_t>(i)] = score_query(distance.data() + i * distance.cols(), distance.cols(), q.partners[static_cast<size_t>(i)],
                                                   q.cohort[static_cast<size_t>(i)], q.candidates);
  });
  PairsDirection out;
  out.queries = distance.rows();
  double sum = 0, within = 0;
  int64_t counted = 0;
  for (const QueryScore& s : scores) {
    if (!std::isnan(s.foscttm)) sum += s.foscttm, ++counted;
    if (!std::isnan(s.within)) within += s.within, ++out.within_cohort_queries;
    for (size_t k = 0; k < kRecalls; ++k) out.recall[k] += s.recall[k], out.chance_recall[k] += s.chance[k];
  }
  out.foscttm = counted ? sum / static_cast<double>(counted) : kNaN;
  out.within_cohort = out.within_cohort_queries ? within / static_cast<double>(out.within_cohort_queries) : kNaN;
  for (size_t k = 0; k < kRecalls; ++k) {
    out.recall[k] /= static_cast<double>(out.queries);
    out.chance_recall[k] /= static_cast<double>(out.queries);
  }
  return out;
}

// FOSCTTM, mean of both directions, where ATAC sample i stands at the place of sample from[i]. distance [ATAC, RNA].
double permuted_foscttm(const Matrix& distance, const std::vector<std::vector<int64_t>>& partners_of_atac,
                        const std::vector<std::vector<int64_t>>& partners_of_rna, const std::vector<int64_t>& from) {
  const int64_t n = distance.rows(), m = distance.cols();
  std::vector<char> scratch(static_cast<size_t>(std::max(n, m)), 0);
  std::vector<double> column(static_cast<size_t>(n));
  double means[2];
  for (int direction = 0; direction < 2; ++direction) {
    double sum = 0;
    int64_t counted = 0;
    for (int64_t q = 0; q < (direction == 0 ? n : m); ++q) {
      double f = 0;
      if (direction == 0) {
        f = fraction_closer(distance.data() + from[static_cast<size_t>(q)] * m, m, partners_of_atac[static_cast<size_t>(q)], scratch);
      } else {
        for (int64_t i = 0; i < n; ++i) column[static_cast<size_t>(i)] = distance(from[static_cast<size_t>(i)], q);
        f = fraction_closer(column.data(), n, partners_of_rna[static_cast<size_t>(q)], scratch);
      }
      if (!std::isnan(f)) sum += f, ++counted;
    }
    means[direction] = sum / static_cast<double>(counted);
  }
  return (means[0] + means[1]) / 2;
}

double binary_entropy(double p) {
  return p <= 0 || p >= 1 ? 0 : -(p * std::log2(p) + (1 - p) * std::log2(1 - p));
}

// Share of RNA among neighbours of whom `rna` and `atac` are of either modality, of pools of `pool_rna` and `pool_atac`.
double weighted_share(double rna, double atac, int64_t pool_rna, int64_t pool_atac) {
  const double r = rna / static_cast<double>(pool_rna), a = atac / static_cast<double>(pool_atac);
  return r / (r + a);
}

// The expected entropy where the k neighbours are drawn at random from the pools.
double random_entropy(int64_t k, int64_t pool_rna, int64_t pool_atac) {
  const auto log_choose = [](int64_t n, int64_t j) {
    return std::lgamma(static_cast<double>(n + 1)) - std::lgamma(static_cast<double>(j + 1)) - std::lgamma(static_cast<double>(n - j + 1));
  };
  double sum = 0;
  for (int64_t r = std::max<int64_t>(0, k - pool_atac); r <= std::min(k, pool_rna); ++r)
    sum += std::exp(log_choose(pool_rna, r) + log_choose(pool_atac, k - r) - log_choose(pool_rna + pool_atac, k)) *
           binary_entropy(weighted_share(static_cast<double>(r), static_cast<double>(k - r), pool_rna, pool_atac));
  return sum;
}

void mix(PairsResult& out, const Matrix& rna, const Matrix& atac, int64_t neighbours) {
  const int64_t n = rna.rows(), m = atac.rows();
  Matrix both(n + m, rna.cols());
  both.topRows(n) = rna;
  both.bottomRows(m) = atac;
  const int64_t k = out.mixing_k = std::min(neighbours, n + m - 1);
  std::vector<double> entropy(static_cast<size_t>(n + m));
  constexpr int64_t kSlice = 256;
  for (int64_t first = 0; first < n + m; first += kSlice) {
    throw_if_interrupted();
    parallel_chunks(std::min(kSlice, n + m - first), 8, [&](int64_t begin, int64_t end) {
      std::vector<double> distance(static_cast<size_t>(n + m)), scratch;
      for (int64_t i = first + begin; i < first + end; ++i) {
        distance.resize(static_cast<size_t>(n + m));
        distances(both.data() + i * both.cols(), both, distance.data());
        distance.erase(distance.begin() + i);
        const int64_t rna_before = i < n ? n - 1 : n;
        double from_rna = 0;
        nearest(distance, k, scratch, [&](int64_t j, double weight) { from_rna += j < rna_before ? weight : 0; });
        entropy[static_cast<size_t>(i)] = binary_entropy(weighted_share(from_rna, static_cast<double>(k) - from_rna, rna_before, n + m - 1 - rna_before));
      }
    });
  }
  double sum = 0;
  for (double e : entropy) sum += e;
  out.mixing_entropy = sum / static_cast<double>(n + m);
  out.chance_mixing_entropy =
      (static_cast<double>(n) * random_entropy(k, n - 1, m) + static_cast<double>(m) * random_entropy(k, n, m - 1)) / static_cast<double>(n + m);
}

struct Transfer {
  double accuracy = kNaN, majority = kNaN;
  int64_t k = 0, unseen = 0;  // samples whose cohort the source does not have
};

// The samples of `to` named by those of `from`.
Transfer transfer(const Side& from, const Side& to, int64_t neighbours) {
  std::map<std::string, int32_t> codes;
  for (const Side* s : {&from, &to})
    for (const std::string& c : s->cohort)
      if (!c.empty()) codes.emplace(c, 0);
  int32_t next = 0;
  for (auto& [name, code] : codes) code = next++;
  std::vector<int64_t> known, asked;
  std::vector<bool> seen(codes.size(), false);
  std::vector<int64_t> count(codes.size(), 0);
  for (int64_t i = 0; i < from.size(); ++i)
    if (const std::string& c = from.cohort[static_cast<size_t>(i)]; !c.empty()) known.push_back(i), seen[static_cast<size_t>(codes[c])] = true;
  for (int64_t i = 0; i < to.size(); ++i)
    if (const std::string& c = to.cohort[static_cast<size_t>(i)]; !c.empty()) asked.push_back(i), ++count[static_cast<size_t>(codes[c])];
  Transfer out;
  if (known.empty() || asked.empty()) return out;
  Matrix source(static_cast<int64_t>(known.size()), from.x.cols());
  std::vector<int32_t> label;
  for (size_t i = 0; i < known.size(); ++i) {
    source.row(static_cast<int64_t>(i)) = from.x.row(known[i]);
    label.push_back(codes.at(from.cohort[static_cast<size_t>(known[i])]));
  }
  out.k = std::min(neighbours, source.rows());
  std::vector<double> right(asked.size());
  constexpr int64_t kSlice = 256;
  const auto total = static_cast<int64_t>(asked.size());
  for (int64_t first = 0; first < total; first += kSlice) {
    throw_if_interrupted();
    parallel_chunks(std::min(kSlice, total - first), 8, [&](int64_t begin, int64_t end) {
      std::vector<double> distance(static_cast<size_t>(source.rows())), scratch, votes(codes.size());
      for (int64_t i = first + begin; i < first + end; ++i) {
        const int64_t row = asked[static_cast<size_t>(i)];
        distances(to.x.data() + row * to.x.cols(), source, distance.data());
        std::fill(votes.begin(), votes.end(), 0.0);
        nearest(distance, out.k, scratch, [&](int64_t j, double weight) { votes[static_cast<size_t>(label[static_cast<size_t>(j)])] += weight; });
        const double most = *std::max_element(votes.begin(), votes.end());
        // Sums of equal fractions differ by rounding at most.
        const auto winners = std::count_if(votes.begin(), votes.end(), [&](double v) { return v > most - 1e-9; });
        const bool wins = votes[static_cast<size_t>(codes.at(to.cohort[static_cast<size_t>(row)]))] > most - 1e-9;
        right[static_cast<size_t>(i)] = wins ? 1.0 / static_cast<double>(winners) : 0;
      }
    });
  }
  double sum = 0;
  for (double r : right) sum += r;
  out.accuracy = sum / static_cast<double>(total);
  out.majority = static_cast<double>(*std::max_element(count.begin(), count.end())) / static_cast<double>(total);
  for (size_t c = 0; c < count.size(); ++c) out.unseen += seen[c] ? 0 : count[c];
  return out;
}

// Pairs as places in the two sides, each once, in order.
std::vector<std::pair<int64_t, int64_t>> pair_places(const Side& rna, const Side& atac, const PairsOptions& options, std::vector<std::string>& warnings) {
  std::vector<std::pair<int64_t, int64_t>> out;
  if (!options.pairs) {
    std::unordered_map<std::string, std::vector<int64_t>> of_donor;
    for (int64_t r = 0; r < rna.size(); ++r) of_donor[rna.donor[static_cast<size_t>(r)]].push_back(r);
    for (int64_t a = 0; a < atac.size(); ++a)
      if (const auto at = of_donor.find(atac.donor[static_cast<size_t>(a)]); at != of_donor.end())
        for (int64_t r : at->second) out.emplace_back(a, r);
    if (out.empty())
      fail_input("no donor has both an RNA and an ATAC sample",
                 fmt::format("{} RNA samples, the first of donor {}, and {} ATAC samples, the first of donor {}", rna.size(), quoted(rna.donor.front()),
                             atac.size(), quoted(atac.donor.front())),
                 "name the column with --donor-key, give a table with --pairs, or look at more samples with --on all");
    return out;
  }
  PV_CHECK(!options.pairs->empty(), "evaluate_pairs: an empty table of pairs");
  std::unordered_map<std::string, int64_t> rna_at, atac_at;
  for (int64_t r = 0; r < rna.size(); ++r) rna_at.emplace(rna.name[static_cast<size_t>(r)], r);
  for (int64_t a = 0; a < atac.size(); ++a) atac_at.emplace(atac.name[static_cast<size_t>(a)], a);
  int64_t other_donors = 0, elsewhere = 0;
  for (const data::SamplePair& p : *options.pairs) {
    const auto a = atac_at.find(p.atac), r = rna_at.find(p.rna);
    if (a == atac_at.end() || r == rna_at.end()) ++elsewhere;
    else if (p.tier != data::same_donor) ++other_donors;
    else out.emplace_back(a->second, r->second);
  }
  std::sort(out.begin(), out.end());
  const size_t all = options.pairs->size();
  if (out.empty())
    fail_input(fmt::format("no pair can be judged: of {} in the table {} are of two donors (tier 2 and above), and {} name samples that are not evaluated", all,
                           other_donors, elsewhere),
               fmt::format("first pair {} and {}, first samples {} and {}", quoted(options.pairs->front().atac), quoted(options.pairs->front().rna),
                           quoted(atac.name.front()), quoted(rna.name.front())),
               "the table must name samples of both embeddings; --on all evaluates training samples, too");
  if (other_donors > 0) add_warning(warnings, fmt::format("{} pairs of two donors (tier 2 and above) are not judged: they are no truth", other_donors));
  return out;
}

// The paired samples of a side: their places, ascending, and where each stands among them.
std::vector<int64_t> distinct(const std::vector<std::pair<int64_t, int64_t>>& pairs, bool first) {
  std::set<int64_t> places;
  for (const auto& [a, r] : pairs) places.insert(first ? a : r);
  return {places.begin(), places.end()};
}

Matrix rows_of(const Matrix& x, const std::vector<int64_t>& rows) {
  Matrix out(static_cast<int64_t>(rows.size()), x.cols());
  for (size_t i = 0; i < rows.size(); ++i) out.row(static_cast<int64_t>(i)) = x.row(rows[i]);
  return out;
}

void permute(PairsResult& out, const Matrix& distance, const Queries& of_atac, const Queries& of_rna, const std::vector<std::string>& donor,
             const PairsOptions& options) {
  out.chance_foscttm = out.chance_sd = out.z = kNaN;
  out.permutations = options.permutations;
  std::vector<double> by_chance(static_cast<size_t>(options.permutations));
  constexpr int64_t kSlice = 16;
  for (int64_t first = 0; first < options.permutations; first += kSlice) {
    throw_if_interrupted();
    parallel_chunks(std::min<int64_t>(kSlice, options.permutations - first), 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = first + begin; k < first + end; ++k)
        by_chance[static_cast<size_t>(k)] =
            permuted_foscttm(distance, of_atac.partners, of_rna.partners, permute_donors(donor, options.seed, static_cast<uint32_t>(k)));
    });
  }
  if (by_chance.empty()) return;
  double sum = 0, squares = 0;
  for (double v : by_chance) sum += v;
  out.chance_foscttm = sum / static_cast<double>(by_chance.size());
  for (double v : by_chance) squares += (v - out.chance_foscttm) * (v - out.chance_foscttm);
  if (by_chance.size() > 1) out.chance_sd = std::sqrt(squares / static_cast<double>(by_chance.size() - 1));
  if (out.chance_sd > 1e-9) out.z = (out.foscttm - out.chance_foscttm) / out.chance_sd;
  else add_warning(out.warnings, "permuted partners all give the same FOSCTTM: it says nothing about these");
}

}  // namespace

PairsResult evaluate_pairs(const data::Dataset<double>& rna_embedding, const data::Dataset<double>& atac_embedding, const PairsOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.mixing_neighbours < 1) fail_usage(fmt::format("{} neighbours", options.mixing_neighbours), "--mixing-neighbours", "at least 1 is needed");
  if (options.transfer_neighbours < 1) fail_usage(fmt::format("{} neighbours", options.transfer_neighbours), "--transfer-neighbours", "at least 1 is needed");
  if (options.permutations < 0) fail_usage(fmt::format("{} permutations", options.permutations), "--permutations", "0 or more are possible");
  if (rna_embedding.features() != atac_embedding.features())
    fail_input(fmt::format("the RNA embedding has {} dimensions, the ATAC embedding {}", rna_embedding.features(), atac_embedding.features()),
               fmt::format("{} and {}", quoted(rna_embedding.path, 400), quoted(atac_embedding.path, 400)),
               "distances need one space: embed both with one co-embedding, or cut both to as many components");
  PairsResult out;
  out.control = options.control;
  out.dimensions = rna_embedding.features();
  Side rna = select(rna_embedding, options), atac = select(atac_embedding, options);
  out.rna_evaluated = rna.size(), out.atac_evaluated = atac.size();
  out.on = rna.holdout || atac.holdout ? "holdout" : "all";
  // Scaled by the largest value, so that no square leaves the range of doubles; by its power of two, which rounds nothing: distances
  // that are equal stay equal.
  if (const double largest = std::max(rna.x.cwiseAbs().maxCoeff(), atac.x.cwiseAbs().maxCoeff()); largest > 0) {
    const int power = std::ilogb(largest);
    for (Matrix* x : {&rna.x, &atac.x}) *x = x->unaryExpr([power](double v) { return std::ldexp(v, -power); });
  }
  if (options.control == Control::permuted) atac.x = rows_of(atac.x, permute_donors(atac.donor, options.seed, std::numeric_limits<uint32_t>::max()));

  const std::vector<std::pair<int64_t, int64_t>> pairs = pair_places(rna, atac, options, out.warnings);
  const std::vector<int64_t> atac_rows = distinct(pairs, true), rna_rows = distinct(pairs, false);
  out.n_pairs = static_cast<int64_t>(pairs.size());
  out.atac_samples = static_cast<int64_t>(atac_rows.size()), out.rna_samples = static_cast<int64_t>(rna_rows.size());
  std::vector<std::string> donor;
  for (int64_t a : atac_rows) donor.push_back(atac.donor[static_cast<size_t>(a)]);
  out.donors = static_cast<int64_t>(std::set<std::string>(donor.begin(), donor.end()).size());
  if (out.atac_samples < 2 || out.rna_samples < 2 || out.donors < 2)
    fail_input(fmt::format("{} pairs of {} donors, and pairs of two are needed", out.n_pairs, out.donors),
               fmt::format("{} RNA and {} ATAC samples evaluated ({})", rna.size(), atac.size(), out.on), "use --on all, or more samples");
  Queries of_atac, of_rna;
  of_atac.partners.resize(atac_rows.size()), of_rna.partners.resize(rna_rows.size());
  for (const auto& [a, r] : pairs) {
    const auto i = std::lower_bound(atac_rows.begin(), atac_rows.end(), a) - atac_rows.begin();
    const auto j = std::lower_bound(rna_rows.begin(), rna_rows.end(), r) - rna_rows.begin();
    of_atac.partners[static_cast<size_t>(i)].push_back(j);
    of_rna.partners[static_cast<size_t>(j)].push_back(i);
  }
  for (int64_t a : atac_rows) of_atac.cohort.push_back(atac.cohort[static_cast<size_t>(a)]);
  for (int64_t r : rna_rows) of_rna.cohort.push_back(rna.cohort[static_cast<size_t>(r)]);
  of_atac.candidates = of_rna.cohort, of_rna.candidates = of_atac.cohort;

  const Matrix x_rna = rows_of(rna.x, rna_rows), x_atac = rows_of(atac.x, atac_rows);
  const Matrix distance = all_distances(x_atac, x_rna), turned = distance.transpose();
  out.atac = score_direction(distance, of_atac);
  out.rna = score_direction(turned, of_rna);
  out.foscttm = (out.rna.foscttm + out.atac.foscttm) / 2;
  if (std::isnan(out.foscttm))
    fail_input("every sample is paired with every other of some modality, so no pair can be told from another", fmt::format("{} pairs", out.n_pairs),
               "a table of pairs should name each donor's samples only");
  out.foscttm_within_cohort = (out.rna.within_cohort + out.atac.within_cohort) / 2;
  for (size_t k = 0; k < kRecalls; ++k) {
    out.recall[k] = (out.rna.recall[k] + out.atac.recall[k]) / 2;
    out.chance_recall[k] = (out.rna.chance_recall[k] + out.atac.chance_recall[k]) / 2;
  }
  if (options.permutations > 0 || options.control == Control::permuted) add_warning(out.warnings, warn_unpermuted(donor));
  permute(out, distance, of_atac, of_rna, donor, options);
  mix(out, x_rna, x_atac, options.mixing_neighbours);

  const Transfer to_atac = transfer(rna, atac, options.transfer_neighbours), to_rna = transfer(atac, rna, options.transfer_neighbours);
  out.transfer_rna_to_atac = to_atac.accuracy, out.majority_atac = to_atac.majority, out.transfer_k_rna = to_atac.k;
  out.transfer_atac_to_rna = to_rna.accuracy, out.majority_rna = to_rna.majority, out.transfer_k_atac = to_rna.k;
  if (std::isnan(to_atac.accuracy)) add_warning(out.warnings, "no cohorts in one of the embeddings: their transfer is not judged");
  for (const auto& [t, what] :
       {std::pair{&to_atac, "ATAC samples are of cohorts that no RNA sample"}, std::pair{&to_rna, "RNA samples are of cohorts that no ATAC sample"}})
    if (t->unseen > 0) add_warning(out.warnings, fmt::format("{} {} has: their transfer cannot be right", t->unseen, what));
  if (out.donors < 20) add_warning(out.warnings, fmt::format("pairs of {} donors only: look at chance_sd before comparing", out.donors));
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

}  // namespace panvae::eval
