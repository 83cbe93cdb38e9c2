// Safetensors files with a head of the fuzzer's text: what is read lies within the file, and written it reads back the same.
#include "base/safetensors.h"

#include <cstring>

#include "tests/fuzz/fuzz.h"

using namespace panvae;

namespace {

void expect_whole(const SafetensorsReader& reader) {
  for (const auto& [name, t] : reader.tensors()) {
    int64_t count = 1;
    for (const int64_t d : t.shape) {
      FUZZ_EXPECT(d >= 0, "{} has a size of {}", quoted(name), d);
      count *= d;
    }
    FUZZ_EXPECT(t.bytes == count * safetensors_item_bytes(t.dtype), "{} has {} bytes", quoted(name), t.bytes);
    const std::string copy(static_cast<const char*>(t.data), static_cast<size_t>(t.bytes));  // every byte is there
    FUZZ_EXPECT(reader.doubles(name).size() == static_cast<size_t>(count), "{} is not read whole", quoted(name));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const fuzz::Folder folder;
  fuzz::Input in(bytes, size);
  // Mostly the length that the head has.
  const uint8_t wrong = in.byte();
  const size_t payload = in.byte() % 65u;
  const std::string_view rest = in.rest(), head = rest.substr(0, rest.size() - std::min(payload, rest.size()));
  uint64_t length = head.size();
  if (wrong > 250) std::memcpy(&length, bytes, std::min(size, sizeof length));
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  file += rest;
  if (wrong == 250) file.resize(payload);
  const std::string path = folder.write("weights.safetensors", file);
  fuzz::reads("weights.safetensors", [&] {
    const SafetensorsReader reader(path);
    expect_whole(reader);
    SafetensorsWriter writer;
    for (const auto& [name, t] : reader.tensors()) writer.add(name, t.dtype, t.shape, t.data);
    for (const auto& [key, value] : reader.metadata()) writer.metadata(key, value);
    writer.write(folder.file("again"));
    const SafetensorsReader again(folder.file("again"));
    FUZZ_EXPECT(again.metadata() == reader.metadata(), "metadata differ");
    FUZZ_EXPECT(again.tensors().size() == reader.tensors().size(), "{} and {} tensors", again.tensors().size(), reader.tensors().size());
    for (const auto& [name, t] : reader.tensors()) {
      const TensorInfo& other = again.at(name);
      FUZZ_EXPECT(
          other.dtype == t.dtype && other.shape == t.shape && other.bytes == t.bytes && std::memcmp(other.data, t.data, static_cast<size_t>(t.bytes)) == 0,
          "{} differs", quoted(name));
    }
  });
  return 0;
}
