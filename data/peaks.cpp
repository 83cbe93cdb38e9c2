#include "data/peaks.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "data/large_dataset.h"
#include "data/read.h"

namespace panvae::data {

namespace {

bool digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view without_chr(std::string_view name) {
  if (name.size() > 3 && (name[0] == 'c' || name[0] == 'C') && (name[1] == 'h' || name[1] == 'H') && (name[2] == 'r' || name[2] == 'R')) name.remove_prefix(3);
  return name;
}

// Numbers 1 to 99 keep their value, X, Y and M follow, contigs come last.
int rank_of(std::string_view name) {
  const std::string_view s = without_chr(name);
  if (!s.empty() && s.size() <= 2 && s[0] != '0' && std::all_of(s.begin(), s.end(), digit)) return s.size() == 1 ? s[0] - '0' : (s[0] - '0') * 10 + s[1] - '0';
  if (s == "X" || s == "x") return 100;
  if (s == "Y" || s == "y") return 101;
  if (s == "M" || s == "MT" || s == "m" || s == "mt") return 102;
  return 103;
}

// Runs of digits compare as numbers, everything else as bytes.
bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      while (i < a.size() && a[i] == '0') ++i;
      while (j < b.size() && b[j] == '0') ++j;
      const size_t from_a = i, from_b = j;
      while (i < a.size() && digit(a[i])) ++i;
      while (j < b.size() && digit(b[j])) ++j;
      const std::string_view number_a = a.substr(from_a, i - from_a), number_b = b.substr(from_b, j - from_b);
      if (number_a.size() != number_b.size()) return number_a.size() < number_b.size();
      if (number_a != number_b) return number_a < number_b;
      continue;
    }
    if (a[i] != b[j]) return a[i] < b[j];
    ++i, ++j;
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;  // chr01 and chr1
}

bool parse_position(std::string_view text, int64_t& value) {
  if (text.empty() || !digit(text[0])) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

struct Place {
  std::string_view path;
  const Table& var;
  std::string operator()(int64_t peak) const { return fmt::format("{}, peak {}", quoted(path, 400), quoted(var.keys[static_cast<size_t>(peak)])); }
};

// A whole number from 0, of column `name`.
int64_t position(const Column& column, int64_t peak, const Place& place) {
  if (column.missing(peak)) fail_input(fmt::format("a peak without {}", quoted(column.name)), place(peak), "give every peak chrom, start and end");
  const double value = column.numeric ? column.number[static_cast<size_t>(peak)] : -1;
  if (!column.numeric || value < 0 || value != std::floor(value) || value > 9e15)
    fail_input(fmt::format("{} of the peak is {}, no position", quoted(column.name), quoted(column.text(peak))), place(peak),
               "positions are whole numbers from 0");
  return static_cast<int64_t>(value);
}

// Codes into names that are sorted at the end; equal names meet in a map.
class Chromosomes {
 public:
  int32_t code(std::string_view name) {
    if (name == last_) return last_code_;  // peaks mostly come chromosome by chromosome
    const auto [at, fresh] = codes_.emplace(std::string(name), static_cast<int32_t>(names_.size()));
    if (fresh) names_.push_back(at->first);
    last_ = at->first;
    return last_code_ = at->second;
  }
  void into(Peaks& peaks) const {
    std::vector<int32_t> order(names_.size()), rank(names_.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int32_t a, int32_t b) { return chromosome_before(names_[static_cast<size_t>(a)], names_[static_cast<size_t>(b)]); });
    for (size_t i = 0; i < order.size(); ++i) {
      rank[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
      peaks.chromosomes.push_back(names_[static_cast<size_t>(order[i])]);
    }
    for (int32_t& c : peaks.chromosome) c = rank[static_cast<size_t>(c)];
  }

 private:
  std::unordered_map<std::string, int32_t> codes_;
  std::vector<std::string> names_;
  std::string last_;
  int32_t last_code_ = -1;
};

}  // namespace

bool chromosome_before(std::string_view a, std::string_view b) {
  const int rank_a = rank_of(a), rank_b = rank_of(b);
  return rank_a != rank_b ? rank_a < rank_b : natural_less(a, b);
}

bool is_main_chromosome(std::string_view name) {
  return rank_of(name) < 103;
}

bool parse_peak_name(std::string_view name, std::string_view& chromosome, int64_t& start, int64_t& end) {
  for (const auto& [before_start, before_end] : {std::pair{':', '-'}, std::pair{'-', '-'}, std::pair{'_', '_'}}) {
    const size_t second = name.rfind(before_end);
    if (second == std::string_view::npos || second == 0) continue;
    const size_t first = name.rfind(before_start, second - 1);
    if (first == std::string_view::npos || first == 0) continue;
    if (!parse_position(name.substr(first + 1, second - first - 1), start) || !parse_position(name.substr(second + 1), end)) continue;
    if (name[first - 1] == ':' || name[first - 1] == '-' || name[first - 1] == '_') continue;  // chr1:-5-10
    chromosome = name.substr(0, first);
    // chr1:100-600-1, a name made unique: no chromosome chr1:100.
    const size_t colon = chromosome.rfind(':');
    if (before_start != ':' && colon != std::string_view::npos && std::all_of(chromosome.begin() + static_cast<int64_t>(colon) + 1, chromosome.end(), digit))
      continue;
    return true;
  }
  return false;
}

Peaks peaks_of(const Table& var, const std::string& path) {
  const Place place{path, var};
  const Column *chrom = var.find("chrom"), *start = var.find("start"), *end = var.find("end");
  const int found = (chrom != nullptr) + (start != nullptr) + (end != nullptr);
  if (found == 1 || found == 2) {
    std::string absent;
    for (const auto& [column, name] : {std::pair{chrom, "chrom"}, std::pair{start, "start"}, std::pair{end, "end"}})
      if (!column) absent += (absent.empty() ? "" : ", ") + std::string(name);
    fail_input(fmt::format("the table of features lacks {}", absent), quoted(path, 400), "peaks need chrom, start and end, or names such as chr1:100-600");
  }
  Peaks peaks;
  const int64_t n = var.rows();
  peaks.chromosome.reserve(static_cast<size_t>(n));
  peaks.start.reserve(static_cast<size_t>(n));
  peaks.end.reserve(static_cast<size_t>(n));
  Chromosomes chromosomes;
  for (int64_t p = 0; p < n; ++p) {
    int64_t from = 0, to = 0;
    if (found == 3) {
      if (chrom->missing(p)) fail_input("a peak without 'chrom'", place(p), "give every peak chrom, start and end");
      from = position(*start, p, place);
      to = position(*end, p, place);
      if (chrom->numeric) peaks.chromosome.push_back(chromosomes.code(chrom->text(p)));
      else peaks.chromosome.push_back(chromosomes.code(chrom->levels[static_cast<size_t>(chrom->code[static_cast<size_t>(p)])]));
    } else {
      std::string_view name;
      if (!parse_peak_name(var.keys[static_cast<size_t>(p)], name, from, to))
        fail_input("no position can be read from the name of a peak", place(p),
                   "name peaks as in chr1:100-600, or give a table with chrom, start and end with --var");
      peaks.chromosome.push_back(chromosomes.code(name));
    }
    if (from >= to) fail_input(fmt::format("the peak ends at {}, before or where it starts, {}", to, from), place(p), "start must be below end");
    peaks.start.push_back(from);
    peaks.end.push_back(to);
  }
  chromosomes.into(peaks);
  const std::vector<int64_t> order = bed_order(peaks);
  for (size_t i = 1; i < order.size(); ++i) {
    const auto a = static_cast<size_t>(order[i - 1]), b = static_cast<size_t>(order[i]);
    if (peaks.chromosome[a] == peaks.chromosome[b] && peaks.start[a] == peaks.start[b] && peaks.end[a] == peaks.end[b])
      fail_input(
          fmt::format("the peak {}:{}-{} stands twice", quoted(peaks.chromosomes[static_cast<size_t>(peaks.chromosome[a])]), peaks.start[a], peaks.end[a]),
          fmt::format("{}, peaks {} and {}", quoted(path, 400), quoted(var.keys[a]), quoted(var.keys[b])), "take one of the two out of the file");
  }
  return peaks;
}

bool has_positions(const Table& var) {
  if (var.find("chrom") || var.find("start") || var.find("end")) return true;  // one alone is an error that peaks_of() explains
  std::string_view chromosome;
  int64_t start = 0, end = 0;
  return var.rows() > 0 && parse_peak_name(var.keys.front(), chromosome, start, end);
}

std::vector<int64_t> bed_order(const Peaks& peaks) {
  std::vector<int64_t> order(peaks.start.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t left, int64_t right) {
    const auto a = static_cast<size_t>(left), b = static_cast<size_t>(right);
    if (peaks.chromosome[a] != peaks.chromosome[b]) return peaks.chromosome[a] < peaks.chromosome[b];
    if (peaks.start[a] != peaks.start[b]) return peaks.start[a] < peaks.start[b];
    return peaks.end[a] < peaks.end[b];
  });
  return order;
}

void set_peak_columns(Table& var, const Peaks& peaks) {
  PV_CHECK(var.rows() == peaks.size(), "set_peak_columns: {} features, {} peaks", var.rows(), peaks.size());
  Column chrom;
  chrom.name = "chrom";
  chrom.levels = peaks.chromosomes;
  chrom.code = peaks.chromosome;
  var.set(std::move(chrom));
  var.set(numeric_column("start", std::vector<double>(peaks.start.begin(), peaks.start.end())));
  var.set(numeric_column("end", std::vector<double>(peaks.end.begin(), peaks.end.end())));
}

std::string modality_of(const Table& var, const Frozen& frozen) {
  if (const auto known = frozen.settings.find("modality"); known != frozen.settings.end() && known->is_string()) return known->get<std::string>();
  const auto has = [&](const char* name) { return var.find(name) != nullptr; };
  if (has("chrom") && has("start") && has("end")) return has("symbol") || has("tss") || has("strand") ? "rna" : "atac";
  const bool named = std::all_of(var.keys.begin(), var.keys.end(), [](const std::string& key) {
    std::string_view chromosome;
    int64_t start = 0, end = 0;
    return parse_peak_name(key, chromosome, start, end);
  });
  return named && !var.keys.empty() ? "atac" : "rna";
}

template <class T, class Matrix>
int64_t sort_peaks(Dataset<T, Matrix>& data) {
  const Peaks peaks = peaks_of(data.var, data.path);
  std::vector<int64_t> contigs(peaks.chromosomes.size(), 0);
  for (int32_t c : peaks.chromosome) ++contigs[static_cast<size_t>(c)];
  int64_t unplaced = 0, names = 0;
  std::string example;
  for (size_t c = 0; c < contigs.size(); ++c) {
    if (is_main_chromosome(peaks.chromosomes[c])) continue;
    unplaced += contigs[c];
    if (names++ == 0) example = peaks.chromosomes[c];
  }
  if (unplaced > 0)
    log::warning("{} peaks lie on {} contigs or chromosomes of other names, {} the first: they stand after the others", unplaced, names, quoted(example));
  set_peak_columns(data.var, peaks);
  const std::vector<int64_t> order = bed_order(peaks);
  int64_t moved = 0;
  for (size_t i = 0; i < order.size(); ++i) moved += order[i] != static_cast<int64_t>(i);
  if (moved > 0) {
    log::info("{} of {} peaks moved into the order of the genome", moved, peaks.size());
    select_features(data, order);
  }
  return moved;
}
template int64_t sort_peaks(Dataset<float>&);
template int64_t sort_peaks(Dataset<double>&);
template int64_t sort_peaks(LargeDataset<float>&);

void store_peaks(Frozen& frozen, const Peaks& peaks) {
  const int64_t n = peaks.size();
  frozen.settings["chromosomes"] = peaks.chromosomes;
  frozen.arrays["peak_chromosome"] = {{n}, std::vector<double>(peaks.chromosome.begin(), peaks.chromosome.end())};
  frozen.arrays["peak_start"] = {{n}, std::vector<double>(peaks.start.begin(), peaks.start.end())};
  frozen.arrays["peak_end"] = {{n}, std::vector<double>(peaks.end.begin(), peaks.end.end())};
}

Peaks stored_peaks(const Frozen& frozen) {
  Peaks peaks;
  if (!frozen.settings.contains("chromosomes")) return peaks;
  auto values = [&](const char* name) -> const std::vector<double>& {
    const auto at = frozen.arrays.find(name);
    if (at == frozen.arrays.end() || at->second.values.size() != frozen.features.size())
      fail_input(fmt::format("the stored preprocessing cannot be used: array {} does not fit its features", quoted(name)), {}, "preprocess the data again");
    return at->second.values;
  };
  try {
    peaks.chromosomes = frozen.settings.at("chromosomes").get<std::vector<std::string>>();
  } catch (const Json::exception& e) {
    fail_input(fmt::format("the stored preprocessing cannot be used: {}", quoted(e.what())), {}, "preprocess the data again");
  }
  const std::vector<double>&chromosome = values("peak_chromosome"), &start = values("peak_start"), &end = values("peak_end");
  for (const std::vector<double>* positions : {&start, &end})
    for (double p : *positions)
      if (!(p >= 0 && p <= 9e15)) fail_input("the stored preprocessing cannot be used: a peak at no position", {}, "preprocess the data again");
  for (double c : chromosome)
    if (!(c >= 0 && c < static_cast<double>(peaks.chromosomes.size())))
      fail_input("the stored preprocessing cannot be used: a peak on no chromosome", {}, "preprocess the data again");
  peaks.chromosome.assign(chromosome.begin(), chromosome.end());
  peaks.start.assign(start.begin(), start.end());
  peaks.end.assign(end.begin(), end.end());
  return peaks;
}

}  // namespace panvae::data
