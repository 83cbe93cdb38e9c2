#include "data/gene_space.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/threads.h"
#include "data/log_cpm.h"
#include "data/read.h"

namespace panvae::data {

namespace {

// Means and variances of columns, one row after the other (Welford).
class Moments {
 public:
  explicit Moments(size_t columns) : mean_(columns, 0), squares_(columns, 0) {}
  void add(const double* row) {
    ++n_;
    for (size_t c = 0; c < mean_.size(); ++c) {
      const double d = row[c] - mean_[c];
      mean_[c] += d / static_cast<double>(n_);
      squares_[c] += d * (row[c] - mean_[c]);
    }
  }
  double mean(size_t c) const { return mean_[c]; }
  // A column that is constant up to rounding has none.
  double variance(size_t c) const {
    const double v = squares_[c] / static_cast<double>(n_ - 1);
    return v <= 1e-20 * (1 + mean_[c] * mean_[c]) ? 0 : v;
  }

 private:
  int64_t n_ = 0;
  std::vector<double> mean_, squares_;
};

// A gene in both modalities: a column of RNA, a gene of the activity.
struct SharedGene {
  int64_t rna, activity;
};

std::vector<SharedGene> shared_genes(const SampleSource& rna, const SampleSource& atac, const Genes& genes, const GeneActivity& activity) {
  std::unordered_map<std::string, int64_t> row_of;  // any name -> of activity
  for (int64_t a = 0; a < activity.genes(); ++a) row_of.emplace(genes.symbol[static_cast<size_t>(activity.gene[static_cast<size_t>(a)])], a);
  const auto version_off = [](const std::string& name) { return name.rfind("ENS", 0) == 0 ? name.substr(0, name.find('.')) : name; };
  for (int64_t a = 0; a < activity.genes(); ++a) {
    const std::string& ids = genes.id[static_cast<size_t>(activity.gene[static_cast<size_t>(a)])];
    for (size_t begin = 0; begin < ids.size();) {
      const size_t end = std::min(ids.find(',', begin), ids.size());
      row_of.emplace(version_off(ids.substr(begin, end - begin)), a);
      begin = end + 1;
    }
  }

  const Column* symbol = rna.var().find("symbol");
  std::vector<SharedGene> shared;
  std::vector<bool> taken(static_cast<size_t>(activity.genes()), false);
  int64_t repeated = 0;
  for (int64_t f = 0; f < rna.features(); ++f) {
    const std::string& name = rna.var().keys[static_cast<size_t>(f)];
    for (const std::string& candidate : {symbol ? symbol->text(f) : std::string(), name, name.substr(0, name.find('|')), version_off(name)}) {
      const auto at = candidate.empty() ? row_of.end() : row_of.find(candidate);
      if (at == row_of.end()) continue;
      if (taken[static_cast<size_t>(at->second)]) ++repeated;
      else shared.push_back({f, at->second});
      taken[static_cast<size_t>(at->second)] = true;
      break;
    }
  }
  if (repeated > 0) log::info("{} features of {} name a gene that an earlier one names: left out of the gene space", repeated, rna.path());
  if (shared.empty())
    fail_input(fmt::format("no feature of RNA is a gene with peaks: {} there, {} here", quoted(rna.var().keys.front()),
                           quoted(genes.symbol[static_cast<size_t>(activity.gene.front())])),
               fmt::format("{} and the gene table, with peaks of {}", quoted(rna.path(), 400), quoted(atac.path(), 400)),
               "features must be named by the table's symbols or ids; or match without it: --correlated 0");
  return shared;
}

// Columns by their moments, then each row to mean 0 and length 1.
void standardise(RowMatrix<double>& x, const Moments& moments, const std::vector<size_t>& column) {
  parallel_chunks(x.rows(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      double mean = 0;
      for (int64_t c = 0; c < x.cols(); ++c) {
        const size_t k = column[static_cast<size_t>(c)];
        mean += x(r, c) = (x(r, c) - moments.mean(k)) / std::sqrt(moments.variance(k));
      }
      mean /= static_cast<double>(x.cols());
      double squares = 0;
      for (int64_t c = 0; c < x.cols(); ++c) x(r, c) -= mean, squares += x(r, c) * x(r, c);
      const double scale = squares > 1e-20 * static_cast<double>(x.cols()) ? 1 / std::sqrt(squares) : 0;
      for (int64_t c = 0; c < x.cols(); ++c) x(r, c) *= scale;
    }
  });
}

}  // namespace

bool holds_counts(const SampleSource& source) {
  if (!source.kind().empty()) return source.kind() == "counts";
  bool whole = true;
  source.for_samples(all_rows(std::min<int64_t>(32, source.samples())), [&](int64_t, const double* values) {
    for (int64_t f = 0; whole && f < source.features(); ++f) whole = values[f] >= 0 && values[f] == std::floor(values[f]);
  });
  return whole;
}

std::vector<double> library_sizes(const SampleSource& counts) {
  std::vector<double> out(static_cast<size_t>(counts.samples()));
  const auto place = [&](int64_t row) { return fmt::format("{}, sample {}", quoted(counts.path(), 400), quoted(counts.obs().keys[static_cast<size_t>(row)])); };
  counts.for_samples(all_rows(counts.samples()), [&](int64_t i, const double* values) {
    double sum = 0;
    bool negative = false;
    for (int64_t f = 0; f < counts.features(); ++f) sum += values[f], negative |= values[f] < 0;
    if (negative) fail_input("a count is negative", place(i), "correct the file");
    if (!(sum > 0)) fail_input("a sample without counts", place(i), "take it out, as 'panvae preprocess' does");
    out[static_cast<size_t>(i)] = sum;
  });
  return out;
}

GeneSpace gene_space(const SampleSource& rna, std::span<const int64_t> rna_training, const std::vector<double>& rna_library, const SampleSource& atac,
                     std::span<const int64_t> atac_training, const Genes& genes, const GeneActivity& activity, const GeneSpaceOptions& options) {
  PV_CHECK(options.genes >= 2, "gene_space: {} genes", options.genes);
  PV_CHECK(activity.peaks == atac.features(), "gene_space: weights of {} peaks for a matrix of {}", activity.peaks, atac.features());
  for (const auto& [rows, what] : {std::pair{rna_training.size(), "RNA"}, std::pair{atac_training.size(), "ATAC"}})
    if (rows < 2)
      fail_input(fmt::format("{} training samples of {}, and two are needed to compare genes", rows, what), "gene space",
                 "hold out fewer donors, or match without correlations: --correlated 0");
  const std::vector<SharedGene> shared = shared_genes(rna, atac, genes, activity);

  // The variance of each shared gene in RNA.
  LogCpm log_cpm;
  log_cpm.prior_count = options.prior_count;
  if (!rna_library.empty()) {
    double sum = 0;
    for (int64_t r : rna_training) sum += rna_library[static_cast<size_t>(r)];
    log_cpm.mean_library = sum / static_cast<double>(rna_training.size());
  }
  std::vector<double> row(shared.size());
  // The genes `which` of shared, of one RNA sample, into `row`.
  const auto expression = [&](const double* values, int64_t sample, const std::vector<size_t>& which) {
    for (size_t i = 0; i < which.size(); ++i) row[i] = values[shared[which[i]].rna];
    if (!rna_library.empty()) log_cpm.row(row.data(), static_cast<int64_t>(which.size()), rna_library[static_cast<size_t>(sample)], row.data());
  };
  std::vector<size_t> every(shared.size());
  std::iota(every.begin(), every.end(), size_t{0});
  Moments of_rna(shared.size());
  rna.for_samples(rna_training, [&](int64_t i, const double* values) {
    expression(values, rna_training[static_cast<size_t>(i)], every);
    of_rna.add(row.data());
  });

  // The activity of every shared gene in ATAC, of all samples.
  const bool counts = holds_counts(atac);
  RowMatrix<double> of_atac(atac.samples(), static_cast<int64_t>(shared.size()));
  {
    std::vector<double> accessibility(counts ? static_cast<size_t>(atac.features()) : 0), all(static_cast<size_t>(activity.genes()));
    atac.for_samples(all_rows(atac.samples()), [&](int64_t i, const double* values) {
      if (counts) {
        double total = 0;
        for (int64_t p = 0; p < atac.features(); ++p) total += values[p];
        if (!(total > 0))
          fail_input("a sample without counts", fmt::format("{}, sample {}", quoted(atac.path(), 400), quoted(atac.obs().keys[static_cast<size_t>(i)])),
                     "take it out, as 'panvae preprocess' does");
        for (int64_t p = 0; p < atac.features(); ++p) {
          if (values[p] < 0)
            fail_input("a count is negative",
                       fmt::format("{}, sample {}, feature {}", quoted(atac.path(), 400), quoted(atac.obs().keys[static_cast<size_t>(i)]),
                                   quoted(atac.var().keys[static_cast<size_t>(p)])),
                       "correct the file");
          accessibility[static_cast<size_t>(p)] = values[p] * (1e6 / total);
        }
      }
      activity.product(counts ? accessibility.data() : values, all.data());
      for (size_t g = 0; g < shared.size(); ++g) {
        const double a = all[static_cast<size_t>(shared[g].activity)];
        of_atac(i, static_cast<int64_t>(g)) = counts ? std::log2(1 + a) : a;
      }
    });
  }
  Moments atac_moments(shared.size());
  for (int64_t r : atac_training) atac_moments.add(of_atac.data() + r * of_atac.cols());

  std::vector<size_t> chosen;
  for (size_t g = 0; g < shared.size(); ++g)
    if (of_rna.variance(g) > 0 && atac_moments.variance(g) > 0) chosen.push_back(g);
  GeneSpace out;
  out.shared = static_cast<int64_t>(chosen.size());
  if (chosen.size() < 2)
    fail_input(fmt::format("{} genes vary both in RNA and in ATAC, and two are needed", chosen.size()),
               fmt::format("{} and {}", quoted(rna.path(), 400), quoted(atac.path(), 400)),
               "are there enough samples and genes? Match without it: --correlated 0");
  std::stable_sort(chosen.begin(), chosen.end(), [&](size_t a, size_t b) { return of_rna.variance(a) > of_rna.variance(b); });
  chosen.resize(std::min(chosen.size(), static_cast<size_t>(options.genes)));
  std::sort(chosen.begin(), chosen.end());  // the order of RNA's features
  for (size_t g : chosen) out.genes.push_back(genes.symbol[static_cast<size_t>(activity.gene[static_cast<size_t>(shared[g].activity)])]);

  const auto n_genes = static_cast<int64_t>(chosen.size());
  out.atac.resize(atac.samples(), n_genes);
  for (int64_t r = 0; r < atac.samples(); ++r)
    for (int64_t c = 0; c < n_genes; ++c) out.atac(r, c) = of_atac(r, static_cast<int64_t>(chosen[static_cast<size_t>(c)]));
  of_atac.resize(0, 0);
  out.rna.resize(rna.samples(), n_genes);
  rna.for_samples(all_rows(rna.samples()), [&](int64_t i, const double* values) {
    expression(values, i, chosen);
    std::copy(row.begin(), row.begin() + n_genes, out.rna.data() + i * n_genes);
  });
  standardise(out.rna, of_rna, chosen);
  standardise(out.atac, atac_moments, chosen);
  return out;
}

std::vector<std::vector<Correlated>> most_correlated(const GeneSpace& space, std::span<const int64_t> atac_rows, std::span<const int64_t> rna_rows,
                                                     const std::vector<std::string>& rna_names, int64_t count,
                                                     const std::function<bool(int64_t, int64_t)>& allowed) {
  const auto n = static_cast<int64_t>(atac_rows.size()), m = static_cast<int64_t>(rna_rows.size()), genes = static_cast<int64_t>(space.genes.size());
  std::vector<std::vector<Correlated>> out(atac_rows.size());
  if (n == 0 || m == 0 || count <= 0) return out;
  // Genes first, as the product reads it.
  Eigen::MatrixXd rna(genes, m);
  for (int64_t j = 0; j < m; ++j) rna.col(j) = space.rna.row(rna_rows[static_cast<size_t>(j)]).transpose();
  // Eigen's own threads would cut the sums over genes differently for each number of threads. Blocks run side by side instead.
  const int before = Eigen::nbThreads();
  Eigen::setNbThreads(1);
  constexpr int64_t block = 32;
  const int64_t blocks = (n + block - 1) / block, at_once = std::max<int64_t>(1, threads());
  for (int64_t from = 0; from < blocks; from += at_once) {
    if (interrupted()) break;
    parallel_chunks(std::min(at_once, blocks - from), 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = from + begin; b < from + end; ++b) {
        const int64_t first = b * block, rows = std::min(block, n - first);
        RowMatrix<double> atac(rows, genes);
        for (int64_t i = 0; i < rows; ++i) atac.row(i) = space.atac.row(atac_rows[static_cast<size_t>(first + i)]);
        const RowMatrix<double> r = atac * rna;
        std::vector<int64_t> order;
        for (int64_t i = 0; i < rows; ++i) {
          const int64_t a = atac_rows[static_cast<size_t>(first + i)];
          order.clear();
          for (int64_t j = 0; j < m; ++j)
            if (!allowed || allowed(a, rna_rows[static_cast<size_t>(j)])) order.push_back(j);
          const auto higher = [&](int64_t x, int64_t y) {
            if (r(i, x) != r(i, y)) return r(i, x) > r(i, y);
            return rna_names[static_cast<size_t>(rna_rows[static_cast<size_t>(x)])] < rna_names[static_cast<size_t>(rna_rows[static_cast<size_t>(y)])];
          };
          const auto kept = std::min(static_cast<int64_t>(order.size()), count);
          std::partial_sort(order.begin(), order.begin() + kept, order.end(), higher);
          for (int64_t k = 0; k < kept; ++k)
            out[static_cast<size_t>(first + i)].push_back({rna_rows[static_cast<size_t>(order[static_cast<size_t>(k)])], r(i, order[static_cast<size_t>(k)])});
        }
      }
    });
  }
  Eigen::setNbThreads(before);
  throw_if_interrupted();
  return out;
}

}  // namespace panvae::data
