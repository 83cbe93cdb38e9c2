// Donors of a simulated study: cohorts, latents, clinical columns, survival.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "data/random.h"
#include "data/simulate.h"
#include "data/split.h"

namespace panvae::data {

namespace {

// Streams of random numbers: one op per purpose, so that adding a draw to one changes no other.
enum Stream : uint32_t { cohort_means = 1, donor_cohorts, donor_latents, clinical, survival };

PhiloxSequence stream(const SimulateOptions& o, Stream s, uint32_t step = 0) {
  return PhiloxSequence({o.seed, s, step});
}

Column factor(std::string name, std::vector<std::string> levels, std::vector<int32_t> code) {
  Column c;
  c.name = std::move(name);
  c.levels = std::move(levels);
  c.code = std::move(code);
  return c;
}

// Cohort sizes fall like 1 / sqrt(rank), as in real collections; at least 2 donors each, all donors placed.
std::vector<int64_t> cohort_sizes(int64_t donors, int64_t cohorts) {
  std::vector<double> weight(static_cast<size_t>(cohorts));
  for (size_t c = 0; c < weight.size(); ++c) weight[c] = 1 / std::sqrt(static_cast<double>(c + 1));
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  std::vector<int64_t> size(weight.size(), 2);
  int64_t left = donors - 2 * cohorts;
  for (size_t c = 0; c < weight.size(); ++c) size[c] += static_cast<int64_t>(std::floor(weight[c] / total * static_cast<double>(donors - 2 * cohorts)));
  for (int64_t s : size) left -= s - 2;
  for (size_t c = 0; left > 0; c = (c + 1) % size.size(), --left) ++size[c];
  return size;
}

// Largest time scale such that the wanted share of deaths is seen before censoring, by bisection.
double scale_for_events(const std::vector<double>& unit_time, const std::vector<double>& censoring, double event_rate) {
  double low = 1e-6, high = 1e9;
  for (int i = 0; i < 200; ++i) {
    const double middle = std::sqrt(low * high);
    double events = 0;
    for (size_t d = 0; d < unit_time.size(); ++d) events += unit_time[d] * middle <= censoring[d];
    (events > event_rate * static_cast<double>(unit_time.size()) ? low : high) = middle;
  }
  return high;
}

}  // namespace

double concordance(const std::vector<double>& risk, const std::vector<double>& time, const std::vector<double>& event, const std::vector<int32_t>& stratum) {
  double usable = 0, score = 0;
  for (size_t i = 0; i < risk.size(); ++i) {
    if (event[i] != 1) continue;
    for (size_t j = 0; j < risk.size(); ++j) {
      if (!stratum.empty() && stratum[i] != stratum[j]) continue;
      if (!(time[i] < time[j] || (time[i] == time[j] && event[j] != 1))) continue;
      ++usable;
      score += risk[i] > risk[j] ? 1 : risk[i] == risk[j] ? 0.5 : 0;
    }
  }
  return usable > 0 ? score / usable : std::nan("");
}

SimulatedDonors simulate_donors(const SimulateOptions& o) {
  SimulatedDonors out;
  const int64_t n = o.donors, k = o.programs, interactions = k / 4;
  const auto cohorts = static_cast<size_t>(o.cohorts);

  // Cohorts come in organs of three, whose means lie near each other: those are the hard ones to tell apart.
  PhiloxSequence means = stream(o, cohort_means);
  RowMatrix<double> organ(o.cohorts, k), mean(o.cohorts, k), shift(o.cohorts * o.subtypes, k);
  std::vector<double> cohort_hazard(cohorts), cohort_age(cohorts);
  for (int64_t c = 0; c < o.cohorts; ++c) {
    for (int64_t p = 0; p < k; ++p) organ(c, p) = c % 3 == 0 ? means.normal() : organ(c - 1, p);
    for (int64_t p = 0; p < k; ++p) mean(c, p) = o.cohort_effect * (0.8 * organ(c, p) + 0.6 * means.normal());
    cohort_hazard[static_cast<size_t>(c)] = 0.6 * means.normal();
    cohort_age[static_cast<size_t>(c)] = 60 + 6 * means.normal();
    for (int64_t s = 0; s < o.subtypes; ++s)
      for (int64_t p = 0; p < k; ++p) shift(c * o.subtypes + s, p) = 0.6 * means.normal();
  }

  PhiloxSequence assign = stream(o, donor_cohorts);
  const std::vector<int64_t> sizes = cohort_sizes(n, o.cohorts);
  for (size_t c = 0; c < cohorts; ++c) out.cohort.insert(out.cohort.end(), static_cast<size_t>(sizes[c]), static_cast<int32_t>(c));
  for (size_t i = out.cohort.size(); i > 1; --i) std::swap(out.cohort[i - 1], out.cohort[assign.below(i)]);
  std::vector<int32_t> subtype(static_cast<size_t>(n));
  for (int32_t& s : subtype) s = static_cast<int32_t>(assign.below(static_cast<uint64_t>(o.subtypes)));

  out.latent.resize(n, k);
  out.activity.resize(n, k + interactions);
  for (int64_t i = 0; i < n; ++i) {
    PhiloxSequence draw = stream(o, donor_latents, static_cast<uint32_t>(i));
    const int64_t c = out.cohort[static_cast<size_t>(i)];
    for (int64_t p = 0; p < k; ++p) {
      const double z = out.latent(i, p) = mean(c, p) + shift(c * o.subtypes + subtype[static_cast<size_t>(i)], p) + draw.normal();
      out.activity(i, p) = p % 2 == 0 ? std::tanh(z / 1.5) : std::log1p(std::exp(z)) - 0.8;
    }
    for (int64_t m = 0; m < interactions; ++m) out.activity(i, k + m) = std::tanh(out.latent(i, 2 * m) * out.latent(i, 2 * m + 1) / 2);
  }

  // Clinical columns; a few values are missing, as in real tables.
  static const std::vector<std::string> ethnicities = {"asian", "black", "hispanic", "white"};
  static constexpr double ethnicity_share[] = {0.1, 0.22, 0.32};
  std::vector<double> age(static_cast<size_t>(n)), known_age(static_cast<size_t>(n));
  std::vector<int32_t> sex(static_cast<size_t>(n)), ethnicity(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    PhiloxSequence draw = stream(o, clinical, static_cast<uint32_t>(i));
    const auto d = static_cast<size_t>(i);
    known_age[d] = std::round(std::clamp(cohort_age[static_cast<size_t>(out.cohort[d])] + 11 * draw.normal(), 18.0, 90.0));
    sex[d] = draw.uniform() < 0.5 ? 0 : 1;
    const double u = draw.uniform();
    ethnicity[d] = u < ethnicity_share[0] ? 0 : u < ethnicity_share[1] ? 1 : u < ethnicity_share[2] ? 2 : 3;
    age[d] = draw.uniform() < 0.01 ? std::nan("") : known_age[d];
    if (draw.uniform() < 0.03) ethnicity[d] = -1;
  }

  // Weibull of shape 1.2: T = scale * (E / exp(risk))^(1 / shape), E ~ Exp(1). Censored between half a year and 12 years.
  static constexpr double beta[] = {0.7, -0.5, 0.4}, beta_age = 0.02, beta_sex = 0.15, shape = 1.2;
  std::vector<double> unit_time, censoring, programs_only;
  for (int64_t i = 0; i < n; ++i) {
    PhiloxSequence draw = stream(o, survival, static_cast<uint32_t>(i));
    const auto d = static_cast<size_t>(i);
    double molecular = 0;
    for (int64_t p = 0; p < 3; ++p) molecular += beta[p] * out.activity(i, p);
    programs_only.push_back(molecular);
    out.risk.push_back(cohort_hazard[static_cast<size_t>(out.cohort[d])] + molecular + beta_age * (known_age[d] - 60) + beta_sex * sex[d]);
    const double e = -std::log(1 - draw.uniform());
    unit_time.push_back(std::pow(e / std::exp(out.risk.back()), 1 / shape));
    censoring.push_back(180 + 4200 * draw.uniform());
  }
  const double scale = scale_for_events(unit_time, censoring, o.event_rate);
  std::vector<double> time, event;
  for (size_t d = 0; d < unit_time.size(); ++d) {
    event.push_back(unit_time[d] * scale <= censoring[d]);
    time.push_back(std::max(1.0, std::round(std::min(unit_time[d] * scale, censoring[d]))));
  }

  out.obs.key_name = "donor";
  std::vector<std::string> cohort_names, subtype_names;
  const auto width = static_cast<int>(std::to_string(n).size());
  for (int64_t i = 0; i < n; ++i) out.obs.keys.push_back(fmt::format("D{:0{}}", i + 1, width));
  for (size_t c = 0; c < cohorts; ++c) cohort_names.push_back(fmt::format("C{:02}", c + 1));
  for (int64_t s = 0; s < o.subtypes; ++s) subtype_names.push_back(fmt::format("subtype{}", s + 1));
  out.obs.columns = {factor("cohort", cohort_names, out.cohort), factor("subtype", subtype_names, subtype),   numeric_column("age", age),
                     factor("sex", {"female", "male"}, sex),     factor("ethnicity", ethnicities, ethnicity), numeric_column("os_time", time),
                     numeric_column("os_event", event)};
  SplitOptions split;
  split.holdout = o.holdout;
  split.validation = o.validation;
  split.seed = o.seed;
  assign_split(out.obs, split);

  Json& truth = out.truth;
  for (size_t c = 0; c < cohorts; ++c) {
    Json row = {{"name", cohort_names[c]}, {"donors", sizes[c]}, {"organ", c / 3 + 1}, {"log_hazard", cohort_hazard[c]}, {"mean_age", cohort_age[c]}};
    row["program_means"] = std::vector<double>(mean.data() + static_cast<int64_t>(c) * k, mean.data() + static_cast<int64_t>(c + 1) * k);
    truth["cohorts"].push_back(std::move(row));
  }
  Json& s = truth["survival"];
  s["model"] = "Weibull; log hazard = cohort + programs . activity + age * (age - 60) + male";
  s["shape"] = shape;
  s["scale_days"] = scale;
  s["programs"] = {{"program_01", beta[0]}, {"program_02", beta[1]}, {"program_03", beta[2]}};
  s["age_per_year"] = beta_age;
  s["male"] = beta_sex;
  s["events"] = std::accumulate(event.begin(), event.end(), 0.0);
  if (n <= 20000) {  // pairs of donors
    s["oracle_harrell"] = concordance(out.risk, time, event);
    s["oracle_harrell_within_cohort"] = concordance(out.risk, time, event, out.cohort);
    s["programs_only_harrell"] = concordance(programs_only, time, event);
    s["programs_only_harrell_within_cohort"] = concordance(programs_only, time, event, out.cohort);
  }
  return out;
}

}  // namespace panvae::data
