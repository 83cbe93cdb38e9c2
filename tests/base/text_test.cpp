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

// Names of columns come from files, and escape sequences in them would drive the terminal.
TEST(text, cells_of_a_table_are_made_safe_for_a_terminal) {
  TextTable t({"na\x1B[2Jme", "n"});
  t.row({"a\nb", "1"});
  EXPECT_EQ(t.str(), "na\\x1b[2Jme  n\n-----------  -\na\\nb         1\n");
  EXPECT_EQ(printable("\xC3\xA9\xC2\x9B\xFF\t"), "\xC3\xA9\\xc2\\x9b\\xff\\t");
  EXPECT_EQ(printable("abcd", 3), "abc...");
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

TEST(text, a_sign_is_no_number_without_digits) {
  TextTable t({"change", "precision"});
  t.row({"+0.5", "0.750"});
  t.row({"-12", "-"});
  EXPECT_EQ(t.str(), "change  precision\n------  ---------\n  +0.5  0.750\n   -12  -\n");
}

TEST(text, nearest_name) {
  const std::vector<std::string> names{"train", "embed", "evaluate", "report"};
  EXPECT_EQ(nearest_name("trian", names), "train");
  EXPECT_EQ(nearest_name("evalute", names), "evaluate");
  EXPECT_EQ(nearest_name("embed", names), "embed");
  EXPECT_EQ(nearest_name("xyzzy", names), "");
  EXPECT_EQ(nearest_name("", names), "");
  EXPECT_EQ(nearest_name("x", {}), "");
  EXPECT_EQ(nearest_name("sex", {"age", "six"}), "six") << "a letter for another is one step";
  EXPECT_EQ(nearest_name("axb", {"ab", "axxb", "acb"}), "ab") << "the first of equals";
}

// As RFC 3629 has it.
std::string encoded(uint32_t c) {
  const auto tail = [c](int bits) { return static_cast<char>(0x80 | (c >> bits & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
}

TEST(text, utf8_of_every_character) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;  // surrogates
    const std::string bytes = encoded(c);
    ASSERT_EQ(utf8_length(bytes + "z"), bytes.size()) << c;
    for (size_t k = 1; k < bytes.size(); ++k) {
      std::string broken = bytes;
      broken[k] = 'z';
      ASSERT_EQ(utf8_length(broken), 0u) << c << ", byte " << k;
      ASSERT_EQ(utf8_length(bytes.substr(0, k)), 0u) << c << ", cut to " << k;
    }
  }
  // And of nothing else: as many sequences of two and of three bytes as there are characters of so many.
  int64_t found[4] = {};
  std::string s(3, '\0');
  for (uint32_t v = 0; v < 1u << 24; ++v) {
    for (size_t k = 0; k < 3; ++k) s[k] = static_cast<char>(v >> (16 - 8 * k) & 0xFF);
    ++found[utf8_length(s)];
  }
  EXPECT_EQ(found[1], 0x80 << 16);
  EXPECT_EQ(found[2], (0x800 - 0x80) << 8);
  EXPECT_EQ(found[3], 0x10000 - 0x800 - 0x800);
  EXPECT_EQ(valid_utf8(encoded(0x1F9EC) + encoded(0xE9) + "\xFFz"), 6u);
  EXPECT_EQ(valid_utf8(""), 0u);
}

TEST(text, human_bytes) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.50 KiB");
  EXPECT_EQ(human_bytes(int64_t{3} << 30), "3.00 GiB");
  EXPECT_EQ(human_bytes(int64_t{150} << 20), "150 MiB");
  EXPECT_EQ(human_bytes(12595), "12.3 KiB");
  EXPECT_EQ(human_bytes(int64_t{3} << 40), "3.00 TiB");
  EXPECT_EQ(human_bytes(int64_t{5000} << 40), "5000 TiB") << "there is no larger unit";
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
