// A stand-in for libcublasLt.so on the CPU, for machines without a GPU: column-major matrices, transposes, leading
// dimensions, beta and the bias of rows as NVIDIA's documentation states them, and it refuses what the real one refuses: a
// plan used for other sizes, pointers less aligned than the heuristic was told, a workspace that is too small.
#include <cublasLt.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

struct Product {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  int32_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct Layout {
  cudaDataType type;
  uint64_t rows, columns;
  int64_t stride;
  bool operator==(const Layout&) const = default;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_MASK, a = 256, b = 256, c = 256, d = 256;
};
struct Algorithm {  // what cublasLtMatmulAlgo_t holds
  uint32_t a, b, c, d;
  uint64_t m, n, k;
  uint32_t workspace, id, reduction, made_here;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

constexpr uint32_t kNeeds = 512;  // bytes of workspace, of each algorithm so many more
constexpr uint32_t kMadeHere = 0xA1605172;

int handles = 0, objects = 0, heuristics = 0, last_compute = -1, last_epilogue = -1;
int fail_create = 0, fail_heuristic = 0, fail_matmul = 0, no_bias = 0;
int more_algorithms = 0, last_algorithm = -1, last_wanted = 0;
int slow = 0, wrong = 0, refused = 0, in_place = 0, fails = 0;  // a bit for each algorithm
int says_nothing_of_alignment = 0;

bool is(int bits, uint32_t id) {
  return bits >> id & 1;
}

bool aligned(const void* p, uint32_t to) {
  return reinterpret_cast<uintptr_t>(p) % to == 0;
}

template <class T>
void multiply(const Product& p, const T* alpha, const T* A, const Layout& a, const T* B, const Layout& b, const T* beta, const T* C, T* D, const Layout& d) {
  const uint64_t k = p.a == CUBLAS_OP_T ? a.rows : a.columns;
  std::vector<T> out(d.rows * d.columns);
  for (uint64_t i = 0; i < d.rows; ++i)
    for (uint64_t j = 0; j < d.columns; ++j) {
      double sum = 0;
      for (uint64_t l = 0; l < k; ++l) {
        const uint64_t at_a = p.a == CUBLAS_OP_T ? l + i * static_cast<uint64_t>(a.stride) : i + l * static_cast<uint64_t>(a.stride);
        const uint64_t at_b = p.b == CUBLAS_OP_T ? j + l * static_cast<uint64_t>(b.stride) : l + j * static_cast<uint64_t>(b.stride);
        sum += static_cast<double>(A[at_a]) * static_cast<double>(B[at_b]);
      }
      sum *= static_cast<double>(*alpha);
      if (*beta != T(0)) sum += static_cast<double>(*beta) * static_cast<double>(C[i + j * static_cast<uint64_t>(d.stride)]);
      if (p.epilogue & CUBLASLT_EPILOGUE_BIAS) sum += static_cast<double>(static_cast<const T*>(p.bias)[i]);
      out[i + j * d.rows] = static_cast<T>(sum);
    }
  for (uint64_t j = 0; j < d.columns; ++j) std::copy_n(&out[j * d.rows], d.rows, D + j * static_cast<uint64_t>(d.stride));
}

template <class To, class From>
To* as(From* p) {
  return reinterpret_cast<To*>(p);
}
template <class To, class From>
const To& in(const From* p) {
  return *reinterpret_cast<const To*>(p);
}

}  // namespace

extern "C" {

// What a test may ask and set.
int* fake_value(const char* name) {
  const struct {
    const char* name;
    int* value;
  } values[] = {{"handles", &handles},
                {"objects", &objects},
                {"heuristics", &heuristics},
                {"last_compute", &last_compute},
                {"last_epilogue", &last_epilogue},
                {"fail_create", &fail_create},
                {"fail_heuristic", &fail_heuristic},
                {"fail_matmul", &fail_matmul},
                {"no_bias", &no_bias},
                {"more_algorithms", &more_algorithms},
                {"last_algorithm", &last_algorithm},
                {"last_wanted", &last_wanted},
                {"slow", &slow},
                {"wrong", &wrong},
                {"refused", &refused},
                {"in_place", &in_place},
                {"fails", &fails},
                {"says_nothing_of_alignment", &says_nothing_of_alignment}};
  for (const auto& v : values)
    if (std::strcmp(v.name, name) == 0) return v.value;
  return nullptr;
}

size_t cublasLtGetVersion() {
  return 990201;
}
const char* cublasLtGetStatusName(cublasStatus_t status) {
  return status == CUBLAS_STATUS_EXECUTION_FAILED  ? "CUBLAS_STATUS_EXECUTION_FAILED"
         : status == CUBLAS_STATUS_NOT_INITIALIZED ? "CUBLAS_STATUS_NOT_INITIALIZED"
                                                   : "CUBLAS_STATUS_OTHER";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (fail_create) return static_cast<cublasStatus_t>(fail_create);
  ++handles;
  *handle = as<cublasLtContext>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  --handles;
  delete as<int>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* to, cublasComputeType_t compute, cudaDataType_t scale) {
  ++objects;
  *to = as<cublasLtMatmulDescOpaque_t>(new Product{compute, scale});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p) {
  --objects;
  delete as<Product>(p);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t what, const void* value, size_t bytes) {
  Product& p = *as<Product>(desc);
  void* to = what == CUBLASLT_MATMUL_DESC_TRANSA         ? static_cast<void*>(&p.a)
             : what == CUBLASLT_MATMUL_DESC_TRANSB       ? static_cast<void*>(&p.b)
             : what == CUBLASLT_MATMUL_DESC_EPILOGUE     ? static_cast<void*>(&p.epilogue)
             : what == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? static_cast<void*>(&p.bias)
                                                         : nullptr;
  const size_t size = what == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void*) : 4;
  if (!to || bytes != size) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* to, cudaDataType type, uint64_t rows, uint64_t columns, int64_t stride) {
  if (rows == 0 || columns == 0 || stride < static_cast<int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  ++objects;
  *to = as<cublasLtMatrixLayoutOpaque_t>(new Layout{type, rows, columns, stride});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  --objects;
  delete as<Layout>(layout);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* to) {
  ++objects;
  *to = as<cublasLtMatmulPreferenceOpaque_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  --objects;
  delete as<Preference>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t what, const void* value,
                                                    size_t bytes) {
  Preference& p = *as<Preference>(preference);
  void* to = nullptr;
  size_t size = 4;
  switch (what) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      to = &p.workspace, size = 8;
      break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      to = &p.reduction;
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      to = &p.a;
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      to = &p.b;
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      to = &p.c;
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      to = &p.d;
      break;
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (bytes != size) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t B,
                                              cublasLtMatrixLayout_t C, cublasLtMatrixLayout_t D, cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  ++heuristics;
  *found = 0;
  if (fail_heuristic) return static_cast<cublasStatus_t>(fail_heuristic);
  const Product& p = in<Product>(desc);
  const Layout &a = in<Layout>(A), &b = in<Layout>(B), &c = in<Layout>(C), &d = in<Layout>(D);
  const uint64_t m = p.a == CUBLAS_OP_T ? a.columns : a.rows, k = p.a == CUBLAS_OP_T ? a.rows : a.columns;
  const uint64_t n = p.b == CUBLAS_OP_T ? b.rows : b.columns, k_of_b = p.b == CUBLAS_OP_T ? b.columns : b.rows;
  if (wanted < 1 || k != k_of_b || c != d || d.rows != m || d.columns != n) return CUBLAS_STATUS_INVALID_VALUE;
  const Preference& q = in<Preference>(preference);
  if (q.workspace < kNeeds) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (q.reduction & CUBLASLT_REDUCTION_SCHEME_INPLACE) return CUBLAS_STATUS_INTERNAL_ERROR;  // we said that we would not take it
  const bool f64 = d.type == CUDA_R_64F;
  if ((p.epilogue != CUBLASLT_EPILOGUE_DEFAULT && p.epilogue != CUBLASLT_EPILOGUE_BIAS) || (p.epilogue == CUBLASLT_EPILOGUE_BIAS && (f64 || no_bias)))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  last_wanted = wanted;
  for (; *found < std::min(wanted, 1 + more_algorithms); ++*found) {
    const uint32_t id = static_cast<uint32_t>(*found), workspace = (1 + id) * kNeeds;
    const uint32_t reduction = is(in_place, id) ? CUBLASLT_REDUCTION_SCHEME_INPLACE : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    results[*found] = {};
    results[*found].state = CUBLAS_STATUS_SUCCESS;
    results[*found].workspaceSize = workspace;
    const Algorithm algorithm{q.a, q.b, q.c, q.d, m, n, k, workspace, id, reduction, kMadeHere};
    std::memcpy(&results[*found].algo, &algorithm, sizeof algorithm);
  }
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       cublasLtMatrixLayout_t D, const cublasLtMatmulAlgo_t* algo, cublasLtMatmulHeuristicResult_t* result) {
  const Product& p = in<Product>(desc);
  const Layout &a = in<Layout>(A), &d = in<Layout>(D);
  const Algorithm& algorithm = in<Algorithm>(algo);
  if (algorithm.made_here != kMadeHere) return CUBLAS_STATUS_INVALID_VALUE;
  if (algorithm.m != d.rows || algorithm.n != d.columns || algorithm.k != (p.a == CUBLAS_OP_T ? a.rows : a.columns)) return CUBLAS_STATUS_INVALID_VALUE;
  if (is(refused, algorithm.id)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (p.epilogue & CUBLASLT_EPILOGUE_BIAS && !p.bias) return CUBLAS_STATUS_INVALID_VALUE;  // a product that is not described in full
  result->workspaceSize = algorithm.workspace;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCapGetAttribute(const cublasLtMatmulAlgo_t* algo, cublasLtMatmulAlgoCapAttributes_t what, void* to, size_t bytes,
                                                 size_t* written) {
  const Algorithm& algorithm = in<Algorithm>(algo);
  const uint32_t* value = what == CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_A_BYTES   ? &algorithm.a
                          : what == CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_B_BYTES ? &algorithm.b
                          : what == CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_C_BYTES ? &algorithm.c
                          : what == CUBLASLT_ALGO_CAP_MIN_ALIGNMENT_D_BYTES ? &algorithm.d
                                                                            : nullptr;
  if (!value || bytes != sizeof *value) return CUBLAS_STATUS_INVALID_VALUE;
  const uint32_t one = 1;
  std::memcpy(to, says_nothing_of_alignment ? &one : value, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algo, cublasLtMatmulAlgoConfigAttributes_t what, void* to, size_t bytes,
                                                    size_t* written) {
  const uint32_t value = in<Algorithm>(algo).reduction;
  if (what != CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME || bytes != sizeof value) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, &value, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* A, cublasLtMatrixLayout_t a_layout, const void* B,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* C, cublasLtMatrixLayout_t c_layout, void* D,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo, void* workspace, size_t workspace_bytes, cudaStream_t) {
  if (fail_matmul) return static_cast<cublasStatus_t>(fail_matmul);
  const Product& p = in<Product>(desc);
  const Layout &a = in<Layout>(a_layout), &b = in<Layout>(b_layout), &c = in<Layout>(c_layout), &d = in<Layout>(d_layout);
  const Algorithm& planned = in<Algorithm>(algo);
  const uint64_t k = p.a == CUBLAS_OP_T ? a.rows : a.columns;
  if (is(refused, planned.id)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (is(fails, planned.id)) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (planned.made_here != kMadeHere || planned.m != d.rows || planned.n != d.columns || planned.k != k || c != d) return CUBLAS_STATUS_INVALID_VALUE;
  if (!aligned(A, planned.a) || !aligned(B, planned.b) || !aligned(C, planned.c) || !aligned(D, planned.d)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!workspace || workspace_bytes < planned.workspace || !aligned(workspace, 256)) return CUBLAS_STATUS_INVALID_VALUE;
  if (p.epilogue & CUBLASLT_EPILOGUE_BIAS && (!p.bias || !aligned(p.bias, 16))) return CUBLAS_STATUS_INVALID_VALUE;
  last_compute = p.compute;
  last_epilogue = static_cast<int>(p.epilogue);
  last_algorithm = static_cast<int>(planned.id);
  if (is(slow, planned.id)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  if (d.type == CUDA_R_64F && p.scale == CUDA_R_64F && p.compute == CUBLAS_COMPUTE_64F)
    multiply(p, static_cast<const double*>(alpha), static_cast<const double*>(A), a, static_cast<const double*>(B), b, static_cast<const double*>(beta),
             static_cast<const double*>(C), static_cast<double*>(D), d);
  else if (d.type == CUDA_R_32F && p.scale == CUDA_R_32F)
    multiply(p, static_cast<const float*>(alpha), static_cast<const float*>(A), a, static_cast<const float*>(B), b, static_cast<const float*>(beta),
             static_cast<const float*>(C), static_cast<float*>(D), d);
  else return CUBLAS_STATUS_NOT_SUPPORTED;
  if (is(wrong, planned.id)) static_cast<float*>(D)[0] += 1;
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
