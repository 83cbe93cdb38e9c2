#include "data/text_writer.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "data/text_reader.h"

namespace panvae::data {

TextWriter::TextWriter(const std::string& path)
    : file_(path), separator_(separator_of(path)), gzip_(path.size() > 3 && path.compare(path.size() - 3, 3, ".gz") == 0) {
  // No name and no time in the gzip head (zlib's default): equal content is equal bytes.
  if (gzip_ && deflateInit2(&stream_, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) fail_machine("cannot start zlib", quoted(path, 400));
  buffer_.reserve((1u << 20) + 4096);
}

TextWriter::~TextWriter() {
  if (gzip_) deflateEnd(&stream_);
}

void TextWriter::separate() {
  if (row_started_) buffer_ += separator_;
  row_started_ = true;
}

void TextWriter::field(std::string_view text, bool lone) {
  const bool comment = !row_started_ && text.starts_with('#');
  separate();
  const char special[] = {separator_, '"', '\n', '\r', 0};
  if (!comment && text.find_first_of(special) == std::string_view::npos && !(lone && text.find_first_of("\t;, ") != std::string_view::npos)) {
    buffer_.append(text);
    return;
  }
  buffer_ += '"';
  for (char c : text) {
    if (c == '"') buffer_ += '"';
    buffer_ += c;
  }
  buffer_ += '"';
}

template <class T>
void TextWriter::number(T value) {
  separate();
  if (std::isnan(value)) {
    buffer_ += "NA";
    return;
  }
  char digits[64];
  buffer_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}
template void TextWriter::number(float);
template void TextWriter::number(double);

void TextWriter::end_row() {
  buffer_ += '\n';
  row_started_ = false;
  if (buffer_.size() >= (1u << 20)) flush(Z_NO_FLUSH);
}

void TextWriter::flush(int mode) {
  if (!gzip_) {
    file_.write(buffer_);
  } else {
    packed_.resize(1u << 18);
    stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
    stream_.avail_in = static_cast<uInt>(buffer_.size());
    int code = Z_OK;
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(packed_.data());
      stream_.avail_out = static_cast<uInt>(packed_.size());
      code = deflate(&stream_, mode);
      PV_ASSERT(code != Z_STREAM_ERROR);
      file_.write(packed_.data(), packed_.size() - stream_.avail_out);
    } while (stream_.avail_out == 0 || (mode == Z_FINISH && code != Z_STREAM_END));
  }
  buffer_.clear();
}

void TextWriter::commit() {
  flush(Z_FINISH);
  file_.commit();
}

}  // namespace panvae::data
