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
bool Products::matmul(Stream&, In<T>, bool, int64_t, In<T>, bool, InOut<T>, int64_t, int64_t, int64_t, const Epilogue<T>&, const ProviderAlgorithm&) {
  return false;
}
template <class T>
ProviderChoice Products::measure(Stream&, bool, int64_t, bool, int64_t, int64_t, int64_t, const Epilogue<T>&) {
  return {};
}

#define PV_PRODUCTS(T)                                                                                                                   \
  template bool Products::matmul<T>(Stream&, In<T>, bool, int64_t, In<T>, bool, InOut<T>, int64_t, int64_t, int64_t, const Epilogue<T>&, \
                                    const ProviderAlgorithm&);                                                                           \
  template ProviderChoice Products::measure<T>(Stream&, bool, int64_t, bool, int64_t, int64_t, int64_t, const Epilogue<T>&);
PV_PRODUCTS(float)
PV_PRODUCTS(double)

}  // namespace panvae::cublaslt
