// Who may include whom: base <- kernels <- engine <- models, base <- data <- eval, tools join the two sides. CUDA stays
// in kernels; the heavy libraries of data and eval stay out of the core.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"

namespace panvae {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"base", {"base"}},
    {"kernels", {"kernels", "base"}},
    {"engine", {"engine", "kernels", "base"}},
    {"models", {"models", "engine", "base"}},
    {"data", {"data", "base"}},
    {"eval", {"eval", "data", "base"}},
    {"tools", {"tools", "base", "kernels", "engine", "models", "data", "eval"}},
};

struct Include {
  std::string file;  // as written
  bool quoted;
  int line;
};

// What a line of code includes: # include "file" or <file>; an empty name if nothing.
Include include_of(const std::string& code, int line) {
  size_t i = 0;
  auto blanks = [&] { i = std::min(code.size(), code.find_first_not_of(" \t", i)); };
  auto skip = [&](const std::string& word) {
    blanks();
    if (code.compare(i, word.size(), word) != 0) return false;
    i += word.size();
    blanks();
    return true;
  };
  if (!skip("#") || !skip("include") || i == code.size() || (code[i] != '<' && code[i] != '"')) return {"", false, line};
  const size_t end = code.find(code[i] == '<' ? '>' : '"', i + 1);
  return {code.substr(i + 1, end == std::string::npos ? end : end - i - 1), code[i] == '"', line};
}

// The #include lines of a source text; those within comments do not count.
std::vector<Include> includes_of(const std::string& text) {
  std::vector<Include> out;
  bool in_comment = false;
  int number = 0;
  size_t begin = 0;
  while (begin <= text.size()) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    std::string line = text.substr(begin, end - begin);
    ++number;
    begin = end + 1;
    std::string code;
    for (size_t i = 0; i < line.size(); ++i) {
      if (in_comment) {
        if (line.compare(i, 2, "*/") == 0) in_comment = false, ++i;
      } else if (line.compare(i, 2, "//") == 0) {
        break;
      } else if (line.compare(i, 2, "/*") == 0) {
        in_comment = true, ++i;
      } else {
        code += line[i];
      }
    }
    if (Include i = include_of(code, number); !i.file.empty()) out.push_back(std::move(i));
  }
  return out;
}

bool begins_with_any(const std::string& file, std::initializer_list<const char*> beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&](const char* b) { return file.rfind(b, 0) == 0; });
}
bool is_cuda_header(const std::string& file) {
  return begins_with_any(file, {"cuda", "cublas", "cudnn", "cusparse", "curand", "cusolver", "cufft", "nccl", "nvtx", "nvml", "nvToolsExt", "cutlass", "cub/",
                                "thrust/", "mma.h", "cooperative_groups", "vector_types.h", "device_launch"});
}
bool is_heavy_header(const std::string& file) {
  return begins_with_any(file, {"hdf5", "H5", "xgboost", "lapacke", "zlib", "bzlib", "lzma", "zstd"});
}

// What is wrong with the includes of one file; `path` is relative to the source tree: "engine/ops/vae.h".
std::vector<std::string> violations(const std::string& path, const std::string& text) {
  std::vector<std::string> out;
  const std::string room = path.substr(0, path.find('/'));
  const auto rule = kMayInclude.find(room);
  if (rule == kMayInclude.end()) return {path + ": the room " + room + " has no rule"};
  const bool core = room == "base" || room == "kernels" || room == "engine" || room == "models";
  for (const Include& i : includes_of(text)) {
    const std::string at = path + ":" + std::to_string(i.line) + ": ";
    const size_t slash = i.file.find('/');
    const std::string target = slash == std::string::npos ? "" : i.file.substr(0, slash);
    if (i.file.find("..") != std::string::npos) out.push_back(at + i.file + " names a file by a path that goes up");
    else if ((kMayInclude.count(target) || target == "tests" || target == "bench") && !rule->second.count(target))
      out.push_back(at + room + " must not include " + i.file);
    if (is_cuda_header(i.file) && room != "kernels") out.push_back(at + "CUDA header " + i.file + " outside kernels");
    if (is_heavy_header(i.file) && core) out.push_back(at + "the core includes " + i.file);
  }
  return out;
}

std::vector<std::string> of(const std::string& path, const std::string& text) {
  return violations(path, text);
}

TEST(checker, accepts_the_arrows_of_the_architecture) {
  EXPECT_TRUE(of("kernels/x.cu", "#include \"base/error.h\"\n#include <cuda_runtime.h>\n#include <vector>\n").empty());
  EXPECT_TRUE(of("engine/x.h", "#include \"kernels/kernels.h\"\n#include \"engine/tape.h\"\n").empty());
  EXPECT_TRUE(of("models/x.cpp", "#include \"models/x.h\"\n#include \"engine/layers.h\"\n#include \"base/log.h\"\n").empty());
  EXPECT_TRUE(of("eval/x.cpp", "#include \"data/dataset.h\"\n#include <xgboost/c_api.h>\n#include <lapacke.h>\n").empty());
  EXPECT_TRUE(of("tools/x.cpp", "#include \"models/x.h\"\n#include \"eval/pca.h\"\n#include \"kernels/device.h\"\n").empty());
}

TEST(checker, notices_every_planted_arrow) {
  const std::pair<const char*, const char*> planted[] = {
      {"base/x.h", "kernels/device.h"},   {"base/x.h", "data/dataset.h"},     {"kernels/x.cu", "engine/tensor.h"},      {"kernels/x.cu", "data/read.h"},
      {"engine/x.h", "models/rna_vae.h"}, {"engine/x.cpp", "data/split.h"},   {"models/x.h", "kernels/kernels.h"},      {"models/x.h", "data/dataset.h"},
      {"models/x.h", "tools/cli.h"},      {"data/x.cpp", "eval/pca.h"},       {"data/x.cpp", "engine/tensor.h"},        {"eval/x.cpp", "engine/tensor.h"},
      {"eval/x.cpp", "models/rna_vae.h"}, {"eval/x.cpp", "kernels/device.h"}, {"tools/x.cpp", "tests/cases/op_case.h"},
  };
  for (const auto& [path, target] : planted) {
    const std::string quoted_line = std::string("// a comment\n  #  include \"") + target + "\"\n", angle = std::string("#include <") + target + ">";
    ASSERT_EQ(of(path, quoted_line).size(), 1u) << path << " including " << target;
    EXPECT_NE(of(path, quoted_line)[0].find(":2: "), std::string::npos) << of(path, quoted_line)[0];
    EXPECT_EQ(of(path, angle).size(), 1u) << path << " including <" << target << ">";
  }
}

TEST(checker, notices_cuda_outside_kernels_and_heavy_libraries_in_the_core) {
  for (const char* header : {"cuda_runtime.h", "cuda.h", "cublasLt.h", "cudnn.h", "nccl.h", "cub/cub.cuh", "mma.h"})
    for (const char* path : {"base/x.h", "engine/x.h", "models/x.h", "data/x.h", "eval/x.h", "tools/x.cpp"})
      EXPECT_EQ(of(path, std::string("#include <") + header + ">\n").size(), 1u) << path << ": " << header;
  for (const char* header : {"hdf5.h", "xgboost/c_api.h", "lapacke.h", "zlib.h"})
    EXPECT_EQ(of("engine/x.h", std::string("#include <") + header + ">\n").size(), 1u) << header;
}

TEST(checker, notices_paths_that_go_up_and_rooms_without_a_rule) {
  EXPECT_EQ(of("base/x.h", "#include \"../engine/tensor.h\"").size(), 1u);
  EXPECT_EQ(of("cellar/x.h", "").size(), 1u);
}

TEST(checker, passes_over_comments) {
  EXPECT_TRUE(of("base/x.h", "// #include \"engine/tensor.h\"\n/* \n#include \"engine/tensor.h\"\n*/\n").empty());
  EXPECT_EQ(of("base/x.h", "/* a */ #include \"engine/tensor.h\" // b\n").size(), 1u);
}

TEST(layering, holds_in_the_source_tree) {
  int files = 0;
  std::set<std::string> rooms;
  for (const auto& [room, allowed] : kMayInclude) {
    const fs::path root = fs::path(PANVAE_SOURCE_DIR) / room;
    ASSERT_TRUE(fs::is_directory(root)) << root;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      const std::string extension = entry.path().extension().string();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".cuh" && extension != ".c")) continue;
      ++files;
      rooms.insert(room);
      const std::string relative = fs::relative(entry.path(), PANVAE_SOURCE_DIR).generic_string();
      for (const std::string& v : violations(relative, read_file(entry.path().string()))) ADD_FAILURE() << v;
    }
  }
  EXPECT_GE(files, 60) << "too few files were read";
  EXPECT_EQ(rooms.size(), kMayInclude.size()) << "a room without a source file";
}

// The engine does not ask whether CUDA was compiled in: absence is a linked file.
TEST(layering, no_preprocessor_question_about_cuda_above_kernels) {
  for (const char* room : {"engine", "models"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(PANVAE_SOURCE_DIR) / room)) {
      if (!entry.is_regular_file()) continue;
      const std::string text = read_file(entry.path().string());
      for (const char* word : {"__CUDACC__", "__CUDA_ARCH__", "PANVAE_WITH_CUDA", "#ifdef PANVAE_CUDA"})
        EXPECT_EQ(text.find(word), std::string::npos) << entry.path() << ": " << word;
    }
}

// A kernel that is brought to a GPU ahead of its time waits there, or it is a race that no test on a CPU can see.
TEST(layering, every_kernel_begins_with_begin_kernel) {
  int kernels = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(PANVAE_SOURCE_DIR) / "kernels")) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name == "simt.h" || name == "language.h") continue;
    const std::string text = read_file(entry.path().string());
    for (size_t at = text.find("__global__"); at != std::string::npos; at = text.find("__global__", at + 1)) {
      const size_t line = text.rfind('\n', at) + 1;
      if (text.compare(text.find_first_not_of(' ', line), 2, "//") == 0) continue;
      const size_t body = text.find('{', at);
      ASSERT_NE(body, std::string::npos) << name;
      const size_t first = text.find_first_not_of(" \n", body + 1);
      EXPECT_EQ(text.compare(first, 15, "begin_kernel();"), 0) << name << ": " << text.substr(at, body - at);
      ++kernels;
    }
  }
  EXPECT_GE(kernels, 50) << "too few kernels were read";
}

}  // namespace
}  // namespace panvae
