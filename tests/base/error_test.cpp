#include "base/error.h"

#include "helpers.h"

namespace panvae::test {
namespace {

TEST(quoted, keeps_valid_text) {
  EXPECT_EQ(quoted("TP53"), "'TP53'");
  EXPECT_EQ(quoted(""), "''");
  EXPECT_EQ(quoted("\xC3\xA9t\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\xA7\xAC"), "'\xC3\xA9t\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\xA7\xAC'");
}

TEST(quoted, escapes_what_drives_a_terminal) {
  EXPECT_EQ(quoted("a\tb\nc\rd"), "'a\\tb\\nc\\rd'");
  EXPECT_EQ(quoted("\x1B[31mred"), "'\\x1b[31mred'");
  EXPECT_EQ(quoted(std::string_view("a\0b", 3)), "'a\\x00b'");
  EXPECT_EQ(quoted("\x7F\x07"), "'\\x7f\\x07'");
  EXPECT_EQ(quoted("\xC2\x9B"
                   "31m"),
            "'\\xc2\\x9b31m'")
      << "C1 control characters as well";
  EXPECT_EQ(quoted("\xC2\xA0"), "'\xC2\xA0'") << "the first that is none";
}

TEST(quoted, escapes_broken_utf8_byte_by_byte) {
  EXPECT_EQ(quoted("\xFFz"), "'\\xffz'");
  EXPECT_EQ(quoted("\xC3"), "'\\xc3'") << "cut off";
  EXPECT_EQ(quoted("\xC3("), "'\\xc3('");
  EXPECT_EQ(quoted("\xE6\x97"), "'\\xe6\\x97'");
  EXPECT_EQ(quoted("\x80"), "'\\x80'") << "a tail without a head";
  EXPECT_EQ(quoted("\xC0\xAF"), "'\\xc0\\xaf'") << "overlong";
  EXPECT_EQ(quoted("\xE0\x80\xAF"), "'\\xe0\\x80\\xaf'") << "overlong";
  EXPECT_EQ(quoted("\xED\xA0\x80"), "'\\xed\\xa0\\x80'") << "a surrogate";
  EXPECT_EQ(quoted("\xF4\x90\x80\x80"), "'\\xf4\\x90\\x80\\x80'") << "beyond U+10FFFF";
  EXPECT_EQ(quoted("\xF5\x80\x80\x80"), "'\\xf5\\x80\\x80\\x80'");
}

TEST(quoted, cuts_long_text_between_characters) {
  const std::string cut = quoted(std::string(1000, 'x'), 20);
  EXPECT_LE(cut.size(), 20u + 6);
  EXPECT_CONTAINS(cut, "xxx...'");
  std::string wide;
  for (int i = 0; i < 50; ++i) wide += "\xE6\x97\xA5";
  const std::string q = quoted(wide, 20);
  EXPECT_EQ((q.size() - 2 - 3) % 3, 0u) << "no character is halved";
  EXPECT_EQ(quoted("abc", 3), "'abc'");
}

TEST(error, says_what_where_and_what_to_do) {
  const Error e(ErrorCode::input, "no such gene", "row 3", "check the table", "op");
  EXPECT_STREQ(e.what(), "no such gene (row 3): check the table");
  EXPECT_STREQ(Error(ErrorCode::input, "no such gene").what(), "no such gene");
  EXPECT_STREQ(Error(ErrorCode::input, "no such gene", "", "look").what(), "no such gene: look");
  EXPECT_EQ(e.op(), "op");
  EXPECT_EQ(error_of([] { fail_usage("a", "b", "c"); }).code(), ErrorCode::usage);
  EXPECT_EQ(error_of([] { fail_input("a", "b", "c"); }).code(), ErrorCode::input);
  EXPECT_EQ(error_of([] { fail_machine("a", "b", "c"); }).code(), ErrorCode::machine);
}

TEST(error, codes_are_the_exit_codes_of_the_program) {
  EXPECT_EQ(static_cast<int>(ErrorCode::usage), 2);
  EXPECT_EQ(static_cast<int>(ErrorCode::input), 3);
  EXPECT_EQ(static_cast<int>(ErrorCode::machine), 4);
  EXPECT_EQ(static_cast<int>(ErrorCode::internal), 70);
  EXPECT_EQ(static_cast<int>(ErrorCode::interrupted), 130);
}

TEST(error, checks_name_op_and_line_and_cost_nothing_when_they_hold) {
  const int line = __LINE__ + 1;
  const Error e = error_of([] { PV_CHECK(1 > 2, "linear: {} against {}", 1, "two"); });
  EXPECT_EQ(e.message(), "linear: 1 against two");
  EXPECT_EQ(e.op(), "linear");
  EXPECT_EQ(e.code(), ErrorCode::usage);
  EXPECT_EQ(e.where(), "error_test.cpp:" + std::to_string(line)) << "the file's name without its folders";
  const Error a = error_of([] { PV_ASSERT(2 + 2 == 5); });
  EXPECT_EQ(a.code(), ErrorCode::internal);
  EXPECT_CONTAINS(a.message(), "2 + 2 == 5");
  EXPECT_CONTAINS(a.hint(), "report");
  int evaluated = 0;
  auto argument = [&] { return ++evaluated; };
  PV_CHECK(true, "x: {}", argument());
  EXPECT_EQ(evaluated, 0);
}

}  // namespace
}  // namespace panvae::test
