// What a matrix holds and which of its samples train.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"
#include "data/large_dataset.h"
#include "data/read.h"

namespace panvae::data {

namespace {

template <class Matrix>
std::string kind_of(const Matrix& x) {
  using T = typename Matrix::Scalar;
  const int64_t n = x.rows(), g = x.cols();
  if (n == 0 || g == 0) return {};
  struct RowFacts {
    bool whole = true, negative = false;
    double largest = 0;
  };
  std::vector<RowFacts> facts(static_cast<size_t>(n));
  over_rows(x, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      RowFacts f;
      const T* row = x.data() + r * g;
      for (int64_t c = 0; c < g; ++c) {
        if (std::isnan(row[c])) continue;
        f.whole &= std::nearbyint(row[c]) == row[c];
        f.negative |= row[c] < 0;
        f.largest = std::max(f.largest, std::abs(static_cast<double>(row[c])));
      }
      facts[static_cast<size_t>(r)] = f;
    }
  });
  bool whole = true, negative = false;
  double largest = 0;
  for (const RowFacts& f : facts) {
    whole &= f.whole;
    negative |= f.negative;
    largest = std::max(largest, f.largest);
  }
  if (whole && !negative) return "counts";
  if (largest >= 100) return {};
  // Standardised features: up to a thousand of them are looked at, evenly spread.
  if (negative && n >= 3) {
    const int64_t step = std::max<int64_t>(1, g / 1000);
    bool z = true;
    for (int64_t c = 0; c < g && z; c += step) {
      double sum = 0, squares = 0, count = 0;
      for (int64_t r = 0; r < n; ++r) {
        const auto v = static_cast<double>(x(r, c));
        if (std::isnan(v)) continue;
        sum += v;
        squares += v * v;
        ++count;
      }
      if (count == 0) continue;
      const double mean = sum / count, variance = squares / count - mean * mean;
      // A subset of the samples that were standardised has not exactly mean 0; constant features stay at 0.
      z = std::abs(mean) < 0.25 && (variance < 1e-12 || std::abs(variance - 1) < 0.25);
    }
    if (z) return "z";
  }
  return "log";
}
}  // namespace

template <class T>
std::string detect_kind(const RowMatrix<T>& x) {
  return kind_of(x);
}
template <class T>
std::string detect_kind(const LargeMatrix<T>& x) {
  return kind_of(x);
}
template std::string detect_kind(const RowMatrix<float>&);
template std::string detect_kind(const RowMatrix<double>&);
template std::string detect_kind(const LargeMatrix<float>&);

template <class T>
void fill_missing_with_means(Dataset<T>& data, const std::vector<int64_t>& rows) {
  const int64_t n = data.samples(), g = data.features();
  std::vector<double> sum(static_cast<size_t>(g), 0);
  std::vector<int64_t> count(static_cast<size_t>(g), 0), absent(static_cast<size_t>(g), 0);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t c = 0; c < g; ++c) absent[static_cast<size_t>(c)] += std::isnan(data.x(r, c));
  if (std::all_of(absent.begin(), absent.end(), [](int64_t a) { return a == 0; })) return;
  for (int64_t r : rows)
    for (int64_t c = 0; c < g; ++c) {
      const auto v = static_cast<double>(data.x(r, c));
      if (std::isnan(v)) continue;
      sum[static_cast<size_t>(c)] += v;
      ++count[static_cast<size_t>(c)];
    }
  int64_t filled = 0;
  for (int64_t c = 0; c < g; ++c) {
    const auto i = static_cast<size_t>(c);
    if (absent[i] == 0) continue;
    if (count[i] == 0)
      fail_input("a feature without a value in the training samples cannot be filled",
                 fmt::format("{}, feature {}", quoted(data.path, 400), quoted(data.var.keys[i])), "take it out of the file");
    const T mean = static_cast<T>(sum[i] / static_cast<double>(count[i]));
    for (int64_t r = 0; r < n; ++r)
      if (std::isnan(data.x(r, c))) {
        data.x(r, c) = mean;
        ++filled;
      }
  }
  log::info("{} missing values filled with training means", filled);
}
template void fill_missing_with_means(Dataset<float>&, const std::vector<int64_t>&);
template void fill_missing_with_means(Dataset<double>&, const std::vector<int64_t>&);

std::vector<std::string> donors_of(const Table& obs) {
  std::vector<std::string> out;
  out.reserve(obs.keys.size());
  const Column* donor = obs.find("donor");
  for (int64_t r = 0; r < obs.rows(); ++r) out.push_back(donor && !donor->missing(r) ? donor->text(r) : obs.keys[static_cast<size_t>(r)]);
  return out;
}

std::vector<int64_t> rows_of_split(const Table& obs, const std::string& side) {
  const Column& split = obs.at("split");
  std::vector<int64_t> rows;
  for (int64_t r = 0; r < obs.rows(); ++r) {
    const std::string value = split.text(r);
    if (value != "train" && value != "validation" && value != "holdout")
      fail_input(value.empty() ? std::string("a sample without a split") : fmt::format("the split {} is not known", quoted(value)),
                 fmt::format("sample {}, column 'split'", quoted(obs.keys[static_cast<size_t>(r)])),
                 "use train, validation or holdout for every sample, or name another column with --split-key");
    if (value == side) rows.push_back(r);
  }
  return rows;
}

std::vector<int64_t> all_rows(int64_t n) {
  std::vector<int64_t> rows(static_cast<size_t>(n));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return rows;
}

std::vector<int64_t> training_rows(const Table& obs) {
  if (obs.find("split")) return rows_of_split(obs, "train");
  std::vector<int64_t> all(obs.keys.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  return all;
}

}  // namespace panvae::data
