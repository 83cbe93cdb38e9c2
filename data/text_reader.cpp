#include "data/text_reader.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"

namespace panvae::data {

namespace {

bool ends_with(std::string_view s, std::string_view tail) {
  return s.size() >= tail.size() && s.substr(s.size() - tail.size()) == tail;
}

// Whether a quoted field of the line is still open at its end.
bool open_quote(std::string_view line, char separator) {
  bool field_start = true, inside = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (inside) {
      if (line[i] == '"') {
        if (i + 1 < line.size() && line[i + 1] == '"') ++i;
        else inside = false;
      }
      continue;
    }
    if (field_start && line[i] == '"') inside = true;
    field_start = line[i] == separator;
  }
  return inside;
}

}  // namespace

char separator_of(const std::string& path) {
  std::string_view name = path;
  if (ends_with(name, ".gz")) name.remove_suffix(3);
  return ends_with(name, ".csv") ? ',' : '\t';
}

LineReader::LineReader(std::string path, char separator) : path_(std::move(path)), separator_(separator) {
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0)
    fail_input(fmt::format("cannot read: {}", std::strerror(errno)), quoted(path_, 400), "check the name and its permissions");
  if (S_ISDIR(info.st_mode)) fail_input("is a folder", quoted(path_, 400), "name a file");
  file_ = gzopen(path_.c_str(), "rb");
  if (!file_) fail_input(fmt::format("cannot read: {}", std::strerror(errno)), quoted(path_, 400), "check the name and its permissions");
  gzbuffer(file_, 1u << 18);
  buffer_.resize(1u << 20);
  if (!refill()) fail_input("the file is empty", quoted(path_, 400), "is it the right one?");
  if (end_ >= 3 && std::memcmp(buffer_.data(), "\xEF\xBB\xBF", 3) == 0) begin_ = 3;
  if (std::memchr(buffer_.data(), 0, end_))
    fail_input("not a text file", quoted(path_, 400), "expected tab- or comma-separated text, plain or gzipped; is the ending of its name right?");
}

LineReader::~LineReader() {
  if (file_) gzclose(file_);
}

std::string LineReader::where() const {
  return fmt::format("{}, line {}", quoted(path_, 400), line_number_);
}

bool LineReader::refill() {
  if (at_end_) return false;
  throw_if_interrupted();
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) {
    if (buffer_.size() >= (size_t{1} << 31)) fail_input("a line of more than 2 GiB", where(), "is it a text table?");
    buffer_.resize(buffer_.size() * 2);
  }
  const int got = gzread(file_, buffer_.data() + end_, static_cast<unsigned>(buffer_.size() - end_));
  int code = Z_OK;
  const char* message = gzerror(file_, &code);
  if (got < 0 || code == Z_BUF_ERROR) {
    const std::string what = code == Z_BUF_ERROR ? "the gzip file is truncated"
                             : code == Z_ERRNO   ? fmt::format("cannot read: {}", std::strerror(errno))
                                                 : fmt::format("the gzip file is damaged: {}", message);
    fail_input(what, where(), "fetch or write it again");
  }
  if (got == 0) at_end_ = true;
  end_ += static_cast<size_t>(got);
  return got > 0;
}

bool LineReader::raw_line(std::string_view& line) {
  size_t searched = 0;
  for (;;) {
    const char* start = buffer_.data() + begin_;
    if (const auto* newline = static_cast<const char*>(std::memchr(start + searched, '\n', end_ - begin_ - searched))) {
      line = {start, static_cast<size_t>(newline - start)};
      begin_ += line.size() + 1;
      break;
    }
    searched = end_ - begin_;
    if (!refill()) {
      if (begin_ == end_) return false;
      line = {buffer_.data() + begin_, end_ - begin_};
      begin_ = end_;
      break;
    }
  }
  ++line_number_;
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return true;
}

bool LineReader::next(std::string_view& line) {
  if (!raw_line(line)) return false;
  if (line.empty()) {
    const std::string blank = where();
    while (raw_line(line))
      if (!line.empty()) fail_input("an empty line within the table", blank, "remove it");
    return false;
  }
  if (!std::memchr(line.data(), '"', line.size()) || !open_quote(line, separator_)) return true;
  const std::string first = where();
  joined_.assign(line);
  do {
    if (!raw_line(line) || joined_.size() > (size_t{1} << 24))
      fail_input("a quoted field is never closed", first, "close it with '\"', or double a quote that is part of the text");
    joined_ += '\n';
    joined_.append(line);
  } while (open_quote(joined_, separator_));
  line = joined_;
  return true;
}

bool FieldSplitter::next(std::string_view& field) {
  if (done_) return false;
  if (rest_.empty() || rest_.front() != '"') {
    const size_t at = rest_.find(separator_);
    field = rest_.substr(0, at);
    if (at == std::string_view::npos) done_ = true;
    else rest_.remove_prefix(at + 1);
    return true;
  }
  scratch_.clear();
  size_t i = 1;
  bool closed = false;
  for (; i < rest_.size(); ++i) {
    if (rest_[i] != '"') {
      scratch_ += rest_[i];
    } else if (i + 1 < rest_.size() && rest_[i + 1] == '"') {
      scratch_ += '"';
      ++i;
    } else {
      closed = true;
      ++i;
      break;
    }
  }
  field = scratch_;
  if (!closed || (i < rest_.size() && rest_[i] != separator_)) malformed_ = true;
  if (!closed || i >= rest_.size()) done_ = true;
  else if (const size_t at = rest_.find(separator_, i); at == std::string_view::npos) done_ = true;
  else rest_.remove_prefix(at + 1);
  return true;
}

std::vector<std::string> split_fields(const LineReader& reader, std::string_view line) {
  std::vector<std::string> out;
  FieldSplitter fields(line, reader.separator());
  for (std::string_view field; fields.next(field);) out.emplace_back(field);
  if (fields.malformed()) fail_input("text after a closing quote", reader.where(), "double a quote that is part of the text");
  return out;
}

}  // namespace panvae::data
