#include "tools/version.h"

#include <fmt/format.h>

#include "base/blas.h"
#include "git_hash.h"
#include "kernels/device.h"

namespace panvae::tools {

std::string version_short() {
  return fmt::format("{} (commit {})", PANVAE_VERSION, PANVAE_GIT_HASH);
}

std::string version_text() {
  const std::string cuda = cuda_toolkit_version();
  return fmt::format("panvae {}\n{}\n{}", version_short(), cuda.empty() ? "without CUDA" : "CUDA toolkit " + cuda, blas_description());
}

}  // namespace panvae::tools
