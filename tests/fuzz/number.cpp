// Numbers agree with strtod() wherever they are read; texts are quoted as valid UTF-8.
#include <cstdlib>

#include "base/text.h"
#include "data/table.h"
#include "tests/fuzz/fuzz.h"

using namespace panvae;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  double x = 0;
  if (data::parse_number(text, x)) {
    const std::string trimmed = text.substr(text.find_first_not_of(' '));
    char* end = nullptr;
    const double expected = std::strtod(trimmed.c_str(), &end);
    FUZZ_EXPECT(std::string_view(end).find_first_not_of(' ') == std::string_view::npos, "strtod() reads less of {}", quoted(text));
    FUZZ_EXPECT(fuzz::same(x, expected) && std::signbit(x) == std::signbit(expected), "{} is {}, to strtod() {}", quoted(text), x, expected);
    double again = 0;
    FUZZ_EXPECT(data::parse_number(shortest(x), again) && fuzz::same(x, again), "{} is not {}", shortest(x), x);
  }
  const std::string shown = quoted(text, 400);
  FUZZ_EXPECT(valid_utf8(shown) == shown.size(), "quoted() gives no UTF-8");
  for (const char c : shown) FUZZ_EXPECT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "quoted() gives a control character");
  return 0;
}
