// What the harnesses share: files made of the fuzzer's bytes, and what a reader may do with them.
#pragma once
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "data/dataset.h"

namespace panvae::fuzz {

// The fuzzer keeps the input that led here.
#define FUZZ_EXPECT(condition, ...)                                                    \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      fmt::print(stderr, "{}:{}: {} does not hold: ", __FILE__, __LINE__, #condition); \
      fmt::print(stderr, "{}\n", ::panvae::detail::format_message(__VA_ARGS__));       \
      ::abort();                                                                       \
    }                                                                                  \
  } while (0)

// The bytes, taken from the front.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(reinterpret_cast<const char*>(data), size) {}
  uint8_t byte() {
    if (left_.empty()) return 0;
    const auto b = static_cast<uint8_t>(left_.front());
    left_.remove_prefix(1);
    return b;
  }
  std::string_view take(size_t n) {
    const std::string_view out = left_.substr(0, n);
    left_.remove_prefix(out.size());
    return out;
  }
  std::string_view rest() const { return left_; }
  bool empty() const { return left_.empty(); }

 private:
  std::string_view left_;
};

// A folder of this process, gone with it.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "panvae-fuzz-XXXXXX").string();
    FUZZ_EXPECT(::mkdtemp(name.data()), "no temporary folder");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::FILE* f = std::fopen(file(name).c_str(), "wb");
    FUZZ_EXPECT(f && std::fwrite(bytes.data(), 1, bytes.size(), f) == bytes.size() && std::fclose(f) == 0, "{} cannot be written", name);
    return file(name);
  }

 private:
  std::string path_;
};

// One member of a gzip file.
inline std::string packed(std::string_view bytes) {
  z_stream stream{};
  FUZZ_EXPECT(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "deflateInit2");
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  FUZZ_EXPECT(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Whether f() reads what it is given. It may refuse it, as a fault of the input (or of an option made of it) or for want of memory, naming
// `name` (where that is not empty); any other exception ends the fuzzer. `message`: what it said.
template <class F>
bool reads(const std::string& name, F&& f, std::string* message = nullptr) {
  try {
    f();
    return true;
  } catch (const Error& e) {
    FUZZ_EXPECT(e.code() == ErrorCode::input || e.code() == ErrorCode::usage || e.code() == ErrorCode::machine, "{}", e.what());
    FUZZ_EXPECT(name.empty() || std::string_view(e.what()).find(name) != std::string_view::npos, "no {} in: {}", name, e.what());
    if (message) *message = e.what();
    return false;
  }
}

inline bool same(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}
inline void expect_same(const data::Table& a, const data::Table& b) {
  FUZZ_EXPECT(a.key_name == b.key_name && a.keys == b.keys, "keys differ");
  FUZZ_EXPECT(a.columns.size() == b.columns.size(), "{} and {} columns", a.columns.size(), b.columns.size());
  for (size_t c = 0; c < a.columns.size(); ++c) {
    const data::Column &x = a.columns[c], &y = b.columns[c];
    FUZZ_EXPECT(x.name == y.name && x.numeric == y.numeric && x.code == y.code && x.levels == y.levels && x.number.size() == y.number.size(),
                "column {} differs", quoted(x.name));
    for (size_t i = 0; i < x.number.size(); ++i) FUZZ_EXPECT(same(x.number[i], y.number[i]), "column {}: {} and {}", quoted(x.name), x.number[i], y.number[i]);
  }
}
template <class A, class B>
void expect_same_values(const A& a, const B& b) {
  using T = typename B::Scalar;
  FUZZ_EXPECT(a.rows() == b.rows() && a.cols() == b.cols(), "{} x {} and {} x {}", a.rows(), a.cols(), b.rows(), b.cols());
  for (int64_t i = 0; i < a.size(); ++i) FUZZ_EXPECT(same(static_cast<T>(a.data()[i]), b.data()[i]), "value {}: {} and {}", i, a.data()[i], b.data()[i]);
}

}  // namespace panvae::fuzz
