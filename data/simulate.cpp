// The RNA-seq samples of a simulated study.
#include "data/simulate.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "data/random.h"
#include "data/read.h"
#include "data/simulate_parts.h"
#include "data/write.h"

namespace panvae::data {

using namespace simulated;

namespace {

struct Gene {
  double base, dispersion, age, sex;
};

void check(const SimulateOptions& o) {
  auto at_least = [](int64_t value, int64_t least, const char* option) {
    if (value < least) fail_usage(fmt::format("{} is too small", value), option, fmt::format("at least {}", least));
  };
  at_least(o.cohorts, 1, "--cohorts");
  at_least(o.genes, 50, "--genes");
  at_least(o.subtypes, 1, "--subtypes");
  at_least(o.programs, 4, "--programs");
  at_least(o.batches, 1, "--batches");
  at_least(o.replicates, 1, "--replicates");
  if (o.peaks != 0) at_least(o.peaks, 50, "--peaks");
  if (o.donors > 10'000'000 || o.peaks > 5'000'000 || o.genes > 1'000'000 || o.programs > 1000 || o.cohorts > 1000 || o.subtypes > 100 || o.replicates > 100 ||
      o.batches > 1000)
    fail_usage("a study of that size cannot be simulated", "panvae simulate", "choose smaller numbers");
  at_least(o.donors, 2 * o.cohorts, "--donors");
  auto within = [](double value, double low, double high, const char* option) {
    if (!(value >= low && value <= high)) fail_usage(fmt::format("{} is out of range", value), option, fmt::format("between {} and {}", low, high));
  };
  within(o.replicated_fraction, 0, 1, "--replicated-fraction");
  within(o.rna_fraction, 0, 1, "--rna-fraction");
  within(o.atac_fraction, 0, 1, "--atac-fraction");
  within(o.cohort_effect, 0, 10, "--cohort-effect");
  within(o.batch_effect, 0, 10, "--batch-effect");
  within(o.library_size, 0, 1e9, "--library-size");
  within(o.atac_library_size, 0, 1e9, "--atac-library-size");
  within(o.event_rate, 0.01, 0.99, "--event-rate");
}

Table gene_table(int64_t count, uint64_t seed) {
  PhiloxSequence draw({seed, genes, 1});
  Table t;
  t.key_name = "symbol";
  const auto width = static_cast<int>(std::to_string(count).size());
  std::vector<std::string> chrom, strand;
  std::vector<double> tss, start, end;
  // In BED order, so that neighbours in the file are neighbours on the genome.
  std::vector<std::pair<int64_t, int64_t>> at;
  for (int64_t g = 0; g < count; ++g) at.push_back(place_uniformly(draw, autosomes_and_x));
  std::sort(at.begin(), at.end());
  for (int64_t g = 0; g < count; ++g) {
    const auto length = static_cast<int64_t>(2000 + draw.below(98'000));
    const bool plus = draw.uniform() < 0.5;
    const int64_t from = at[static_cast<size_t>(g)].second, to = from + length;
    t.keys.push_back(fmt::format("SIM{:0{}}", g + 1, width));
    chrom.push_back(genome[static_cast<size_t>(at[static_cast<size_t>(g)].first)].name);
    strand.push_back(plus ? "+" : "-");
    tss.push_back(static_cast<double>(plus ? from : to));
    start.push_back(static_cast<double>(from));
    end.push_back(static_cast<double>(to));
  }
  t.columns = {factor_from_text("chrom", chrom), numeric_column("tss", tss), factor_from_text("strand", strand), numeric_column("start", start),
               numeric_column("end", end)};
  return t;
}

// [genes, programs + interactions]: each program drives a twentieth of the genes (at least 8), three quarters of them up.
RowMatrix<double> program_weights(const SimulateOptions& o, int64_t columns) {
  RowMatrix<double> w = RowMatrix<double>::Zero(o.genes, columns);
  const int64_t members = std::max<int64_t>(8, o.genes / 20);
  for (int64_t p = 0; p < columns; ++p) {
    PhiloxSequence draw({o.seed, weights, static_cast<uint32_t>(p)});
    for (int64_t m = 0; m < members; ++m) {
      const auto g = static_cast<int64_t>(draw.below(static_cast<uint64_t>(o.genes)));
      w(g, p) = (draw.uniform() < 0.75 ? 1 : -1) * (0.25 + 0.35 * draw.uniform());
    }
  }
  return w;
}

std::string program_name(int64_t p, int64_t programs) {
  return p < programs ? fmt::format("program_{:02}", p + 1) : fmt::format("interaction_{:02}", p - programs + 1);
}

}  // namespace

std::pair<int64_t, int64_t> simulated::place_uniformly(PhiloxSequence& random, int64_t chromosomes) {
  int64_t total = 0;
  for (int64_t c = 0; c < chromosomes; ++c) total += genome[static_cast<size_t>(c)].length - 2 * telomere;
  auto at = static_cast<int64_t>(random.below(static_cast<uint64_t>(total)));
  int64_t c = 0;
  for (; at >= genome[static_cast<size_t>(c)].length - 2 * telomere; ++c) at -= genome[static_cast<size_t>(c)].length - 2 * telomere;
  return {c, telomere + at};
}

std::vector<double> simulated::modality_keys(const SimulatedDonors& donors, uint64_t seed) {
  PhiloxSequence random({seed, atac_donors, 0});
  std::vector<std::vector<std::pair<double, size_t>>> of_cohort(donors.obs.at("cohort").levels.size());
  for (size_t i = 0; i < donors.cohort.size(); ++i) of_cohort[static_cast<size_t>(donors.cohort[i])].emplace_back(random.uniform(), i);
  std::vector<double> keys(donors.cohort.size());
  for (auto& members : of_cohort) {
    std::sort(members.begin(), members.end());
    for (size_t r = 0; r < members.size(); ++r) keys[members[r].second] = (static_cast<double>(r) + 0.5) / static_cast<double>(members.size());
  }
  return keys;
}

std::vector<int64_t> simulated::chosen_donors(const std::vector<double>& keys, int64_t count, bool largest) {
  std::vector<int64_t> order(keys.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return keys[static_cast<size_t>(a)] < keys[static_cast<size_t>(b)]; });
  if (largest) std::reverse(order.begin(), order.end());
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

Eigen::VectorXd simulated::gene_effects(const RowMatrix<double>& weight, const double* activity, uint64_t seed, int64_t donor) {
  PhiloxSequence random({seed, donor_noise, static_cast<uint32_t>(donor)});
  Eigen::VectorXd effect = weight * Eigen::Map<const Eigen::VectorXd>(activity, weight.cols());
  for (double& e : effect) e += donor_noise_sd * random.normal();
  return effect;
}

SimulatedStudy simulate_study(const SimulateOptions& o) {
  check(o);
  SimulatedStudy study;
  study.donors = simulate_donors(o);
  const SimulatedDonors& donors = study.donors;
  const int64_t g_count = o.genes, columns = donors.activity.cols();
  study.genes = gene_table(g_count, o.seed);

  std::vector<Gene> gene(static_cast<size_t>(g_count));
  PhiloxSequence draw({o.seed, genes, 0});
  for (Gene& g : gene) {
    g.base = 2.0 * draw.normal();  // natural log; spans about five decades
    g.dispersion = 0.04 * std::exp(0.5 * draw.normal());
    g.age = draw.uniform() < 0.05 ? 0.01 * draw.normal() : 0;
    g.sex = draw.uniform() < 0.01 ? 1.5 * draw.normal() : 0;
  }
  const RowMatrix<double>& weight = study.weight = program_weights(o, columns);

  // Effects of batches (nested in datasets) and datasets on log means [levels, genes].
  RowMatrix<double> batch(o.batches, g_count), dataset(datasets, g_count);
  for (int64_t b = 0; b < o.batches; ++b) {
    PhiloxSequence random({o.seed, batches, static_cast<uint32_t>(b)});
    for (int64_t g = 0; g < g_count; ++g) batch(b, g) = o.batch_effect * batch_sd * random.normal();
  }
  for (int64_t d = 0; d < datasets; ++d) {
    PhiloxSequence random({o.seed, batches, static_cast<uint32_t>(1'000'000 + d)});
    for (int64_t g = 0; g < g_count; ++g) dataset(d, g) = random.uniform() < 0.3 ? o.batch_effect * dataset_sd * random.normal() : 0;
  }

  // Samples: replicated donors first by their draw, batch at random, dataset by batch.
  struct Sample {
    int64_t donor, replicate;
    int32_t batch;
    double library;
  };
  std::vector<Sample> samples;
  const double library = o.library_size > 0 ? o.library_size : 1000.0 * static_cast<double>(g_count);
  // Donors without RNA are among those with ATAC.
  const std::vector<double> keys = modality_keys(donors, o.seed);
  const int64_t with_atac = o.peaks > 0 ? std::llround(o.atac_fraction * static_cast<double>(o.donors)) : 0;
  const int64_t with_rna = std::max<int64_t>({std::llround(o.rna_fraction * static_cast<double>(o.donors)), o.donors - with_atac, int64_t{1}});
  for (int64_t i : chosen_donors(keys, with_rna, true)) {
    PhiloxSequence random({o.seed, sample_design, static_cast<uint32_t>(i)});
    const int64_t count = random.uniform() < o.replicated_fraction ? o.replicates : 1;
    for (int64_t r = 0; r < count; ++r) {
      const auto b = static_cast<int32_t>(random.below(static_cast<uint64_t>(o.batches)));
      samples.push_back({i, r, b, library * std::exp(0.3 * random.normal() - 0.045)});
    }
  }
  const auto n = static_cast<int64_t>(samples.size());
  Dataset<float>& rna = study.rna;
  rna.x.resize(n, g_count);
  rna.kind = "counts";
  const Column& age = donors.obs.at("age");
  const Column& sex = donors.obs.at("sex");
  parallel_chunks(n, 4, [&](int64_t begin, int64_t end) {
    Eigen::VectorXd log_mean(g_count);
    for (int64_t j = begin; j < end; ++j) {
      const Sample& s = samples[static_cast<size_t>(j)];
      const auto i = static_cast<size_t>(s.donor);
      log_mean = gene_effects(weight, donors.activity.row(s.donor).data(), o.seed, s.donor);
      PhiloxSequence own({o.seed, sample_counts, static_cast<uint32_t>(j)});
      const double years = age.missing(s.donor) ? 0 : age.number[i] - 60;
      double total = 0;
      for (int64_t g = 0; g < g_count; ++g) {
        const Gene& f = gene[static_cast<size_t>(g)];
        log_mean[g] += f.base + f.age * years + f.sex * sex.code[i] + batch(s.batch, g) + dataset(s.batch % datasets, g) + replicate_noise_sd * own.normal();
        total += log_mean[g] = std::exp(log_mean[g]);
      }
      for (int64_t g = 0; g < g_count; ++g)
        rna.x(j, g) = static_cast<float>(negative_binomial_draw(own, s.library * log_mean[g] / total, gene[static_cast<size_t>(g)].dispersion));
    }
  });

  // obs per sample, var per gene.
  std::vector<int64_t> donor_of;
  std::vector<std::string> donor_name, batch_name, dataset_name;
  std::vector<double> replicate;
  for (const Sample& s : samples) {
    donor_of.push_back(s.donor);
    donor_name.push_back(donors.obs.keys[static_cast<size_t>(s.donor)]);
    batch_name.push_back(fmt::format("batch{}", s.batch + 1));
    dataset_name.push_back(fmt::format("study{}", s.batch % datasets + 1));
    replicate.push_back(static_cast<double>(s.replicate + 1));
  }
  rna.obs = donors.obs.select(donor_of);
  rna.obs.key_name = "sample";
  for (int64_t j = 0; j < n; ++j) rna.obs.keys[static_cast<size_t>(j)] += fmt::format("-R{}", samples[static_cast<size_t>(j)].replicate + 1);
  rna.obs.set(factor_from_text("donor", donor_name));
  rna.obs.set(factor_from_text("dataset", dataset_name));
  rna.obs.set(factor_from_text("batch", batch_name));
  rna.obs.set(numeric_column("replicate", replicate));
  rna.var = study.genes;
  rna.var.key_name = "gene";
  rna.var.columns.insert(rna.var.columns.begin(), factor_from_text("symbol", study.genes.keys));

  // Gene sets: the members of every program, and as many random sets that mean nothing.
  for (int64_t p = 0; p < columns; ++p) {
    std::vector<std::string> members;
    for (int64_t g = 0; g < g_count; ++g)
      if (weight(g, p) != 0) members.push_back(study.genes.keys[static_cast<size_t>(g)]);
    study.gene_sets.emplace_back(program_name(p, o.programs), std::move(members));
  }
  for (int64_t p = 0; p < columns; ++p) {
    PhiloxSequence random({o.seed, decoys, static_cast<uint32_t>(p)});
    std::vector<std::string> members;
    for (size_t m = 0; m < study.gene_sets[static_cast<size_t>(p)].second.size(); ++m)
      members.push_back(study.genes.keys[random.below(static_cast<uint64_t>(g_count))]);
    std::sort(members.begin(), members.end());
    members.erase(std::unique(members.begin(), members.end()), members.end());
    study.gene_sets.emplace_back(fmt::format("decoy_{:02}", p + 1), std::move(members));
  }

  Json& truth = study.truth;
  truth["seed"] = o.seed;
  truth["options"] = {{"donors", o.donors},
                      {"genes", o.genes},
                      {"cohorts", o.cohorts},
                      {"subtypes", o.subtypes},
                      {"programs", o.programs},
                      {"batches", o.batches},
                      {"replicates", o.replicates},
                      {"replicated_fraction", o.replicated_fraction},
                      {"cohort_effect", o.cohort_effect},
                      {"batch_effect", o.batch_effect},
                      {"library_size", library},
                      {"event_rate", o.event_rate}};
  truth["latents"] = "latents.tsv";
  truth["gene_sets"] = "sets.gmt";
  truth["samples"] = n;
  truth["effects"] = {{"donor_noise_sd", donor_noise_sd},        {"replicate_noise_sd", replicate_noise_sd},
                      {"batch_sd", o.batch_effect * batch_sd},   {"dataset_sd", o.batch_effect * dataset_sd},
                      {"dataset_share_of_genes", 0.3},           {"dispersion_median", 0.04},
                      {"units", "natural log of the mean count"}};
  truth.update(donors.truth);
  truth["options"]["peaks"] = o.peaks;
  truth["options"]["rna_fraction"] = o.rna_fraction;
  truth["options"]["atac_fraction"] = o.atac_fraction;
  truth["donors_with_rna"] = with_rna;
  truth["donors_with_atac"] = with_atac;
  truth["donors_with_both"] = with_rna + with_atac - o.donors;
  if (with_atac > 0) {
    study.atac = std::make_shared<const SimulatedAtac>(o, study);
    truth["atac"] = study.atac->truth();
  }
  return study;
}

void write_study(const std::string& folder, const SimulatedStudy& study) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail_machine(fmt::format("cannot make the folder: {}", error.message()), quoted(folder, 400), "check its name and permissions");
  write_dataset(folder + "/rna.h5ad", study.rna);
  if (study.atac) {
    study.atac->write(folder + "/atac.h5ad");
    write_table(folder + "/peaks.tsv", study.atac->peaks());
  }
  write_table(folder + "/genes.tsv", study.genes);
  std::string sets;
  for (const auto& [name, members] : study.gene_sets) {
    sets += name + "\tsimulated";
    for (const std::string& m : members) sets += "\t" + m;
    sets += "\n";
  }
  write_file(folder + "/sets.gmt", sets);
  Table latents;
  latents.key_name = "donor";
  latents.keys = study.donors.obs.keys;
  const auto& d = study.donors;
  for (int64_t p = 0; p < d.latent.cols(); ++p) {
    std::vector<double> z(static_cast<size_t>(d.latent.rows()));
    for (int64_t i = 0; i < d.latent.rows(); ++i) z[static_cast<size_t>(i)] = d.latent(i, p);
    latents.columns.push_back(numeric_column(program_name(p, d.latent.cols()), std::move(z)));
  }
  latents.columns.push_back(numeric_column("log_hazard", d.risk));
  write_table(folder + "/latents.tsv", latents);
  write_table(folder + "/donors.tsv", d.obs);
  write_file(folder + "/truth.json", study.truth.dump(2) + "\n");
}

}  // namespace panvae::data
