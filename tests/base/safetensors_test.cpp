#include "base/safetensors.h"

#include <cstring>
#include <limits>
#include <tuple>

#include "base/file.h"
#include "base/float_types.h"
#include "helpers.h"

namespace panvae::test {
namespace {

TEST(safetensors, round_trip_of_all_types) {
  Folder folder;
  const std::string path = folder.file("t");
  const std::vector<double> f64{1.5, -2, 1e300};
  const std::vector<float> f32{0.1f, -3, std::numeric_limits<float>::infinity(), 4};
  const std::vector<bf16> half{to_bf16(1.0f), to_bf16(-0.5f)};
  const std::vector<int64_t> i64{-5, int64_t{1} << 40};
  const std::vector<uint8_t> bytes{0, 255};
  SafetensorsWriter w;
  w.add("f32", "F32", {2, 2}, f32.data());
  w.add("f64", f64);
  w.add("half", "BF16", {2, 1}, half.data());
  w.add("ints", "I64", {2}, i64.data());
  w.add("bytes", "U8", {2}, bytes.data());
  w.add("empty", "F32", {0, 7}, nullptr);
  w.add("scalar", "F64", {}, f64.data());
  w.metadata("kind", "test");
  w.write(path);
  const SafetensorsReader r(path);
  EXPECT_EQ(r.tensors().size(), 7u);
  EXPECT_EQ(r.metadata().at("kind"), "test");
  EXPECT_EQ(r.doubles("f64"), f64);
  EXPECT_EQ(r.at("f32").shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(std::memcmp(r.at("f32").data, f32.data(), 16), 0);
  EXPECT_EQ(r.doubles("half"), (std::vector<double>{1, -0.5}));
  EXPECT_EQ(r.doubles("ints"), (std::vector<double>{-5, 1099511627776.0}));
  EXPECT_EQ(r.doubles("bytes"), (std::vector<double>{0, 255}));
  EXPECT_EQ(r.at("empty").shape, (std::vector<int64_t>{0, 7}));
  EXPECT_EQ(r.doubles("empty").size(), 0u);
  EXPECT_EQ(r.doubles("scalar"), (std::vector<double>{1.5}));
  EXPECT_TRUE(r.contains("f32"));
  EXPECT_EQ(error_of([&] { r.at("none"); }).code(), ErrorCode::input);
  EXPECT_EQ(folder.files(), 1u);
}

TEST(safetensors, numbers_of_all_types_are_read_as_doubles) {
  Folder folder;
  const std::vector<f16> half{to_f16(1.5f), to_f16(-0.25f)};
  const std::vector<float> single{1.5f, -0.25f};
  const std::vector<int8_t> i8{-128, 127};
  const std::vector<int16_t> i16{-32768, 32767};
  const std::vector<uint16_t> u16{0, 65535};
  const std::vector<int32_t> i32{-2147483647 - 1, 2147483647};
  const std::vector<uint32_t> u32{0, 4294967295u};
  const std::vector<uint64_t> u64{0, uint64_t{1} << 63};
  const std::vector<uint8_t> flags{0, 1};
  const std::vector<std::tuple<const char*, const void*, std::vector<double>>> all = {
      {"F16", half.data(), {1.5, -0.25}},     {"F32", single.data(), {1.5, -0.25}}, {"I8", i8.data(), {-128, 127}},
      {"I16", i16.data(), {-32768, 32767}},   {"U16", u16.data(), {0, 65535}},      {"I32", i32.data(), {-2147483648.0, 2147483647}},
      {"U32", u32.data(), {0, 4294967295.0}}, {"U64", u64.data(), {0, 0x1p63}},     {"BOOL", flags.data(), {0, 1}},
  };
  SafetensorsWriter w;
  for (const auto& [type, data, values] : all) w.add(type, type, {2}, data);
  w.write(folder.file("t"));
  const SafetensorsReader r(folder.file("t"));
  for (const auto& [type, data, values] : all) EXPECT_EQ(r.doubles(type), values) << type;
}

TEST(safetensors, data_begin_at_a_multiple_of_64_bytes_whatever_the_order_of_adding) {
  Folder folder;
  const double x = 1, y = 2;
  for (int order : {0, 1}) {
    SafetensorsWriter w;
    w.add(order ? "a" : "b", "F64", {1}, order ? &x : &y);
    w.add(order ? "b" : "a", "F64", {1}, order ? &y : &x);
    w.write(folder.file(std::to_string(order)));
  }
  const std::string bytes = read_file(folder.file("0"));
  EXPECT_EQ(bytes, read_file(folder.file("1")));
  uint64_t n;
  std::memcpy(&n, bytes.data(), 8);
  EXPECT_EQ((n + 8) % 64, 0u);
}

TEST(safetensors, names_that_are_no_utf8_do_not_end_in_an_exception) {
  Folder folder;
  const std::vector<double> x{1};
  SafetensorsWriter w;
  w.metadata("note", "broken \xFF byte");
  w.add("x", x);
  w.write(folder.file("t"));
  EXPECT_CONTAINS(SafetensorsReader(folder.file("t")).metadata().at("note"), "broken");
}

TEST(safetensors, refuses_to_write_unknown_types_and_names_twice) {
  const std::vector<double> none;
  SafetensorsWriter w;
  w.add("x", none);
  EXPECT_EQ(error_of([&] { w.add("x", none); }).code(), ErrorCode::usage);
  EXPECT_EQ(error_of([&] { w.add("y", "F7", {1}, nullptr); }).code(), ErrorCode::usage);
}

std::string file_of(const std::string& head, size_t payload) {
  const uint64_t n = head.size();
  std::string s(8, '\0');
  std::memcpy(s.data(), &n, 8);
  return s + head + std::string(payload, '\0');
}

TEST(safetensors, every_kind_of_damage_is_an_error_of_input_that_names_the_file) {
  const std::string good = R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  struct Damage {
    const char* what;
    std::string bytes, message;
  };
  const std::string huge = file_of(good, 8);
  std::string wild = huge;
  std::memset(wild.data(), 0xFF, 8);
  const Damage damages[] = {
      {"empty", "", "shorter than its head"},
      {"seven bytes", "1234567", "shorter than its head"},
      {"head cut", huge.substr(0, 20), "head is longer"},
      {"head length absurd", wild, "head is longer"},
      {"data cut", huge.substr(0, huge.size() - 1), "'x'"},
      {"no JSON", file_of("hello", 8), "no JSON object"},
      {"a list", file_of("[1,2]", 8), "no JSON object"},
      {"nested deeply", file_of("{\"x\":" + std::string(100000, '[') + std::string(100000, ']') + "}", 8), "no JSON object"},
      {"JSON cut", file_of(good.substr(0, 30), 8), "no JSON object"},
      {"not an object", file_of(R"({"x":3})", 8), "lacks dtype"},
      {"no dtype", file_of(R"({"x":{"shape":[2],"data_offsets":[0,8]}})", 8), "lacks dtype"},
      {"no shape", file_of(R"({"x":{"dtype":"F32","data_offsets":[0,8]}})", 8), "lacks dtype"},
      {"one offset", file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8), "lacks dtype"},
      {"unknown type", file_of(R"({"x":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", 8), "unknown type 'F33'"},
      {"negative size", file_of(R"({"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8), "no natural number"},
      {"size is text", file_of(R"({"x":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})", 8), "no natural number"},
      {"overflowing shape", file_of(R"({"x":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}})", 8), "larger than the file"},
      {"size beyond int64 after a size of 0", file_of(R"({"x":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}})", 0),
       "larger than the file"},
      {"offsets reversed", file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8), "do not fit"},
      {"offsets beyond the end", file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 8), "do not fit"},
      {"offsets negative", file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8), "bad data_offsets"},
      {"shape and offsets disagree", file_of(R"({"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 12), "do not fit its shape"},
      {"overlap", file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12), "overlap"},
      {"hole", file_of(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})", 12),
       "belong to no tensor"},
      {"hole at the begin", file_of(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8), "belong to no tensor"},
      {"bytes behind the end", file_of(good, 9), "belong to no tensor"},
      {"metadata a list", file_of(R"({"__metadata__":[]})", 8), "__metadata__"},
      {"metadata no text", file_of(R"({"__metadata__":{"a":1}})", 8), "no text"},
  };
  Folder folder;
  for (const Damage& d : damages) {
    SCOPED_TRACE(d.what);
    write_file(folder.file("t"), d.bytes);
    const Error e = error_of([&] { SafetensorsReader r(folder.file("t")); });
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_CONTAINS(e.message(), d.message);
    EXPECT_CONTAINS(e.where(), "/t");
  }
  write_file(folder.file("t"), huge);
  EXPECT_NO_THROW(SafetensorsReader r(folder.file("t")));
  EXPECT_EQ(error_of([&] { SafetensorsReader r(folder.file("absent")); }).code(), ErrorCode::input);
  EXPECT_EQ(error_of([&] { SafetensorsReader r(folder.path().string()); }).code(), ErrorCode::input);
}

// No byte of a file, changed in any way that this tries, may do more than raise an Error.
TEST(safetensors, survives_flipped_bytes) {
  Folder folder;
  const std::vector<double> x{1, 2, 3}, y{4};
  SafetensorsWriter w;
  w.add("x", x);
  w.add("y", y);
  w.metadata("k", "v");
  w.write(folder.file("t"));
  const std::string good = read_file(folder.file("t"));
  int refused = 0;
  for (size_t i = 0; i < good.size(); ++i)
    for (char flip : {char(0x01), char(0x80), char(0xFF)}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      std::string file = folder.file("b");
      write_file(file, bad);
      try {
        const SafetensorsReader r(file);
        for (const auto& [name, t] : r.tensors())
          if (t.dtype == "F64") r.doubles(name);
      } catch (const Error&) {
        ++refused;
      }
    }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace panvae::test
