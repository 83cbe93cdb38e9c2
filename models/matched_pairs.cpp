#include "models/matched_pairs.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"

namespace panvae {

double pair_weight(int64_t tier) {
  PV_CHECK(tier >= 1, "pair weight: tiers count from 1, not {}", tier);
  return 1.0 / static_cast<double>(tier * tier);
}

double foscttm(const std::vector<float>& rna, const std::vector<float>& atac, int64_t latent, const std::vector<MatchedPair>& pairs) {
  std::set<int64_t> rna_rows, atac_rows;
  std::map<std::pair<int64_t, int64_t>, double> partners;  // to their weight
  const size_t width = static_cast<size_t>(latent);
  for (const MatchedPair& p : pairs) {
    PV_CHECK(p.rna >= 0 && p.atac >= 0 && static_cast<size_t>(p.rna + 1) * width <= rna.size() && static_cast<size_t>(p.atac + 1) * width <= atac.size(),
             "foscttm: a pair of rows {} and {} of {} and {}", p.rna, p.atac, rna.size() / width, atac.size() / width);
    rna_rows.insert(p.rna);
    atac_rows.insert(p.atac);
    partners[{p.rna, p.atac}] += p.weight;
  }
  auto squared_distance = [&](int64_t r, int64_t a) {
    const float *u = rna.data() + static_cast<size_t>(r) * width, *v = atac.data() + static_cast<size_t>(a) * width;
    double d = 0;
    for (size_t i = 0; i < width; ++i) d += (static_cast<double>(u[i]) - v[i]) * (static_cast<double>(u[i]) - v[i]);
    return d;
  };
  double total = 0, counted = 0;
  for (const auto& entry : partners) {
    const int64_t r = entry.first.first, a = entry.first.second;
    const double weight = entry.second, own = squared_distance(r, a);
    auto count = [&](const std::set<int64_t>& candidates, bool of_rna) {  // candidates of the modality of r, or of a
      double closer = 0;
      int64_t others = 0;
      for (int64_t other : candidates) {
        const std::pair<int64_t, int64_t> candidate = of_rna ? std::pair(other, a) : std::pair(r, other);
        if (partners.count(candidate)) continue;
        const double d = squared_distance(candidate.first, candidate.second);
        closer += d < own ? 1 : d == own ? 0.5 : 0;
        ++others;
      }
      if (others == 0) return;
      total += weight * closer / static_cast<double>(others);
      counted += weight;
    };
    count(atac_rows, false);
    count(rna_rows, true);
  }
  return counted > 0 ? total / counted : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace panvae
