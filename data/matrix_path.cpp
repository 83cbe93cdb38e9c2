#include "data/matrix_path.h"

#include <sys/stat.h>

#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/foreign.h"

namespace panvae::data {

namespace {

bool is_folder(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

MatrixPath parse_matrix_path(const std::string& path) {
  using Format = MatrixPath::Format;
  if (path.empty()) fail_input("no file named", {}, "name an input file");
  if (const size_t at = path.rfind(".h5ad:"); at != std::string::npos && !exists(path)) {
    std::string inner = path.substr(at + 6);
    while (!inner.empty() && inner.front() == '/') inner.erase(0, 1);
    const bool known = inner == "X" || inner == "raw/X" || inner.rfind("layers/", 0) == 0 || inner.rfind("obsm/", 0) == 0;
    if (!known || inner.back() == '/')
      fail_input(fmt::format("{} names no matrix", quoted(inner)), quoted(path, 400), "use X, raw/X, layers/NAME or obsm/NAME");
    return {Format::h5ad, path.substr(0, at + 5), inner};
  }
  std::string_view name = path;
  if (is_folder(path)) {
    const std::string folder = path.back() == '/' ? path : path + "/";
    for (const char* file : {"matrix.mtx.gz", "matrix.mtx"})
      if (exists(folder + file)) return {Format::mtx, folder + file, ""};
    fail_input("a folder without matrix.mtx", quoted(path, 400), "name a matrix file, or a folder as 10x writes it");
  }
  if (name.ends_with(".h5ad")) return {Format::h5ad, path, "X"};
  if (name.ends_with(".gz")) name.remove_suffix(3);
  if (name.ends_with(".mtx")) return {Format::mtx, path, ""};
  for (const char* ending : {".tsv", ".csv", ".txt", ".gct"})
    if (name.ends_with(ending)) return {Format::text, path, ""};
  if (const Foreign foreign = recognise_foreign_file(path); !foreign.what.empty() && !path.ends_with(".gz"))
    fail_input(std::string(foreign.what), quoted(path, 400), std::string(foreign.hint));
  fail_input("the ending of the name is not known", quoted(path, 400), "matrices are .h5ad, .tsv, .csv, .txt, .gct or .mtx (the last five also .gz)");
}

}  // namespace panvae::data
