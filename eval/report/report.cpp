#include "eval/report.h"

#include "base/error.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {

// "2 data sets, 1,024 samples of 15 cohorts; 5 models"
std::string lead(const ReportContent& content) {
  const Results& r = content.results;
  std::string out;
  for (const ResultsData& d : r.data)
    out += fmt::format("{}{}: {} samples ({}), {} features, {} cohorts", out.empty() ? "" : "; ", d.label, grouped(d.samples),
                       d.holdout > 0 ? fmt::format("{} held out", grouped(d.holdout)) : std::string("none held out"), grouped(d.features), d.cohorts.size());
  return out + (out.empty() ? "" : ". ") + fmt::format("{} model{} compared.", r.models.size(), r.models.size() == 1 ? "" : "s");
}

}  // namespace

std::string report_html(const std::vector<ReportInput>& inputs, const ReportOptions& options) {
  PV_CHECK(!inputs.empty(), "report: no results");
  ReportContent content = merge(inputs);
  Page page, first;
  add_networks(page, content);
  add_benchmarks(page, content);
  add_pairs(page, content);
  add_survival(page, content);
  add_embeddings(page, content);
  add_cohorts(page, content);
  add_expression(page, content);
  add_controls(page, content);
  add_training(page, content);
  if (options.literature) add_literature(page, content);
  add_provenance(page, content);
  // It comes first on the page, and knows only now what is missing.
  add_summary(first, content);
  page.prepend(first);
  return page.html(options.title, lead(content), options.generator);
}

}  // namespace panvae::eval
