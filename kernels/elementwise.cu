// Elementwise kernels: each formula is written once, as a function object, and read by two executors.
//
//   add, sub, mul        y = a op b                       12 n bytes (f32)
//   scale, axpy          y = f x;  y += f x                8 n, 12 n
//   scale_by, spread     factor from device memory         8 n, 4 n
//   relu                 y = x < 0 ? 0 : x   (a NaN stays) 8 n
//   leaky_relu           y = x < 0 ? slope x : x           8 n
//   gelu                 y = x P(x), P the normal distribution (Hendrycks and Gimpel 2016, the exact form)   8 n
//   gelu_grad            g_x = g_y (P(x) + x p(x)), p its density   12 n
//   other *_grad         g_x = y > 0 ? g_y : slope g_y    12 n; the output's sign is the input's, slope >= 0
//
// Parallel over elements, 16 bytes a thread where pointers are aligned; every element is independent, so any order of
// threads gives the same bits.
#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/streaming.h"
#include "kernels/vector_math.h"

namespace panvae {

namespace {

template <class T>
struct Add {
  constexpr T operator()(T a, T b) const { return a + b; }
};
template <class T>
struct Sub {
  constexpr T operator()(T a, T b) const { return a - b; }
};
template <class T>
struct Mul {
  constexpr T operator()(T a, T b) const { return a * b; }
};
template <class T>
struct Constant {
  T value;
  constexpr T operator()() const { return value; }
};
template <class T>
struct Identity {
  constexpr T operator()(T x) const { return x; }
};
template <class T>
struct Scale {
  T factor;
  constexpr T operator()(T x) const { return factor * x; }
};
template <class T>
struct Axpy {
  T factor;
  constexpr T operator()(T x, T y) const { return y + factor * x; }
};
template <class T>
struct ScaleBy {
  const T* factor;
  constexpr T operator()(T x) const { return *factor * x; }
};
template <class T>
struct Spread {
  const T* value;
  T factor;
  constexpr T operator()() const { return factor * *value; }
};
template <class T>
struct Relu {
  constexpr T operator()(T x) const { return x < T(0) ? T(0) : x; }
};
template <class T>
struct LeakyRelu {
  T slope;
  constexpr T operator()(T x) const { return x < T(0) ? slope * x : x; }
};
template <class T>
struct Gelu {
  __host__ __device__ T operator()(T x) const { return x * normal_below(x); }
};
template <class T>
struct GeluGrad {
  __host__ __device__ T operator()(T x, T g) const { return g * gelu_slope(x); }
};
template <class T>
struct LeakyReluGrad {
  T slope;
  constexpr T operator()(T y, T g) const { return y > T(0) ? g : slope * g; }
};

}  // namespace

namespace cpu {

template <class T, class F, class... X>
void map(F f, T* y, int64_t n, const X*... x) {
  const bool streaming = streams(y, n, x...);
  parallel_chunks(n, chunk_of(streaming), [=](int64_t begin, int64_t end) {
    if constexpr (sizeof...(X) == 0) {
      store_value(streaming, y + begin, f(), end - begin);
    } else if constexpr (std::is_same_v<F, Identity<T>>) {
      store_copy(streaming, y + begin, (x + begin)..., end - begin);
    } else {
      store(streaming, y + begin, end - begin, [=](int64_t first, int64_t count, T* to) {
        const F g = f;  // a copy that no store can change: it stays in registers
        const int64_t from = begin + first;
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) to[i] = g(x[from + i]...);
      });
    }
    end_stores(streaming);
  });
}

}  // namespace cpu

namespace PV_EXEC {

template <class T, class F, class... X>
__global__ void map_kernel(F f, T* y, int64_t n, const X*... x) {
  begin_kernel();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) y[i] = f(x[i]...);
}

// Whole packs; the last thread of the grid also takes the n % size elements behind them.
template <class T, class F, class... X>
__global__ void map_packed_kernel(F f, T* y, int64_t n, const X*... x) {
  begin_kernel();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t packs = n / Pack<T>::size;
  if (i < packs) {
    Pack<T> out;
    [[maybe_unused]] auto load = [i](const T* p) { return reinterpret_cast<const Pack<T>*>(p)[i]; };
    auto all = [&](const auto&... in) {
      for (int j = 0; j < Pack<T>::size; ++j) out.v[j] = f(in.v[j]...);
    };
    all(load(x)...);
    reinterpret_cast<Pack<T>*>(y)[i] = out;
  } else if (i == packs) {
    for (int64_t j = packs * Pack<T>::size; j < n; ++j) y[j] = f(x[j]...);
  }
}

template <class T, class F, class... X>
void map(Stream& stream, F f, T* y, int64_t n, const X*... x) {
  if (n == 0) return;
  if (aligned16(y, x...)) launch(stream, grid_for(n / Pack<T>::size + 1, kBlock), kBlock, 0, map_packed_kernel<T, F, X...>, f, y, n, x...);
  else launch(stream, grid_for(n, kBlock), kBlock, 0, map_kernel<T, F, X...>, f, y, n, x...);
}

}  // namespace PV_EXEC

// clang-format off
// One line a kernel and executor: the table's signature on one side, the formula on the other.
#define PV_MAP(name, parameters, formula, ...)                                                                  \
  namespace cpu { template <class T> void name parameters { (void)stream; map(formula, __VA_ARGS__); } }        \
  namespace PV_EXEC { template <class T> void name parameters { map(stream, formula, __VA_ARGS__); } }          \
  PV_INSTANTIATE(name)

PV_MAP(fill, (Stream& stream, Out<T> y, int64_t n, T value), Constant<T>{value}, y, n)
PV_MAP(copy, (Stream& stream, In<T> x, Out<T> y, int64_t n), Identity<T>{}, y, n, x)
PV_MAP(add, (Stream& stream, In<T> a, In<T> b, Out<T> y, int64_t n), Add<T>{}, y, n, a, b)
PV_MAP(sub, (Stream& stream, In<T> a, In<T> b, Out<T> y, int64_t n), Sub<T>{}, y, n, a, b)
PV_MAP(mul, (Stream& stream, In<T> a, In<T> b, Out<T> y, int64_t n), Mul<T>{}, y, n, a, b)
PV_MAP(scale, (Stream& stream, In<T> x, Out<T> y, int64_t n, T factor), Scale<T>{factor}, y, n, x)
PV_MAP(axpy, (Stream& stream, In<T> x, InOut<T> y, int64_t n, T factor), Axpy<T>{factor}, y, n, x, static_cast<const T*>(y))
PV_MAP(scale_by, (Stream& stream, In<T> x, In<T> factor, Out<T> y, int64_t n), ScaleBy<T>{factor}, y, n, x)
PV_MAP(spread, (Stream& stream, In<T> value, Out<T> y, int64_t n, T factor), (Spread<T>{value, factor}), y, n)
PV_MAP(relu, (Stream& stream, In<T> x, Out<T> y, int64_t n), Relu<T>{}, y, n, x)
PV_MAP(relu_grad, (Stream& stream, In<T> y, In<T> grad_y, Out<T> grad_x, int64_t n), LeakyReluGrad<T>{T(0)}, grad_x, n, y, grad_y)
PV_MAP(leaky_relu, (Stream& stream, In<T> x, Out<T> y, int64_t n, T slope), LeakyRelu<T>{slope}, y, n, x)
PV_MAP(leaky_relu_grad, (Stream& stream, In<T> y, In<T> grad_y, Out<T> grad_x, int64_t n, T slope), LeakyReluGrad<T>{slope}, grad_x, n, y, grad_y)
PV_MAP(gelu, (Stream& stream, In<T> x, Out<T> y, int64_t n), Gelu<T>{}, y, n, x)
PV_MAP(gelu_grad, (Stream& stream, In<T> x, In<T> grad_y, Out<T> grad_x, int64_t n), GeluGrad<T>{}, grad_x, n, x, grad_y)

// clang-format on
}  // namespace panvae
