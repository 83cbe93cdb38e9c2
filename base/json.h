// JSON of the project: nlohmann's library with keys in the order they were set, so that equal results are equal bytes.
#pragma once
#include <nlohmann/json.hpp>

namespace panvae {
using Json = nlohmann::ordered_json;
}
