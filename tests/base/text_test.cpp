#include "base/text.h"

#include <cmath>

#include "helpers.h"

namespace panvae::test {
namespace {

TEST(text, table_is_aligned) {
  TextTable t({"gene", "count", "note"});
  t.row({"TP53", "12", "x"});
  t.row({"\xC3\x89t\xC3\xA9", "-3.5", ""});
  t.row({"A"});
  EXPECT_EQ(t.str(),
            "gene  count  note\n"
            "----  -----  ----\n"
            "TP53     12  x\n"
            "\xC3\x89t\xC3\xA9    -3.5\n"
            "A\n");
}

TEST(text, a_column_with_words_is_no_number) {
  TextTable t({"n"});
  t.row({"1"});
  t.row({"many"});
  EXPECT_EQ(t.str(), "n\n----\n1\nmany\n");
}

TEST(text, missing_values_do_not_turn_a_column) {
  TextTable t({"score"});
  t.row({"1"});
  t.row({"NA"});
  EXPECT_EQ(t.str(), "score\n-----\n    1\n   NA\n");
  EXPECT_EQ(TextTable({"a", "b"}).str(), "a  b\n-  -\n");
}

TEST(text, nearest_name) {
  const std::vector<std::string> names{"train", "embed", "evaluate", "report"};
  EXPECT_EQ(nearest_name("trian", names), "train");
  EXPECT_EQ(nearest_name("evalute", names), "evaluate");
  EXPECT_EQ(nearest_name("embed", names), "embed");
  EXPECT_EQ(nearest_name("xyzzy", names), "");
  EXPECT_EQ(nearest_name("", names), "");
  EXPECT_EQ(nearest_name("x", {}), "");
}

TEST(text, human_bytes) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.50 KiB");
  EXPECT_EQ(human_bytes(int64_t{3} << 30), "3.00 GiB");
  EXPECT_EQ(human_bytes(int64_t{150} << 20), "150 MiB");
  EXPECT_EQ(human_bytes((int64_t{1} << 20) - 1), "1.00 MiB") << "not 1024 KiB";
}

TEST(text, human_seconds) {
  EXPECT_EQ(human_seconds(0.85), "850 ms");
  EXPECT_EQ(human_seconds(0.9996), "1.0 s") << "not 1000 ms";
  EXPECT_EQ(human_seconds(12.34), "12.3 s");
  EXPECT_EQ(human_seconds(59.99), "1 min 00 s");
  EXPECT_EQ(human_seconds(245), "4 min 05 s");
  EXPECT_EQ(human_seconds(7380), "2 h 03 min");
  EXPECT_EQ(human_seconds(3599.7), "1 h 00 min");
}

TEST(text, shortest_reads_back) {
  EXPECT_EQ(shortest(0.1), "0.1");
  EXPECT_EQ(shortest(0.1f), "0.1");
  EXPECT_EQ(shortest(1.0), "1");
  for (double x : {1.0 / 3, 1e300, -2.5e-310, 123456789.125}) EXPECT_EQ(std::strtod(shortest(x).c_str(), nullptr), x);
  EXPECT_EQ(std::stof(shortest(1.0f / 3)), 1.0f / 3);
}

}  // namespace
}  // namespace panvae::test
