// panvae convert: one matrix format into another, tables of samples and features joined on the way.
#include "base/log.h"
#include "data/describe.h"
#include "data/write.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/table_name.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  std::string in, out, var, table, type = "float32";
};

template <class T>
void convert(const Options& o, const Session& session) {
  data::ReadOptions read = o.dataset.read();
  read.var_table = o.var;
  const data::Dataset<T> data = data::read_dataset<T>(o.in, read);
  if (const std::vector<std::string> others = data::matrices_beside(data::parse_matrix_path(o.in)); !others.empty())
    log::info("of {} one matrix is converted; {} stay{} behind (FILE.h5ad:NAME takes another)", quoted(o.in, 200), fmt::join(others, ", "),
              others.size() == 1 ? "s" : "");
  const bool text = !o.out.ends_with(".h5ad");
  if (text && !(data.obs.columns.empty() && data.var.columns.empty()))
    log::info("text holds the matrix and the names: {} sample and {} feature columns are left out{}", data.obs.columns.size(), data.var.columns.size(),
              o.table.empty() ? " (--write-obs keeps those of samples)" : "");
  data::write_dataset(o.out, data);
  if (!o.table.empty()) data::write_table(o.table, data.obs);
  Json json;
  json["samples"] = data.samples();
  json["features"] = data.features();
  json["kind"] = data.kind;
  json["obs_columns"] = data.obs.columns.size();
  json["var_columns"] = data.var.columns.size();
  TextTable table({"converted", ""});
  table.row({"samples", std::to_string(data.samples())});
  table.row({"features", std::to_string(data.features())});
  table.row({"kind", data.kind.empty() ? "unknown" : data.kind});
  session.emit(table.str() + "\nwritten: " + o.out + (o.table.empty() ? "" : ", " + o.table) + "\n", json);
}

}  // namespace

void add_convert(CLI::App& root, Session& session) {
  CLI::App* cmd =
      add_command(root, "convert", "Convert a matrix (.h5ad, .tsv, .csv, .mtx) to .h5ad, .tsv or .csv, joining tables of samples and features",
                  "printf 'gene\\ts1\\ts2\\nTP53\\t5\\t7\\nBRCA1\\t0\\t2\\n' > counts.tsv && panvae convert -o counts.h5ad counts.tsv --rows features");
  auto o = std::make_shared<Options>();
  cmd->add_option("IN", o->in, "Matrix; FILE.h5ad:layers/NAME, :obsm/NAME or :raw/X name another matrix of a file")->required();
  session.writes(cmd->add_option("-o,--output", o->out, "Output: .h5ad, .tsv or .csv (.gz too)"))->required()->type_name("OUT");
  cmd->add_option("--var", o->var, "Table of features (TSV or CSV, first column the feature's name) whose columns are joined")
      ->type_name("TABLE")
      ->group("Input");
  session.writes(cmd->add_option("--write-obs", o->table, "Write the table of samples too, as --obs reads it (.tsv or .csv, .gz too)"))->type_name("TABLE");
  cmd->add_option("--type", o->type, "Type of the numbers written")->check(CLI::IsMember({"float32", "float64"}))->capture_default_str();
  o->dataset.declare(*cmd);
  session.common(*cmd);
  cmd->callback([o, &session] {
    session.begin();
    data::check_output(o->out);
    if (!o->table.empty()) check_table_output(o->table, "--write-obs");
    if (o->type == "float64") convert<double>(*o, session);
    else convert<float>(*o, session);
  });
}

}  // namespace panvae::tools
