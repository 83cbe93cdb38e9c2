// Which features vary enough (step 2 of preprocessing).
#pragma once
#include <functional>
#include <vector>

#include "data/preprocess.h"

namespace panvae::data {

// x: counts or logs [samples, features], judged over `rows`; `log_row` delivers a sample's log-CPM [features] (or its
// logs) for the `quantile` filter. One flag per feature. Missing values are left out, whatever the filter.
template <class Matrix>
std::vector<bool> variable_features(const Matrix& x, const std::vector<int64_t>& rows, const VarianceFilter& filter,
                                    const std::function<void(int64_t, double*)>& log_row);

}  // namespace panvae::data
