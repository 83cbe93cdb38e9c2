// What stands in for cuBLASLt where its header was not there when this was compiled.
#include "base/error.h"
#include "kernels/cuda/cublaslt.h"

namespace panvae::cublaslt {

struct Products::State {};

Api open(std::span<const std::string>) {
  return {nullptr, "", "cublasLt.h was not found when this program was compiled"};
}
const Api& api() {
  static const Api the_api = open({});
  return the_api;
}

Products::Products(const Api& api) {
  fail_machine("no cuBLASLt", api.why_absent);
}
Products::~Products() = default;

template <class T>
bool Products::matmul(Stream&, In<T>, bool, In<T>, bool, InOut<T>, int64_t, int64_t, int64_t, const Epilogue<T>&) {
  return false;
}
template bool Products::matmul<float>(Stream&, In<float>, bool, In<float>, bool, InOut<float>, int64_t, int64_t, int64_t, const Epilogue<float>&);
template bool Products::matmul<double>(Stream&, In<double>, bool, In<double>, bool, InOut<double>, int64_t, int64_t, int64_t, const Epilogue<double>&);

}  // namespace panvae::cublaslt
