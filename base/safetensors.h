// The safetensors file format: an 8-byte length, a JSON head {name: {dtype, shape, data_offsets}, __metadata__: {text:
// text}}, then the bytes. Reading checks everything (lengths, overlaps, holes, unknown types) and never trusts the head.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace panvae {

struct TensorInfo {
  std::string dtype;  // "F64", "F32", "BF16", "F16", "I64", "I32", "U32", "U8", ...
  std::vector<int64_t> shape;
  const void* data = nullptr;  // row-major, little endian, not necessarily aligned
  int64_t bytes = 0;
};

// Maps the file; the pointers live as long as the object.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::string& path);  // ErrorCode::input: not readable, truncated, malformed
  ~SafetensorsReader();
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;

  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }
  // ErrorCode::input if the name is missing.
  const TensorInfo& at(const std::string& name) const;
  // A copy as doubles, whatever the stored floating or integer type.
  std::vector<double> doubles(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  void* map_ = nullptr;
  size_t size_ = 0;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Collects references, then writes once, whole or not at all. Names are written in sorted order, so equal content is
// equal bytes; the data starts at a multiple of 64 bytes.
class SafetensorsWriter {
 public:
  // `data` must stay valid until write(); `dtype` as in TensorInfo.
  void add(const std::string& name, const std::string& dtype, std::vector<int64_t> shape, const void* data);
  void add(const std::string& name, const std::vector<double>& values) { add(name, "F64", {static_cast<int64_t>(values.size())}, values.data()); }
  void add(const std::string& name, std::vector<double>&& values) = delete;  // it would be gone at write()
  void metadata(const std::string& key, std::string value) { metadata_[key] = std::move(value); }
  void write(const std::string& path) const;

 private:
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

int64_t safetensors_item_bytes(const std::string& dtype);  // 0 if unknown

}  // namespace panvae
