// The RNA-seq samples of a simulated study.
#include "data/simulate.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "data/random.h"
#include "data/read.h"
#include "data/write.h"

namespace panvae::data {

namespace {

// Streams of random numbers, apart from those of the donors.
enum Stream : uint32_t { genes = 32, weights, batches, sample_design, donor_noise, sample_counts, decoys };

constexpr double donor_noise_sd = 0.25, replicate_noise_sd = 0.05, batch_sd = 0.12, dataset_sd = 0.25;
constexpr int64_t datasets = 2;

struct Gene {
  double base, dispersion, age, sex;
};

void check(const SimulateOptions& o) {
  auto at_least = [](int64_t value, int64_t least, const char* option) {
    if (value < least) fail_usage(fmt::format("{} is too small", value), option, fmt::format("at least {}", least));
  };
  at_least(o.cohorts, 1, "--cohorts");
  at_least(o.donors, 2 * o.cohorts, "--donors");
  at_least(o.genes, 50, "--genes");
  at_least(o.subtypes, 1, "--subtypes");
  at_least(o.programs, 4, "--programs");
  at_least(o.batches, 1, "--batches");
  at_least(o.replicates, 1, "--replicates");
  if (o.donors > 10'000'000 || o.genes > 1'000'000 || o.programs > 1000 || o.cohorts > 1000 || o.subtypes > 100 || o.replicates > 100 || o.batches > 1000)
    fail_usage("a study of that size cannot be simulated", "panvae simulate", "choose smaller numbers");
  auto within = [](double value, double low, double high, const char* option) {
    if (!(value >= low && value <= high)) fail_usage(fmt::format("{} is out of range", value), option, fmt::format("between {} and {}", low, high));
  };
  within(o.replicated_fraction, 0, 1, "--replicated-fraction");
  within(o.cohort_effect, 0, 10, "--cohort-effect");
  within(o.batch_effect, 0, 10, "--batch-effect");
  within(o.library_size, 0, 1e9, "--library-size");
  within(o.event_rate, 0.01, 0.99, "--event-rate");
}

Table gene_table(int64_t count, uint64_t seed) {
  PhiloxSequence draw({seed, genes, 1});
  Table t;
  t.key_name = "symbol";
  const auto width = static_cast<int>(std::to_string(count).size());
  std::vector<std::string> chrom, strand;
  std::vector<double> tss, start, end;
  // Along 22 chromosomes of 100 Mb in natural order, so that neighbours in the file are neighbours on the genome.
  std::vector<std::pair<int64_t, int64_t>> at;
  for (int64_t g = 0; g < count; ++g) at.emplace_back(g * 22 / count, 100'000 + static_cast<int64_t>(draw.below(99'700'000)));
  std::sort(at.begin(), at.end());
  for (int64_t g = 0; g < count; ++g) {
    const auto length = static_cast<int64_t>(2000 + draw.below(98'000));
    const bool plus = draw.uniform() < 0.5;
    const int64_t from = at[static_cast<size_t>(g)].second, to = from + length;
    t.keys.push_back(fmt::format("SIM{:0{}}", g + 1, width));
    chrom.push_back(fmt::format("chr{}", at[static_cast<size_t>(g)].first + 1));
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
  const RowMatrix<double> weight = program_weights(o, columns);

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
  for (int64_t i = 0; i < o.donors; ++i) {
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
      log_mean.noalias() = weight * donors.activity.row(s.donor).transpose();
      PhiloxSequence shared({o.seed, donor_noise, static_cast<uint32_t>(s.donor)}), own({o.seed, sample_counts, static_cast<uint32_t>(j)});
      const double years = age.missing(s.donor) ? 0 : age.number[i] - 60;
      double total = 0;
      for (int64_t g = 0; g < g_count; ++g) {
        const Gene& f = gene[static_cast<size_t>(g)];
        log_mean[g] += f.base + f.age * years + f.sex * sex.code[i] + donor_noise_sd * shared.normal() + batch(s.batch, g) + dataset(s.batch % datasets, g) +
                       replicate_noise_sd * own.normal();
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
  return study;
}

void write_study(const std::string& folder, const SimulatedStudy& study) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail_machine(fmt::format("cannot make the folder: {}", error.message()), quoted(folder, 400), "check its name and permissions");
  write_dataset(folder + "/rna.h5ad", study.rna);
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
  write_file(folder + "/truth.json", study.truth.dump(2) + "\n");
}

}  // namespace panvae::data
