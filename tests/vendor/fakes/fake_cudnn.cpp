// A stand-in for libcudnn.so on the CPU: convolutions of NCHW tensors as NVIDIA's documentation states them, lists of
// algorithms that begin with ones which must not be taken, and a refusal of what does not fit together.
#include <cudnn.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace {

struct Tensor {
  cudnnDataType_t type;
  int n, c, h, w;
};
struct Convolution {
  int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w;
  cudnnDataType_t type;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};

constexpr size_t kNeeds = 1024;
int handles = 0, objects = 0, heuristics = 0, last_math = -1, fail_create = 0, fail_heuristic = 0, fail_run = 0, only_forbidden = 0;

template <class To, class From>
To* as(From* p) {
  return reinterpret_cast<To*>(p);
}
template <class To, class From>
const To& in(const From* p) {
  return *reinterpret_cast<const To*>(p);
}

bool fit(const Tensor& x, const Tensor& w, const Convolution& c, const Tensor& y) {
  auto out = [](int size, int pad, int filter, int stride, int dilation) { return (size + 2 * pad - dilation * (filter - 1) - 1) / stride + 1; };
  return x.type == y.type && x.type == w.type && x.n == y.n && x.c == w.c && y.c == w.n && y.h == out(x.h, c.pad_h, w.h, c.stride_h, c.dilation_h) &&
         y.w == out(x.w, c.pad_w, w.w, c.stride_w, c.dilation_w) && c.type == x.type;
}

template <class Performance, class Algorithm>
cudnnStatus_t list(const Convolution& c, int wanted, int* found, Performance* results, Algorithm undetermined, Algorithm transform, Algorithm right) {
  ++heuristics;
  *found = 0;
  if (fail_heuristic) return static_cast<cudnnStatus_t>(fail_heuristic);
  auto add = [&](Algorithm a, cudnnStatus_t status, cudnnDeterminism_t determinism, size_t memory) {
    if (*found == wanted) return;
    Performance& p = results[(*found)++];
    p = {};
    p.algo = a, p.status = status, p.determinism = determinism, p.memory = memory, p.mathType = c.math, p.time = -1;
  };
  add(undetermined, CUDNN_STATUS_SUCCESS, CUDNN_NON_DETERMINISTIC, 0);
  add(transform, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, 0);
  add(right, CUDNN_STATUS_NOT_SUPPORTED, CUDNN_DETERMINISTIC, 0);
  add(right, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, size_t{1} << 40);
  if (!only_forbidden) add(right, CUDNN_STATUS_SUCCESS, CUDNN_DETERMINISTIC, kNeeds);
  return CUDNN_STATUS_SUCCESS;
}

// f(x index, w index, y index) for every product of the convolution.
template <class F>
void each(const Tensor& x, const Tensor& w, const Convolution& c, const Tensor& y, F f) {
  for (int n = 0; n < y.n; ++n)
    for (int o = 0; o < y.c; ++o)
      for (int i = 0; i < x.c; ++i)
        for (int t = 0; t < y.w; ++t)
          for (int k = 0; k < w.w; ++k) {
            const int at = t * c.stride_w - c.pad_w + k * c.dilation_w;
            if (at >= 0 && at < x.w) f((n * x.c + i) * x.w + at, (o * x.c + i) * w.w + k, (n * y.c + o) * y.w + t);
          }
}

enum class Part { forward, input, weight };

template <class T>
void run(Part part, const void* alpha, const Tensor& x, const void* X, const Tensor& w, const void* W, const Convolution& c, const Tensor& y, const void* Y,
         const void* beta, void* out, size_t count) {
  std::vector<double> sum(count);
  const T *xs = static_cast<const T*>(X), *ws = static_cast<const T*>(W), *ys = static_cast<const T*>(Y);
  each(x, w, c, y, [&](int i, int j, int k) {
    if (part == Part::forward) sum[static_cast<size_t>(k)] += static_cast<double>(xs[i]) * static_cast<double>(ws[j]);
    if (part == Part::input) sum[static_cast<size_t>(i)] += static_cast<double>(ys[k]) * static_cast<double>(ws[j]);
    if (part == Part::weight) sum[static_cast<size_t>(j)] += static_cast<double>(xs[i]) * static_cast<double>(ys[k]);
  });
  T* to = static_cast<T*>(out);
  const T a = *static_cast<const T*>(alpha), b = *static_cast<const T*>(beta);
  for (size_t i = 0; i < count; ++i)
    to[i] = static_cast<T>(static_cast<double>(a) * sum[i] + (b != T(0) ? static_cast<double>(b) * static_cast<double>(to[i]) : 0));
}

cudnnStatus_t run(Part part, const void* alpha, const Tensor& x, const void* X, const Tensor& w, const void* W, const Convolution& c, const Tensor& y,
                  const void* Y, void* workspace, size_t bytes, const void* beta, void* out) {
  if (fail_run) return static_cast<cudnnStatus_t>(fail_run);
  if (!fit(x, w, c, y)) return CUDNN_STATUS_BAD_PARAM;
  if (!workspace || bytes < kNeeds) return CUDNN_STATUS_BAD_PARAM;
  for (const void* p : {X, W, Y, static_cast<const void*>(out)})
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0) return CUDNN_STATUS_BAD_PARAM;
  last_math = c.math;
  const Tensor& result = part == Part::forward ? y : part == Part::input ? x : w;
  const size_t count = static_cast<size_t>(result.n) * static_cast<size_t>(result.c * result.h * result.w);
  if (x.type == CUDNN_DATA_DOUBLE) run<double>(part, alpha, x, X, w, W, c, y, Y, beta, out, count);
  else run<float>(part, alpha, x, X, w, W, c, y, Y, beta, out, count);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

int* fake_value(const char* name) {
  const struct {
    const char* name;
    int* value;
  } values[] = {{"handles", &handles},         {"objects", &objects},
                {"heuristics", &heuristics},   {"last_math", &last_math},
                {"fail_create", &fail_create}, {"fail_heuristic", &fail_heuristic},
                {"fail_run", &fail_run},       {"only_forbidden", &only_forbidden}};
  for (const auto& v : values)
    if (std::strcmp(v.name, name) == 0) return v.value;
  return nullptr;
}

size_t cudnnGetVersion() {
  return CUDNN_VERSION;
}
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_EXECUTION_FAILED ? "CUDNN_STATUS_EXECUTION_FAILED" : "CUDNN_STATUS_OTHER";
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (fail_create) return static_cast<cudnnStatus_t>(fail_create);
  ++handles;
  *handle = as<cudnnContext>(new int(0));
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  --handles;
  delete as<int>(handle);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t) {
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* to) {
  ++objects;
  *to = as<cudnnTensorStruct>(new Tensor{});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t t) {
  --objects;
  delete as<Tensor>(t);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t t, cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h, int w) {
  if (format != CUDNN_TENSOR_NCHW || std::min({n, c, h, w}) < 1) return CUDNN_STATUS_BAD_PARAM;
  *as<Tensor>(t) = {type, n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* to) {
  ++objects;
  *to = as<cudnnFilterStruct>(new Tensor{});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t t) {
  --objects;
  delete as<Tensor>(t);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t t, cudnnDataType_t type, cudnnTensorFormat_t format, int k, int c, int h, int w) {
  if (format != CUDNN_TENSOR_NCHW || std::min({k, c, h, w}) < 1) return CUDNN_STATUS_BAD_PARAM;
  *as<Tensor>(t) = {type, k, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* to) {
  ++objects;
  *to = as<cudnnConvolutionStruct>(new Convolution{});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t c) {
  --objects;
  delete as<Convolution>(c);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t to, int pad_h, int pad_w, int u, int v, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t type) {
  if (mode != CUDNN_CROSS_CORRELATION) return CUDNN_STATUS_BAD_PARAM;
  *as<Convolution>(to) = {pad_h, pad_w, u, v, dilation_h, dilation_w, type};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t c, cudnnMathType_t math) {
  as<Convolution>(c)->math = math;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t c,
                                                     cudnnTensorDescriptor_t y, int wanted, int* found, cudnnConvolutionFwdAlgoPerf_t* results) {
  if (!fit(in<Tensor>(x), in<Tensor>(w), in<Convolution>(c), in<Tensor>(y))) return CUDNN_STATUS_BAD_PARAM;
  return list(in<Convolution>(c), wanted, found, results, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_FFT,
              CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t y, cudnnConvolutionDescriptor_t c,
                                                          cudnnTensorDescriptor_t x, int wanted, int* found, cudnnConvolutionBwdDataAlgoPerf_t* results) {
  if (!fit(in<Tensor>(x), in<Tensor>(w), in<Convolution>(c), in<Tensor>(y))) return CUDNN_STATUS_BAD_PARAM;
  return list(in<Convolution>(c), wanted, found, results, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD,
              CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t y, cudnnConvolutionDescriptor_t c,
                                                            cudnnFilterDescriptor_t w, int wanted, int* found, cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  if (!fit(in<Tensor>(x), in<Tensor>(w), in<Convolution>(c), in<Tensor>(y))) return CUDNN_STATUS_BAD_PARAM;
  return list(in<Convolution>(c), wanted, found, results, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING,
              CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1);
}
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t, const void* alpha, cudnnTensorDescriptor_t x, const void* X, cudnnFilterDescriptor_t w, const void* W,
                                      cudnnConvolutionDescriptor_t c, cudnnConvolutionFwdAlgo_t algorithm, void* workspace, size_t bytes, const void* beta,
                                      cudnnTensorDescriptor_t y, void* Y) {
  if (algorithm != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) return CUDNN_STATUS_BAD_PARAM;
  return run(Part::forward, alpha, in<Tensor>(x), X, in<Tensor>(w), W, in<Convolution>(c), in<Tensor>(y), nullptr, workspace, bytes, beta, Y);
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t, const void* alpha, cudnnFilterDescriptor_t w, const void* W, cudnnTensorDescriptor_t y, const void* Y,
                                           cudnnConvolutionDescriptor_t c, cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace, size_t bytes,
                                           const void* beta, cudnnTensorDescriptor_t x, void* X) {
  if (algorithm != CUDNN_CONVOLUTION_BWD_DATA_ALGO_1) return CUDNN_STATUS_BAD_PARAM;
  return run(Part::input, alpha, in<Tensor>(x), nullptr, in<Tensor>(w), W, in<Convolution>(c), in<Tensor>(y), Y, workspace, bytes, beta, X);
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t, const void* alpha, cudnnTensorDescriptor_t x, const void* X, cudnnTensorDescriptor_t y,
                                             const void* Y, cudnnConvolutionDescriptor_t c, cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace,
                                             size_t bytes, const void* beta, cudnnFilterDescriptor_t w, void* W) {
  if (algorithm != CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1) return CUDNN_STATUS_BAD_PARAM;
  return run(Part::weight, alpha, in<Tensor>(x), X, in<Tensor>(w), nullptr, in<Convolution>(c), in<Tensor>(y), Y, workspace, bytes, beta, W);
}

}  // extern "C"
