// A row-major matrix is a column-major one transposed, so c = op(a) op(b) is asked for as c' = op(b)' op(a)': the operands
// change places, and the transposes stay what they were. Our bias, one number a column of c, is then one a row of c', which
// is the library's. Activations are ours (bias_activation): the library's ReLU makes 0 of NaN.
#include "kernels/cuda/cublaslt.h"

#include <cublasLt.h>

#include <array>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/dynamic_library.h"
#include "base/error.h"
#include "base/log.h"

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
  decltype(&::cublasLtMatmulAlgoCheck) algorithm_check = nullptr;
  decltype(&::cublasLtMatmulAlgoCapGetAttribute) algorithm_can = nullptr;
  decltype(&::cublasLtMatmulAlgoConfigGetAttribute) algorithm_does = nullptr;
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

struct Algorithm {
  cublasLtMatmulAlgo_t algo{};
  size_t workspace = 0;
  bool usable = false;
};

// Parts of a split k meet in the workspace and are added in order: the same bits in every run. "In place" they are added to the
// result, in turns that counters give.
constexpr uint32_t kReductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;

bool same_bits_in_every_run(const Functions& f, const cublasLtMatmulAlgo_t& algo) {
  uint32_t scheme = 0;
  size_t written = 0;
  const cublasStatus_t status = f.algorithm_does(&algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme, sizeof scheme, &written);
  return status == CUBLAS_STATUS_SUCCESS && (scheme & ~kReductions) == 0;
}

// As the heuristic gave it.
Algorithm algorithm_of(const Functions& f, const cublasLtMatmulHeuristicResult_t& result) {
  const bool usable = result.state == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= kWorkspace && same_bits_in_every_run(f, result.algo);
  return {result.algo, result.workspaceSize, usable};
}

using AlgorithmBytes = decltype(ProviderAlgorithm::bytes);
static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(AlgorithmBytes));

// What a call needs beside its pointers. The handles are made by State::plan().
struct Plan {
  cudaDataType_t type = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  int64_t M = 0, N = 0, K = 0, stride_a = 0;
  bool transpose_a = false, transpose_b = false, bias = false;
  uint32_t alignment_a = 0, alignment_b = 0, alignment_c = 0;

  const Functions* f = nullptr;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t layout_a = nullptr, layout_b = nullptr, layout_c = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  Algorithm first;                            // of the heuristic; not usable where the library declines
  std::map<AlgorithmBytes, Algorithm> named;  // that a caller asked for

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
  using Key = std::array<int64_t, 6>;  // M, N, K, stride of a; types, transposes and bias; alignments
  std::map<Key, std::unique_ptr<Plan>> plans;

  ~State() {
    plans.clear();
    if (handle) functions->destroy(handle);
  }
  Plan& plan(const Plan& wanted, bool bias);
  // Of a call: the plan, which may decline, and whether the library adds the bias.
  template <class T>
  std::pair<Plan&, bool> plan_of(Stream& stream, In<T> a, bool transpose_a, int64_t stride_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N,
                                 int64_t K, const Epilogue<T>& e);
  // What the heuristic has for the plan, best first, and never what may not be used.
  std::vector<Algorithm> heuristic(const Plan& p, int most);
  // That of these bytes for the plan, if the library can compute it so.
  Algorithm& named(Plan& p, const ProviderAlgorithm& algorithm);
  // The product of a plan by one algorithm. False, and nothing was done, if the library does not support it after all.
  template <class T>
  bool run(Stream& stream, Plan& p, Algorithm& algorithm, In<T> a, In<T> b, InOut<T> c, const Epilogue<T>& e, bool their_bias);
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
                     library.bind("cublasLtMatmulAlgoCheck", f->algorithm_check) && library.bind("cublasLtMatmulAlgoCapGetAttribute", f->algorithm_can) &&
                     library.bind("cublasLtMatmulAlgoConfigGetAttribute", f->algorithm_does) && library.bind("cublasLtMatmul", f->matmul);
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
  std::unique_ptr<Plan>& kept = plans[{wanted.M, wanted.N, wanted.K, wanted.stride_a, kind, alignments}];
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
  auto layout = [&](cublasLtMatrixLayout_t& to, int64_t rows, int64_t columns, int64_t stride) {  // column-major
    PV_CUBLASLT(f.layout_create(&to, p.type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), stride));
  };
  layout(p.layout_b, p.transpose_b ? p.K : p.N, p.transpose_b ? p.N : p.K, p.transpose_b ? p.K : p.N);
  layout(p.layout_a, p.transpose_a ? p.M : p.K, p.transpose_a ? p.K : p.M, p.stride_a);
  layout(p.layout_c, p.N, p.M, p.N);
  PV_CUBLASLT(f.preference_create(&p.preference));
  auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) { PV_CUBLASLT(f.preference_set(p.preference, what, &value, sizeof value)); };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, kReductions);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p.alignment_b);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p.alignment_a);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p.alignment_c);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p.alignment_c);
  if (const std::vector<Algorithm> found = heuristic(p, 1); !found.empty()) p.first = found[0];
  kept = std::move(made);
  return *kept;
}

std::vector<Algorithm> Products::State::heuristic(const Plan& p, int most) {
  const Functions& f = *functions;
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(most));
  int found = 0;
  const cublasStatus_t status = f.heuristic(handle, p.product, p.layout_b, p.layout_a, p.layout_c, p.layout_c, p.preference, most, results.data(), &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return {};
  PV_CUBLASLT(status);
  std::vector<Algorithm> out;
  for (int i = 0; i < found; ++i)
    if (const Algorithm a = algorithm_of(f, results[static_cast<size_t>(i)]); a.usable) out.push_back(a);
  return out;
}

Algorithm& Products::State::named(Plan& p, const ProviderAlgorithm& algorithm) {
  const auto [at, is_new] = p.named.try_emplace(algorithm.bytes);
  Algorithm& out = at->second;
  if (!is_new) return out;
  const Functions& f = *functions;
  cublasLtMatmulHeuristicResult_t result{};
  std::memcpy(&result.algo, algorithm.bytes.data(), sizeof result.algo);
  result.state = f.algorithm_check(handle, p.product, p.layout_b, p.layout_a, p.layout_c, p.layout_c, &result.algo, &result);
  out = algorithm_of(f, result);
  // It was measured with operands of another alignment, maybe. The library's first operand is our b.
  for (const auto& [what, have] : {std::pair{CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_A_BYTES, p.alignment_b},
                                   {CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_B_BYTES, p.alignment_a},
                                   {CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_C_BYTES, p.alignment_c},
                                   {CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_D_BYTES, p.alignment_c}}) {
    uint32_t needs = 0;
    size_t written = 0;
    out.usable = out.usable && f.algorithm_can(&out.algo, what, &needs, sizeof needs, &written) == CUBLAS_STATUS_SUCCESS && needs <= have;
  }
  if (!out.usable)
    log::info(
        "cuBLASLt cannot compute a product of {} x {} x {} as it was measured, for its operands lie otherwise or it does not know the algorithm: its "
        "heuristic's first does",
        p.M, p.N, p.K);
  return out;
}

template <class T>
std::pair<Plan&, bool> Products::State::plan_of(Stream& stream, In<T> a, bool transpose_a, int64_t stride_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M,
                                                int64_t N, int64_t K, const Epilogue<T>& e) {
  Plan wanted;
  wanted.type = sizeof(T) == 8 ? CUDA_R_64F : CUDA_R_32F;
  wanted.compute = sizeof(T) == 8                  ? CUBLAS_COMPUTE_64F
                   : stream.math == MathMode::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                   : stream.math == MathMode::bf16 ? CUBLAS_COMPUTE_32F_FAST_16BF
                                                   : CUBLAS_COMPUTE_32F;
  wanted.M = M, wanted.N = N, wanted.K = K, wanted.stride_a = stride_a;
  wanted.transpose_a = transpose_a, wanted.transpose_b = transpose_b;
  wanted.alignment_a = alignment_of(a), wanted.alignment_b = alignment_of(b), wanted.alignment_c = alignment_of(c);
  // The library's kernels read the bias 16 bytes at a time, and know it for f32 alone. Where a pass of ours follows anyway,
  // the bias is added there. Algorithms are checked against a plan that is complete, so it gets its bias here.
  if (sizeof(T) == 4 && e.bias && e.activation == Activation::none && alignment_of(e.bias) >= 16)
    if (Plan& p = plan(wanted, true); p.first.usable) {
      const Functions& f = *functions;
      const void* bias = e.bias;
      PV_CUBLASLT(f.product_set(p.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
      return {p, true};
    }
  return {plan(wanted, false), false};
}

template <class T>
bool Products::State::run(Stream& stream, Plan& p, Algorithm& algorithm, In<T> a, In<T> b, InOut<T> c, const Epilogue<T>& e, bool their_bias) {
  const Functions& f = *functions;
  if (!algorithm.usable) return false;
  void* workspace = algorithm.workspace > 0 ? stream.scratch(algorithm.workspace) : nullptr;
  const T one = T(1), beta = e.accumulate ? T(1) : T(0);
  const cublasStatus_t status = f.matmul(handle, p.product, &one, b, p.layout_b, a, p.layout_a, &beta, c, p.layout_c, c, p.layout_c, &algorithm.algo, workspace,
                                         algorithm.workspace, static_cast<cudaStream_t>(stream.handle()));
  // The heuristic knows what it was asked for; an algorithm that was measured elsewhere may need what nobody can ask it about.
  const bool invalid = status == CUBLAS_STATUS_INVALID_VALUE && &algorithm != &p.first;
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH || invalid) {
    algorithm.usable = false;
    return false;
  }
  check(f, status, "cublasLtMatmul");
  const T* our_bias = their_bias ? nullptr : e.bias;
  if (our_bias || e.activation != Activation::none) k::bias_activation<T>(stream, c, p.M, p.N, 1, our_bias, e.activation, e.slope);
  return true;
}

template <class T>
bool Products::matmul(Stream& stream, In<T> a, bool transpose_a, int64_t stride_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N, int64_t K,
                      const Epilogue<T>& e, const ProviderAlgorithm& algorithm) {
  if (K == 0) return false;
  auto [p, their_bias] = state_->plan_of(stream, a, transpose_a, stride_a, b, transpose_b, c, M, N, K, e);
  if (algorithm.named && state_->run(stream, p, state_->named(p, algorithm), a, b, c, e, their_bias)) return true;
  return state_->run(stream, p, p.first, a, b, c, e, their_bias);
}

template <class T>
ProviderChoice Products::measure(Stream& stream, bool transpose_a, int64_t stride_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const Epilogue<T>& e) {
  using Inputs = std::vector<const T*>;
  Epilogue<T> trial = e;
  std::vector<Algorithm> algorithms;
  auto plan = [&](const Inputs& in, T* out) {
    if (trial.bias) trial.bias = in[2];
    return state_->plan_of<T>(stream, in[0], transpose_a, stride_a, in[1], transpose_b, out, M, N, K, trial);
  };
  ProviderChoice choice = measure_providers<T>(
      stream, {(transpose_a ? K : M) * stride_a, K * N, N}, M * N, provider_tolerance(sizeof(T) == 8 ? MathMode::ieee : stream.math, sizeof(T), K),
      [&](const Inputs& in, T* out) {
        if (trial.bias) trial.bias = in[2];
        by_ours(stream, [&] {
          // Rows further apart than they are long are those of a part of a larger product.
          if (transpose_a && stride_a != M) k::matmul_rows<T>(stream, in[0], true, in[1], transpose_b, out, stride_a, N, K, 0, M);
          else k::matmul<T>(stream, in[0], transpose_a, in[1], transpose_b, out, M, N, K, trial);
        });
      },
      [&](const Inputs& in, T* out, size_t candidate) {
        auto [p, their_bias] = plan(in, out);
        return candidate < algorithms.size() && state_->run(stream, p, algorithms[candidate], in[0], in[1], out, trial, their_bias);
      },
      [&](const Inputs& in, T* out) {
        if (K > 0) algorithms = state_->heuristic(plan(in, out).first, kCandidates);
        return algorithms.size();
      },
      sizeof(T) == sizeof(float) && !(transpose_a && transpose_b) && multiplies_by_warpgroups(stream));
  if (choice.candidate < algorithms.size() && choice.reason.empty()) {
    choice.algorithm.named = true;
    std::memcpy(choice.algorithm.bytes.data(), &algorithms[choice.candidate].algo, choice.algorithm.bytes.size());
  }
  return choice;
}

#define PV_PRODUCTS(T)                                                                                                                   \
  template bool Products::matmul<T>(Stream&, In<T>, bool, int64_t, In<T>, bool, InOut<T>, int64_t, int64_t, int64_t, const Epilogue<T>&, \
                                    const ProviderAlgorithm&);                                                                           \
  template ProviderChoice Products::measure<T>(Stream&, bool, int64_t, bool, int64_t, int64_t, int64_t, const Epilogue<T>&);
PV_PRODUCTS(float)
PV_PRODUCTS(double)

}  // namespace panvae::cublaslt
