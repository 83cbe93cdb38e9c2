#pragma once
#include <string>

namespace panvae::tools {

// "panvae 0.1.0 (commit abc), CUDA 13.0 | without CUDA, OpenBLAS ..."; opens no heavy library.
std::string version_text();
std::string version_short();  // "0.1.0 (commit abc)": what files record as their maker

}  // namespace panvae::tools
