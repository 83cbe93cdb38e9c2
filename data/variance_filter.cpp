#include "data/variance_filter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "base/threads.h"
#include "data/large_dataset.h"

namespace panvae::data {

VarianceFilter VarianceFilter::parse(const std::string& text) {
  VarianceFilter f;
  if (text == "none") {
    f.kind = Kind::none;
    return f;
  }
  const size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  double value = -1;
  const bool number = colon != std::string::npos && parse_number(std::string_view(text).substr(colon + 1), value);
  if (name == "nzv") f.kind = Kind::nzv;
  else if (name == "cv2") f.kind = Kind::cv2;
  else if (name == "quantile") f.kind = Kind::quantile;
  else fail_usage(fmt::format("{} is no variance filter", quoted(text)), "--var-filter", "use nzv:0.01, cv2:X, quantile:X or none");
  if (!number || !(value >= 0) || !std::isfinite(value) || (f.kind != Kind::cv2 && value >= 1))
    fail_usage(fmt::format("{} needs a number{}", quoted(text), f.kind == Kind::cv2 ? " of at least 0" : " in [0, 1)"), "--var-filter",
               "for example " + name + ":0.01");
  f.value = value;
  return f;
}

std::string VarianceFilter::text() const {
  switch (kind) {
    case Kind::none:
      return "none";
    case Kind::nzv:
      return "nzv:" + shortest(value);
    case Kind::cv2:
      return "cv2:" + shortest(value);
    case Kind::quantile:
      return "quantile:" + shortest(value);
  }
  return {};
}

namespace {

// k of n as the nearest double, so that a share which is the threshold compares as equal to it: 1 - 0.8 is below 0.2.
double share_of(int64_t k, int64_t n) {
  return n > 0 ? static_cast<double>(k) / static_cast<double>(n) : 0;
}

// Share of the values that differ from the most frequent one, missing ones left out; exact where it is below 1/2, else at least
// 1/2: a value of the majority is found by voting (Boyer & Moore) in one pass, without sorting a column.
template <class Matrix>
void deviating_share(const Matrix& x, const std::vector<int64_t>& rows, int64_t begin, int64_t end, double* share) {
  using T = typename Matrix::Scalar;
  const auto w = static_cast<size_t>(end - begin);
  std::vector<T> candidate(w, T(0));
  std::vector<int64_t> votes(w, 0);
  for (int64_t r : rows)
    for (size_t c = 0; c < w; ++c) {
      const T v = x(r, begin + static_cast<int64_t>(c));
      if (std::isnan(v)) continue;
      if (votes[c] == 0) candidate[c] = v;
      votes[c] += v == candidate[c] ? 1 : -1;
    }
  std::vector<int64_t> differ(w, 0), present(w, 0);
  for (int64_t r : rows)
    for (size_t c = 0; c < w; ++c) {
      const T v = x(r, begin + static_cast<int64_t>(c));
      present[c] += !std::isnan(v);
      differ[c] += !std::isnan(v) && v != candidate[c];
    }
  for (size_t c = 0; c < w; ++c) share[c] = share_of(differ[c], present[c]);
}

// Beyond 1/2 there may be no majority: count by sorting.
template <class Matrix>
double deviating_share_by_sorting(const Matrix& x, const std::vector<int64_t>& rows, int64_t column) {
  std::vector<typename Matrix::Scalar> values;
  for (int64_t r : rows)
    if (!std::isnan(x(r, column))) values.push_back(x(r, column));
  std::sort(values.begin(), values.end());
  int64_t most = 0;
  for (size_t i = 0; i < values.size();) {
    const size_t first = i;
    while (i < values.size() && values[i] == values[first]) ++i;
    most = std::max(most, static_cast<int64_t>(i - first));
  }
  const auto present = static_cast<int64_t>(values.size());
  return share_of(present - most, present);
}

}  // namespace

template <class Matrix>
std::vector<bool> variable_features(const Matrix& x, const std::vector<int64_t>& rows, const VarianceFilter& filter,
                                    const std::function<void(int64_t, double*)>& log_row) {
  using Kind = VarianceFilter::Kind;
  const int64_t g = x.cols();
  std::vector<bool> keep(static_cast<size_t>(g), true);
  if (filter.kind == Kind::none) return keep;
  std::vector<double> score(static_cast<size_t>(g), 0);
  if (filter.kind == Kind::nzv) {
    over_columns(x, 256, [&](int64_t begin, int64_t end) {
      deviating_share(x, rows, begin, end, score.data() + begin);
      if (filter.value > 0.5)
        for (int64_t c = begin; c < end; ++c) score[static_cast<size_t>(c)] = deviating_share_by_sorting(x, rows, c);
    });
    for (size_t c = 0; c < keep.size(); ++c) keep[c] = score[c] >= filter.value && score[c] > 0;
    return keep;
  }
  // Mean and variance (n - 1) by West's update over the rows; missing values are left out.
  std::vector<double> mean(static_cast<size_t>(g), 0), squares(static_cast<size_t>(g), 0), count(static_cast<size_t>(g), 0), values(static_cast<size_t>(g));
  for (int64_t r : rows) {
    if (filter.kind == Kind::quantile) log_row(r, values.data());
    else std::copy(x.data() + r * g, x.data() + (r + 1) * g, values.begin());
    release_rows(x, r, r + 1);
    parallel_chunks(g, 8192, [&](int64_t begin, int64_t end) {
      for (auto c = static_cast<size_t>(begin); c < static_cast<size_t>(end); ++c) {
        if (std::isnan(values[c])) continue;
        const double delta = values[c] - mean[c];
        mean[c] += delta / ++count[c];
        squares[c] += delta * (values[c] - mean[c]);
      }
    });
  }
  for (size_t c = 0; c < keep.size(); ++c) score[c] = count[c] > 1 ? squares[c] / (count[c] - 1) : 0;
  if (filter.kind == Kind::cv2) {
    for (size_t c = 0; c < keep.size(); ++c) keep[c] = mean[c] != 0 && score[c] > 0 && score[c] / (mean[c] * mean[c]) >= filter.value;
    return keep;
  }
  std::vector<size_t> order(keep.size());
  for (size_t c = 0; c < order.size(); ++c) order[c] = c;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return score[a] < score[b]; });
  // A share as written: 0.29 of 100 are 29, though the doubles' product is below.
  const auto dropped = static_cast<size_t>(std::floor(filter.value * static_cast<double>(g) * (1 + 4 * std::numeric_limits<double>::epsilon())));
  for (size_t i = 0; i < dropped; ++i) keep[order[i]] = false;
  return keep;
}
template std::vector<bool> variable_features(const RowMatrix<float>&, const std::vector<int64_t>&, const VarianceFilter&,
                                             const std::function<void(int64_t, double*)>&);
template std::vector<bool> variable_features(const RowMatrix<double>&, const std::vector<int64_t>&, const VarianceFilter&,
                                             const std::function<void(int64_t, double*)>&);
template std::vector<bool> variable_features(const LargeMatrix<float>&, const std::vector<int64_t>&, const VarianceFilter&,
                                             const std::function<void(int64_t, double*)>&);

}  // namespace panvae::data
