#pragma once
#include <string>

namespace panvae {

// The BLAS that products on cpu go to, as it names itself: "OpenBLAS 0.3.21 ... SkylakeX", or "BLAS" where it does not say.
std::string blas_description();

}  // namespace panvae
