// The sort behind sums of rows: what std::stable_sort gives, on cpu and, through the CUDA source, on simt in three orders of
// threads. (That sums use it rightly is tested by the cases.)
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "base/philox.h"
#include "base/threads.h"
#include "kernels/row_sums.h"

namespace panvae::test {
namespace {

using Entry = std::pair<int64_t, int64_t>;  // row, index

std::vector<Entry> expected(const std::vector<int64_t>& rows, int64_t limit) {
  std::vector<Entry> e;
  for (size_t i = 0; i < rows.size(); ++i) e.emplace_back(rows[i] >= 0 && rows[i] < limit ? rows[i] : limit, static_cast<int64_t>(i));
  std::stable_sort(e.begin(), e.end(), [](const Entry& a, const Entry& b) { return a.first < b.first; });
  return e;
}

template <class Sort>
std::vector<Entry> sorted(Sort sort, Stream& stream, const std::vector<int64_t>& rows, int64_t limit) {
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<RowEntry> memory(static_cast<size_t>(sort_rows_bytes(count)) / sizeof(RowEntry) + 1);
  const RowEntry* result = sort(stream, rows.data(), count, limit, memory.data());
  std::vector<Entry> e;
  for (int64_t i = 0; i < count; ++i) e.emplace_back(result[i].row, result[i].index);
  return e;
}

std::vector<int64_t> draw(int64_t count, int64_t low, int64_t high, uint32_t op) {
  PhiloxSequence sequence({7, op, 0});
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t& r : rows) r = low + static_cast<int64_t>(sequence.below(static_cast<uint64_t>(high - low)));
  return rows;
}

// Counts around a warp, a tile of 2048 and several; limits around one, two and three digits of 8 bits, and none at all; a tenth
// of the rows lies outside.
void check(const std::function<std::vector<Entry>(const std::vector<int64_t>&, int64_t)>& sort, const std::vector<int64_t>& counts) {
  for (int64_t count : counts)
    for (int64_t limit : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{255}, int64_t{256}, int64_t{65535}, int64_t{65536}, int64_t{5000000}, int64_t{1} << 40}) {
      const std::vector<int64_t> rows = draw(count, -1 - limit / 20, limit + limit / 20 + 1, static_cast<uint32_t>(count));
      EXPECT_TRUE(sort(rows, limit) == expected(rows, limit)) << count << " rows below " << limit;
    }
  const std::vector<int64_t> one(5000, 3);
  EXPECT_TRUE(sort(one, 1000) == expected(one, 1000)) << "all the same";
}

TEST(sort_rows, is_a_stable_sort_on_cpu) {
  Stream stream({DeviceType::cpu, 0});
  const int before = threads();
  for (int n : {1, 3}) {
    set_threads(n);
    check([&](const std::vector<int64_t>& rows, int64_t limit) { return sorted(cpu::sort_rows<int64_t>, stream, rows, limit); },
          {0, 1, 31, 33, 4097, 16384, 16385, 50000});
  }
  set_threads(before);
}

TEST(sort_rows, is_a_stable_sort_on_simt_in_all_orders) {
  Stream stream({DeviceType::simt, 0});
  for (const simt::Options& o :
       {simt::Options{simt::Order::forward, 1, 1}, simt::Options{simt::Order::reverse, 1, 1}, simt::Options{simt::Order::random, 5, 2}}) {
    stream.simt = o;
    check([&](const std::vector<int64_t>& rows, int64_t limit) { return sorted(simt::sort_rows<int64_t>, stream, rows, limit); }, {0, 1, 33, 2048, 2049, 9000});
  }
}

}  // namespace
}  // namespace panvae::test
