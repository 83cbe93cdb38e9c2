// The ATAC-seq samples of a simulated study.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/threads.h"
#include "data/csr_writer.h"
#include "data/h5ad.h"
#include "data/peaks.h"
#include "data/random.h"
#include "data/simulate_parts.h"

namespace panvae::data {

using namespace simulated;

namespace {

constexpr double peak_base_sd = 1.3, peak_noise_sd = 0.25, technical_noise_sd = 0.08, domain_noise_sd = 0.3, peak_dispersion = 0.15, women_on_y = -3;
constexpr int64_t peak_width = 501, shortest_domain = 10, longest_domain = 40;
constexpr double near_genes = 0.3, near_genes_bases = 20'000, linked_share = 0.8, program_share = 0.1;

// One standard normal per element, four per Philox block: at full width they are drawn by the hundred million.
void fill_normals(const PhiloxKey& key, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += 4) {
    const Philox4 bits = key.four(static_cast<uint64_t>(i / 4));
    float four[4];
    for (int h = 0; h < 2; ++h) {
      const float radius = std::sqrt(-2 * std::log(uniform_open(bits.v[2 * h]))), angle = 6.28318530718f * uniform_open(bits.v[2 * h + 1]);
      four[2 * h] = radius * std::cos(angle);
      four[2 * h + 1] = radius * std::sin(angle);
    }
    std::copy(four, four + std::min<int64_t>(4, n - i), out + i);
  }
}

// Negative binomial for a mean of at most 30, by inversion of one uniform: P(k + 1) = P(k) q (k + r) / (k + 1), r = 1 /
// dispersion, q = mean / (mean + r).
float small_negative_binomial(double u, double mean, double dispersion) {
  const double r = 1 / dispersion, q = mean / (mean + r);
  double p = std::exp(-r * std::log1p(mean * dispersion));
  int k = 0;
  while (u > p && k < 2000) {
    u -= p;
    p *= q * (k + r) / (k + 1);
    ++k;
  }
  return static_cast<float>(k);
}

struct Peak {
  int64_t chromosome, start;
  int32_t gene;  // near its TSS, -1: none
  bool operator<(const Peak& o) const { return chromosome != o.chromosome ? chromosome < o.chromosome : start != o.start ? start < o.start : gene < o.gene; }
};

// Peaks along the genome, a share of them around the TSS of genes, none overlapping another.
std::vector<Peak> place_peaks(const SimulateOptions& o, const Table& genes_table) {
  PhiloxSequence random({o.seed, peak_places, 0});
  std::vector<Peak> peaks;
  const Column &chrom = genes_table.at("chrom"), &tss = genes_table.at("tss");
  std::vector<int64_t> chromosome_of_level;
  for (const std::string& level : chrom.levels)
    chromosome_of_level.push_back(std::find_if(genome.begin(), genome.end(), [&](const Chromosome& c) { return level == c.name; }) - genome.begin());
  // At most 20 around a gene: more would push each other far away from it.
  const double share = std::min(near_genes, 20.0 * static_cast<double>(o.genes) / static_cast<double>(o.peaks));
  for (int64_t p = 0; p < o.peaks; ++p) {
    if (random.uniform() < share) {
      const auto g = static_cast<size_t>(random.below(static_cast<uint64_t>(o.genes)));
      const double distance = -near_genes_bases * std::log(1 - random.uniform()) * (random.uniform() < 0.5 ? -1 : 1);
      const double start = std::max(1000.0, tss.number[g] + std::clamp(distance, -100'000.0, 100'000.0));
      peaks.push_back({chromosome_of_level[static_cast<size_t>(chrom.code[g])], static_cast<int64_t>(start), static_cast<int32_t>(g)});
    } else {
      const auto [c, start] = place_uniformly(random, static_cast<int64_t>(genome.size()));
      peaks.push_back({c, start, -1});
    }
  }
  std::sort(peaks.begin(), peaks.end());
  for (size_t p = 1; p < peaks.size(); ++p)
    if (peaks[p].chromosome == peaks[p - 1].chromosome) peaks[p].start = std::max(peaks[p].start, peaks[p - 1].start + peak_width + 10);
  return peaks;
}

}  // namespace

struct SimulatedAtac::Impl {
  uint64_t seed = 0;
  int64_t replicates = 0, peak_count = 0, columns = 0;
  double library = 0;
  Table obs, var;
  Json truth;
  RowMatrix<double> weight, activity;  // of genes and of donors
  std::vector<int64_t> donor;          // donors of the study that have ATAC
  std::vector<bool> woman;             // [donors of the study]
  // Per peak.
  std::vector<float> base, dispersion, loading, link, program_weight;
  std::vector<int32_t> domain, gene, program;  // -1: none
  std::vector<bool> on_y;
  // Per domain: two programs and their weights.
  struct Domain {
    int32_t program[2];
    float weight[2];
  };
  std::vector<Domain> domains;
  RowMatrix<float> batch;  // [batches, peaks]
  std::vector<int32_t> batch_of;
  std::vector<double> library_of;  // [samples]
  std::vector<std::string> gene_names;
};

SimulatedAtac::~SimulatedAtac() = default;
const Table& SimulatedAtac::obs() const {
  return impl_->obs;
}
const Table& SimulatedAtac::var() const {
  return impl_->var;
}
const Json& SimulatedAtac::truth() const {
  return impl_->truth;
}
int64_t SimulatedAtac::donors() const {
  return static_cast<int64_t>(impl_->donor.size());
}

SimulatedAtac::SimulatedAtac(const SimulateOptions& o, const SimulatedStudy& study) : impl_(std::make_unique<Impl>()) {
  Impl& m = *impl_;
  m.seed = o.seed;
  m.replicates = o.replicates;
  m.peak_count = o.peaks;
  m.weight = study.weight;
  m.activity = study.donors.activity;
  m.columns = m.activity.cols();
  m.gene_names = study.genes.keys;
  m.library = o.atac_library_size > 0 ? o.atac_library_size : 5.0 * static_cast<double>(o.peaks);

  // Peaks, their names and effects.
  const std::vector<Peak> placed = place_peaks(o, study.genes);
  Peaks peaks;
  std::vector<int32_t> code(genome.size(), -1);
  m.var.key_name = "peak";
  PhiloxSequence effect({o.seed, peak_effects, 0});
  int64_t linked = 0;
  for (const Peak& p : placed) {
    int32_t& c = code[static_cast<size_t>(p.chromosome)];
    if (c < 0) {
      c = static_cast<int32_t>(peaks.chromosomes.size());
      peaks.chromosomes.emplace_back(genome[static_cast<size_t>(p.chromosome)].name);
    }
    peaks.chromosome.push_back(c);
    peaks.start.push_back(p.start);
    peaks.end.push_back(p.start + peak_width);
    m.var.keys.push_back(fmt::format("{}:{}-{}", genome[static_cast<size_t>(p.chromosome)].name, p.start, p.start + peak_width));
    m.on_y.push_back(p.chromosome == chromosome_y);
    m.base.push_back(static_cast<float>(peak_base_sd * effect.normal() + (p.gene >= 0 ? 0.5 : 0)));  // natural log
    m.dispersion.push_back(static_cast<float>(peak_dispersion * std::exp(0.5 * effect.normal())));
    m.loading.push_back(static_cast<float>(0.5 + 0.5 * effect.uniform()));
    const bool is_linked = p.gene >= 0 && effect.uniform() < linked_share;
    m.gene.push_back(is_linked ? p.gene : -1);
    m.link.push_back(is_linked ? static_cast<float>((effect.uniform() < 0.9 ? 1 : -1) * (0.5 + 0.7 * effect.uniform())) : 0);
    linked += is_linked;
    const bool driven = effect.uniform() < program_share;
    m.program.push_back(driven ? static_cast<int32_t>(effect.below(static_cast<uint64_t>(m.columns))) : -1);
    m.program_weight.push_back(driven ? static_cast<float>((effect.uniform() < 0.5 ? 1 : -1) * (0.3 + 0.4 * effect.uniform())) : 0);
  }
  set_peak_columns(m.var, peaks);

  // Domains end with a chromosome.
  PhiloxSequence domain({o.seed, domain_effects, 0});
  int64_t left = 0;
  for (size_t p = 0; p < placed.size(); ++p) {
    if (left == 0 || placed[p].chromosome != placed[p - 1].chromosome) {
      left = shortest_domain + static_cast<int64_t>(domain.below(longest_domain - shortest_domain + 1));
      Impl::Domain d{};
      for (int h = 0; h < 2; ++h) {
        d.program[h] = static_cast<int32_t>(domain.below(static_cast<uint64_t>(m.columns)));
        d.weight[h] = static_cast<float>((domain.uniform() < 0.5 ? 1 : -1) * (0.25 + 0.35 * domain.uniform()));
      }
      m.domains.push_back(d);
    }
    m.domain.push_back(static_cast<int32_t>(m.domains.size()) - 1);
    --left;
  }

  m.batch.resize(o.batches, o.peaks);
  parallel_chunks(o.batches, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      fill_normals({o.seed, peak_batches, static_cast<uint32_t>(b)}, o.peaks, m.batch.row(b).data());
      m.batch.row(b) *= static_cast<float>(o.batch_effect * batch_sd);
    }
  });

  // Samples. Replicates of a donor are made from one library, in one batch.
  const int64_t count = std::llround(o.atac_fraction * static_cast<double>(o.donors));
  m.donor = chosen_donors(modality_keys(study.donors, o.seed), count, false);
  const Column& sex = study.donors.obs.at("sex");
  for (int64_t i = 0; i < study.donors.obs.rows(); ++i) m.woman.push_back(sex.text(i) == "female");
  std::vector<int64_t> donor_of;
  std::vector<std::string> donor_name, batch_name, dataset_name;
  std::vector<double> replicate;
  for (int64_t i : m.donor) {
    PhiloxSequence random({o.seed, atac_design, static_cast<uint32_t>(i)});
    const auto b = static_cast<int32_t>(random.below(static_cast<uint64_t>(o.batches)));
    for (int64_t r = 0; r < o.replicates; ++r) {
      donor_of.push_back(i);
      donor_name.push_back(study.donors.obs.keys[static_cast<size_t>(i)]);
      batch_name.push_back(fmt::format("batch{}", b + 1));
      dataset_name.push_back(fmt::format("study{}", b % datasets + 1));
      replicate.push_back(static_cast<double>(r + 1));
      m.batch_of.push_back(b);
      m.library_of.push_back(m.library * std::exp(0.3 * random.normal() - 0.045));
    }
  }
  m.obs = study.donors.obs.select(donor_of);
  m.obs.key_name = "sample";
  for (size_t j = 0; j < m.obs.keys.size(); ++j) m.obs.keys[j] += fmt::format("-A{}", replicate[j]);
  m.obs.set(factor_from_text("donor", donor_name));
  m.obs.set(factor_from_text("dataset", dataset_name));
  m.obs.set(factor_from_text("batch", batch_name));
  m.obs.set(numeric_column("replicate", replicate));

  m.truth = {{"peaks", "peaks.tsv"},
             {"samples", m.obs.rows()},
             {"donors", count},
             {"replicates", o.replicates},
             {"domains", m.domains.size()},
             {"linked_peaks", linked},
             {"library_size", m.library},
             {"dispersion_median", peak_dispersion},
             {"effects",
              {{"base_sd", peak_base_sd},
               {"donor_noise_sd", peak_noise_sd},
               {"replicate_noise_sd", technical_noise_sd},
               {"domain_noise_sd", domain_noise_sd},
               {"batch_sd", o.batch_effect * batch_sd},
               {"chrY_in_women", women_on_y},
               {"units", "natural log of the mean count"}}}};
  Json& domains = m.truth["domain_programs"] = Json::array();
  for (const Impl::Domain& d : m.domains)
    domains.push_back({d.program[0] + 1, std::round(1e6 * static_cast<double>(d.weight[0])) / 1e6, d.program[1] + 1,
                       std::round(1e6 * static_cast<double>(d.weight[1])) / 1e6});
}

Table SimulatedAtac::peaks() const {
  const Impl& m = *impl_;
  Table t = m.var;
  auto number = [&](const char* name, auto&& value) {
    std::vector<double> values(m.base.size());
    for (size_t p = 0; p < values.size(); ++p) values[p] = value(p);
    t.set(numeric_column(name, std::move(values)));
  };
  number("base", [&](size_t p) { return m.base[p]; });
  number("domain", [&](size_t p) { return m.domain[p] + 1; });
  number("loading", [&](size_t p) { return m.loading[p]; });
  Column gene;
  gene.name = "gene";
  gene.levels = m.gene_names;
  gene.code = m.gene;
  t.set(std::move(gene));
  number("link", [&](size_t p) { return m.link[p]; });
  number("program", [&](size_t p) { return m.program[p] < 0 ? std::nan("") : m.program[p] + 1; });
  number("program_weight", [&](size_t p) { return m.program_weight[p]; });
  return t;
}

void SimulatedAtac::draw(int64_t donor, float* counts) const {
  const Impl& m = *impl_;
  const int64_t i = m.donor[static_cast<size_t>(donor)], n = m.peak_count;
  const auto step = static_cast<uint32_t>(i);
  const double* a = m.activity.row(i).data();
  const Eigen::VectorXf genes_of_donor = gene_effects(m.weight, a, m.seed, i).cast<float>();
  std::vector<float> of_domain(m.domains.size()), shared(static_cast<size_t>(n)), noise(static_cast<size_t>(n));
  fill_normals({m.seed, domain_donor_noise, step}, static_cast<int64_t>(of_domain.size()), of_domain.data());
  for (size_t d = 0; d < of_domain.size(); ++d) {
    const Impl::Domain& e = m.domains[d];
    of_domain[d] = static_cast<float>(domain_noise_sd) * of_domain[d] + e.weight[0] * static_cast<float>(a[e.program[0]]) +
                   e.weight[1] * static_cast<float>(a[e.program[1]]);
  }
  fill_normals({m.seed, peak_donor_noise, step}, n, shared.data());
  for (size_t p = 0; p < shared.size(); ++p) {
    float v = m.base[p] + static_cast<float>(peak_noise_sd) * shared[p] + m.loading[p] * of_domain[static_cast<size_t>(m.domain[p])];
    if (m.gene[p] >= 0) v += m.link[p] * genes_of_donor[m.gene[p]];
    if (m.program[p] >= 0) v += m.program_weight[p] * static_cast<float>(a[m.program[p]]);
    if (m.on_y[p] && m.woman[static_cast<size_t>(i)]) v += static_cast<float>(women_on_y);
    shared[p] = v;
  }
  for (int64_t r = 0; r < m.replicates; ++r) {
    const int64_t j = donor * m.replicates + r;
    // A replicate is named by its donor, so that the other donors of a study do not change it.
    const auto own = static_cast<uint32_t>(i * m.replicates + r);
    const float* batch = m.batch.row(m.batch_of[static_cast<size_t>(j)]).data();
    fill_normals({m.seed, peak_sample_noise, own}, n, noise.data());
    double total = 0;
    for (size_t p = 0; p < noise.size(); ++p) total += noise[p] = std::exp(shared[p] + batch[p] + static_cast<float>(technical_noise_sd) * noise[p]);
    const double scale = m.library_of[static_cast<size_t>(j)] / total;
    float* out = counts + r * n;
    const PhiloxKey uniform{m.seed, peak_counts, own};
    for (int64_t p = 0; p < n; p += 4) {
      const Philox4 bits = uniform.four(static_cast<uint64_t>(p / 4));
      for (int64_t k = p; k < std::min(p + 4, n); ++k) {
        const auto at = static_cast<size_t>(k);
        const double mean = scale * static_cast<double>(noise[at]);
        if (mean <= 30) {
          out[k] = small_negative_binomial(uniform_double(bits.v[k - p]), mean, m.dispersion[at]);
        } else {
          PhiloxSequence random({m.seed, peak_large_counts, own}, static_cast<uint64_t>(k) << 16);
          out[k] = static_cast<float>(negative_binomial_draw(random, mean, m.dispersion[at]));
        }
      }
    }
  }
}

Dataset<float> SimulatedAtac::dataset() const {
  Dataset<float> out;
  out.obs = obs();
  out.var = var();
  out.kind = "counts";
  out.x.resize(samples(), features());
  parallel_chunks(donors(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t d = begin; d < end; ++d) draw(d, out.x.row(d * impl_->replicates).data());
  });
  return out;
}

void SimulatedAtac::write(const std::string& path) const {
  const int64_t n = features(), replicates = impl_->replicates;
  struct Row {
    std::vector<int32_t> columns;
    std::vector<float> values;
  };
  write_h5ad(path, obs(), var(), {}, "counts", [&](hdf5::Writer& writer) {
    CsrWriter x(writer, "X", n);
    const int64_t at_once = std::max<int64_t>(1, 2 * threads());  // donors
    std::vector<Row> rows(static_cast<size_t>(at_once * replicates));
    for (int64_t first = 0; first < donors(); first += at_once) {
      const int64_t count = std::min(at_once, donors() - first);
      parallel_chunks(count, 1, [&](int64_t begin, int64_t end) {
        std::vector<float> counts(static_cast<size_t>(replicates * n));
        for (int64_t d = begin; d < end; ++d) {
          draw(first + d, counts.data());
          for (int64_t r = 0; r < replicates; ++r) {
            Row& row = rows[static_cast<size_t>(d * replicates + r)];
            row.columns.clear();
            row.values.clear();
            for (int64_t p = 0; p < n; ++p)
              if (const float v = counts[static_cast<size_t>(r * n + p)]; v > 0) {
                row.columns.push_back(static_cast<int32_t>(p));
                row.values.push_back(v);
              }
          }
        }
      });
      for (int64_t j = 0; j < count * replicates; ++j) x.row(rows[static_cast<size_t>(j)].columns, rows[static_cast<size_t>(j)].values);
    }
    x.finish();
  });
}

}  // namespace panvae::data
