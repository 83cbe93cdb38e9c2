#include "data/assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/interrupt.h"

namespace panvae::data {

std::vector<int64_t> assign(int64_t rows, int64_t columns, const std::function<double(int64_t, int64_t)>& cost) {
  PV_CHECK(rows >= 0 && columns >= 0, "assign: {} rows, {} columns", rows, columns);
  constexpr double infinite = std::numeric_limits<double>::infinity();
  double largest = 0;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      const double c = cost(i, j);
      PV_CHECK(c >= 0, "assign: cost {} of row {} and column {}", c, i, j);
      if (std::isfinite(c)) largest = std::max(largest, c);
    }
  // Beside the real columns each row has one that stands for "none". It costs more than all real ones together, so it is taken
  // only where nothing else is possible.
  const double none = (largest + 1) * static_cast<double>(rows + 1);
  const int64_t all = columns + rows;
  const auto at = [&](int64_t i, int64_t j) {
    const double c = j < columns ? cost(i, j) : none;
    return std::isfinite(c) ? c : (none + 1) * static_cast<double>(rows + 1);
  };
  std::vector<double> of_row(static_cast<size_t>(rows), 0), of_column(static_cast<size_t>(all), 0), reach(static_cast<size_t>(all));
  std::vector<int64_t> row_of(static_cast<size_t>(all), -1), before(static_cast<size_t>(all));
  std::vector<bool> done(static_cast<size_t>(all));
  for (int64_t start = 0; start < rows; ++start) {
    throw_if_interrupted();
    // Dijkstra over columns, by costs less potentials, from row `start` to the nearest free column.
    std::fill(reach.begin(), reach.end(), infinite);
    std::fill(done.begin(), done.end(), false);
    std::fill(before.begin(), before.end(), int64_t{-1});
    std::vector<int64_t> visited;
    int64_t row = start, last = -1, free = -1;
    double travelled = 0;
    while (free < 0) {
      int64_t next = -1;
      for (int64_t j = 0; j < all; ++j) {
        const auto c = static_cast<size_t>(j);
        if (done[c]) continue;
        const double d = travelled + at(row, j) - of_row[static_cast<size_t>(row)] - of_column[c];
        if (d < reach[c]) reach[c] = d, before[c] = last;
        if (next < 0 || reach[c] < reach[static_cast<size_t>(next)]) next = j;
      }
      const auto n = static_cast<size_t>(next);
      travelled = reach[n];
      done[n] = true;
      if (row_of[n] < 0) free = next;
      else visited.push_back(next), row = row_of[n], last = next;
    }
    of_row[static_cast<size_t>(start)] += travelled;
    for (int64_t j : visited) {
      const auto c = static_cast<size_t>(j);
      of_row[static_cast<size_t>(row_of[c])] += travelled - reach[c];
      of_column[c] -= travelled - reach[c];
    }
    // The path backwards: each column takes the row of the one before it.
    for (int64_t j = free; j >= 0;) {
      const int64_t previous = before[static_cast<size_t>(j)];
      row_of[static_cast<size_t>(j)] = previous < 0 ? start : row_of[static_cast<size_t>(previous)];
      j = previous;
    }
  }
  std::vector<int64_t> column_of(static_cast<size_t>(rows), -1);
  for (int64_t j = 0; j < columns; ++j)
    if (const int64_t i = row_of[static_cast<size_t>(j)]; i >= 0 && std::isfinite(cost(i, j))) column_of[static_cast<size_t>(i)] = j;
  return column_of;
}

}  // namespace panvae::data
