// Products by cuBLASLt, opened on first use. https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api
// Where its header was missing when this was compiled, kernels/cuda/cublaslt_absent.cpp is linked instead.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "kernels/kernels.h"
#include "kernels/provider.h"

namespace panvae::cublaslt {

struct Functions;  // of the library; known to cublaslt.cpp
struct Api {
  std::shared_ptr<const Functions> functions;
  std::string version_text;  // "13.1.0"
  std::string why_absent;    // empty where all functions are there
};
// Opens the first of `names` that is found.
Api open(std::span<const std::string> names);
// The library of this process: that of our own CUDA version, else another one.
const Api& api();

// The products of one stream: a handle, and for each kind of call what the library's heuristic answered. No algorithm is taken
// that might give other bits in another run.
class Products {
 public:
  // ErrorCode::machine if the library gives no handle. The stream's device must be the current one, here and below.
  explicit Products(const Api& api);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  // As k::matmul, whose arguments these are, with the distance of a's rows as they are stored. False, and nothing was done, if the library declines. By
  // `algorithm`, where one is named and can compute this, else by the first that the heuristic gives.
  template <class T>
  bool matmul(Stream& stream, In<T> a, bool transpose_a, int64_t stride_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N, int64_t K,
              const Epilogue<T>& epilogue, const ProviderAlgorithm& algorithm = {});
  // measure_providers() of such a product: our kernels against up to kCandidates algorithms of the heuristic.
  static constexpr int kCandidates = 8;
  template <class T>
  ProviderChoice measure(Stream& stream, bool transpose_a, int64_t stride_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const Epilogue<T>& epilogue);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace panvae::cublaslt
