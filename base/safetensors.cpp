#include "base/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/float_types.h"
#include "base/read_json.h"

namespace panvae {

int64_t safetensors_item_bytes(const std::string& dtype) {
  static const std::map<std::string, int64_t> sizes = {{"F64", 8}, {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4}, {"U32", 4}, {"BF16", 2},
                                                       {"F16", 2}, {"I16", 2}, {"U16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};
  auto it = sizes.find(dtype);
  return it == sizes.end() ? 0 : it->second;
}

namespace {
constexpr uint64_t kMaxHeader = 100u << 20;

[[noreturn]] void malformed(const std::string& path, const std::string& what) {
  fail_input("not a valid safetensors file: " + what, quoted(path, 400), "it is truncated or was not written by panvae");
}
}  // namespace

SafetensorsReader::SafetensorsReader(const std::string& path) : path_(path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_input(fmt::format("cannot read: {}", std::strerror(errno)), quoted(path, 400), "check the name and its permissions");
  struct stat st {};
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 8) {
    ::close(fd);
    malformed(path, "shorter than its head");
  }
  size_ = static_cast<size_t>(st.st_size);
  map_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (map_ == MAP_FAILED) {
    map_ = nullptr;
    fail_machine(fmt::format("cannot map: {}", std::strerror(errno)), quoted(path, 400));
  }
  // The destructor does not run for a constructor that throws, so the map is released here.
  try {
    const char* bytes = static_cast<const char*>(map_);
    uint64_t n = 0;
    std::memcpy(&n, bytes, 8);
    if (n > kMaxHeader || n > size_ - 8) malformed(path, "its head is longer than the file");
    const uint64_t payload = size_ - 8 - n;
    const auto head = parse_json<nlohmann::json>({bytes + 8, n});
    if (!head.is_object()) malformed(path, "its head is no JSON object");
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    for (const auto& [name, entry] : head.items()) {
      if (name == "__metadata__") {
        if (!entry.is_object()) malformed(path, "__metadata__ is no object");
        for (const auto& [k, v] : entry.items()) {
          if (!v.is_string()) malformed(path, "metadata " + quoted(k) + " is no text");
          metadata_[k] = v.get<std::string>();
        }
        continue;
      }
      TensorInfo t;
      const std::string label = "tensor " + quoted(name);
      if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape") || !entry["shape"].is_array() ||
          !entry.contains("data_offsets") || !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2)
        malformed(path, label + " lacks dtype, shape or data_offsets");
      t.dtype = entry["dtype"].get<std::string>();
      const int64_t item = safetensors_item_bytes(t.dtype);
      if (item == 0) malformed(path, label + " has the unknown type " + quoted(t.dtype));
      uint64_t count = 1;
      for (const auto& d : entry["shape"]) {
        if (!d.is_number_unsigned()) malformed(path, label + " has a size that is no natural number");
        const uint64_t size = d.get<uint64_t>();
        if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) || (size != 0 && count > payload / size))
          malformed(path, label + " is larger than the file");
        count *= size;
        t.shape.push_back(static_cast<int64_t>(size));
      }
      for (const auto& o : entry["data_offsets"])
        if (!o.is_number_unsigned()) malformed(path, label + " has bad data_offsets");
      const uint64_t begin = entry["data_offsets"][0].get<uint64_t>(), end = entry["data_offsets"][1].get<uint64_t>();
      if (begin > end || end > payload || end - begin != count * static_cast<uint64_t>(item))
        malformed(path, label + " has data_offsets that do not fit its shape");
      t.bytes = static_cast<int64_t>(end - begin);
      t.data = bytes + 8 + n + begin;
      if (end > begin) ranges.emplace_back(begin, end);
      tensors_.emplace(name, std::move(t));
    }
    std::sort(ranges.begin(), ranges.end());
    uint64_t covered = 0;
    for (const auto& [begin, end] : ranges) {
      if (begin < covered) malformed(path, "two tensors overlap");
      if (begin > covered) malformed(path, fmt::format("bytes {} to {} of its data belong to no tensor", covered, begin));
      covered = end;
    }
    if (covered != payload) malformed(path, fmt::format("bytes {} to {} of its data belong to no tensor", covered, payload));
  } catch (...) {
    ::munmap(map_, size_);
    throw;
  }
}

SafetensorsReader::~SafetensorsReader() {
  if (map_) ::munmap(map_, size_);
}

const TensorInfo& SafetensorsReader::at(const std::string& name) const {
  auto it = tensors_.find(name);
  if (it == tensors_.end()) fail_input("tensor " + quoted(name) + " is missing", quoted(path_, 400), "the file was written for something else");
  return it->second;
}

std::vector<double> SafetensorsReader::doubles(const std::string& name) const {
  const TensorInfo& t = at(name);
  const int64_t item = safetensors_item_bytes(t.dtype);
  std::vector<double> out(static_cast<size_t>(t.bytes / item));
  const char* p = static_cast<const char*>(t.data);
  auto convert = [&]<class T>(T) {
    for (size_t i = 0; i < out.size(); ++i) {
      T v;
      std::memcpy(&v, p + i * sizeof(T), sizeof(T));
      if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>) out[i] = to_float(v);
      else out[i] = static_cast<double>(v);
    }
  };
  if (t.dtype == "F64") convert(double{});
  else if (t.dtype == "F32") convert(float{});
  else if (t.dtype == "BF16") convert(bf16{});
  else if (t.dtype == "F16") convert(f16{});
  else if (t.dtype == "I64") convert(int64_t{});
  else if (t.dtype == "U64") convert(uint64_t{});
  else if (t.dtype == "I32") convert(int32_t{});
  else if (t.dtype == "U32") convert(uint32_t{});
  else if (t.dtype == "I16") convert(int16_t{});
  else if (t.dtype == "U16") convert(uint16_t{});
  else if (t.dtype == "I8") convert(int8_t{});
  else if (t.dtype == "U8" || t.dtype == "BOOL") convert(uint8_t{});
  else fail_input("tensor " + quoted(name) + " has type " + t.dtype + ", which cannot be read as numbers here", quoted(path_, 400));
  return out;
}

void SafetensorsWriter::add(const std::string& name, const std::string& dtype, std::vector<int64_t> shape, const void* data) {
  int64_t bytes = safetensors_item_bytes(dtype);
  PV_CHECK(bytes > 0, "safetensors: unknown dtype {}", dtype);
  for (int64_t d : shape) bytes *= d;
  PV_CHECK(tensors_.emplace(name, TensorInfo{dtype, std::move(shape), data, bytes}).second, "safetensors: tensor {} added twice", quoted(name));
}

void SafetensorsWriter::write(const std::string& path) const {
  Json head = Json::object();
  if (!metadata_.empty()) head["__metadata__"] = metadata_;
  int64_t offset = 0;
  for (const auto& [name, t] : tensors_) {
    head[name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {offset, offset + t.bytes}}};
    offset += t.bytes;
  }
  // Names and metadata may hold bytes of the user's tables: what is no UTF-8 is replaced, never an exception here.
  std::string text = head.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 8 + 63) / 64 * 64 - 8, ' ');
  AtomicFile f(path);
  const uint64_t n = text.size();
  f.write(&n, 8);
  f.write(text);
  for (const auto& [name, t] : tensors_) f.write(t.data, static_cast<size_t>(t.bytes));
  f.commit();
}

}  // namespace panvae
