#include "data/foreign.h"

#include <fstream>

namespace panvae::data {

Foreign recognise_foreign(std::string_view begin) {
  using namespace std::string_view_literals;
  struct Mark {
    std::string_view bytes;
    Foreign is;
  };
  static constexpr Mark kMarks[] = {
      {"PK\x03\x04"sv, {"a ZIP archive or an Excel workbook, not a table", "unpack it, or save the sheet as tab-separated text or as CSV UTF-8"}},
      {"\xD0\xCF\x11\xE0"sv, {"an Excel workbook, not a table", "save the sheet as tab-separated text or as CSV UTF-8"}},
      {"\x1F\x8B"sv, {"packed with gzip", "unpack it with gunzip"}},
      {"BZh"sv, {"packed with bzip2, which is not read", "unpack it with bunzip2"}},
      {"\xFD"
       "7zXZ\0"sv,
       {"packed with xz, which is not read", "unpack it with unxz"}},
      {"\x28\xB5\x2F\xFD"sv, {"packed with zstd, which is not read", "unpack it with unzstd"}},
      {"\xFF\xFE"sv, {"text in UTF-16, as Excel's 'Unicode text'", "write it as UTF-8: iconv -f utf-16 -t utf-8"}},
      {"\xFE\xFF"sv, {"text in UTF-16, as Excel's 'Unicode text'", "write it as UTF-8: iconv -f utf-16 -t utf-8"}},
      {"\x89HDF\r\n\x1A\n"sv, {"an HDF5 file", "name it .h5ad if AnnData wrote it; 10x .h5, loom and MuData become .h5ad in scanpy or muon"}},
      {"X\n\0\0\0"sv, {"R data (.rds)", "write the matrix as text in R: write.csv()"}},
      {"RDX2\n"sv, {"R data (.RData)", "write the matrix as text in R: write.csv()"}},
      {"RDX3\n"sv, {"R data (.RData)", "write the matrix as text in R: write.csv()"}},
      {"version https://git-lfs"sv, {"a pointer of Git LFS, not the file itself", "fetch the file: git lfs pull"}},
      {"<!"sv, {"a web page, not a table", "open it in a browser: the download may have failed or need a login"}},
      {"<html"sv, {"a web page, not a table", "open it in a browser: the download may have failed or need a login"}},
      {"<?xml"sv, {"XML, not a table", "open it in a browser: the download may have failed or need a login"}},
  };
  for (const Mark& mark : kMarks)
    if (begin.substr(0, mark.bytes.size()) == mark.bytes) return mark.is;
  if (begin.size() >= 262 && begin.substr(257, 5) == "ustar") return {"a tar archive, not a table", "unpack it with tar -xf"};
  return {};
}

Foreign recognise_foreign_file(const std::string& path) {
  std::string begin(512, '\0');
  std::ifstream(path, std::ios::binary).read(begin.data(), static_cast<std::streamsize>(begin.size()));
  return recognise_foreign(begin);
}

}  // namespace panvae::data
