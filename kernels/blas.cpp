#include "kernels/blas.h"

// OpenBLAS has this; another BLAS leaves it null.
extern "C" char* openblas_get_config() __attribute__((weak));

namespace panvae {

std::string blas_description() {
  return openblas_get_config ? openblas_get_config() : "BLAS";
}

}  // namespace panvae
