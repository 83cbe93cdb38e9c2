// Lines and fields of text files, plain or gzipped, streamed.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace panvae::data {

// Lines without their ends (LF or CRLF), a UTF-8 byte order mark skipped. A quoted field may hold line breaks.
// ErrorCode::input: not readable, truncated or damaged gzip, bytes that are no gzip after it, a NUL byte,
// a byte that is no UTF-8 (what is written from it could not be read elsewhere).
class LineReader {
 public:
  // `separator` is needed to know where quoted fields begin.
  LineReader(std::string path, char separator);
  // A table, from the line that names its columns: what precedes it is passed over (lines that begin with '#', as featureCounts, the GDC
  // and recount3 write them; the first two lines of GCT). Fields are separated as the file's name promises (separator_of), or, where its
  // first two lines lack that, by the tabs, semicolons, commas or spaces that both have.
  explicit LineReader(std::string path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line that is not blank; false at the end. Blank lines are allowed at the end of the file only. The view
  // is valid until the next call.
  bool next(std::string_view& line);
  int64_t line_number() const { return line_number_; }
  char separator() const { return separator_; }
  const std::string& path() const { return path_; }
  // "'FILE', line 12" for messages; the file alone before its first line.
  std::string where() const;

 private:
  bool raw_line(std::string_view& line);
  void unread();  // the line that raw_line() gave last
  void begin_table();
  bool refill();

  std::string path_;
  char separator_;
  class Source;
  std::unique_ptr<Source> source_;
  std::string buffer_;
  size_t begin_ = 0, end_ = 0;  // unread part of buffer_
  size_t line_begin_ = 0;       // of the line read last
  std::string head_;            // of a table: its first line, read ahead
  bool has_head_ = false;
  bool at_end_ = false;
  int64_t line_number_ = 0;
  int lines_in_record_ = 0;
  std::string joined_;  // a record of several lines
};

// The separator a file's name promises: ',' for .csv, tab otherwise (.gz ignored).
char separator_of(const std::string& path);

// Cuts the next field off `rest`. A field that begins with a double quote ends at the closing one, "" inside stands for
// a quote; `scratch` holds the text where it differs from the file's. False when nothing is left.
class FieldSplitter {
 public:
  FieldSplitter(std::string_view line, char separator) : rest_(line), separator_(separator) {}
  bool next(std::string_view& field);
  // Malformed quotes seen (text after a closing quote, no closing quote).
  bool malformed() const { return malformed_; }

 private:
  std::string_view rest_;
  char separator_;
  bool done_ = false, malformed_ = false;
  std::string scratch_;
};

// For a first row of values that has one cell more than the row of names, and whose last is empty: R would have a name there.
[[noreturn]] void fail_trailing_separator(const LineReader& reader);

// All fields of a line as strings. ErrorCode::input for malformed quotes.
std::vector<std::string> split_fields(const LineReader& reader, std::string_view line);

}  // namespace panvae::data
