// A row-major matrix is a column-major one transposed, so c = op(a) op(b) is asked for as c' = op(b)' op(a)': the operands
// change places, and the transposes stay what they were. Our bias, one number a column of c, is then one a row of c', which
// is the library's. Activations are ours (bias_activation): the library's ReLU makes 0 of NaN.
#include "kernels/cuda/cublaslt.h"

#include <cublasLt.h>

#include <array>
#include <map>
#include <vector>

#include "base/dynamic_library.h"
#include "base/error.h"

namespace panvae::cublaslt {

// With the types of the header.
struct Functions {
  decltype(&::cublasLtGetVersion) version = nullptr;
  decltype(&::cublasLtGetStatusName) status_name = nullptr;
  decltype(&::cublasLtCreate) create = nullptr;
  decltype(&::cublasLtDestroy) destroy = nullptr;
  decltype(&::cublasLtMatmulDescCreate) product_create = nullptr;
  decltype(&::cublasLtMatmulDescDestroy) product_destroy = nullptr;
  decltype(&::cublasLtMatmulDescSetAttribute) product_set = nullptr;
  decltype(&::cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&::cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&::cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&::cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&::cublasLtMatmul) matmul = nullptr;
};

namespace {

constexpr uint64_t kWorkspace = uint64_t{32} << 20;  // what NVIDIA advises for 9.0

void check(const Functions& f, cublasStatus_t status, const char* expression) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorCode::machine, fmt::format("cuBLASLt: {}", f.status_name(status)), expression, "PANVAE_PROVIDER=ours goes without it", "matmul");
}
#define PV_CUBLASLT(call) check(f, (call), #call)

// The largest power of two up to 256 that the address is a multiple of: what the heuristic may count on.
uint32_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p) | 256;
  return static_cast<uint32_t>(address & (~address + 1));
}

// What a call needs beside its pointers. The handles are made by State::plan().
struct Plan {
  cudaDataType_t type = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  int64_t M = 0, N = 0, K = 0;
  bool transpose_a = false, transpose_b = false, bias = false;
  uint32_t alignment_a = 0, alignment_b = 0, alignment_c = 0;

  const Functions* f = nullptr;
  bool declined = false;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t layout_a = nullptr, layout_b = nullptr, layout_c = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulHeuristicResult_t best{};

  ~Plan() {
    if (!f) return;
    if (preference) f->preference_destroy(preference);
    for (cublasLtMatrixLayout_t layout : {layout_a, layout_b, layout_c})
      if (layout) f->layout_destroy(layout);
    if (product) f->product_destroy(product);
  }
};

}  // namespace

struct Products::State {
  std::shared_ptr<const Functions> functions;
  cublasLtHandle_t handle = nullptr;
  using Key = std::array<int64_t, 5>;  // M, N, K; types, transposes and bias; alignments
  std::map<Key, std::unique_ptr<Plan>> plans;

  ~State() {
    plans.clear();
    if (handle) functions->destroy(handle);
  }
  Plan& plan(const Plan& wanted, bool bias);
};

Api open(std::span<const std::string> names) {
  DynamicLibrary library(names);
  auto f = std::make_shared<Functions>();
  const bool whole = library.bind("cublasLtGetVersion", f->version) && library.bind("cublasLtGetStatusName", f->status_name) &&
                     library.bind("cublasLtCreate", f->create) && library.bind("cublasLtDestroy", f->destroy) &&
                     library.bind("cublasLtMatmulDescCreate", f->product_create) && library.bind("cublasLtMatmulDescDestroy", f->product_destroy) &&
                     library.bind("cublasLtMatmulDescSetAttribute", f->product_set) && library.bind("cublasLtMatrixLayoutCreate", f->layout_create) &&
                     library.bind("cublasLtMatrixLayoutDestroy", f->layout_destroy) && library.bind("cublasLtMatmulPreferenceCreate", f->preference_create) &&
                     library.bind("cublasLtMatmulPreferenceDestroy", f->preference_destroy) &&
                     library.bind("cublasLtMatmulPreferenceSetAttribute", f->preference_set) && library.bind("cublasLtMatmulAlgoGetHeuristic", f->heuristic) &&
                     library.bind("cublasLtMatmul", f->matmul);
  if (!whole) return {nullptr, "", library.why_absent()};
  const size_t v = f->version();  // 130100 of 13.1.0
  return {f, fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100), ""};
}

const Api& api() {
  static const Api the_api = [] {
    // Versions differ in what they add, not in these functions. PANVAE_CUDA_LIBRARIES is the folder of the toolkit that
    // compiled us, for machines whose loader does not look there.
    std::vector<std::string> names;
    for (const int version : {CUBLAS_VER_MAJOR, 13, 12, 11}) names.push_back(fmt::format("libcublasLt.so.{}", version));
    names.push_back(fmt::format("{}/libcublasLt.so.{}", PANVAE_CUDA_LIBRARIES, CUBLAS_VER_MAJOR));
    return open(names);
  }();
  return the_api;
}

Products::Products(const Api& api) : state_(std::make_unique<State>()) {
  state_->functions = api.functions;
  const Functions& f = *api.functions;
  PV_CUBLASLT(f.create(&state_->handle));
}
Products::~Products() = default;

Plan& Products::State::plan(const Plan& wanted, bool bias) {
  const int64_t kind =
      int64_t{wanted.type} | int64_t{wanted.compute} << 16 | int64_t{wanted.transpose_a} << 32 | int64_t{wanted.transpose_b} << 33 | int64_t{bias} << 34;
  const int64_t alignments = int64_t{wanted.alignment_a} | int64_t{wanted.alignment_b} << 16 | int64_t{wanted.alignment_c} << 32;
  std::unique_ptr<Plan>& kept = plans[{wanted.M, wanted.N, wanted.K, kind, alignments}];
  if (kept) return *kept;
  const Functions& f = *functions;
  auto made = std::make_unique<Plan>(wanted);
  Plan& p = *made;
  p.f = &f;
  p.bias = bias;
  PV_CUBLASLT(f.product_create(&p.product, p.compute, p.type));
  // Swapped: the library's first operand is our b.
  const cublasOperation_t first = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, second = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  PV_CUBLASLT(f.product_set(p.product, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first));
  PV_CUBLASLT(f.product_set(p.product, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second));
  if (p.bias) {
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    PV_CUBLASLT(f.product_set(p.product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
  }
  auto layout = [&](cublasLtMatrixLayout_t& to, int64_t rows, int64_t columns) {  // column-major, dense
    PV_CUBLASLT(f.layout_create(&to, p.type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), rows));
  };
  layout(p.layout_b, p.transpose_b ? p.K : p.N, p.transpose_b ? p.N : p.K);
  layout(p.layout_a, p.transpose_a ? p.M : p.K, p.transpose_a ? p.K : p.M);
  layout(p.layout_c, p.N, p.M);
  PV_CUBLASLT(f.preference_create(&p.preference));
  auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) { PV_CUBLASLT(f.preference_set(p.preference, what, &value, sizeof value)); };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  // Parts of a split k meet in the workspace and are added in order: the same bits in every run.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p.alignment_b);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p.alignment_a);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p.alignment_c);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p.alignment_c);
  int found = 0;
  const cublasStatus_t status = f.heuristic(handle, p.product, p.layout_b, p.layout_a, p.layout_c, p.layout_c, p.preference, 1, &p.best, &found);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) PV_CUBLASLT(status);
  p.declined = status != CUBLAS_STATUS_SUCCESS || found == 0 || p.best.state != CUBLAS_STATUS_SUCCESS;
  kept = std::move(made);
  return *kept;
}

template <class T>
bool Products::matmul(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N, int64_t K, const Epilogue<T>& e) {
  if (K == 0) return false;
  Plan wanted;
  wanted.type = sizeof(T) == 8 ? CUDA_R_64F : CUDA_R_32F;
  wanted.compute = sizeof(T) == 8                  ? CUBLAS_COMPUTE_64F
                   : stream.math == MathMode::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                   : stream.math == MathMode::bf16 ? CUBLAS_COMPUTE_32F_FAST_16BF
                                                   : CUBLAS_COMPUTE_32F;
  wanted.M = M, wanted.N = N, wanted.K = K;
  wanted.transpose_a = transpose_a, wanted.transpose_b = transpose_b;
  wanted.alignment_a = alignment_of(a), wanted.alignment_b = alignment_of(b), wanted.alignment_c = alignment_of(c);
  // The library's kernels read the bias 16 bytes at a time, and know it for f32 alone. Where a pass of ours follows anyway,
  // the bias is added there.
  bool their_bias = sizeof(T) == 4 && e.bias && e.activation == Activation::none && alignment_of(e.bias) >= 16;
  Plan* found = &state_->plan(wanted, their_bias);
  if (found->declined && their_bias) {
    their_bias = false;
    found = &state_->plan(wanted, their_bias);
  }
  if (found->declined) return false;

  Plan& p = *found;
  const Functions& f = *state_->functions;
  if (their_bias) {
    const void* bias = e.bias;
    PV_CUBLASLT(f.product_set(p.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
  }
  void* workspace = p.best.workspaceSize > 0 ? stream.scratch(p.best.workspaceSize) : nullptr;
  const T one = T(1), beta = e.accumulate ? T(1) : T(0);
  const cublasStatus_t status = f.matmul(state_->handle, p.product, &one, b, p.layout_b, a, p.layout_a, &beta, c, p.layout_c, c, p.layout_c, &p.best.algo,
                                         workspace, p.best.workspaceSize, static_cast<cudaStream_t>(stream.handle()));
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH) {
    p.declined = true;
    return false;
  }
  check(f, status, "cublasLtMatmul");
  const T* our_bias = their_bias ? nullptr : e.bias;
  if (our_bias || e.activation != Activation::none) k::bias_activation<T>(stream, c, M, N, 1, our_bias, e.activation, e.slope);
  return true;
}

template bool Products::matmul<float>(Stream&, In<float>, bool, In<float>, bool, InOut<float>, int64_t, int64_t, int64_t, const Epilogue<float>&);
template bool Products::matmul<double>(Stream&, In<double>, bool, In<double>, bool, InOut<double>, int64_t, int64_t, int64_t, const Epilogue<double>&);

}  // namespace panvae::cublaslt
