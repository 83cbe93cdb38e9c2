#include "eval/survival_data.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace panvae::eval {

namespace {

std::string place(const data::Table& obs, const std::string& column, int64_t row) {
  return fmt::format("column {}, sample {}", panvae::quoted(column), panvae::quoted(obs.keys[static_cast<size_t>(row)]));
}

// 1, 0, or -1 where the cell says neither.
int event_of(const data::Column& column, int64_t row) {
  if (column.numeric) {
    const double v = column.number[static_cast<size_t>(row)];
    return v == 1 ? 1 : v == 0 ? 0 : -1;
  }
  std::string text = column.text(row);
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (text == "1" || text == "true") return 1;
  return text == "0" || text == "false" ? 0 : -1;
}

}  // namespace

Outcomes read_outcomes(const data::Table& obs, const std::vector<int64_t>& rows) {
  const data::Column &time = obs.at("os_time"), &event = obs.at("os_event");
  Outcomes o;
  for (int64_t r : rows) {
    if (time.missing(r) || event.missing(r)) {
      ++o.unknown;
      continue;
    }
    double t = std::numeric_limits<double>::quiet_NaN();
    if (time.numeric) {
      t = time.number[static_cast<size_t>(r)];
    } else if (!data::parse_number(time.text(r), t)) {
      t = std::numeric_limits<double>::quiet_NaN();
    }
    if (!std::isfinite(t))
      fail_input(fmt::format("{} is no survival time", panvae::quoted(time.text(r))), place(obs, "os_time", r), "give days, or nothing where unknown");
    const int died = event_of(event, r);
    if (died < 0)
      fail_input(fmt::format("{} is no event", panvae::quoted(event.text(r))), place(obs, "os_event", r),
                 "1 means died, 0 alive when last seen; recode other values (1 and 2, dead and alive), or name another column with --os-event-key");
    if (t < 0) {
      ++o.negative;
      continue;
    }
    o.zero += t == 0;
    o.row.push_back(r);
    o.time.push_back(t);
    o.event.push_back(static_cast<uint8_t>(died));
  }
  return o;
}

std::vector<std::string> warn_outcomes(const Outcomes& o) {
  std::vector<std::string> out;
  const auto n = static_cast<double>(o.time.size());
  if (o.negative > 0) out.push_back(fmt::format("{} samples have an os_time below zero and are left out", o.negative));
  if (o.zero > 0) out.push_back(fmt::format("{} samples have an os_time of zero: they are kept, though nobody is known to outlive one who died", o.zero));
  double deaths = 0, dead_days = 0, longest = 0;
  for (size_t i = 0; i < o.time.size(); ++i) {
    longest = std::max(longest, o.time[i]);
    if (o.event[i]) deaths += 1, dead_days += o.time[i];
  }
  if (n >= 20 && deaths > 0.9 * n) out.push_back(fmt::format("{} of {} patients died: is os_event flipped? 1 means died, 0 alive when last seen", deaths, n));
  const double others = n - deaths;
  if (deaths >= 10 && others >= 10) {
    // The rank sum of the deaths' times, mid-ranks for ties, the variance with its correction for them.
    std::vector<size_t> order(o.time.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return o.time[a] < o.time[b]; });
    double sum = 0, ties = 0;
    for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
      double dead = 0;
      for (; end < order.size() && o.time[order[end]] == o.time[order[begin]]; ++end) dead += o.event[order[end]];
      const double t = static_cast<double>(end - begin);
      sum += dead * (static_cast<double>(begin) + (t + 1) / 2);
      ties += t * (t * t - 1);
    }
    const double variance = deaths * others / 12 * (n + 1 - ties / (n * (n - 1)));
    const double z = variance > 0 ? (sum - deaths * (n + 1) / 2) / std::sqrt(variance) : 0;
    if (z > 3)
      out.push_back(
          fmt::format("patients who died were followed longer than those who did not (rank sum z = {:.1f}): is os_event flipped? 1 means died, 0 alive "
                      "when last seen",
                      z));
  }
  if (n >= 20 && longest < 500)
    out.push_back(fmt::format("the longest os_time is {}: days are expected, these look like {}; C does not change with the unit, but --tau does",
                              shortest(longest), longest < 60 ? "years or months" : "months"));
  constexpr double kLife = 120 * 365.25;
  if (longest > kLife)
    out.push_back(
        fmt::format("the longest os_time is {}: that many days are {:.3g} years. Are these hours or seconds, or does a number stand for an unknown time? "
                    "C does not change with the unit, but --tau does",
                    shortest(longest), longest / 365.25));
  return out;
}

Covariate read_covariate(const data::Table& obs, const std::string& name, const std::vector<int64_t>& rows) {
  if (name == "os_time" || name == "os_event")
    fail_usage(fmt::format("{} is the outcome", panvae::quoted(name)), "--covariate", "a model must not see what it predicts");
  const data::Column& column = obs.at(name);
  Covariate c;
  c.column = name;
  const auto n = static_cast<Eigen::Index>(rows.size());
  // Cohorts may be numbered, and numbers of cohorts are no amounts.
  if (column.numeric && name != "cohort") {
    c.names = {name};
    c.x.resize(n, 1);
    c.missing.assign(rows.size(), 0);
    for (Eigen::Index i = 0; i < n; ++i) {
      const int64_t r = rows[static_cast<size_t>(i)];
      const bool missing = column.missing(r);
      c.x(i, 0) = missing ? 0 : column.number[static_cast<size_t>(r)];
      if (!std::isfinite(c.x(i, 0))) fail_input(fmt::format("the value is {}", c.x(i, 0)), place(obs, name, r), "covariates must be finite");
      c.missing[static_cast<size_t>(i)] = missing;
      c.count_missing += missing;
    }
  } else {
    // "missing" goes last, so that it is never the level the others are compared with.
    std::map<std::string, int64_t> level;
    for (int64_t r : rows) column.missing(r) ? void(++c.count_missing) : void(level[column.text(r)] = 0);
    if (2 * level.size() > rows.size() && level.size() > 20)
      fail_input(fmt::format("the factor has {} levels among {} samples", level.size(), rows.size()), fmt::format("--covariate {}", panvae::quoted(name)),
                 "a name or a number written as text is no covariate");
    int64_t next = 0;
    for (auto& [text, code] : level) {
      code = next++;
      if (code > 0) c.names.push_back(name + ":" + text);
    }
    if (c.count_missing > 0) c.names.push_back(name + ":missing");
    c.x = data::RowMatrix<double>::Zero(n, static_cast<Eigen::Index>(c.names.size()));
    for (Eigen::Index i = 0; i < n; ++i) {
      const int64_t r = rows[static_cast<size_t>(i)];
      const int64_t code = column.missing(r) ? next : level[column.text(r)];
      if (code > 0) c.x(i, code - 1) = 1;
    }
  }
  if (c.count_missing == static_cast<int64_t>(rows.size()))
    fail_input("no evaluated sample has a value", fmt::format("--covariate {}", panvae::quoted(name)), "leave this covariate out");
  return c;
}

std::vector<int32_t> codes_of(const data::Table& obs, const std::string& name, const std::vector<int64_t>& rows, Unknown unknown) {
  const data::Column& column = obs.at(name);
  const auto apart = [&](int64_t r) { return unknown == Unknown::apart && column.missing(r); };
  std::map<std::string, int32_t> level;
  for (int64_t r : rows)
    if (!apart(r)) level[column.text(r)] = 0;
  int32_t next = 0;
  for (auto& [text, code] : level) code = next++;
  std::vector<int32_t> out;
  for (int64_t r : rows) out.push_back(apart(r) ? next++ : level[column.text(r)]);
  return out;
}

}  // namespace panvae::eval
