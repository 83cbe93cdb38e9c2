// A convolution over one dimension is one over two whose height is 1: NCHW tensors [B, C, 1, L], filters
// [C_out, C_in, 1, K], padding 0, stride 1 and dilation 1 along the height. The library's cross-correlation is our
// convolution. Bias and activation are ours (bias_activation), in one pass.
#include "kernels/cuda/cudnn.h"

#include <cudnn.h>

#include <array>
#include <climits>
#include <map>

#include "base/dynamic_library.h"
#include "base/error.h"

// The functions for fixed operations are called deprecated since 9.0, in favour of the graph API; they are there in all of 9.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace panvae::cudnn {

struct Functions {
  decltype(&::cudnnGetVersion) version = nullptr;
  decltype(&::cudnnGetErrorString) error_string = nullptr;
  decltype(&::cudnnCreate) create = nullptr;
  decltype(&::cudnnDestroy) destroy = nullptr;
  decltype(&::cudnnSetStream) set_stream = nullptr;
  decltype(&::cudnnCreateTensorDescriptor) tensor_create = nullptr;
  decltype(&::cudnnDestroyTensorDescriptor) tensor_destroy = nullptr;
  decltype(&::cudnnSetTensor4dDescriptor) tensor_set = nullptr;
  decltype(&::cudnnCreateFilterDescriptor) filter_create = nullptr;
  decltype(&::cudnnDestroyFilterDescriptor) filter_destroy = nullptr;
  decltype(&::cudnnSetFilter4dDescriptor) filter_set = nullptr;
  decltype(&::cudnnCreateConvolutionDescriptor) convolution_create = nullptr;
  decltype(&::cudnnDestroyConvolutionDescriptor) convolution_destroy = nullptr;
  decltype(&::cudnnSetConvolution2dDescriptor) convolution_set = nullptr;
  decltype(&::cudnnSetConvolutionMathType) math_set = nullptr;
  decltype(&::cudnnGetConvolutionForwardAlgorithm_v7) forward_heuristic = nullptr;
  decltype(&::cudnnGetConvolutionBackwardDataAlgorithm_v7) input_heuristic = nullptr;
  decltype(&::cudnnGetConvolutionBackwardFilterAlgorithm_v7) weight_heuristic = nullptr;
  decltype(&::cudnnConvolutionForward) forward = nullptr;
  decltype(&::cudnnConvolutionBackwardData) input_gradient = nullptr;
  decltype(&::cudnnConvolutionBackwardFilter) weight_gradient = nullptr;
};

namespace {

constexpr size_t kWorkspace = size_t{256} << 20;  // algorithms that want more are passed over

void check(const Functions& f, cudnnStatus_t status, const char* expression) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw Error(ErrorCode::machine, fmt::format("cuDNN: {}", f.error_string(status)), expression, "PANVAE_PROVIDER=ours goes without it", "conv1d");
}
#define PV_CUDNN(call) check(f, (call), #call)

// Version 9 counts its reasons from 3000 on, 8 has one.
bool not_supported(cudnnStatus_t status) {
  return status == CUDNN_STATUS_NOT_SUPPORTED || (static_cast<int>(status) >= 3000 && static_cast<int>(status) < 4000);
}

bool acceptable(cudnnConvolutionFwdAlgo_t a) {
  return a == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM || a == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM || a == CUDNN_CONVOLUTION_FWD_ALGO_GEMM ||
         a == CUDNN_CONVOLUTION_FWD_ALGO_DIRECT;
}
bool acceptable(cudnnConvolutionBwdDataAlgo_t a) {
  return a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
}
bool acceptable(cudnnConvolutionBwdFilterAlgo_t a) {
  return a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
}

enum class Part : int64_t { forward, input, weight };

// One kind of call: descriptors, and the algorithm.
struct Plan {
  const Functions* f = nullptr;
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  bool declined = true;
  int algorithm = 0;
  size_t workspace = 0;

  ~Plan() {
    if (!f) return;
    if (convolution) f->convolution_destroy(convolution);
    if (w) f->filter_destroy(w);
    if (y) f->tensor_destroy(y);
    if (x) f->tensor_destroy(x);
  }

  // Takes the first algorithm of the heuristic's list, fastest first, that may be used.
  template <class Performance, class Heuristic>
  void choose(Heuristic heuristic, bool ieee) {
    std::array<Performance, 10> list{};
    int found = 0;
    const cudnnStatus_t status = heuristic(static_cast<int>(list.size()), &found, list.data());
    if (not_supported(status)) return;
    check(*f, status, "cudnnGetConvolution*Algorithm_v7");
    for (int i = 0; i < found; ++i) {
      const Performance& p = list[static_cast<size_t>(i)];
      if (p.status != CUDNN_STATUS_SUCCESS || p.determinism != CUDNN_DETERMINISTIC || p.memory > kWorkspace || !acceptable(p.algo)) continue;
      if (ieee && (p.mathType == CUDNN_TENSOR_OP_MATH || p.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION)) continue;
      if (!ieee) check(*f, f->math_set(convolution, p.mathType), "cudnnSetConvolutionMathType");
      algorithm = static_cast<int>(p.algo);
      workspace = p.memory;
      declined = false;
      return;
    }
  }
};

// Every size of at least 1 and within int, and a product of operands that begin where the library's wide loads may.
bool fits(const Conv1dShape& s, const void* a, const void* b, const void* c) {
  for (const int64_t size : {s.B, s.C_in, s.L_in, s.C_out, s.L_out, s.K, s.stride, s.dilation})
    if (size < 1 || size > INT_MAX) return false;
  if (s.padding < 0 || s.padding > INT_MAX) return false;
  return (reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) | reinterpret_cast<uintptr_t>(c)) % 16 == 0;
}

}  // namespace

struct Convolutions::State {
  std::shared_ptr<const Functions> functions;
  cudnnHandle_t handle = nullptr;
  void* stream = nullptr;               // whose work the handle queues now
  using Key = std::array<int64_t, 10>;  // the shape; part, type and math mode
  std::map<Key, std::unique_ptr<Plan>> plans;

  ~State() {
    plans.clear();
    if (handle) functions->destroy(handle);
  }
  Plan& plan(Part part, bool f64, MathMode math, const Conv1dShape& s);
  void queue_on(Stream& on) {
    if (stream == on.handle()) return;
    const Functions& f = *functions;
    PV_CUDNN(f.set_stream(handle, static_cast<cudaStream_t>(on.handle())));
    stream = on.handle();
  }
};

Api open(std::span<const std::string> names) {
  DynamicLibrary library(names);
  auto f = std::make_shared<Functions>();
  const bool whole =
      library.bind("cudnnGetVersion", f->version) && library.bind("cudnnGetErrorString", f->error_string) && library.bind("cudnnCreate", f->create) &&
      library.bind("cudnnDestroy", f->destroy) && library.bind("cudnnSetStream", f->set_stream) &&
      library.bind("cudnnCreateTensorDescriptor", f->tensor_create) && library.bind("cudnnDestroyTensorDescriptor", f->tensor_destroy) &&
      library.bind("cudnnSetTensor4dDescriptor", f->tensor_set) && library.bind("cudnnCreateFilterDescriptor", f->filter_create) &&
      library.bind("cudnnDestroyFilterDescriptor", f->filter_destroy) && library.bind("cudnnSetFilter4dDescriptor", f->filter_set) &&
      library.bind("cudnnCreateConvolutionDescriptor", f->convolution_create) && library.bind("cudnnDestroyConvolutionDescriptor", f->convolution_destroy) &&
      library.bind("cudnnSetConvolution2dDescriptor", f->convolution_set) && library.bind("cudnnSetConvolutionMathType", f->math_set) &&
      library.bind("cudnnGetConvolutionForwardAlgorithm_v7", f->forward_heuristic) &&
      library.bind("cudnnGetConvolutionBackwardDataAlgorithm_v7", f->input_heuristic) &&
      library.bind("cudnnGetConvolutionBackwardFilterAlgorithm_v7", f->weight_heuristic) && library.bind("cudnnConvolutionForward", f->forward) &&
      library.bind("cudnnConvolutionBackwardData", f->input_gradient) && library.bind("cudnnConvolutionBackwardFilter", f->weight_gradient);
  if (!whole) return {nullptr, "", library.why_absent()};
  const size_t v = f->version();  // 91900 of 9.19.0; 8.x counts thousands
  if (static_cast<int>(v >= 90000 ? v / 10000 : v / 1000) != CUDNN_MAJOR)
    return {nullptr, "", fmt::format("{} is version {}, and this program was compiled for {}", library.name(), v, CUDNN_MAJOR)};
  return {f, v >= 90000 ? fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100) : fmt::format("{}.{}.{}", v / 1000, v / 100 % 10, v % 100), ""};
}

const Api& api() {
  static const Api the_api = open(std::array{fmt::format("libcudnn.so.{}", CUDNN_MAJOR), fmt::format("{}/libcudnn.so.{}", PANVAE_CUDA_LIBRARIES, CUDNN_MAJOR)});
  return the_api;
}

Convolutions::Convolutions(const Api& api, Stream& stream) : state_(std::make_unique<State>()) {
  state_->functions = api.functions;
  const Functions& f = *api.functions;
  PV_CUDNN(f.create(&state_->handle));
  state_->queue_on(stream);
}
Convolutions::~Convolutions() = default;

Plan& Convolutions::State::plan(Part part, bool f64, MathMode math, const Conv1dShape& s) {
  const int64_t kind = static_cast<int64_t>(part) | int64_t{f64} << 8 | static_cast<int64_t>(math) << 16;
  std::unique_ptr<Plan>& kept = plans[{s.B, s.C_in, s.L_in, s.C_out, s.L_out, s.K, s.stride, s.padding, s.dilation, kind}];
  if (kept) return *kept;
  const Functions& f = *functions;
  auto made = std::make_unique<Plan>();
  Plan& p = *made;
  p.f = &f;
  const cudnnDataType_t type = f64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
  auto as_int = [](int64_t size) { return static_cast<int>(size); };
  auto tensor = [&](cudnnTensorDescriptor_t& to, int64_t C, int64_t L) {
    PV_CUDNN(f.tensor_create(&to));
    PV_CUDNN(f.tensor_set(to, CUDNN_TENSOR_NCHW, type, as_int(s.B), as_int(C), 1, as_int(L)));
  };
  tensor(p.x, s.C_in, s.L_in);
  tensor(p.y, s.C_out, s.L_out);
  PV_CUDNN(f.filter_create(&p.w));
  PV_CUDNN(f.filter_set(p.w, type, CUDNN_TENSOR_NCHW, as_int(s.C_out), as_int(s.C_in), 1, as_int(s.K)));
  PV_CUDNN(f.convolution_create(&p.convolution));
  PV_CUDNN(f.convolution_set(p.convolution, 0, as_int(s.padding), 1, as_int(s.stride), 1, as_int(s.dilation), CUDNN_CROSS_CORRELATION, type));
  // The library rounds f32 to tf32 where told so, and to nothing less: bf16, which allows more, is tf32 here.
  const bool ieee = f64 || math == MathMode::ieee;
  PV_CUDNN(f.math_set(p.convolution, ieee ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  switch (part) {
    case Part::forward:
      p.choose<cudnnConvolutionFwdAlgoPerf_t>([&](auto... a) { return f.forward_heuristic(handle, p.x, p.w, p.convolution, p.y, a...); }, ieee);
      break;
    case Part::input:
      p.choose<cudnnConvolutionBwdDataAlgoPerf_t>([&](auto... a) { return f.input_heuristic(handle, p.w, p.y, p.convolution, p.x, a...); }, ieee);
      break;
    case Part::weight:
      p.choose<cudnnConvolutionBwdFilterAlgoPerf_t>([&](auto... a) { return f.weight_heuristic(handle, p.x, p.y, p.convolution, p.w, a...); }, ieee);
      break;
  }
  kept = std::move(made);
  return *kept;
}

namespace {

// False, for good, where the library finds out only now that it cannot.
bool done(Plan& p, cudnnStatus_t status, const char* expression) {
  if (not_supported(status)) {
    p.declined = true;
    return false;
  }
  check(*p.f, status, expression);
  return true;
}

}  // namespace

template <class T>
bool Convolutions::conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, const Conv1dShape& s, const Epilogue<T>& e) {
  if (!fits(s, x, w, y)) return false;
  Plan& p = state_->plan(Part::forward, sizeof(T) == 8, stream.math, s);
  state_->queue_on(stream);
  if (p.declined) return false;
  const T one = T(1), beta = e.accumulate ? T(1) : T(0);
  void* workspace = p.workspace > 0 ? stream.scratch(p.workspace) : nullptr;
  if (!done(p,
            p.f->forward(state_->handle, &one, p.x, x, p.w, w, p.convolution, static_cast<cudnnConvolutionFwdAlgo_t>(p.algorithm), workspace, p.workspace,
                         &beta, p.y, y),
            "cudnnConvolutionForward"))
    return false;
  if (e.bias || e.activation != Activation::none) k::bias_activation<T>(stream, y, s.B, s.C_out, s.L_out, e.bias, e.activation, e.slope);
  return true;
}

template <class T>
bool Convolutions::conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, const Conv1dShape& s, const Epilogue<T>& e) {
  if (!fits(s, grad_y, w, grad_x)) return false;
  Plan& p = state_->plan(Part::input, sizeof(T) == 8, stream.math, s);
  state_->queue_on(stream);
  if (p.declined) return false;
  const T one = T(1), beta = e.accumulate ? T(1) : T(0);
  void* workspace = p.workspace > 0 ? stream.scratch(p.workspace) : nullptr;
  if (!done(p,
            p.f->input_gradient(state_->handle, &one, p.w, w, p.y, grad_y, p.convolution, static_cast<cudnnConvolutionBwdDataAlgo_t>(p.algorithm), workspace,
                                p.workspace, &beta, p.x, grad_x),
            "cudnnConvolutionBackwardData"))
    return false;
  if (e.bias || e.activation != Activation::none) k::bias_activation<T>(stream, grad_x, s.B, s.C_in, s.L_in, e.bias, e.activation, e.slope);
  return true;
}

template <class T>
bool Convolutions::conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, const Conv1dShape& s, bool accumulate) {
  if (!fits(s, x, grad_y, grad_w)) return false;
  Plan& p = state_->plan(Part::weight, sizeof(T) == 8, stream.math, s);
  state_->queue_on(stream);
  if (p.declined) return false;
  const T one = T(1), beta = accumulate ? T(1) : T(0);
  void* workspace = p.workspace > 0 ? stream.scratch(p.workspace) : nullptr;
  return done(p,
              p.f->weight_gradient(state_->handle, &one, p.x, x, p.y, grad_y, p.convolution, static_cast<cudnnConvolutionBwdFilterAlgo_t>(p.algorithm),
                                   workspace, p.workspace, &beta, p.w, grad_w),
              "cudnnConvolutionBackwardFilter");
}

template bool Convolutions::conv1d<float>(Stream&, In<float>, In<float>, InOut<float>, const Conv1dShape&, const Epilogue<float>&);
template bool Convolutions::conv1d<double>(Stream&, In<double>, In<double>, InOut<double>, const Conv1dShape&, const Epilogue<double>&);
template bool Convolutions::conv1d_grad_input<float>(Stream&, In<float>, In<float>, InOut<float>, const Conv1dShape&, const Epilogue<float>&);
template bool Convolutions::conv1d_grad_input<double>(Stream&, In<double>, In<double>, InOut<double>, const Conv1dShape&, const Epilogue<double>&);
template bool Convolutions::conv1d_grad_weight<float>(Stream&, In<float>, In<float>, InOut<float>, const Conv1dShape&, bool);
template bool Convolutions::conv1d_grad_weight<double>(Stream&, In<double>, In<double>, InOut<double>, const Conv1dShape&, bool);

}  // namespace panvae::cudnn
