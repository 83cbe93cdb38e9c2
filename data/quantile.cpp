#include "data/quantile.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/threads.h"
#include "data/radix_sort.h"

namespace panvae::data {

namespace {

struct Item {
  uint64_t bits;  // ordered as the values are
  int32_t index;
};

std::vector<Item>& sorted_items(const double* values, int64_t n) {
  thread_local std::vector<Item> items, spare;
  items.clear();
  for (int64_t i = 0; i < n; ++i)
    if (!std::isnan(values[i])) items.push_back({ordered_bits(values[i]), static_cast<int32_t>(i)});
  radix_sort(items, spare, [](const Item& item) { return item.bits; });
  return items;
}

// The values that are there, ascending, at the front; how many they are.
size_t sort_present(double* values, size_t n) {
  thread_local std::vector<uint64_t> bits, spare;
  bits.clear();
  for (size_t i = 0; i < n; ++i)
    if (!std::isnan(values[i])) bits.push_back(ordered_bits(values[i]));
  radix_sort(bits, spare, [](uint64_t b) { return b; });
  std::transform(bits.begin(), bits.end(), values, from_ordered_bits);
  return bits.size();
}

// item(index, rank) for every value, ties with their mean rank.
template <class F>
void for_ranks(const std::vector<Item>& items, F&& item) {
  for (size_t i = 0; i < items.size();) {
    size_t j = i + 1;
    while (j < items.size() && items[j].bits == items[i].bits) ++j;
    const double rank = 0.5 * static_cast<double>(i + 1 + j);
    for (; i < j; ++i) item(items[i].index, rank);
  }
}

}  // namespace

void average_ranks(const double* values, int64_t n, double* ranks) {
  std::fill(ranks, ranks + n, std::numeric_limits<double>::quiet_NaN());
  for_ranks(sorted_items(values, n), [&](int32_t index, double rank) { ranks[index] = rank; });
}

QuantileReference QuantileReference::fit(int64_t samples, int64_t features, const std::function<void(int64_t, double*)>& row) {
  const auto g = static_cast<size_t>(features);
  std::vector<double> sum(g, 0);
  // Samples are sorted side by side, then added in their order: the sum is the same whatever the number of threads.
  constexpr int64_t batch = 16;
  std::vector<double> sorted(static_cast<size_t>(std::min(batch, samples)) * g);
  for (int64_t first = 0; first < samples; first += batch) {
    const int64_t count = std::min(batch, samples - first);
    parallel_chunks(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        double* out = sorted.data() + static_cast<size_t>(b) * g;
        row(first + b, out);
        const size_t m = sort_present(out, g);
        if (m == g || m == 0) continue;
        const std::vector<double> present(out, out + m);
        for (size_t k = 0; k < g; ++k) {
          const double at = g == 1 ? 0 : static_cast<double>(k) / static_cast<double>(g - 1) * static_cast<double>(m - 1);
          const auto low = std::min(static_cast<size_t>(at), m - 1), high = std::min(low + 1, m - 1);
          out[k] = present[low] + (at - static_cast<double>(low)) * (present[high] - present[low]);
        }
      }
    });
    parallel_chunks(features, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t b = 0; b < count; ++b)
        for (int64_t k = begin; k < end; ++k) sum[static_cast<size_t>(k)] += sorted[static_cast<size_t>(b) * g + static_cast<size_t>(k)];
    });
  }
  for (double& s : sum) s /= static_cast<double>(samples);
  return QuantileReference(std::move(sum));
}

double QuantileReference::at(double position) const {
  const double at = position * static_cast<double>(quantiles_.size() - 1);
  const auto low = std::min(static_cast<size_t>(at), quantiles_.size() - 1), high = std::min(low + 1, quantiles_.size() - 1);
  return quantiles_[low] + (at - static_cast<double>(low)) * (quantiles_[high] - quantiles_[low]);
}

void QuantileReference::map(double* values) const {
  const std::vector<Item>& items = sorted_items(values, features());
  const auto m = static_cast<double>(items.size());
  const bool complete = items.size() == quantiles_.size();
  for_ranks(items, [&](int32_t index, double rank) {
    if (complete) {  // whole and half ranks without rounding through positions
      const auto low = static_cast<size_t>(rank - 1);
      const double fraction = rank - 1 - static_cast<double>(low);
      values[index] = fraction == 0 ? quantiles_[low] : 0.5 * (quantiles_[low] + quantiles_[low + 1]);
    } else {
      values[index] = at(m > 1 ? (rank - 1) / (m - 1) : 0.5);
    }
  });
}

}  // namespace panvae::data
