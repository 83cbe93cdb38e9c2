// panvae match: which ATAC sample is trained on with which RNA sample.
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "data/gene_space.h"
#include "data/matching.h"
#include "data/sample_source.h"
#include "eval/population.h"
#include "tools/at_least.h"
#include "tools/commands.h"
#include "tools/modality_options.h"
#include "tools/table_name.h"

namespace panvae::tools {

namespace {

using data::Side;

struct Options {
  ModalityOptions input;
  std::string rna, atac, genes, out;
  int64_t correlated = 4, top_genes = 2000;
  bool within_cohort = false;
  data::TierOptions tiers;
};

struct CorrelatedReport {
  int64_t entries = 0, shared_genes = 0, genes = 0, found = 0, cross_cohort = 0, duplicates = 0, donors_there = 0, donors_found = 0;
  double sum = 0;  // of correlations of those found
  bool done() const { return genes > 0; }
};

std::vector<int64_t> rows_on(const std::vector<Side>& sides, Side side) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < sides.size(); ++i)
    if (sides[i] == side) rows.push_back(static_cast<int64_t>(i));
  return rows;
}

// Adds the pairs that gene space finds to those of the tiers, and its correlation to all of them.
CorrelatedReport add_correlated(std::vector<data::MatchedPair>& pairs, const Options& o, const data::SampleSource& rna, const data::SampleSource& atac,
                                const data::Sides& sides, const std::vector<double>& library) {
  CorrelatedReport report;
  const data::Genes genes = data::read_genes(o.genes);
  const data::GeneActivity activity = data::gene_activity(data::peaks_of(atac.var(), o.atac), genes, o.atac, o.genes);
  report.entries = activity.entries();
  log::info("gene activity: {} of {} genes have peaks, {} weights", activity.genes(), genes.size(), activity.entries());
  const std::vector<int64_t> rna_rows = rows_on(sides.rna, Side::train), atac_rows = rows_on(sides.atac, Side::train);
  data::GeneSpaceOptions options;
  options.genes = o.top_genes;
  const data::GeneSpace space = data::gene_space(rna, rna_rows, library, atac, atac_rows, genes, activity, options);
  report.shared_genes = space.shared;
  report.genes = static_cast<int64_t>(space.genes.size());
  log::info("gene space: {} of {} shared genes, those of largest variance in RNA", report.genes, report.shared_genes);
  if (report.genes < 50) log::warning("only {} genes are shared: correlations over so few mean little", report.genes);

  const std::vector<std::string> cohort_rna = data::folded_cells(rna.obs(), "cohort"), cohort_atac = data::folded_cells(atac.obs(), "cohort");
  const auto same_cohort = [&](int64_t a, int64_t r) {
    const std::string& cohort = cohort_atac[static_cast<size_t>(a)];
    return !cohort.empty() && cohort == cohort_rna[static_cast<size_t>(r)];
  };
  std::function<bool(int64_t, int64_t)> allowed;
  if (o.within_cohort) allowed = same_cohort;
  const auto found = data::most_correlated(space, atac_rows, rna_rows, rna.obs().keys, o.correlated, allowed);

  const auto correlation = [&](int64_t a, int64_t r) { return space.atac.row(a).dot(space.rna.row(r)); };
  std::map<std::pair<int64_t, int64_t>, bool> by_tier;
  for (data::MatchedPair& p : pairs) p.correlation = correlation(p.atac, p.rna), by_tier[{p.atac, p.rna}] = true;
  const std::vector<std::string> donor_rna = data::donors_of(rna.obs()), donor_atac = data::donors_of(atac.obs());
  std::set<std::string> training_donors;
  for (int64_t r : rna_rows) training_donors.insert(donor_rna[static_cast<size_t>(r)]);
  for (size_t i = 0; i < atac_rows.size(); ++i) {
    const int64_t a = atac_rows[i];
    const std::string& donor = donor_atac[static_cast<size_t>(a)];
    bool own = false;
    for (const data::Correlated& c : found[i]) {
      ++report.found;
      report.sum += c.correlation;
      report.cross_cohort += !same_cohort(a, c.rna);
      own |= donor_rna[static_cast<size_t>(c.rna)] == donor;
      if (by_tier.count({a, c.rna})) {
        ++report.duplicates;
        continue;
      }
      data::MatchedPair p;
      p.atac = a, p.rna = c.rna, p.tier = data::correlated, p.side = Side::train, p.correlation = c.correlation;
      p.candidates = static_cast<int64_t>(rna_rows.size());
      p.age_distance = std::nan("");
      pairs.push_back(p);
    }
    if (training_donors.count(donor)) ++report.donors_there, report.donors_found += own;
  }
  std::stable_sort(pairs.begin(), pairs.end(), [](const data::MatchedPair& a, const data::MatchedPair& b) { return a.atac < b.atac; });
  return report;
}

double share(int64_t part, int64_t all) {
  return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, all));
}

Json result_json(const std::vector<data::MatchedPair>& pairs, const data::Sides& sides, const data::TierReport& tiers, const CorrelatedReport& genes,
                 const eval::PopulationComparison& to_rna, const eval::PopulationComparison& to_atac, const Options& o) {
  Json json;
  json["n_pairs"] = pairs.size();
  std::map<Side, std::map<int, int64_t>> counts;
  std::map<int, std::pair<double, int64_t>> correlations;  // of training pairs
  double age = 0;
  int64_t aged = 0;
  for (const data::MatchedPair& p : pairs) {
    ++counts[p.side][p.tier];
    if (p.side == Side::train && !std::isnan(p.correlation)) correlations[p.tier].first += p.correlation, ++correlations[p.tier].second;
    if (p.side == Side::train && p.tier > data::same_donor && !std::isnan(p.age_distance)) age += p.age_distance, ++aged;
  }
  for (const Side side : {Side::train, Side::validation, Side::holdout}) {
    Json& of = json["pairs"][data::side_name(side)] = {{"n", 0}, {"tiers", Json::object()}};
    int64_t n = 0;
    for (const auto& [tier, count] : counts[side]) of["tiers"][std::to_string(tier)] = count, n += count;
    of["n"] = n;
    of["atac_samples"] = rows_on(sides.atac, side).size();
    of["rna_samples"] = rows_on(sides.rna, side).size();
  }
  json["tier_words"] = Json::object();
  for (int tier = data::same_donor; tier <= data::correlated; ++tier) json["tier_words"][std::to_string(tier)] = data::tier_words(tier, tiers);
  json["unmatched"] = tiers.unmatched.size();
  json["cohorts_without_rna"] = tiers.cohorts_without_rna;
  json["holdout_without_rna"] = tiers.holdout_without_rna;
  json["reused"] = tiers.reused;
  json["filled_ages"] = {{"rna", tiers.filled_ages_rna}, {"atac", tiers.filled_ages_atac}};
  json["age_distance_mean"] = aged ? Json(age / static_cast<double>(aged)) : Json();
  if (genes.done()) {
    json["gene_activity"] = {{"weights", genes.entries}, {"shared_genes", genes.shared_genes}, {"genes", genes.genes}};
    json["correlated"] = {{"found", genes.found},
                          {"duplicates_dropped", genes.duplicates},
                          {"cross_cohort_rate", genes.found ? Json(share(genes.cross_cohort, genes.found)) : Json()},
                          {"correlation_mean", genes.found ? Json(genes.sum / static_cast<double>(genes.found)) : Json()},
                          {"within_cohort", o.within_cohort},
                          {"own_donor_searched", genes.donors_there},
                          {"own_donor_rate", genes.donors_there ? Json(share(genes.donors_found, genes.donors_there)) : Json()}};
    for (const auto& [tier, sum] : correlations) json["correlation_by_tier"][std::to_string(tier)] = sum.first / static_cast<double>(sum.second);
  } else {
    json["gene_activity"] = json["correlated"] = nullptr;
  }
  json["population"] = {{"rna", eval::to_json(to_rna)}, {"atac", eval::to_json(to_atac)}};
  json["output"] = o.out;
  return json;
}

std::string number(const Json& v, const char* format = "{:.3f}") {
  return v.is_number() ? fmt::format(fmt::runtime(format), v.get<double>()) : "-";
}

std::string result_text(const Json& json) {
  TextTable pairs({"pairs", "train", "validation", "holdout", "correlation"});
  const Json by_tier = json.value("correlation_by_tier", Json::object());
  for (const auto& [tier, words] : json["tier_words"].items()) {
    std::vector<std::string> cells = {fmt::format("{}  {}", tier, words.get<std::string>())};
    for (const char* side : {"train", "validation", "holdout"}) cells.push_back(json["pairs"][side]["tiers"].value(tier, Json(0)).dump());
    cells.push_back(by_tier.contains(tier) ? number(by_tier[tier]) : "-");
    pairs.row(cells);
  }
  for (const char* name : {"atac_samples", "rna_samples"})
    pairs.row({name == std::string("atac_samples") ? "ATAC samples" : "RNA samples", json["pairs"]["train"][name].dump(),
               json["pairs"]["validation"][name].dump(), json["pairs"]["holdout"][name].dump(), ""});
  std::string out = pairs.str();
  if (json["correlated"].is_object()) {
    const Json& c = json["correlated"];
    out += fmt::format("\ncorrelated: mean {}, {} of another cohort, {} also by tier and not repeated", number(c["correlation_mean"]),
                       c["cross_cohort_rate"].is_number() ? fmt::format("{:.1f} %", 100 * c["cross_cohort_rate"].get<double>()) : "-",
                       c["duplicates_dropped"].dump());
    if (c["own_donor_rate"].is_number())
      out += fmt::format("; the own donor's RNA is among them for {:.1f} % of the {} ATAC samples that have one", 100 * c["own_donor_rate"].get<double>(),
                         c["own_donor_searched"].dump());
    out += "\n";
  }
  TextTable population({"matched RNA donors against", "all RNA donors", "p", "ATAC donors", "p"});
  const Json &rna = json["population"]["rna"], &atac = json["population"]["atac"];
  population.row({"donors", fmt::format("{} of {}", rna["donors"].dump(), rna["reference_donors"].dump()), "", atac["reference_donors"].dump(), ""});
  if (rna.contains("age") && atac.contains("age"))
    population.row({"age, Kolmogorov-Smirnov D", number(rna["age"]["ks"]), number(rna["age"]["p"], "{:.2g}"), number(atac["age"]["ks"]),
                    number(atac["age"]["p"], "{:.2g}")});
  for (const char* name : {"cohort", "sex", "ethnicity"})
    if (rna.contains(name) && atac.contains(name))
      population.row({fmt::format("{}, chi-squared ({} df, {} df)", name, rna[name]["df"].dump(), atac[name]["df"].dump()), number(rna[name]["chi2"], "{:.1f}"),
                      number(rna[name]["p"], "{:.2g}"), number(atac[name]["chi2"], "{:.1f}"), number(atac[name]["p"], "{:.2g}")});
  return out + "\n" + population.str() + "\nwritten: " + json["output"].get<std::string>() + "\n";
}

void run(const Options& o, const Session& session) {
  session.begin();
  const auto start = std::chrono::steady_clock::now();
  check_table_output(o.out, "--output");
  const data::SampleSource rna(o.rna, o.input.rna()), atac(o.atac, o.input.atac());
  log::info("{}: {} samples x {} features; {}: {} samples x {} features", o.rna, rna.samples(), rna.features(), o.atac, atac.samples(), atac.features());
  const data::Sides sides = data::sides_of(rna.obs(), atac.obs());
  if (!sides.known) log::info("no column split in either table: all pairs are for training");
  const std::vector<int64_t> rna_rows = rows_on(sides.rna, Side::train), atac_rows = rows_on(sides.atac, Side::train);
  const std::vector<double> library = data::holds_counts(rna) ? data::library_sizes(rna) : std::vector<double>();

  data::TierOptions options = o.tiers;
  options.seed = session.globals.seed;
  data::TierReport tiers;
  std::vector<data::MatchedPair> pairs = data::match_tiers(rna.obs(), atac.obs(), sides, library, options, tiers);
  for (const auto& [used, name] : {std::pair{tiers.uses_age, "age"}, std::pair{tiers.uses_sex, "sex"}, std::pair{tiers.uses_ethnicity, "ethnicity"}})
    if (!used) log::info("no {} in both tables: the tiers do without it", name);
  if (tiers.filled_ages_rna + tiers.filled_ages_atac > 0)
    log::info("{} RNA and {} ATAC samples without an age take the median of their cohort", tiers.filled_ages_rna, tiers.filled_ages_atac);
  if (!tiers.unmatched.empty()) {
    std::string names;
    for (size_t i = 0; i < tiers.cohorts_without_rna.size() && i < 10; ++i) names += (i ? ", " : "") + quoted(tiers.cohorts_without_rna[i]);
    log::warning("{} ATAC samples have no RNA sample of their cohort and side: {}{}", tiers.unmatched.size(), names,
                 tiers.cohorts_without_rna.size() > 10 ? ", ..." : "");
  }
  if (tiers.holdout_without_rna > 0) log::info("{} held-out ATAC samples have no RNA of their donor: in no pair", tiers.holdout_without_rna);

  CorrelatedReport genes;
  if (o.correlated == 0) log::info("--correlated 0: clinical tiers alone");
  else if (o.genes.empty()) log::info("no --genes: clinical tiers alone, without the most correlated RNA samples");
  else if (!data::has_positions(atac.var()))
    log::info("{} holds no peaks ({} is the first feature): clinical tiers alone", o.atac, quoted(atac.var().keys.front()));
  else genes = add_correlated(pairs, o, rna, atac, sides, library);
  if (pairs.empty())
    fail_input("no ATAC sample matches an RNA sample",
               fmt::format("{}, first sample of cohort {}, and {}, first sample of cohort {}", quoted(o.atac, 400), quoted(atac.obs().at("cohort").text(0)),
                           quoted(o.rna, 400), quoted(rna.obs().at("cohort").text(0))),
               "both tables need the same names of cohorts or donors (--cohort-key, --donor-key), and training samples on both sides");

  std::vector<int64_t> matched;
  for (const data::MatchedPair& p : pairs)
    if (p.side == Side::train) matched.push_back(p.rna);
  const eval::PopulationComparison to_rna = eval::compare_populations(rna.obs(), matched, rna.obs(), rna_rows),
                                   to_atac = eval::compare_populations(rna.obs(), matched, atac.obs(), atac_rows);
  data::write_table(o.out, data::pair_table(pairs, rna.obs(), atac.obs(), tiers));
  Json json = result_json(pairs, sides, tiers, genes, to_rna, to_atac, o);
  json["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  session.emit(result_text(json), json);
}

}  // namespace

void add_match(CLI::App& root, Session& session) {
  CLI::App* cmd =
      add_command(root, "match",
                  "Pair ATAC samples with RNA samples for co-embedding: the same donor, else donors alike in cohort, sex, ethnicity and age, and the RNA "
                  "samples that correlate most through gene activity",
                  "panvae simulate -o sim --donors 150 --genes 500 --peaks 4000 --cohorts 4 && panvae match -o sim/pairs.tsv --rna sim/rna.h5ad --atac "
                  "sim/atac.h5ad --genes sim/genes.tsv");
  auto o = std::make_shared<Options>();
  session.writes(cmd->add_option("-o,--output", o->out, "Table of pairs to write (.tsv, .csv; .gz)"))->required()->type_name("PAIRS");
  cmd->add_option("--rna", o->rna, "RNA: counts or log2 values, samples in rows")->required()->type_name("FILE");
  cmd->add_option("--atac", o->atac, "ATAC: counts or log2 values of peaks, or scores (clinical tiers alone)")->required()->type_name("FILE");
  cmd->add_option("--genes", o->genes, "Gene table: symbol, chrom, tss, strand (start, end), or GREAT's; without it clinical tiers alone")->type_name("TABLE");
  cmd->add_option("--correlated", o->correlated, "Most correlated RNA samples per training ATAC sample (0: none)")->capture_default_str()->check(at_least(0));
  cmd->add_option("--top-genes", o->top_genes, "Genes that are correlated over: those of largest variance in RNA")
      ->capture_default_str()
      ->check(CLI::Range(2, 1'000'000));
  cmd->add_flag("--within-cohort", o->within_cohort, "Correlated RNA samples of the same cohort only");
  cmd->add_option("--age-window", o->tiers.age_window, "Years that ages may lie apart in tiers 2 to 4")->capture_default_str();
  o->input.declare(*cmd);
  session.common(*cmd, Session::seed);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
