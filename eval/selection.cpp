#include "eval/selection.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/read.h"

namespace panvae::eval {

On parse_on(const std::string& text) {
  if (text.empty() || text == "auto") return On::automatic;
  if (text == "holdout") return On::holdout;
  if (text == "all") return On::all;
  fail_usage(fmt::format("no samples are called {}", panvae::quoted(text)), "--on", "say holdout or all");
}

Selection select_evaluated(const data::Table& obs, On on) {
  Selection s;
  if (on != On::all && obs.find("split")) s.rows = data::rows_of_split(obs, "holdout");
  s.holdout = !s.rows.empty();
  if (on == On::holdout && !s.holdout)
    fail_input("there is no hold-out", obs.find("split") ? "column split" : "sample table",
               obs.find("split") ? "no sample has split = holdout; use --on all" : "there is no column split; use --on all");
  if (!s.holdout) s.rows = data::all_rows(obs.rows());
  return s;
}

void sort_by_name(std::vector<int64_t>& rows, const data::Table& obs) {
  std::sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return obs.keys[static_cast<size_t>(a)] < obs.keys[static_cast<size_t>(b)]; });
}

void check_finite(const data::Dataset<double>& data, const std::vector<int64_t>& rows) {
  for (int64_t i : rows)
    for (int64_t j = 0; j < data.features(); ++j)
      if (!std::isfinite(data.x(i, j)))
        fail_input(fmt::format("the value is {}", data.x(i, j)),
                   fmt::format("{}, sample {}, feature {}", panvae::quoted(data.path.empty() ? "matrix" : data.path, 400),
                               panvae::quoted(data.obs.keys[static_cast<size_t>(i)]), panvae::quoted(data.var.keys[static_cast<size_t>(j)])),
                   "an embedding must be finite: was the model trained to the end?");
}

}  // namespace panvae::eval
