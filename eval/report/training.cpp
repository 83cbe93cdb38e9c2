// Training curves.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/kaplan_meier.h"
#include "eval/report/sections.h"

namespace panvae::eval {

void add_training(Page& page, ReportContent& content) {
  const Results& r = content.results;
  bool begun = false;
  for (const ResultsModel& m : r.models) {
    const ResultsTable* table = r.find_table("curves", m.id);
    if (!table) continue;
    if (!begun) {
      page.section("training", "Training");
      page.note(
          "Loss per sample: Huber loss summed over the features and the weighted Kullback-Leibler term, whose weight grows over the first epochs. The weights "
          "of the best validation epoch are kept.");
      const auto together = [&](const ResultsModel& model) { return model.modality == "both" && r.find_table("curves", model.id); };
      if (std::any_of(r.models.begin(), r.models.end(), together))
        page.note(
            "Of co-embeddings: the sum of all terms while training; on validation samples the reconstruction of both modalities and the FOSCTTM of the pairs, "
            "which early stopping looks at. So the two curves are not of one scale.");
      page.begin_figures(320);
      begun = true;
    }
    const data::Table& t = table->table;
    PageTable out, wide;
    out.id = "losses-" + m.id;
    out.columns = {{"epoch"}, {"part"}, {"loss"}};
    wide.id = "curves-" + m.id;
    wide.columns = {{"epoch"}};
    std::vector<double> losses;
    for (int64_t i = 0; i < t.rows(); ++i) {
      double epoch = 0;
      if (!data::parse_number(t.keys[static_cast<size_t>(i)], epoch))
        fail_input(fmt::format("the epoch {} is no number", quoted(t.keys[static_cast<size_t>(i)])), table->file(), "evaluate again");
      wide.columns[0].values.push_back(epoch);
      for (const auto& [part, column] : {std::pair("training", "train_loss"), std::pair("validation", "validation_loss")}) {
        const double x = t.at(column).number[static_cast<size_t>(i)];
        if (!std::isfinite(x)) continue;
        losses.push_back(x);
        out.row({epoch, part, significant(x, 5)});
      }
    }
    for (const data::Column& c : t.columns) {
      if (!c.numeric) continue;
      PageColumn column{c.name, Json::array(), -1};
      for (double x : c.number) column.values.push_back(significant(x, 6));
      wide.columns.push_back(std::move(column));
    }
    if (losses.empty()) continue;
    // The first epochs may lie far above all others: the axis then ends where the rest fits.
    const double low = quantile(losses, 0), high = quantile(losses, 1), usual = quantile(losses, 0.9);
    const bool cut = high - low > 3 * (usual - low) && usual > low;
    const double top = cut ? low + 1.5 * (usual - low) : high, margin = top > low ? 0.05 * (top - low) : std::max(1.0, std::abs(top) * 0.1);
    Figure f;
    f.id = "training-" + m.id;
    f.title = m.label;
    f.chart = "curves";
    f.signals = {{"from", significant(low - margin, 6)}, {"to", significant(top + margin, 6)}, {"best", m.best_epoch ? Json(*m.best_epoch) : Json()}};
    if (m.modality == "both") f.signals["axis"] = "loss";
    f.alternative = fmt::format("Training and validation loss of {} over {} epochs{}.", m.label, t.rows(),
                                m.best_epoch ? fmt::format(", best epoch {}", *m.best_epoch) : "");
    if (cut) f.caption = fmt::format("The first epochs, up to {}, lie above the picture.", shortest_number(high));
    f.data = {{"losses", out.id, {{"epoch", "epoch"}, {"part", "part"}, {"loss", "loss"}}, {}}};
    f.table = wide.id;
    page.add(std::move(out));
    page.add(std::move(wide));
    page.figure(f);
  }
  if (begun) page.end_figures();
  else content.missing.push_back("training curves");
}

}  // namespace panvae::eval
