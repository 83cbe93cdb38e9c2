// THE TABLE: every kernel of the engine, one line each. A line declares the twins cpu::name, simt::name and cuda::name and
// the dispatcher k::name<T>(stream, ...), which calls the twin of the stream's device. The maths of a kernel stands at the
// head of kernels/<file>.cu, named behind the group.
//
// Pointers are to memory of the stream's device, dense and row-major; shapes stand in the comments. T is float or double
// (storage types beside them go through cast). Outputs must not overlap inputs unless "in place" is said. Sizes may be 0.
// All kernels are deterministic: the same bits for the same arguments on the same device and thread count.
#pragma once
#include <cstdint>

#include "base/error.h"
#include "base/float_types.h"
#include "base/philox.h"
#include "kernels/device.h"
#include "kernels/profile.h"

namespace panvae {

template <class T>
using In = const T*;
template <class T>
using Out = T*;  // every element is written, none is read
template <class T>
using InOut = T*;

enum class Activation : int { none, relu, leaky_relu };

// What happens to an element of a product before it is stored: c = act(product [+ c] + bias[column]); of a convolution,
// bias[channel].
template <class T>
struct Epilogue {
  const T* bias = nullptr;  // [N], of a convolution [channels of the output], or none
  Activation activation = Activation::none;
  T slope = T(0);           // of leaky_relu, >= 0
  bool accumulate = false;  // adds to what c holds
};

// A convolution over the last dimension: x [B, C_in, L_in], w [C_out, C_in, K], y [B, C_out, L_out],
// y[b, o, t] = sum over i, k of w[o, i, k] x[b, i, t stride - padding + k dilation], x being 0 outside.
struct Conv1dShape {
  int64_t B = 0, C_in = 0, L_in = 0, C_out = 0, L_out = 0, K = 0;
  int64_t stride = 1, padding = 0, dilation = 1;
};

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;  // AdamW: weight decay acts on the parameter, not on the gradient
};
// The optimizer's scalars, an array of doubles on the device: written by the host where said, else by adam_prepare.
enum AdamSlot : int {
  adam_learning_rate /* host */,
  adam_max_norm /* host, 0 = no clipping */,
  adam_step,
  adam_skipped,
  adam_norm,
  adam_gradient_scale /* 0 = skip this step */,
  adam_step_size /* lr / bias correction 1 */,
  adam_sqrt_bias2,
  adam_slots
};
// adam_summing leaves one number for each stretch of so many elements.
inline constexpr int64_t kAdamStretch = 4096;
constexpr int64_t adam_stretches(int64_t n) {
  return (n + kAdamStretch - 1) / kAdamStretch;
}

// Ends the profile's span of a call, also where the call throws.
struct Profiled {
  Stream& stream;
  ~Profiled() {
    if (stream.profile) stream.profile->end(stream);
  }
};

// clang-format off: one line a kernel
#ifndef PV_KERNEL  // backend_cuda_stub.cpp reads this page with a meaning of its own
#define PV_KERNEL(name, ...)                                                               \
  namespace cpu {                                                                          \
  template <class T>                                                                       \
  void name(Stream& stream, __VA_ARGS__);                                                  \
  }                                                                                        \
  namespace simt {                                                                         \
  template <class T>                                                                       \
  void name(Stream& stream, __VA_ARGS__);                                                  \
  }                                                                                        \
  namespace cuda {                                                                         \
  template <class T>                                                                       \
  void name(Stream& stream, __VA_ARGS__);                                                  \
  }                                                                                        \
  namespace work {                                                                         \
  template <class T>                                                                       \
  Work name(__VA_ARGS__);                                                                  \
  }                                                                                        \
  namespace k {                                                                            \
  template <class T, class... A>                                                           \
  void name(Stream& stream, A&&... arguments) {                                            \
    const Profiled profiled{stream};                                                       \
    if (stream.profile) stream.profile->begin(stream, #name, work::name<T>(arguments...)); \
    switch (stream.type()) {                                                               \
      case DeviceType::cpu:                                                                \
        return cpu::name<T>(stream, arguments...);                                         \
      case DeviceType::simt:                                                               \
        return simt::name<T>(stream, arguments...);                                        \
      case DeviceType::cuda:                                                               \
        return cuda::name<T>(stream, arguments...);                                        \
    }                                                                                      \
  }                                                                                        \
  }
#endif

// elementwise.cu --------------------------------------------------------------------------------------------------------
PV_KERNEL(fill, Out<T> y, int64_t n, T value)
PV_KERNEL(copy, In<T> x, Out<T> y, int64_t n)
PV_KERNEL(add, In<T> a, In<T> b, Out<T> y, int64_t n)                    // a + b; y may be a or b
PV_KERNEL(sub, In<T> a, In<T> b, Out<T> y, int64_t n)                    // a - b; y may be a or b
PV_KERNEL(mul, In<T> a, In<T> b, Out<T> y, int64_t n)                    // a * b; y may be a or b
PV_KERNEL(scale, In<T> x, Out<T> y, int64_t n, T factor)                 // factor * x; y may be x
PV_KERNEL(axpy, In<T> x, InOut<T> y, int64_t n, T factor)                // y += factor * x
PV_KERNEL(scale_by, In<T> x, In<T> factor /*[1]*/, Out<T> y, int64_t n)  // x * *factor; y may be x
PV_KERNEL(spread, In<T> value /*[1]*/, Out<T> y, int64_t n, T factor)    // y[i] = factor * *value
PV_KERNEL(relu, In<T> x, Out<T> y, int64_t n)                            // y may be x
PV_KERNEL(relu_grad, In<T> y, In<T> grad_y, Out<T> grad_x, int64_t n)    // by the output's sign; grad_x may be grad_y
PV_KERNEL(leaky_relu, In<T> x, Out<T> y, int64_t n, T slope)             // slope >= 0; y may be x
PV_KERNEL(leaky_relu_grad, In<T> y, In<T> grad_y, Out<T> grad_x, int64_t n, T slope)
PV_KERNEL(gelu, In<T> x, Out<T> y, int64_t n)                          // x times the normal distribution; y may be x
PV_KERNEL(gelu_grad, In<T> x, In<T> grad_y, Out<T> grad_x, int64_t n)  // by the input; grad_x may be grad_y

// cast.cu: T to and from the storage types
PV_KERNEL(cast_to_f32, In<T> x, Out<float> y, int64_t n)
PV_KERNEL(cast_from_f32, In<float> x, Out<T> y, int64_t n)
PV_KERNEL(cast_to_bf16, In<T> x, Out<bf16> y, int64_t n)  // nearest, ties to even
PV_KERNEL(cast_from_bf16, In<bf16> x, Out<T> y, int64_t n)

// gather.cu: rows [count] by index; one outside is `outside` everywhere in a gather and is left out of a sum
PV_KERNEL(gather_rows, In<T> x /*[source_rows, columns]*/, In<int64_t> rows, Out<T> y, int64_t source_rows, int64_t count, int64_t columns, T outside)
// y[rows[i], :] += x[i, :], in the order of the list; without accumulate, y is 0 before
PV_KERNEL(scatter_add_rows, In<T> x, In<int64_t> rows, InOut<T> y /*[target_rows, columns]*/, int64_t target_rows, int64_t count, int64_t columns,
          bool accumulate)

// y[i, :] = x[rows[i], firsts[i] : firsts[i] + width]; a block that is not all inside is NaN. x [source_rows, source_columns]
PV_KERNEL(gather_blocks, In<T> x, In<int64_t> rows, In<int64_t> firsts, Out<T> y /*[count, width]*/, int64_t source_rows, int64_t source_columns, int64_t count,
          int64_t width)
PV_KERNEL(gather_blocks_f16, In<f16> x, In<int64_t> rows, In<int64_t> firsts, Out<T> y /*[count, width]*/, int64_t source_rows, int64_t source_columns,
          int64_t count, int64_t width)

// layout.cu
PV_KERNEL(copy_strided, In<T> x, int64_t x_stride, InOut<T> y, int64_t y_stride, int64_t rows, int64_t columns, bool accumulate)  // rows at a distance
PV_KERNEL(transpose, In<T> x /*[B, R, C]*/, Out<T> y /*[B, C, R]*/, int64_t B, int64_t R, int64_t C)

// reduce.cu
PV_KERNEL(sum_rows, In<T> x, Out<T> y, int64_t rows, int64_t columns)                                                 // y[r] = sum_c x[r, c]
PV_KERNEL(sum_columns, In<T> x, InOut<T> y, int64_t rows, int64_t columns, bool accumulate)                           // y[c] (+)= sum_r x[r, c]
PV_KERNEL(sum_channels, In<T> x /*[B, C, L]*/, InOut<T> y /*[C]*/, int64_t B, int64_t C, int64_t L, bool accumulate)  // y[c] (+)= sum_b,l x[b, c, l]
PV_KERNEL(sum, In<T> x, Out<T> y /*[1]*/, int64_t n, T factor)                                                        // factor * sum of all
PV_KERNEL(sum_squares, In<T> x, Out<double> y /*[1]*/, int64_t n)                                                     // f64 sum of squares

// matmul.cu: c [M, N] = epilogue(op(a) op(b)); op(a) is [M, K]: a [M, K], or a [K, M] transposed; likewise b
PV_KERNEL(matmul, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N, int64_t K, Epilogue<T> epilogue)
// rows [first, first + rows) of such a product alone, c [rows, N]; first + rows <= M
PV_KERNEL(matmul_rows, In<T> a, bool transpose_a, In<T> b, bool transpose_b, Out<T> c, int64_t M, int64_t N, int64_t K, int64_t first, int64_t rows)

// conv1d.cu. grad_input with an epilogue is also the transposed convolution, of grad_y by w.
PV_KERNEL(conv1d, In<T> x, In<T> w, InOut<T> y, Conv1dShape shape, Epilogue<T> epilogue)
PV_KERNEL(conv1d_grad_input, In<T> grad_y, In<T> w, InOut<T> grad_x, Conv1dShape shape, Epilogue<T> epilogue)
PV_KERNEL(conv1d_grad_weight, In<T> x, In<T> grad_y, InOut<T> grad_w, Conv1dShape shape, bool accumulate)

// epilogue.cu: y = act(y + bias[channel]) in place; bias may be null
PV_KERNEL(bias_activation, InOut<T> y /*[A, C, L]*/, int64_t A, int64_t C, int64_t L, In<T> bias /*[C]*/, Activation activation, T slope)

// random.cu: element i of the stream `key`, as it is now (PhiloxKey::step_at)
PV_KERNEL(random_uniform, Out<T> y, int64_t n, T low, T high, PhiloxKey key)
PV_KERNEL(random_normal, Out<T> y, int64_t n, T mean, T deviation, PhiloxKey key)

// reparameterize.cu: z = mu + exp(clamp(logvar) / 2) * eps, eps ~ N(0, 1) of the stream `key`, drawn again in the gradient
PV_KERNEL(reparameterize, In<T> mu, In<T> logvar, Out<T> z, int64_t n, PhiloxKey key)
PV_KERNEL(reparameterize_grad, In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey key)  // grad_mu is grad_z

// huber_kl.cu: loss[0] = huber + kl_weight * kl, loss[1] = huber, loss[2] = kl, each a mean over the B samples of sums
PV_KERNEL(huber_kl, In<T> pred /*[B, G]*/, In<T> target /*[B, G]*/, In<T> mu /*[B, Z]*/, In<T> logvar /*[B, Z]*/, int64_t B, int64_t G, int64_t Z, T delta,
          T kl_weight, Out<T> loss /*[3]*/, Out<T> grad_pred /*may be pred*/, Out<T> grad_mu, Out<T> grad_logvar)
// linear_huber_kl.cu: huber_kl of pred = h w^T + bias [R, G], which is not stored. R is a multiple of B: means are over B
// samples, of which each may have several rows. grad_pred, and grad_bias, its sums over the rows, are null where not wanted.
PV_KERNEL(linear_huber_kl, In<T> h /*[R, H]*/, In<T> w /*[G, H]*/, In<T> bias /*[G] or null*/, In<T> target /*[R, G]*/, In<T> mu, In<T> logvar, int64_t B,
          int64_t R, int64_t G, int64_t H, int64_t Z, T delta, T kl_weight, Out<T> loss /*[3]*/, Out<T> grad_pred /*[R, G]*/, Out<T> grad_bias /*[G]*/,
          Out<T> grad_mu, Out<T> grad_logvar)

// batchnorm.cu: x [B, C, L], L = 1 for [B, C]; weight and bias [C] or null (1 and 0). statistics [3, C]: mean, what its type
// rounds off it, 1 / sqrt(variance + eps). Training needs B L >= 2.
PV_KERNEL(batchnorm_train, In<T> x, In<T> weight, In<T> bias, int64_t B, int64_t C, int64_t L, T eps, T momentum, InOut<T> running_mean /*[C]*/,
          InOut<T> running_var /*[C]*/, Out<T> y, Out<T> statistics)
PV_KERNEL(batchnorm_eval, In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, int64_t B, int64_t C, int64_t L, T eps, Out<T> y,
          Out<T> statistics)
// `constant`: the statistics do not depend on x. grad_x may be grad_y; gradients that nobody wants are null; those of weight
// and bias are added to what is there if asked.
PV_KERNEL(batchnorm_grad, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t B, int64_t C, int64_t L, bool constant, Out<T> grad_x,
          InOut<T> grad_weight, InOut<T> grad_bias, bool add_weight, bool add_bias)

// linear_batchnorm.cu: h = act(x w^T + e.bias), y = batchnorm_train of h, whose statistics are gathered as h is stored. M >= 2;
// the epilogue does not accumulate.
PV_KERNEL(linear_batchnorm, In<T> x /*[M, K]*/, In<T> w /*[N, K]*/, Epilogue<T> epilogue, In<T> weight, In<T> bias, int64_t M, int64_t N, int64_t K, T eps,
          T momentum, InOut<T> running_mean /*[N]*/, InOut<T> running_var /*[N]*/, Out<T> h /*[M, N]*/, Out<T> y /*[M, N]*/, Out<T> statistics /*[3, N]*/)

// layernorm.cu: of rows; weight and bias [C] or null (1 and 0). statistics [3, R] as in batchnorm; C > 0
PV_KERNEL(layernorm, In<T> x, In<T> weight, In<T> bias, int64_t R, int64_t C, T eps, Out<T> y, Out<T> statistics)
PV_KERNEL(layernorm_grad, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t R, int64_t C, Out<T> grad_x, InOut<T> grad_weight, InOut<T> grad_bias,
          bool add_weight, bool add_bias)  // as batchnorm_grad

// softmax.cu: of the rows of [R, C]
PV_KERNEL(softmax, In<T> x, Out<T> y, int64_t R, int64_t C)                          // y may be x
PV_KERNEL(softmax_grad, In<T> y, In<T> grad_y, Out<T> grad_x, int64_t R, int64_t C)  // by the output; grad_x may be grad_y

// dropout.cu: x or 0 by the stream `key`, over 1 - rate, rate in [0, 1). The gradient is dropout of grad_y by the same key.
PV_KERNEL(dropout, In<T> x, Out<T> y, int64_t n, double rate, PhiloxKey key)  // y may be x

// mean_loss.cu: means over n elements (of none: NaN), loss [1]; grad_x may be x
PV_KERNEL(mse, In<T> x, In<T> target, int64_t n, Out<T> loss, Out<T> grad_x)
PV_KERNEL(bce_with_logits, In<T> x, In<T> target /*in [0, 1]*/, int64_t n, Out<T> loss, Out<T> grad_x)

// triplet.cu: mean over `count` triplets of max(d(x[a], y[p]) - d(x[a], y[n]) + margin, 0), d the L2 distance. An index
// outside makes the loss NaN. A gradient that is not wanted is null; where y is x, both may be one tensor.
PV_KERNEL(triplet, In<T> x /*[N, D]*/, In<T> y /*[M, D]*/, In<int64_t> anchors, In<int64_t> positives, In<int64_t> negatives, int64_t N, int64_t M, int64_t D,
          int64_t count, T margin, Out<T> loss /*[1]*/, Out<T> grad_x, Out<T> grad_y)

// adam.cu: over flat buffers; `slots` as AdamSlot says. A step is skipped where the gradient or one of the losses is not finite.
PV_KERNEL(adam_prepare, In<double> sum_squares /*[1], of the gradient*/, In<T> losses /*[count]*/, int64_t count, InOut<double> slots, AdamOptions options)
PV_KERNEL(adam, InOut<T> p, In<T> grad, InOut<T> m, InOut<T> v, int64_t n, In<double> slots, AdamOptions options)
// In place: x *= min(1, max_norm / norm), norm = sqrt(*sum_squares)
PV_KERNEL(clip, InOut<T> x, int64_t n, In<double> sum_squares /*[1]*/, T max_norm)

// matmul_adam.cu: adam with grad = op(a) op(b), which is not written; its squares are added to slots[adam_norm], behind adam_prepare
PV_KERNEL(matmul_adam, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> p /*[M, N]*/, InOut<T> m, InOut<T> v, int64_t M, int64_t N, int64_t K,
          InOut<double> slots, AdamOptions options)
// adam, and on the way the sum of squares of each stretch of the gradient, for adam_join_norm; 0 where the step is skipped
PV_KERNEL(adam_summing, InOut<T> p, In<T> grad, InOut<T> m, InOut<T> v, int64_t n, In<double> slots, AdamOptions options,
          Out<double> squares /*[adam_stretches(n)]*/)
// slots[adam_norm] = sqrt(its square + the sum of squares), unless the step is skipped. T is double
PV_KERNEL(adam_join_norm, In<T> squares /*[count]*/, int64_t count, InOut<T> slots)
// What adam_prepare takes where some gradients are such products: the sum of the others' squares; infinite or NaN unless
// every product is sure to be finite, no element nor partial sum of it above `largest`. T is double
PV_KERNEL(adam_gate, In<T> squares /*[parts]*/, int64_t parts, In<T> factors /*[products, 2], sums of squares of a and b*/, int64_t products, T largest,
          Out<T> sum_squares /*[1]*/)

// clang-format on

// The range of logvar that exp() is taken of (SPEC L3): outside it the gradient of logvar is 0.
inline constexpr double kLogvarMin = -15, kLogvarMax = 15;

}  // namespace panvae

#include "kernels/work.h"
