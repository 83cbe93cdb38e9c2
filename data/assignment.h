// Optimal assignment: rows to columns, as many as possible, at the least total cost.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace panvae::data {

// cost(row, column) >= 0, infinite where the two must not meet. Returns the column of each row, -1 for rows left over: as many
// rows as possible get a column of their own, and among such assignments the sum of costs is smallest (shortest augmenting
// paths with potentials: Kuhn 1955, Jonker and Volgenant, Computing 38 (1987)). O(rows^2 columns), in practice far less where
// columns are many. Between equal sums the order of rows and columns decides.
std::vector<int64_t> assign(int64_t rows, int64_t columns, const std::function<double(int64_t, int64_t)>& cost);

}  // namespace panvae::data
