#include "data/row_names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "data/peaks.h"

namespace panvae::data {

bool is_ensembl_id(std::string_view name) {
  if (name.substr(0, 3) != "ENS") return false;
  size_t at = 3;
  while (at < name.size() && name[at] >= 'A' && name[at] <= 'Z') ++at;
  size_t digits = 0;
  while (at + digits < name.size() && name[at + digits] >= '0' && name[at + digits] <= '9') ++digits;
  return at > 3 && digits == 11 && (at + digits == name.size() || name[at + digits] == '.' || name[at + digits] == '_' || name[at + digits] == '|');
}

bool is_tally(std::string_view name) {
  static constexpr std::array<std::string_view, 9> kTallies = {"__no_feature", "__ambiguous",    "__too_low_aQual", "__not_aligned", "__alignment_not_unique",
                                                               "N_unmapped",   "N_multimapping", "N_noFeature",     "N_ambiguous"};
  if (name.substr(0, 3) == "X__") name.remove_prefix(1);  // as R's make.names() writes it
  return std::find(kTallies.begin(), kTallies.end(), name) != kTallies.end();
}

namespace {

// As letters_of() makes them. REF: microarrays, the Broad's Firehose.
constexpr std::array<std::string_view, 36> kFeatureColumns = {
    "gene",       "genes",         "geneid",       "geneids",        "genename",         "genenames",
    "genesymbol", "genesymbols",   "symbol",       "symbols",        "hugosymbol",       "hgncsymbol",
    "hgncid",     "entrezid",      "entrezgeneid", "ensembl",        "ensemblid",        "ensemblgene",
    "ensgid",     "ensemblgeneid", "transcriptid", "transcriptname", "transcript",       "featureid",
    "features",   "peak",          "peaks",        "peakid",         "entrez",           "entrezgene",
    "ncbigeneid", "probeid",       "targetid",     "mirnaid",        "hybridizationref", "compositeelementref",
};
// Expressed in nearly every tissue and measured by every platform, and hardly names of samples.
constexpr std::array<std::string_view, 12> kEverywhere = {"ACTB",   "GAPDH", "B2M",  "EEF1A1", "RPLP0", "RPL13A",
                                                          "TUBA1B", "HPRT1", "PPIA", "UBC",    "YWHAZ", "PGK1"};
constexpr size_t kEnough = 4;

// Beside those that name features. From HOMER's "Peak Score" on: annotatePeaks.pl.
constexpr std::array<std::string_view, 31> kDescriptions = {"name",
                                                            "score",
                                                            "strand",
                                                            "width",
                                                            "length",
                                                            "annotation",
                                                            "type",
                                                            "gc",
                                                            "percentgc",
                                                            "percentat",
                                                            "description",
                                                            "genedescription",
                                                            "genetype",
                                                            "genebiotype",
                                                            "biotype",
                                                            "genelength",
                                                            "efflength",
                                                            "effectivelength",
                                                            "transcriptids",
                                                            "genechr",
                                                            "chromosome",
                                                            "peakscore",
                                                            "focusratioregionsize",
                                                            "detailedannotation",
                                                            "distancetotss",
                                                            "nearestpromoterid",
                                                            "nearestunigene",
                                                            "nearestrefseq",
                                                            "nearestensembl",
                                                            "genealias",
                                                            "cytoband"};

bool is_place(std::string_view name) {
  std::string_view chromosome;
  int64_t start = 0, end = 0;
  return parse_peak_name(name, chromosome, start, end) && is_main_chromosome(chromosome);
}

// "ACTB", and "ACTB|60" as TCGA's older tables write it.
bool is_everywhere(std::string_view name) {
  std::string symbol(name.substr(0, name.find('|')));
  std::transform(symbol.begin(), symbol.end(), symbol.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return std::find(kEverywhere.begin(), kEverywhere.end(), symbol) != kEverywhere.end();
}

}  // namespace

bool is_date(std::string_view name) {
  size_t digits = 0;
  while (digits < name.size() && name[digits] >= '0' && name[digits] <= '9') ++digits;
  if (digits < 1 || digits > 2 || digits == name.size() || name[digits] != '-') return false;
  const std::string month = letters_of(name.substr(digits));
  return month == "mar" || month == "sep" || month == "sept" || month == "dec" || month == "oct" || month == "nov" || month == "feb" || month == "apr";
}

std::string letters_of(std::string_view text) {
  std::string out;
  for (unsigned char c : text)
    if (std::isalnum(c)) out += static_cast<char>(std::tolower(c));
  return out;
}

bool names_features(std::string_view column) {
  return std::find(kFeatureColumns.begin(), kFeatureColumns.end(), letters_of(column)) != kFeatureColumns.end();
}

bool describes_features(std::string_view column) {
  return names_features(column) || std::find(kDescriptions.begin(), kDescriptions.end(), letters_of(column)) != kDescriptions.end();
}

bool heads_names(std::string_view column) {
  if (column.empty() || describes_features(column) || column.find(' ') != std::string_view::npos) return true;
  const std::string word = letters_of(column);
  if (std::any_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c); })) return false;  // PEAK1 is a gene, s1 a sample
  constexpr std::string_view kWithin[] = {"sample", "gene", "transcript", "probe", "barcode", "patient", "donor", "subject", "cell", "peak", "feature"};
  constexpr std::string_view kAtEnd[] = {"id", "ids", "name", "names", "symbol", "ref", "index", "accession"};
  return std::any_of(std::begin(kWithin), std::end(kWithin), [&](std::string_view w) { return word.find(w) != std::string::npos; }) ||
         std::any_of(std::begin(kAtEnd), std::end(kAtEnd), [&](std::string_view w) { return word.ends_with(w); });
}

bool is_feature_name(std::string_view name) {
  return is_ensembl_id(name) || is_tally(name) || is_everywhere(name) || is_place(name) || is_main_chromosome(name);
}

std::string named_like_features(std::span<const std::string> names) {
  size_t ensembl = 0, places = 0, everywhere = 0;
  std::string_view found;
  for (const std::string& name : names) {
    ensembl += is_ensembl_id(name);
    places += is_place(name);
    if (is_everywhere(name)) ++everywhere, found = name;
  }
  if (2 * ensembl > names.size())
    return fmt::format("are named as Ensembl does (such as {})", quoted(*std::find_if(names.begin(), names.end(), is_ensembl_id)));
  if (2 * places > names.size())
    return fmt::format("are named by places on the genome (such as {})", quoted(*std::find_if(names.begin(), names.end(), is_place)));
  if (everywhere >= kEnough) return fmt::format("are named like genes (such as {})", quoted(found));
  return "";
}

std::string rows_are_features_because(const std::string& corner, std::span<const std::string> rows, std::span<const std::string> columns) {
  std::string why;
  if (names_features(corner)) why = fmt::format("its first column is called {}", quoted(corner));
  else if (std::string like = named_like_features(rows); !like.empty()) why = "its rows " + like;
  return why.empty() || !named_like_features(columns).empty() ? "" : why;
}

}  // namespace panvae::data
