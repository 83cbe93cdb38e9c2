// A report page as it grows: sections of text, figures and tables. Text from outside (names of samples, genes, cohorts, files) is
// escaped here and nowhere else: whatever is handed over is plain text.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace panvae::eval {

std::string escape_html(std::string_view text);
// `x` to so many significant digits, null where it is not finite: a page holds what can be seen, not what a file holds.
Json significant(double x, int digits = 4);
std::string decimals(double x, int digits = 3);               // "0.851", "–" where not finite
std::string grouped(int64_t n);                               // "12,345"
std::string with_error(double x, double se, int digits = 3);  // "0.851 ± 0.012"
std::string shortest_number(double x);                        // four significant digits: "0.05", "1", "12300"

// A column of a table: values in the order of the rows, numbers or texts, null where missing.
struct PageColumn {
  std::string name;
  Json values = Json::array();
  int digits = -1;  // decimals that are shown; -1: as the number is
};

struct PageTable {
  std::string id;
  std::vector<PageColumn> columns;

  // Adds a row; as many cells as columns.
  void row(std::vector<Json> cells);
  size_t rows() const { return columns.empty() ? 0 : columns[0].values.size(); }
};

// A data set of a chart: fields of the specification from columns of a table. Rows where a field named in `needs` is null are
// left out.
struct ChartData {
  std::string name, table;
  std::vector<std::pair<std::string, std::string>> fields;  // field of the chart, column of the table
  std::vector<std::string> needs;
};

struct Figure {
  std::string id, title, caption;
  std::string alternative;        // what a reader who does not see the picture should know
  std::string chart;              // charts/NAME.json
  Json signals = Json::object();  // values of signals of the specification
  std::vector<ChartData> data;
  std::string table;  // shown behind the picture; empty: that of the first data set
  std::string link;   // figures of one link share what is highlighted
};

class Page {
 public:
  void section(std::string id, std::string title);
  void paragraph(std::string_view text);
  void note(std::string_view text);  // smaller: how to read, what was left out
  void list(std::span<const std::string> items);
  void warnings(std::span<const std::string> items);
  void subtitle(std::string_view text);
  // A table in full, in the text. `strong` holds (row, column) of cells that stand out, `muted` rows that step back.
  void table(const PageTable& table, std::span<const std::pair<size_t, size_t>> strong = {}, std::span<const size_t> muted = {});
  // A table that figures refer to.
  void add(PageTable table);
  // Figures between begin_figures and end_figures stand side by side where there is room: each at least `width` pixels wide; 0: one
  // above the other.
  void begin_figures(int width);
  void figure(const Figure& figure);
  void end_figures();

  // Sections of another page, which has no figures, before those of this one.
  void prepend(const Page& other);

  // The whole page.
  std::string html(std::string_view title, std::string_view lead, std::string_view generator) const;

 private:
  std::string body_;
  std::vector<std::pair<std::string, std::string>> contents_;  // id, title
  Json charts_ = Json::array(), tables_ = Json::object();
  bool open_ = false;
};

}  // namespace panvae::eval
