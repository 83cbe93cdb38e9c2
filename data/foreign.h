// Files that are given for tables or .h5ad files and are something else.
#pragma once
#include <string>
#include <string_view>

namespace panvae::data {

struct Foreign {
  std::string_view what, hint;  // for an error message; empty where the file is nothing known
};
// What a file is by its first bytes (512 are enough): archives, compressed files, workbooks, UTF-16, HDF5, R data, web pages.
Foreign recognise_foreign(std::string_view begin);
// The same of a file; nothing known where it cannot be read.
Foreign recognise_foreign_file(const std::string& path);

}  // namespace panvae::data
