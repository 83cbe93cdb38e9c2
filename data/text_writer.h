// Tab- or comma-separated text, plain or gzipped, whole or not at all.
#pragma once
#include <zlib.h>

#include <string>
#include <string_view>

#include "base/file.h"

namespace panvae::data {

// The separator and compression follow from the name: .csv means commas, .gz gzip. Fields that hold the separator, a
// quote or a line break are quoted, and the first of a row that begins with '#', which readers take for a comment.
class TextWriter {
 public:
  explicit TextWriter(const std::string& path);
  ~TextWriter();
  TextWriter(const TextWriter&) = delete;
  TextWriter& operator=(const TextWriter&) = delete;

  // lone: the only one of its row. It is quoted too where it holds what readers would guess to be a separator.
  void field(std::string_view text, bool lone = false);
  template <class T>
  void number(T value);  // shortest digits that read back the same T; NA for NaN
  void end_row();
  void commit();

 private:
  void separate();
  void flush(int mode);

  AtomicFile file_;
  char separator_;
  bool gzip_, row_started_ = false;
  z_stream stream_{};
  std::string buffer_, packed_;
};

}  // namespace panvae::data
