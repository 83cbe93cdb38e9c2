// Data sets and expectations shared by the tests of eval.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "base/threads.h"
#include "data/dataset.h"
#include "data/read.h"
#include "tests/base/helpers.h"

namespace panvae::eval::test {

inline data::RowMatrix<double> gaussian(int64_t rows, int64_t columns, uint32_t op) {
  data::RowMatrix<double> x(rows, columns);
  PhiloxSequence g(PhiloxKey{11, op, 0});
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = g.normal();
  return x;
}

using data::all_rows;

// Samples S0000, S0001, ... with values x and features z0, z1, ...
inline data::Dataset<double> dataset(data::RowMatrix<double> x) {
  data::Dataset<double> d;
  for (int64_t i = 0; i < x.rows(); ++i) d.obs.keys.push_back(fmt::format("S{:04d}", i));
  for (int64_t j = 0; j < x.cols(); ++j) d.var.keys.push_back(fmt::format("z{}", j));
  d.x = std::move(x);
  d.kind = "embedding";
  return d;
}

inline void set_factor(data::Table& table, const std::string& name, const std::vector<std::string>& cells) {
  data::Column c;
  c.name = name;
  for (const std::string& cell : cells) {
    int32_t code = -1;
    for (size_t l = 0; l < c.levels.size(); ++l)
      if (c.levels[l] == cell) code = static_cast<int32_t>(l);
    if (code < 0 && !cell.empty()) code = static_cast<int32_t>(c.levels.size()), c.levels.push_back(cell);
    c.code.push_back(code);
  }
  table.set(c);
}

inline void set_number(data::Table& table, const std::string& name, std::vector<double> values) {
  data::Column c;
  c.name = name;
  c.numeric = true;
  c.number = std::move(values);
  table.set(c);
}

// `cohorts` groups of `each` donors with one sample, at random centres `distance` apart in `dimensions`.
inline data::Dataset<double> cohorts(int n_cohorts, int each, int64_t dimensions, double distance, uint32_t op = 5) {
  const data::RowMatrix<double> centre = gaussian(n_cohorts, dimensions, op + 1000);
  data::RowMatrix<double> x = gaussian(n_cohorts * each, dimensions, op);
  std::vector<std::string> cohort;
  for (int64_t i = 0; i < x.rows(); ++i) {
    x.row(i) += distance * centre.row(i % n_cohorts);
    cohort.push_back(fmt::format("C{:02d}", i % n_cohorts));
  }
  data::Dataset<double> d = dataset(std::move(x));
  set_factor(d.obs, "cohort", cohort);
  return d;
}

using ::panvae::test::error_of;

#define EXPECT_ERROR(code_, part, expression)                                               \
  do {                                                                                      \
    const ::panvae::Error error__ = ::panvae::test::error_of([&] { (void)(expression); });  \
    EXPECT_EQ(error__.code(), code_) << error__.what();                                     \
    EXPECT_NE(std::string(error__.what()).find(part), std::string::npos) << error__.what(); \
  } while (0)

struct Threads {
  explicit Threads(int n) : before(threads()) { set_threads(n); }
  ~Threads() { set_threads(before); }
  int before;
};

}  // namespace panvae::eval::test
