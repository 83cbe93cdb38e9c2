// The libraries of the vendor at work: which provider computes a call, and the states of the libraries, one a stream.
#include "kernels/vendor.h"

#include <cuda_runtime.h>

#include <array>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/provider.h"

namespace panvae {

std::vector<VendorLibrary> vendor_libraries() {
  const cublaslt::Api& lt = cublaslt::api();
  const cudnn::Api& dnn = cudnn::api();
  return {{"cuBLASLt", lt.version_text, lt.why_absent}, {"cuDNN", dnn.version_text, dnn.why_absent}};
}

namespace cuda::vendor {

namespace {

// Says once in a process that a library is used, or why it is not.
void tell(const char* library, const std::string& version, const std::string& why_absent) {
  if (why_absent.empty()) log::info("{} {} may compute what it is faster at", library, version);
  else log::info("our kernels compute what {} could: {}", library, why_absent);
}

struct State {
  ProviderPlace products_place, convolutions_place;
  // Made by the first call; absent for good, and the reason told, where the library is missing or gives no handle (a
  // driver too old for it, say): our kernels compute then.
  std::optional<cublaslt::Products> products;
  std::optional<cudnn::Convolutions> convolutions;
  bool products_tried = false, convolutions_tried = false;

  cublaslt::Products* product_library() {
    if (!products_tried) {
      products_tried = true;
      const cublaslt::Api& api = cublaslt::api();
      make(products, "cuBLASLt", api.version_text, api.why_absent, api);
      products_place.library = "cuBLASLt " + api.version_text;
    }
    return products ? &*products : nullptr;
  }
  cudnn::Convolutions* convolution_library(Stream& stream) {
    if (!convolutions_tried) {
      convolutions_tried = true;
      const cudnn::Api& api = cudnn::api();
      make(convolutions, "cuDNN", api.version_text, api.why_absent, api, stream);
      convolutions_place.library = "cuDNN " + api.version_text;
    }
    return convolutions ? &*convolutions : nullptr;
  }

 private:
  template <class Library, class... A>
  static void make(std::optional<Library>& library, const char* name, const std::string& version, std::string why_absent, A&... arguments) {
    if (why_absent.empty()) try {
        library.emplace(arguments...);
      } catch (const Error& e) {
        why_absent = e.what();
      }
    static std::mutex mutex;
    static std::map<std::string, bool> told;
    const std::lock_guard lock(mutex);
    if (!std::exchange(told[name], true)) tell(name, version, why_absent);
  }
};

// The state of the stream, with its device made the current one.
State& state_of(Stream& stream) {
  const cudaError_t e = cudaSetDevice(stream.device().index);
  if (e != cudaSuccess) throw Error(ErrorCode::machine, fmt::format("CUDA: {}", cudaGetErrorString(e)), "cudaSetDevice", "", "cuda");
  if (!stream.vendor) {
    auto made = std::make_shared<State>();
    made->products_place.device = made->convolutions_place.device = stream.backend().properties(stream.device().index).name;
    stream.vendor = made;
  }
  return *static_cast<State*>(stream.vendor.get());
}

// Nothing can be timed while a graph is being captured.
bool can_measure(Stream& stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(static_cast<cudaStream_t>(stream.handle()), &capture) == cudaSuccess && capture == cudaStreamCaptureStatusNone;
}

template <class T>
int flags_of(const Epilogue<T>& e) {
  return (e.bias ? ProviderCall::bias : 0) | (e.accumulate ? ProviderCall::accumulate : 0) |
         (e.activation == Activation::relu         ? ProviderCall::relu
          : e.activation == Activation::leaky_relu ? ProviderCall::leaky_relu
                                                   : 0);
}

// What is called meanwhile (our kernel that ends a product of the library, the products that are measured) is part of the call that is
// being profiled: the profile knows one call at a time.
struct Unprofiled {
  explicit Unprofiled(Stream& s) : stream(s), profile(std::exchange(s.profile, nullptr)) {}
  ~Unprofiled() { stream.profile = profile; }
  Unprofiled(const Unprofiled&) = delete;
  Unprofiled& operator=(const Unprofiled&) = delete;
  Stream& stream;
  Profile* profile;
};

// Runs `theirs`, by the algorithm that was chosen, if the vendor is to compute this, and says whether it did.
template <class Theirs, class Measure>
bool compute(Stream& stream, const ProviderPlace& place, const ProviderCall& call, Theirs theirs, Measure measure) {
  const Unprofiled within(stream);
  ProviderTable& table = ProviderTable::of_process();
  std::function<ProviderChoice()> contest;
  if (stream.provider == Provider::automatic && table.measures() && can_measure(stream)) contest = measure;
  ProviderMeans means;
  if (table.choose(stream.provider, place, call, contest, &means) != Provider::vendor || !theirs(means.algorithm)) {
    stream.measured_fill = means.fill;
    return false;
  }
  stream.computed_by = Provider::vendor;
  return true;
}

std::array<int64_t, 9> sizes_of(const Conv1dShape& s) {
  return {s.B, s.C_in, s.L_in, s.C_out, s.L_out, s.K, s.stride, s.padding, s.dilation};
}

// The three convolutions differ in who reads whom: operands a and b of `inputs` elements, a result of `output`, sums of
// `terms` products, and a bias of `channels`.
struct Sides {
  int64_t a, b, output, terms, channels;
};

template <class T, class Theirs, class Ours>
bool convolution(Stream& stream, ProviderOp op, const Conv1dShape& s, const Epilogue<T>& e, const Sides& sides, In<T> a, In<T> b, InOut<T> c, Theirs theirs,
                 Ours ours) {
  stream.computed_by = Provider::ours;
  if (stream.provider == Provider::ours) return false;
  State& state = state_of(stream);
  cudnn::Convolutions* library = state.convolution_library(stream);
  if (!library) return false;
  const ProviderCall call{op, sizeof(T), sizeof(T) == 8 ? MathMode::ieee : stream.math, flags_of(e), sizes_of(s)};
  return compute(
      stream, state.convolutions_place, call, [&](const ProviderAlgorithm&) { return theirs(*library, a, b, c, e); },
      [&] {
        Epilogue<T> trial = e;
        return measure_providers<T>(
            stream, {sides.a, sides.b, sides.channels}, sides.output, provider_tolerance(call.math, sizeof(T), sides.terms),
            [&](const std::vector<const T*>& in, T* out) {
              if (trial.bias) trial.bias = in[2];
              by_ours(stream, [&] { ours(in[0], in[1], out, trial); });
            },
            [&](const std::vector<const T*>& in, T* out, size_t) {
              if (trial.bias) trial.bias = in[2];
              return theirs(*library, in[0], in[1], out, trial);
            });
      });
}

}  // namespace

template <class T>
bool matmul(Stream& stream, In<T> a, bool transpose_a, int64_t stride_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N, int64_t K,
            const Epilogue<T>& e) {
  stream.computed_by = Provider::ours;
  if (stream.provider == Provider::ours) return false;
  State& state = state_of(stream);
  cublaslt::Products* library = state.product_library();
  if (!library) return false;
  const ProviderCall call{ProviderOp::matmul,
                          sizeof(T),
                          sizeof(T) == 8 ? MathMode::ieee : stream.math,
                          flags_of(e) | (transpose_a ? ProviderCall::transpose_a : 0) | (transpose_b ? ProviderCall::transpose_b : 0),
                          {M, N, K, stride_a == (transpose_a ? M : K) ? 0 : stride_a}};
  return compute(
      stream, state.products_place, call,
      [&](const ProviderAlgorithm& algorithm) { return library->matmul<T>(stream, a, transpose_a, stride_a, b, transpose_b, c, M, N, K, e, algorithm); },
      [&] { return library->measure<T>(stream, transpose_a, stride_a, transpose_b, M, N, K, e); });
}

template <class T>
bool conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, const Conv1dShape& s, const Epilogue<T>& e) {
  const Sides sides{s.B * s.C_in * s.L_in, s.C_out * s.C_in * s.K, s.B * s.C_out * s.L_out, s.C_in * s.K, s.C_out};
  return convolution<T>(
      stream, ProviderOp::conv1d, s, e, sides, x, w, y,
      [&](cudnn::Convolutions& library, In<T> a, In<T> b, T* c, const Epilogue<T>& end) { return library.conv1d<T>(stream, a, b, c, s, end); },
      [&](In<T> a, In<T> b, T* c, const Epilogue<T>& end) { k::conv1d<T>(stream, a, b, c, s, end); });
}

template <class T>
bool conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, const Conv1dShape& s, const Epilogue<T>& e) {
  const Sides sides{s.B * s.C_out * s.L_out, s.C_out * s.C_in * s.K, s.B * s.C_in * s.L_in, s.C_out * s.K, s.C_in};
  return convolution<T>(
      stream, ProviderOp::conv1d_grad_input, s, e, sides, grad_y, w, grad_x,
      [&](cudnn::Convolutions& library, In<T> a, In<T> b, T* c, const Epilogue<T>& end) { return library.conv1d_grad_input<T>(stream, a, b, c, s, end); },
      [&](In<T> a, In<T> b, T* c, const Epilogue<T>& end) { k::conv1d_grad_input<T>(stream, a, b, c, s, end); });
}

template <class T>
bool conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, const Conv1dShape& s, bool accumulate) {
  Epilogue<T> e;
  e.accumulate = accumulate;
  const Sides sides{s.B * s.C_in * s.L_in, s.B * s.C_out * s.L_out, s.C_out * s.C_in * s.K, s.B * s.L_out, 0};
  return convolution<T>(
      stream, ProviderOp::conv1d_grad_weight, s, e, sides, x, grad_y, grad_w,
      [&](cudnn::Convolutions& library, In<T> a, In<T> b, T* c, const Epilogue<T>& end) {
        return library.conv1d_grad_weight<T>(stream, a, b, c, s, end.accumulate);
      },
      [&](In<T> a, In<T> b, T* c, const Epilogue<T>& end) { k::conv1d_grad_weight<T>(stream, a, b, c, s, end.accumulate); });
}

#define PV_VENDOR(T)                                                                                                            \
  template bool matmul<T>(Stream&, In<T>, bool, int64_t, In<T>, bool, InOut<T>, int64_t, int64_t, int64_t, const Epilogue<T>&); \
  template bool conv1d<T>(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, const Epilogue<T>&);                             \
  template bool conv1d_grad_input<T>(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, const Epilogue<T>&);                  \
  template bool conv1d_grad_weight<T>(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, bool);
PV_VENDOR(float)
PV_VENDOR(double)

}  // namespace cuda::vendor
}  // namespace panvae
