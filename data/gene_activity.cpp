#include "data/gene_activity.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "data/table_io.h"

namespace panvae::data {

namespace {

// "chr1" and "1" are one chromosome, as are "chrM" and "MT".
std::string bare_chromosome(std::string_view name) {
  std::string out = folded(std::string(name));
  if (out.size() > 3 && out.compare(0, 3, "chr") == 0) out.erase(0, 3);
  return out == "mt" ? "m" : out;
}

const Column* find_any_case(const Table& table, std::initializer_list<const char*> names) {
  for (const char* name : names)
    for (const Column& c : table.columns)
      if (folded(c.name) == name) return &c;
  return nullptr;
}

// The columns of a gene table, whichever of the two forms it has.
class GeneTable {
 public:
  GeneTable(const Table& table, const std::string& path) : table_(table), path_(path) {
    std::string key = folded(table.key_name);
    if (!key.empty() && key.front() == '#') key.erase(0, 1);
    symbol_ = find_any_case(table, {"symbol", "gene_symbol", "gene_name"});
    chrom_ = required({"chrom", "chr", "chromosome"}, "chrom");
    strand_ = required({"strand"}, "strand");
    tss_ = required({"tss", "pos"}, "tss");
    start_ = find_any_case(table, {"start"});
    end_ = find_any_case(table, {"end"});
    if ((start_ == nullptr) != (end_ == nullptr))
      fail_input(fmt::format("the gene table has {} without {}", start_ ? "start" : "end", start_ ? "end" : "start"), quoted(path, 400),
                 "the body of a gene needs both; without both, distances are to the TSS");
  }

  std::string symbol(int64_t row) const {
    if (symbol_ && !symbol_->missing(row)) return symbol_->text(row);
    if (is_missing_text(key(row))) fail_input("a gene without a name", fmt::format("{}, row {}", quoted(path_, 400), row + 1), "take it out of the table");
    return key(row);
  }
  std::string id(int64_t row) const { return symbol_ && !is_missing_text(key(row)) ? key(row) : std::string(); }
  std::string chromosome(int64_t row) const {
    if (chrom_->missing(row)) fail_input("a gene without a chromosome", place(row), "take it out of the table");
    return chrom_->text(row);
  }
  bool forward(int64_t row) const {
    const std::string strand = strand_->text(row);
    if (strand == "+" || strand == "1") return true;
    if (strand == "-" || strand == "-1") return false;
    fail_input(fmt::format("the strand of a gene is {}", strand.empty() ? "missing" : quoted(strand)), place(row), "strands are + or -");
  }
  void body(int64_t row, int64_t& start, int64_t& end) const {
    if (start_ && !start_->missing(row) && !end_->missing(row)) {
      start = position(*start_, row), end = position(*end_, row);
      if (start > end)
        fail_input(fmt::format("the gene ends at {}, before it starts, {}", end, start), place(row), "start is the lower of the two on either strand");
      return;
    }
    start = end = position(*tss_, row);
  }

 private:
  const std::string& key(int64_t row) const { return table_.keys[static_cast<size_t>(row)]; }
  std::string place(int64_t row) const { return fmt::format("{}, gene {}", quoted(path_, 400), quoted(symbol(row))); }
  const Column* required(std::initializer_list<const char*> names, const char* name) const {
    const Column* c = find_any_case(table_, names);
    if (!c)
      fail_input(fmt::format("the gene table has no column {}", name), quoted(path_, 400),
                 "its columns are symbol, chrom, tss, strand (start and end where known), or Gene_IDs, CHROM, POS, STRAND, Symbol as GREAT writes them");
    return c;
  }
  int64_t position(const Column& c, int64_t row) const {
    const double value = c.numeric ? c.number[static_cast<size_t>(row)] : std::nan("");
    if (!(value >= 0 && value <= 9e15) || value != std::floor(value))
      fail_input(fmt::format("{} of a gene is {}, no position", quoted(c.name), c.missing(row) ? "missing" : quoted(c.text(row))), place(row),
                 "positions are whole numbers from 0");
    return static_cast<int64_t>(value);
  }

  const Table& table_;
  const std::string& path_;
  const Column *symbol_, *chrom_, *strand_, *tss_, *start_, *end_;
};

}  // namespace

Genes genes_of(const Table& table, const std::string& path) {
  const GeneTable from(table, path);
  Genes genes;
  std::unordered_map<std::string, int32_t> code_of;
  std::unordered_set<std::string> seen;
  int64_t repeated = 0;
  for (int64_t r = 0; r < table.rows(); ++r) {
    std::string symbol = from.symbol(r);
    if (!seen.insert(symbol).second) {
      ++repeated;
      continue;
    }
    const auto [at, fresh] = code_of.emplace(from.chromosome(r), static_cast<int32_t>(genes.chromosomes.size()));
    if (fresh) genes.chromosomes.push_back(at->first);
    int64_t start = 0, end = 0;
    from.body(r, start, end);
    genes.symbol.push_back(std::move(symbol));
    genes.id.push_back(from.id(r));
    genes.chromosome.push_back(at->second);
    genes.start.push_back(start);
    genes.end.push_back(end);
    genes.forward.push_back(from.forward(r));
  }
  if (repeated > 0) log::info("{}: {} genes whose symbol stood before are left out", path, repeated);
  return genes;
}

Genes read_genes(const std::string& path) {
  return genes_of(read_rows(path), path);
}

void GeneActivity::product(const double* accessibility, double* activity) const {
  for (size_t g = 0; g < gene.size(); ++g) {
    double sum = 0;
    for (auto e = static_cast<size_t>(first[g]); e < static_cast<size_t>(first[g + 1]); ++e) sum += weight[e] * accessibility[peak[e]];
    activity[g] = sum;
  }
}

GeneActivity gene_activity(const Peaks& peaks, const Genes& genes, const std::string& peaks_path, const std::string& genes_path,
                           const GeneActivityOptions& options) {
  PV_CHECK(options.window >= 0 && options.upstream >= 0 && options.decay > 0, "gene_activity: window {}, upstream {}, decay {}", options.window,
           options.upstream, options.decay);
  // Peaks of each chromosome by twice their midpoint, which is a whole number.
  struct Place {
    int64_t twice_middle;
    int32_t peak;
  };
  std::unordered_map<std::string, std::vector<Place>> on;
  std::vector<std::vector<Place>*> of_chromosome;
  for (const std::string& name : peaks.chromosomes) of_chromosome.push_back(&on[bare_chromosome(name)]);
  for (int64_t p = 0; p < peaks.size(); ++p) {
    const auto i = static_cast<size_t>(p);
    of_chromosome[static_cast<size_t>(peaks.chromosome[i])]->push_back({peaks.start[i] + peaks.end[i], static_cast<int32_t>(p)});
  }
  for (auto& [name, places] : on)
    std::sort(places.begin(), places.end(),
              [](const Place& a, const Place& b) { return a.twice_middle != b.twice_middle ? a.twice_middle < b.twice_middle : a.peak < b.peak; });

  std::vector<const std::vector<Place>*> places_of;
  int64_t shared = 0, renamed = 0;
  for (const std::string& name : genes.chromosomes) {
    const auto at = on.find(bare_chromosome(name));
    places_of.push_back(at == on.end() ? nullptr : &at->second);
    if (at == on.end()) continue;
    ++shared;
    renamed += std::find(peaks.chromosomes.begin(), peaks.chromosomes.end(), name) == peaks.chromosomes.end();
  }
  const std::string both = fmt::format("{} and {}", quoted(peaks_path, 400), quoted(genes_path, 400));
  if (shared == 0)
    fail_input(
        fmt::format("peaks and genes have no chromosome in common: {} there, {} here", peaks.chromosomes.empty() ? "none" : quoted(peaks.chromosomes.front()),
                    genes.chromosomes.empty() ? "none" : quoted(genes.chromosomes.front())),
        both, "both files must name chromosomes alike (with or without chr) and be of one genome");
  if (renamed > 0)
    log::info("chromosomes are named differently in {} (such as {}) and {} (such as {}): compared without chr", peaks_path, quoted(peaks.chromosomes.front()),
              genes_path, quoted(genes.chromosomes.front()));

  GeneActivity out;
  out.peaks = peaks.size();
  out.first.push_back(0);
  std::vector<std::pair<int32_t, double>> entries;
  for (int64_t g = 0; g < genes.size(); ++g) {
    const auto i = static_cast<size_t>(g);
    const std::vector<Place>* places = places_of[static_cast<size_t>(genes.chromosome[i])];
    if (!places) continue;
    const int64_t low = genes.start[i] - (genes.forward[i] ? options.upstream : 0), high = genes.end[i] + (genes.forward[i] ? 0 : options.upstream);
    auto at = std::lower_bound(places->begin(), places->end(), 2 * (low - options.window), [](const Place& p, int64_t x) { return p.twice_middle < x; });
    entries.clear();
    for (; at != places->end() && at->twice_middle <= 2 * (high + options.window); ++at) {
      const int64_t twice = std::max<int64_t>({0, 2 * low - at->twice_middle, at->twice_middle - 2 * high});
      entries.emplace_back(at->peak, std::exp(-static_cast<double>(twice) / 2 / options.decay) + std::exp(-1.0));
    }
    if (entries.empty()) continue;
    std::sort(entries.begin(), entries.end());
    out.gene.push_back(g);
    for (const auto& [peak, weight] : entries) out.peak.push_back(peak), out.weight.push_back(weight);
    out.first.push_back(out.entries());
  }
  if (out.gene.empty())
    fail_input(fmt::format("no gene has a peak within {} bases", options.window), both, "are peaks and genes of one genome, with positions in bases?");
  return out;
}

}  // namespace panvae::data
