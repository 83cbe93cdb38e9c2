#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <numeric>

namespace panvae {

std::string human_bytes(int64_t bytes) {
  static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double x = static_cast<double>(bytes);
  int u = 0;
  while (x >= 1023.5 && u < 4) x /= 1024, ++u;  // what rounds to 1024 is one of the next unit
  return u == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.{}f} {}", x, x < 10 ? 2 : x < 100 ? 1 : 0, units[u]);
}

std::string human_seconds(double s) {
  if (s < 0.9995) return fmt::format("{:.0f} ms", s * 1e3);
  if (s < 59.95) return fmt::format("{:.1f} s", s);
  auto t = static_cast<int64_t>(s + 0.5);
  if (t < 3600) return fmt::format("{} min {:02} s", t / 60, t % 60);
  return fmt::format("{} h {:02} min", t / 3600, t % 3600 / 60);
}

namespace {
template <class T>
std::string shortest_of(T x) {
  char buffer[64];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, x);
  return std::string(buffer, end);
}
}  // namespace

std::string shortest(double x) {
  return shortest_of(x);
}
std::string shortest(float x) {
  return shortest_of(x);
}

size_t utf8_length(std::string_view s) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  auto tail = [&](size_t i) { return i < s.size() && (byte(i) & 0xC0) == 0x80; };
  unsigned char a = byte(0);
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF) return tail(1) ? 2 : 0;
  if ((a & 0xF0) == 0xE0) {
    if (!tail(1) || !tail(2)) return 0;
    if (a == 0xE0 && byte(1) < 0xA0) return 0;
    if (a == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (a >= 0xF0 && a <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (a == 0xF0 && byte(1) < 0x90) return 0;
    if (a == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

size_t valid_utf8(std::string_view s) {
  unsigned char all = 0;
  for (const char c : s) all |= static_cast<unsigned char>(c);
  if (all < 0x80) return s.size();  // ASCII, as nearly all text is, is seen many bytes at a time
  size_t i = 0;
  while (i < s.size())
    if (const size_t n = utf8_length(s.substr(i))) i += n;
    else break;
  return i;
}

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= limit) return out + "...";
    unsigned char c = static_cast<unsigned char>(text[0]);
    size_t n = utf8_length(text);
    // C1 control characters (U+0080 to U+009F) drive terminals as the C0 ones do.
    bool c1 = n == 2 && c == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
    if (c == '\t') {
      out += "\\t";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (n == 0 || c < 0x20 || c == 0x7F || c1) {
      for (size_t i = 0; i < std::max<size_t>(n, 1); ++i) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
    } else {
      out.append(text.substr(0, n));
    }
    text.remove_prefix(std::max<size_t>(n, 1));
  }
  return out;
}

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = word.size() / 2 + 1;
  for (const std::string& c : candidates) {
    std::vector<size_t> row(c.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= c.size(); ++j) {
        size_t above = row[j];
        row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (word[i - 1] != c[j - 1])});
        diagonal = above;
      }
    }
    if (row.back() < best_distance) best_distance = row.back(), best = c;
  }
  return best;
}

namespace {
// Columns a string takes on a terminal: code points of UTF-8 (enough for names; wide scripts are rare in tables).
size_t width(std::string_view s) {
  return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}
bool numeric(std::string_view s) {
  return !s.empty() && (std::isdigit(static_cast<unsigned char>(s[0])) || ((s[0] == '-' || s[0] == '+') && s.size() > 1) || s == "NA");
}
}  // namespace

TextTable::TextTable(std::vector<std::string> head) {
  for (const std::string& cell : head) head_.push_back(printable(cell));
}

void TextTable::row(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = printable(cell);
  rows_.push_back(std::move(cells));
}

std::string TextTable::str() const {
  std::vector<size_t> w(head_.size());
  std::vector<bool> right(head_.size(), !rows_.empty());
  for (size_t c = 0; c < head_.size(); ++c) {
    w[c] = width(head_[c]);
    for (const auto& r : rows_) {
      if (c >= r.size()) continue;
      w[c] = std::max(w[c], width(r[c]));
      if (!r[c].empty() && !numeric(r[c])) right[c] = false;
    }
  }
  std::string out;
  auto line = [&](const std::vector<std::string>& cells) {
    std::string l;
    for (size_t c = 0; c < head_.size(); ++c) {
      const std::string cell = c < cells.size() ? cells[c] : "";
      const std::string pad(w[c] - width(cell), ' ');
      l += (c ? "  " : "") + (right[c] ? pad + cell : cell + pad);
    }
    l.erase(l.find_last_not_of(' ') + 1);
    out += l + "\n";
  };
  line(head_);
  std::vector<std::string> rule;
  for (size_t c = 0; c < head_.size(); ++c) rule.emplace_back(w[c], '-');
  line(rule);
  for (const auto& r : rows_) line(r);
  return out;
}

}  // namespace panvae
