// Numbers and tables for people.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace panvae {

std::string human_bytes(int64_t bytes);     // "1.43 GiB"
std::string human_seconds(double seconds);  // "850 ms", "12.3 s", "4 min 05 s", "2 h 03 min"
// Shortest decimal text that reads back as the same number.
std::string shortest(double x);
std::string shortest(float x);
// The candidate nearest to `word` by edit distance (the first of equals), or "" if none is near (for "did you mean").
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

// Length of the UTF-8 sequence at the start of `s` (not empty), 0 if none is there (overlong forms and surrogates are none).
size_t utf8_length(std::string_view s);
// How many bytes from the start on are UTF-8: all of them, unless one is not.
size_t valid_utf8(std::string_view s);

// Text from outside made safe for one line of a terminal: valid UTF-8 kept, control characters and broken bytes escaped, cut after
// `limit` bytes with an ellipsis.
std::string printable(std::string_view text, size_t limit = std::string_view::npos);

// A table for a terminal: columns aligned (numbers to the right), two spaces between, a line under the head. Its cells are printable().
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> head);
  void row(std::vector<std::string> cells);
  std::string str() const;

 private:
  std::vector<std::string> head_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace panvae
