#include "data/text_reader.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/text.h"
#include "data/foreign.h"

namespace panvae::data {

namespace {

// Whether a quoted field is still open at the end of the line. `inside`: one is open at its beginning.
bool open_quote(std::string_view line, char separator, bool inside = false) {
  bool field_start = !inside;
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

// The bytes of a file, unpacked where it is gzip: one member or many, as bgzip and cat write them. Not zlib's gzread(), which
// takes a member with a damaged head for the end of the file, and so leaves rows out in silence.
class LineReader::Source {
 public:
  // Null for `file`: could not be opened.
  explicit Source(std::FILE* file) : file_(file), input_(size_t{1} << 18) {}
  ~Source() {
    if (packed_) inflateEnd(&stream_);
    if (file_) std::fclose(file_);
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  bool is_open() const { return file_ != nullptr; }

  // Up to `size` bytes (not 0) into `out`; 0 at the end, or where `problem` says why there are none.
  size_t read(char* out, size_t size, std::string& problem) {
    if (!begun_ && !begin(problem)) return 0;
    if (!packed_) {
      if (stream_.avail_in == 0 && !fill(problem)) return 0;
      const size_t n = std::min<size_t>(size, stream_.avail_in);
      std::memcpy(out, stream_.next_in, n);
      take(n);
      return n;
    }
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(std::min<size_t>(size, size_t{1} << 30));
    const uInt room = stream_.avail_out;
    while (stream_.avail_out == room) {
      if (between_ && !next_member(problem)) return 0;
      if (stream_.avail_in == 0 && !fill(problem)) {
        if (problem.empty()) problem = "the gzip file is truncated";
        return 0;
      }
      const int code = inflate(&stream_, Z_NO_FLUSH);
      if (code == Z_STREAM_END) {
        between_ = true;
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        problem = fmt::format("the gzip file is damaged: {}", stream_.msg ? stream_.msg : zError(code));
        return 0;
      }
    }
    return room - stream_.avail_out;
  }

 private:
  bool fill(std::string& problem) {
    const size_t n = std::fread(input_.data(), 1, input_.size(), file_);
    if (n == 0 && std::ferror(file_)) problem = fmt::format("cannot read: {}", std::strerror(errno));
    stream_.next_in = input_.data();
    stream_.avail_in = static_cast<uInt>(n);
    return n > 0;
  }
  void take(size_t n) {
    stream_.next_in += n;
    stream_.avail_in -= static_cast<uInt>(n);
  }
  bool begin(std::string& problem) {
    begun_ = true;
    if (!fill(problem)) return false;
    packed_ = stream_.avail_in >= 2 && stream_.next_in[0] == 0x1f && stream_.next_in[1] == 0x8b;
    if (packed_ && inflateInit2(&stream_, 15 + 16) != Z_OK) throw std::bad_alloc();  // 16: with gzip's head, sums checked
    return true;
  }
  // To the next member; false at the end of the file, which may be padded with zeros.
  bool next_member(std::string& problem) {
    bool padded = false;
    for (;;) {
      if (stream_.avail_in == 0 && !fill(problem)) return false;
      if (*stream_.next_in != 0) break;
      padded = true;
      take(1);
    }
    if (padded || *stream_.next_in != 0x1f) {
      problem = "after a part of the gzip file stand bytes that are no gzip: it is damaged";
      return false;
    }
    between_ = false;
    inflateReset(&stream_);
    return true;
  }

  std::FILE* file_;
  std::vector<Bytef> input_;
  z_stream stream_{};
  bool begun_ = false, packed_ = false, between_ = false;  // between_: two members
};

char separator_of(const std::string& path) {
  std::string_view name = path;
  if (name.ends_with(".gz")) name.remove_suffix(3);
  return name.ends_with(".csv") ? ',' : '\t';
}

LineReader::LineReader(std::string path, char separator) : path_(std::move(path)), separator_(separator) {
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0)
    fail_input(fmt::format("cannot read: {}", std::strerror(errno)), quoted(path_, 400), "check the name and its permissions");
  if (S_ISDIR(info.st_mode)) fail_input("is a folder", quoted(path_, 400), "name a file");
  source_ = std::make_unique<Source>(std::fopen(path_.c_str(), "rb"));
  if (!source_->is_open()) fail_input(fmt::format("cannot read: {}", std::strerror(errno)), quoted(path_, 400), "check the name and its permissions");
  buffer_.resize(1u << 20);
  // As much as the marks of other formats reach: the first part of a gzip file may hold a byte or none.
  while (end_ < 512 && refill()) {
  }
  if (end_ == 0) fail_input("the file is empty", quoted(path_, 400), "is it the right one?");
  if (end_ >= 3 && std::memcmp(buffer_.data(), "\xEF\xBB\xBF", 3) == 0) begin_ = 3;
  const Foreign foreign = recognise_foreign({buffer_.data() + begin_, end_ - begin_});
  if (!foreign.what.empty()) fail_input(std::string(foreign.what), quoted(path_, 400), std::string(foreign.hint));
  if (std::memchr(buffer_.data(), 0, end_))
    fail_input("not a text file", quoted(path_, 400), "expected tab- or comma-separated text, plain or gzipped; is the ending of its name right?");
}

LineReader::LineReader(std::string path) : LineReader(path, separator_of(path)) {
  begin_table();
}

LineReader::~LineReader() = default;

std::string LineReader::where() const {
  return line_number_ == 0 ? quoted(path_, 400) : fmt::format("{}, line {}", quoted(path_, 400), line_number_);
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
  std::string problem;
  const size_t got = source_->read(buffer_.data() + end_, buffer_.size() - end_, problem);
  if (!problem.empty()) fail_input(problem, where(), "fetch or write it again");
  if (got == 0) at_end_ = true;
  end_ += got;
  return got > 0;
}

bool LineReader::raw_line(std::string_view& line) {
  size_t searched = 0;
  for (;;) {
    const char* start = buffer_.data() + begin_;
    if (const auto* newline = static_cast<const char*>(std::memchr(start + searched, '\n', end_ - begin_ - searched))) {
      line = {start, static_cast<size_t>(newline - start)};
      line_begin_ = begin_;
      begin_ += line.size() + 1;
      break;
    }
    searched = end_ - begin_;
    if (!refill()) {
      if (begin_ == end_) return false;
      line = {buffer_.data() + begin_, end_ - begin_};
      line_begin_ = begin_;
      begin_ = end_;
      break;
    }
  }
  ++line_number_;
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (std::memchr(line.data(), 0, line.size())) fail_input("a NUL byte within the text", where(), "the file is damaged or no text: fetch or write it again");
  if (const size_t good = valid_utf8(line); good < line.size()) {
    const size_t begin = line.find_last_of(separator_, good) + 1;  // of the field: 0 where there is no separator before it
    fail_input(fmt::format("{} is not UTF-8", quoted(line.substr(begin, line.find(separator_, good) - begin))), where(),
               "save the file as UTF-8, if it is Latin-1 by: iconv -f latin1 -t utf-8");
  }
  return true;
}

void LineReader::unread() {
  begin_ = line_begin_;
  --line_number_;
}

void LineReader::begin_table() {
  std::string_view line;
  std::vector<std::string> marked;
  bool more = false;
  while ((more = raw_line(line)) && line.starts_with('#')) marked.emplace_back(line);
  const auto separated = [&](std::string_view text) { return text.find(separator_) != std::string_view::npos; };
  const std::string_view version = marked.size() == 1 ? std::string_view(marked.front()).substr(0, marked.front().find_first_of("\t ,")) : "";
  if (version == "#1.3")
    fail_input("a GCT file of version 1.3", quoted(path_, 400), "version 1.2 is read, which has no rows that describe samples: give these with --obs");
  // A sentence with commas in it is no row of names: it begins with a space, and has another number of fields than the line that follows.
  const auto is_sentence = [&](std::string_view text) {
    return text.starts_with("# ") && more && std::count(text.begin(), text.end(), separator_) != std::count(line.begin(), line.end(), separator_);
  };
  if (version == "#1.2") {  // GCT: a line of its sizes follows
    more = more && raw_line(line);
  } else if (!marked.empty() && separated(marked.back()) && std::count_if(marked.begin(), marked.end(), separated) == 1 && !is_sentence(marked.back())) {
    // The only one with fields names the columns: "#chrom". Where all have fields (cBioPortal), all are comments.
    if (more) unread();
    head_ = std::move(marked.back());
    marked.pop_back();
    has_head_ = true;
  }
  if (!marked.empty())
    log::info("{}: {} before the table passed over", quoted(path_, 400), marked.size() == 1 ? "a line" : fmt::format("{} lines", marked.size()));
  if (!has_head_) {
    if (!more) return;
    if (line.empty()) return unread();  // next() says that it must not be there
    head_ = line;
    has_head_ = true;
  }
  if (!raw_line(line)) {
    if (head_.find('\r') != std::string::npos)
      fail_input("lines end in carriage returns alone", quoted(path_, 400), "write them with line feeds: tr '\\r' '\\n'");
    return;
  }
  for (const char candidate : {'\t', ';', ',', ' '}) {
    if (separated(head_)) break;
    if (head_.find(candidate) == std::string::npos || line.find(candidate) == std::string_view::npos) continue;
    separator_ = candidate;
    log::info("{}: separated by {}", quoted(path_, 400), candidate == '\t' ? "tabs" : candidate == ';' ? "semicolons" : candidate == ',' ? "commas" : "spaces");
  }
  unread();
}

bool LineReader::next(std::string_view& line) {
  if (has_head_) {
    line = head_;
    has_head_ = false;
  } else if (!raw_line(line)) {
    return false;
  }
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
  } while (open_quote(line, separator_, true));  // of the last line alone: a quote that is never closed goes on for many
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

void fail_trailing_separator(const LineReader& reader) {
  fail_input("the row ends with a separator, and so has one cell more than the first row names", reader.where(),
             "take the separator away from the ends of the rows, or write missing values as NA");
}

std::vector<std::string> split_fields(const LineReader& reader, std::string_view line) {
  std::vector<std::string> out;
  FieldSplitter fields(line, reader.separator());
  for (std::string_view field; fields.next(field);) out.emplace_back(field);
  if (fields.malformed()) fail_input("text after a closing quote", reader.where(), "double a quote that is part of the text");
  return out;
}

}  // namespace panvae::data
