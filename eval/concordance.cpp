#include "eval/concordance.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace panvae::eval {

namespace {

// Counts of risks seen so far, by rank: adding one and summing those below a rank cost log n.
class FenwickTree {
 public:
  explicit FenwickTree(size_t n) : sum_(n + 1, 0) {}
  void add(size_t rank) {
    for (size_t i = rank + 1; i < sum_.size(); i += i & (~i + 1)) ++sum_[i];
    ++total_;
  }
  int64_t below(size_t rank) const {  // of ranks 0 to rank-1
    int64_t s = 0;
    for (size_t i = rank; i > 0; i -= i & (~i + 1)) s += sum_[i];
    return s;
  }
  int64_t total() const { return total_; }

 private:
  std::vector<int64_t> sum_;
  int64_t total_ = 0;
};

}  // namespace

double Concordance::c() const {
  const double all = concordant + discordant + tied;
  return pairs > 0 && all > 0 ? (concordant + 0.5 * tied) / all : std::numeric_limits<double>::quiet_NaN();
}

Concordance concordance(std::span<const double> risk, std::span<const double> time, std::span<const uint8_t> event, std::span<const int32_t> stratum,
                        const ConcordanceOptions& o) {
  const size_t n = risk.size();
  PV_CHECK(time.size() == n && event.size() == n && (stratum.empty() || stratum.size() == n), "concordance: {} risks, {} times, {} events, {} strata", n,
           time.size(), event.size(), stratum.size());
  PV_CHECK(o.tie_tolerance >= 0, "concordance: a tolerance of {}", o.tie_tolerance);
  for (size_t i = 0; i < n; ++i)
    if (!std::isfinite(risk[i]) || !std::isfinite(time[i]))
      fail_input(fmt::format("risk {} at time {}", risk[i], time[i]), fmt::format("row {} (from 1)", i + 1), "risks and times must be finite");
  const auto code = [&](size_t i) { return stratum.empty() ? 0 : stratum[i]; };
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return code(a) != code(b) ? code(a) < code(b) : time[a] > time[b]; });

  Concordance out;
  std::vector<double> sorted;  // risks of the stratum
  for (size_t begin = 0, end = 0; begin < n; begin = end) {
    while (end < n && code(order[end]) == code(order[begin])) ++end;
    sorted.clear();
    for (size_t i = begin; i < end; ++i) sorted.push_back(risk[order[i]]);
    std::sort(sorted.begin(), sorted.end());
    FenwickTree seen(sorted.size());
    const auto rank = [&](double r) { return static_cast<size_t>(std::lower_bound(sorted.begin(), sorted.end(), r) - sorted.begin()); };
    for (size_t from = begin, to = begin; from < end; from = to) {
      const double t = time[order[from]];
      while (to < end && time[order[to]] == t) ++to;
      int64_t deaths = 0;
      for (size_t i = from; i < to; ++i) event[order[i]] ? void(++deaths) : seen.add(rank(risk[order[i]]));
      out.tied_times += deaths * (deaths - 1) / 2;
      if (deaths > 0 && seen.total() > 0 && (o.tau_inclusive ? t <= o.tau : t < o.tau)) {
        int64_t lower = 0, higher = 0;
        for (size_t i = from; i < to; ++i) {
          if (!event[order[i]]) continue;
          const double r = risk[order[i]];
          // Risks within the tolerance of this one, as differences of the risks themselves.
          const auto tied_from = std::partition_point(sorted.begin(), sorted.end(), [&](double s) { return r - s > o.tie_tolerance; });
          const auto tied_to = std::partition_point(tied_from, sorted.end(), [&](double s) { return s - r <= o.tie_tolerance; });
          lower += seen.below(static_cast<size_t>(tied_from - sorted.begin()));
          higher += seen.total() - seen.below(static_cast<size_t>(tied_to - sorted.begin()));
        }
        const int64_t pairs = deaths * seen.total();
        double weight = 1;
        if (o.censoring) {
          const double g = o.right ? o.censoring->at(t) : o.censoring->before(t);
          if (!(g > 0))
            fail_input(fmt::format("Uno's C divides by zero for a death at {} days: by then (from {} days on) nobody is under observation any more",
                                   shortest(t), shortest(o.censoring->zero_from())),
                       std::isfinite(o.tau) ? fmt::format("--tau {}", shortest(o.tau)) : "--tau none",
                       fmt::format("use --tau auto, or a time up to {}", shortest(o.censoring->zero_from())));
          weight = 1 / (g * g);
        }
        // Counts are whole numbers, so the order of patients does not show.
        out.concordant += weight * static_cast<double>(lower);
        out.discordant += weight * static_cast<double>(higher);
        out.tied += weight * static_cast<double>(pairs - lower - higher);
        out.pairs += pairs;
      }
      for (size_t i = from; i < to; ++i)
        if (event[order[i]]) seen.add(rank(risk[order[i]]));
    }
  }
  return out;
}

}  // namespace panvae::eval
