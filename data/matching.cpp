#include "data/matching.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/philox.h"
#include "data/assignment.h"
#include "data/read.h"

namespace panvae::data {

std::vector<std::string> folded_cells(const Table& table, const char* column) {
  std::vector<std::string> out(table.keys.size());
  if (const Column* c = table.find(column))
    for (int64_t r = 0; r < table.rows(); ++r) out[static_cast<size_t>(r)] = folded(c->text(r));
  return out;
}

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// A column in which something stands.
bool filled(const Table& obs, const char* name) {
  const Column* c = obs.find(name);
  return c && c->count_missing() < c->size();
}

double median(std::vector<double> values) {
  if (values.empty()) return nan;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// One modality, as the tiers see it.
struct Samples {
  const Table& obs;
  std::vector<std::string> donor, cohort, sex, ethnicity;
  std::vector<double> age;       // filled
  std::vector<bool> age_filled;  // a median
  explicit Samples(const Table& table, const char* what) : obs(table), donor(donors_of(table)) {
    if (!filled(table, "cohort"))
      fail_input(fmt::format("the {} samples have no column 'cohort'", what), "sample table",
                 "matching needs it: join a table with --obs, or name the column with --cohort-key");
    cohort = folded_cells(table, "cohort"), sex = folded_cells(table, "sex"), ethnicity = folded_cells(table, "ethnicity");
    age.assign(table.keys.size(), nan);
    age_filled.assign(table.keys.size(), false);
    const Column* c = table.find("age");
    if (!c) return;
    if (c->numeric) {
      age = c->number;
      return;
    }
    // A factor: of an h5ad, the levels may all be numbers.
    for (int64_t row = 0; row < table.rows(); ++row)
      if (!c->missing(row) && !parse_number(c->text(row), age[static_cast<size_t>(row)]))
        fail_input(fmt::format("the age {} is no number", quoted(c->text(row))),
                   fmt::format("{} samples, sample {}", what, quoted(table.keys[static_cast<size_t>(row)])), "ages are in years; leave unknown ones empty");
  }
  // 0 for the primary tumour, more for what is chosen only where there is none.
  int rank_of_type(int64_t row) const {
    const Column* c = obs.find("sample_type");
    const std::string type = c ? folded(c->text(row)) : "";
    if (type.find("primary") != std::string::npos) return 0;
    if (type.find("normal") != std::string::npos) return 3;
    return type.find("tumor") != std::string::npos || type.find("tumour") != std::string::npos ? 1 : 2;
  }
};

// Unknown ages from the donors that are not held out. A donor counts once.
void fill_ages(Samples& rna, Samples& atac, const Sides& sides) {
  std::map<std::string, std::map<std::string, double>> of_cohort;
  std::map<std::string, double> of_all;
  const auto gather = [&](const Samples& s, const std::vector<Side>& side) {
    for (size_t i = 0; i < s.age.size(); ++i)
      if (side[i] != Side::holdout && !std::isnan(s.age[i])) {
        of_all.emplace(s.donor[i], s.age[i]);
        if (!s.cohort[i].empty()) of_cohort[s.cohort[i]].emplace(s.donor[i], s.age[i]);
      }
  };
  gather(rna, sides.rna);
  gather(atac, sides.atac);
  const auto values = [](const std::map<std::string, double>& ages) {
    std::vector<double> out;
    for (const auto& [donor, age] : ages) out.push_back(age);
    return out;
  };
  const double overall = median(values(of_all));
  std::map<std::string, double> medians;
  for (const auto& [cohort, ages] : of_cohort) medians[cohort] = median(values(ages));
  for (Samples* s : {&rna, &atac})
    for (size_t i = 0; i < s->age.size(); ++i)
      if (std::isnan(s->age[i])) {
        const auto at = medians.find(s->cohort[i]);
        s->age[i] = at == medians.end() ? overall : at->second;
        s->age_filled[i] = true;
      }
}

class TierMatcher {
 public:
  TierMatcher(const Samples& rna, const Samples& atac, const TierOptions& options, TierReport& report)
      : rna_(rna), atac_(atac), options_(options), report_(report) {}

  // The same donor, for every ATAC row of `waiting`; what is left comes back.
  std::vector<int64_t> by_donor(const std::vector<int64_t>& waiting, const std::vector<int64_t>& rna_rows, const std::vector<double>& depth, Side side) {
    std::unordered_map<std::string, std::vector<int64_t>> of_donor;
    for (int64_t r : rna_rows) of_donor[rna_.donor[static_cast<size_t>(r)]].push_back(r);
    const auto better = [&](int64_t a, int64_t b) {
      const int type_a = rna_.rank_of_type(a), type_b = rna_.rank_of_type(b);
      if (type_a != type_b) return type_a < type_b;
      if (!depth.empty() && depth[static_cast<size_t>(a)] != depth[static_cast<size_t>(b)])
        return depth[static_cast<size_t>(a)] > depth[static_cast<size_t>(b)];
      return rna_.obs.keys[static_cast<size_t>(a)] < rna_.obs.keys[static_cast<size_t>(b)];
    };
    std::vector<int64_t> left;
    for (int64_t a : waiting) {
      const auto at = of_donor.find(atac_.donor[static_cast<size_t>(a)]);
      if (at == of_donor.end()) left.push_back(a);
      else add(a, *std::min_element(at->second.begin(), at->second.end(), better), same_donor, side, static_cast<int64_t>(at->second.size()));
    }
    return left;
  }

  std::vector<int64_t> by_tier(Tier tier, const std::vector<int64_t>& waiting, const std::vector<int64_t>& rna_rows, Side side) {
    const bool by_sex = report_.uses_sex && tier <= same_sex, by_ethnicity = report_.uses_ethnicity && tier <= same_ethnicity;
    window_ = tier < same_cohort && report_.uses_age ? options_.age_window : std::numeric_limits<double>::infinity();
    // Groups that agree in all but age. Unknown values are in no group.
    struct Group {
      std::vector<int64_t> atac, rna;
    };
    std::map<std::string, Group> groups;
    const auto key = [&](const Samples& s, int64_t row) {
      const auto i = static_cast<size_t>(row);
      if (s.cohort[i].empty() || (by_sex && s.sex[i].empty()) || (by_ethnicity && s.ethnicity[i].empty())) return std::string();
      std::string k = s.cohort[i];
      if (by_sex) k += '\n' + s.sex[i];
      if (by_ethnicity) k += '\n' + s.ethnicity[i];
      return k;
    };
    std::vector<int64_t> left;
    for (int64_t a : waiting) {
      if (std::string k = key(atac_, a); !k.empty()) groups[k].atac.push_back(a);
      else left.push_back(a);
    }
    for (int64_t r : rna_rows)
      if (const auto at = groups.find(key(rna_, r)); at != groups.end()) at->second.rna.push_back(r);
    for (const auto& [name, g] : groups) {
      const std::vector<int64_t> rest = match_group(tier, g.atac, g.rna, side);
      left.insert(left.end(), rest.begin(), rest.end());
    }
    return left;
  }

  std::vector<MatchedPair> pairs;

 private:
  double distance(int64_t a, int64_t r) const { return report_.uses_age ? std::abs(atac_.age[static_cast<size_t>(a)] - rna_.age[static_cast<size_t>(r)]) : 0; }

  void add(int64_t a, int64_t r, Tier tier, Side side, int64_t candidates) {
    const bool aged = report_.uses_age;
    pairs.push_back({a, r, tier, side, aged ? distance(a, r) : nan,
                     aged && (atac_.age_filled[static_cast<size_t>(a)] || rna_.age_filled[static_cast<size_t>(r)]), candidates, nan});
  }

  std::vector<int64_t> match_group(Tier tier, std::vector<int64_t> atac, std::vector<int64_t> rna, Side side) {
    by_hash(atac, atac_.obs);
    by_hash(rna, rna_.obs);
    const auto cost = [&](int64_t i, int64_t j) {
      const double d = distance(atac[static_cast<size_t>(i)], rna[static_cast<size_t>(j)]);
      return d <= window_ ? d : std::numeric_limits<double>::infinity();
    };
    const std::vector<int64_t> chosen = assign(static_cast<int64_t>(atac.size()), static_cast<int64_t>(rna.size()), cost);
    std::vector<int64_t> left;
    for (size_t i = 0; i < atac.size(); ++i) {
      int64_t candidates = 0, nearest = -1;
      for (size_t j = 0; j < rna.size(); ++j) {
        const double d = cost(static_cast<int64_t>(i), static_cast<int64_t>(j));
        if (!std::isfinite(d)) continue;
        ++candidates;
        if (nearest < 0 || d < cost(static_cast<int64_t>(i), nearest)) nearest = static_cast<int64_t>(j);
      }
      if (candidates == 0) {
        left.push_back(atac[i]);
        continue;
      }
      report_.reused += chosen[i] < 0;
      add(atac[i], rna[static_cast<size_t>(chosen[i] < 0 ? nearest : chosen[i])], tier, side, candidates);
    }
    return left;
  }

  // An order that neither the file nor the spelling of names decides, so that no lab's samples are taken first.
  void by_hash(std::vector<int64_t>& rows, const Table& obs) const {
    const auto hash = [&](int64_t r) {
      const std::string& name = obs.keys[static_cast<size_t>(r)];
      return std::pair(stable_hash(name.data(), name.size(), options_.seed), std::string_view(name));
    };
    std::sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return hash(a) < hash(b); });
  }

  const Samples &rna_, &atac_;
  const TierOptions& options_;
  TierReport& report_;
  double window_ = 0;
};

std::vector<int64_t> rows_on(const std::vector<Side>& sides, Side side) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < sides.size(); ++i)
    if (sides[i] == side) rows.push_back(static_cast<int64_t>(i));
  return rows;
}

}  // namespace

const char* side_name(Side side) {
  return side == Side::train ? "train" : side == Side::validation ? "validation" : "holdout";
}

Sides sides_of(const Table& rna, const Table& atac) {
  Sides out;
  std::unordered_map<std::string, Side> of_donor;
  for (const Table* obs : {&rna, &atac}) {
    const std::vector<std::string> donors = donors_of(*obs);
    const bool known = obs->find("split") != nullptr;
    out.known |= known;
    for (const Side side : {Side::validation, Side::holdout})
      for (const int64_t r : known ? rows_of_split(*obs, side_name(side)) : std::vector<int64_t>()) {
        Side& of = of_donor.emplace(donors[static_cast<size_t>(r)], side).first->second;
        of = std::max(of, side);
      }
  }
  for (const auto& [obs, sides] : {std::pair{&rna, &out.rna}, std::pair{&atac, &out.atac}})
    for (const std::string& donor : donors_of(*obs)) {
      const auto at = of_donor.find(donor);
      sides->push_back(at == of_donor.end() ? Side::train : at->second);
    }
  return out;
}

std::vector<MatchedPair> match_tiers(const Table& rna_obs, const Table& atac_obs, const Sides& sides, const std::vector<double>& rna_depth,
                                     const TierOptions& options, TierReport& report) {
  if (!(options.age_window >= 0)) fail_usage(fmt::format("{} years are no window", options.age_window), "--age-window", "give 0 or more");
  Samples rna(rna_obs, "RNA"), atac(atac_obs, "ATAC");
  const auto both = [&](const char* name) { return filled(rna_obs, name) && filled(atac_obs, name); };
  report.uses_age = both("age"), report.uses_sex = both("sex"), report.uses_ethnicity = both("ethnicity");
  if (report.uses_age) {
    fill_ages(rna, atac, sides);
    report.filled_ages_rna = std::count(rna.age_filled.begin(), rna.age_filled.end(), true);
    report.filled_ages_atac = std::count(atac.age_filled.begin(), atac.age_filled.end(), true);
  }
  TierMatcher matcher(rna, atac, options, report);
  for (const Side side : {Side::train, Side::validation, Side::holdout}) {
    const std::vector<int64_t> rna_rows = rows_on(sides.rna, side);
    std::vector<int64_t> waiting = matcher.by_donor(rows_on(sides.atac, side), rna_rows, rna_depth, side);
    if (side == Side::holdout) {
      report.holdout_without_rna = static_cast<int64_t>(waiting.size());
      continue;
    }
    for (const Tier tier : {same_ethnicity, same_sex, near_age, same_cohort}) waiting = matcher.by_tier(tier, waiting, rna_rows, side);
    report.unmatched.insert(report.unmatched.end(), waiting.begin(), waiting.end());
  }
  std::sort(report.unmatched.begin(), report.unmatched.end());
  std::set<std::string> cohorts;
  for (int64_t a : report.unmatched) cohorts.insert(atac_obs.at("cohort").missing(a) ? "(unknown)" : atac_obs.at("cohort").text(a));
  report.cohorts_without_rna.assign(cohorts.begin(), cohorts.end());
  std::sort(matcher.pairs.begin(), matcher.pairs.end(), [](const MatchedPair& a, const MatchedPair& b) { return a.atac < b.atac; });
  return matcher.pairs;
}

std::string tier_words(int tier, const TierReport& report) {
  if (tier == same_donor) return "donor";
  if (tier == correlated) return "correlated";
  std::string words = "cohort";
  if (report.uses_sex && tier <= same_sex) words += "+sex";
  if (report.uses_ethnicity && tier <= same_ethnicity) words += "+ethnicity";
  if (report.uses_age && tier < same_cohort) words += "+age";
  return words;
}

Table pair_table(const std::vector<MatchedPair>& pairs, const Table& rna, const Table& atac, const TierReport& report) {
  Table t;
  t.key_name = "pair";
  // A column of texts, all of which are levels: names that look like missing values stay names.
  const auto text = [&](const char* name, auto&& cell) {
    Column c;
    c.name = name;
    std::unordered_map<std::string, int32_t> codes;
    for (const MatchedPair& p : pairs) {
      const std::string value = cell(p);
      if (value.empty()) {
        c.code.push_back(-1);
        continue;
      }
      const auto [at, fresh] = codes.emplace(value, static_cast<int32_t>(c.levels.size()));
      if (fresh) c.levels.push_back(value);
      c.code.push_back(at->second);
    }
    t.set(std::move(c));
  };
  const auto number = [&](const char* name, auto&& cell) {
    std::vector<double> values;
    for (const MatchedPair& p : pairs) values.push_back(cell(p));
    t.set(numeric_column(name, std::move(values)));
  };
  for (size_t i = 0; i < pairs.size(); ++i) t.keys.push_back(std::to_string(i + 1));
  text("atac", [&](const MatchedPair& p) { return atac.keys[static_cast<size_t>(p.atac)]; });
  text("rna", [&](const MatchedPair& p) { return rna.keys[static_cast<size_t>(p.rna)]; });
  text("split", [](const MatchedPair& p) { return std::string(side_name(p.side)); });
  number("tier", [](const MatchedPair& p) { return static_cast<double>(p.tier); });
  text("match", [&](const MatchedPair& p) { return tier_words(p.tier, report); });
  number("age_distance", [](const MatchedPair& p) { return p.age_distance; });
  number("age_filled", [](const MatchedPair& p) { return p.age_filled ? 1.0 : 0.0; });
  number("candidates", [](const MatchedPair& p) { return static_cast<double>(p.candidates); });
  number("correlation", [](const MatchedPair& p) { return p.correlation; });
  text("atac_cohort", [&](const MatchedPair& p) { return atac.at("cohort").text(p.atac); });
  text("rna_cohort", [&](const MatchedPair& p) { return rna.at("cohort").text(p.rna); });
  return t;
}

}  // namespace panvae::data
