#include "eval/report/bars.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace panvae::eval {

bool Bars::any(double Bar::*what) const {
  return std::any_of(bars.begin(), bars.end(), [what](const Bar& b) { return std::isfinite(b.*what); });
}

void Bars::add_to(Page& page) const {
  PageTable t;
  t.id = table;
  t.columns = {{"model"}, {axis}, {"standard error"}, {"by chance"}, {"control"}, {"kind"}, {"shown"}};
  std::vector<std::string> labels;
  std::string alternative = fmt::format("Bars of {} per model, {} is better.", axis, higher_is_better ? "higher" : "lower");
  for (const Bar& b : bars) {
    const std::string text = std::isfinite(b.value) ? b.text : "not defined";
    t.row({b.model, significant(b.value, 6), significant(b.error, 4), significant(b.chance, 6), significant(b.control, 6), b.kind, text});
    labels.push_back(b.model);
    alternative += fmt::format(" {}: {}.", b.model, text);
  }
  Figure f;
  f.id = figure;
  f.title = fmt::format("{}: {}", name, higher_is_better ? "higher is better →" : "← lower is better");
  f.chart = "bars";
  f.table = t.id;
  f.caption = caption;
  f.alternative = alternative;
  f.signals = {{"models", labels},
               {"axis", axis + (square_root ? ", square-root scale" : "")},
               {"from", from},
               {"to", to},
               {"format", fmt::format(".{}f", digits)},
               {"root", square_root ? 0.5 : 1.0}};
  f.data = {
      {"scores",
       t.id,
       {{"model", "model"}, {"mean", axis}, {"se", "standard error"}, {"chance", "by chance"}, {"control", "control"}, {"kind", "kind"}, {"text", "shown"}},
       {}}};
  page.add(std::move(t));
  page.figure(f);
}

}  // namespace panvae::eval
