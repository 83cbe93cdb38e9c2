#include "data/pairs.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "data/table.h"
#include "data/text_reader.h"

namespace panvae::data {

std::vector<SamplePair> read_pairs(const std::string& path) {
  // Not through read_table(): names that look like numbers stay as they are written, and one sample may stand in many rows.
  LineReader reader(path);
  std::string_view line;
  if (!reader.next(line)) fail_input("the table of pairs is empty", quoted(path, 400), "its first row names the columns, among them atac and rna");
  const std::vector<std::string> head = split_fields(reader, line);
  const auto column = [&](const char* name) { return static_cast<size_t>(std::find(head.begin(), head.end(), name) - head.begin()); };
  const size_t atac = column("atac"), rna = column("rna"), tier = column("tier"), split = column("split"), columns = head.size();
  if (atac == columns || rna == columns)
    fail_input(fmt::format("the table of pairs has no column {}", atac == columns ? "atac" : "rna"), quoted(path, 400),
               "it needs the columns atac and rna, as 'panvae match' writes them");
  std::vector<SamplePair> pairs;
  std::map<std::pair<std::string, std::string>, int64_t> line_of;
  while (reader.next(line)) {
    const std::vector<std::string> row = split_fields(reader, line);
    if (row.size() != columns)
      fail_input(fmt::format("{} cells where the first row names {} columns", row.size(), columns), reader.where(), "every row needs one cell per column");
    SamplePair p;
    p.atac = row[atac], p.rna = row[rna];
    if (p.atac.empty() || p.rna.empty()) fail_input(fmt::format("a pair without {}", p.atac.empty() ? "atac" : "rna"), reader.where(), "name both samples");
    if (tier < columns) {
      double number = 0;
      if (!parse_number(row[tier], number) || !(number >= int{same_donor} && number <= int{correlated}) || number != std::floor(number))
        fail_input(fmt::format("the tier of a pair is {}", quoted(row[tier])), reader.where(), "tiers are 1 (same donor) to 6 (correlated)");
      p.tier = static_cast<int>(number);
    }
    if (split < columns && !is_missing_text(row[split])) {
      p.split = row[split];
      if (p.split != "train" && p.split != "validation" && p.split != "holdout")
        fail_input(fmt::format("the split of a pair is {}", quoted(p.split)), reader.where(), "use train, validation or holdout");
    }
    if (const auto [at, fresh] = line_of.emplace(std::pair(p.atac, p.rna), reader.line_number()); !fresh)
      fail_input(fmt::format("the pair {} and {} stands twice", quoted(p.atac), quoted(p.rna)), fmt::format("{} and line {}", reader.where(), at->second),
                 "take one of the two out");
    pairs.push_back(std::move(p));
  }
  if (pairs.empty()) fail_input("the table of pairs has no rows", quoted(path, 400), "one row per pair of samples");
  return pairs;
}

}  // namespace panvae::data
