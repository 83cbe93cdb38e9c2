// panvae report: results folders as one page to read.
#include "eval/report.h"

#include "base/file.h"
#include "base/log.h"
#include "tools/commands.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {

struct Options {
  std::vector<std::string> results;
  std::string out = "report.html", title;
  bool literature = false;
};

void run(const Options& o, const Session& session) {
  session.begin();
  AtomicFile page(o.out);
  std::vector<eval::ReportInput> inputs;
  for (const std::string& folder : o.results) inputs.push_back({folder, eval::read_results(folder)});
  eval::ReportOptions options;
  options.generator = "panvae " + version_short();
  options.literature = o.literature;
  if (!o.title.empty()) options.title = o.title;
  const std::string html = eval::report_html(inputs, options);
  page.write(html);
  page.commit();
  size_t models = 0;
  for (const eval::ReportInput& input : inputs) models += input.results.models.size();
  TextTable t({"report", ""});
  t.row({"page", o.out});
  t.row({"size", human_bytes(static_cast<int64_t>(html.size()))});
  t.row({"models", std::to_string(models)});
  session.emit(t.str(), {{"report", o.out}, {"bytes", html.size()}, {"models", models}});
}

}  // namespace

void add_report(CLI::App& root, Session& session) {
  CLI::App* cmd =
      add_command(root, "report", "Results of 'evaluate all' as one HTML page with charts and the tables behind them; opens without a network",
                  "panvae simulate -o sim --donors 300 --genes 500 --cohorts 4 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                  "panvae train rna -o sim/run sim/rna_pp.h5ad --set train.max_epochs=12 && panvae evaluate all sim/run -o sim/results && "
                  "panvae report -o sim/report.html sim/results");
  auto o = std::make_shared<Options>();
  cmd->add_option("results", o->results, "Folders that 'evaluate all' wrote; models of several stand side by side")->required()->type_name("RESULTS");
  session.writes(cmd->add_option("-o,--output", o->out, "The page to write"))->type_name("FILE")->capture_default_str();
  cmd->add_option("--title", o->title, "Its title; default: Embeddings judged")->type_name("TEXT");
  cmd->add_flag("--literature", o->literature, "Show published numbers beside these, with their sources");
  session.common(*cmd, 0);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
