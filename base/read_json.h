// JSON from files, which may hold anything.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/json.h"

namespace panvae {

// nlohmann's library copies and writes a value by a call for each level of it: text that nests deeper would end in an overflow of the stack.
inline constexpr int kJsonDepth = 512;
// Whether arrays and objects lie deeper within each other than that.
bool nests_too_deeply(std::string_view json);

// The value that the text holds; discarded (is_discarded()) where it is no JSON, or nests deeper than kJsonDepth. J: Json, or
// nlohmann::json where an object may have so many keys that finding one should not take a look at each.
template <class J = Json>
J parse_json(std::string_view text) {
  if (nests_too_deeply(text)) return J(J::value_t::discarded);
  return J::parse(text, nullptr, /*allow_exceptions=*/false);
}

// What stands under `key` of an object; nothing where nothing does, or a value of another kind than T (a text, a number, a whole one).
template <class T>
std::optional<T> member(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key)) return {};
  const Json& value = json[key];
  const bool fits = std::is_same_v<T, std::string>                   ? value.is_string()
                    : std::is_floating_point_v<T>                    ? value.is_number()
                    : std::is_integral_v<T> && std::is_unsigned_v<T> ? value.is_number_unsigned()
                                                                     : value.is_number_integer();
  if (!fits) return {};
  return value.get<T>();
}

}  // namespace panvae
