// Convolutions over the last dimension.
#pragma once
#include "engine/ops/activation.h"

namespace panvae::ops {

struct Conv1dOptions {
  int64_t stride = 1, padding = 0, dilation = 1;
  int64_t output_padding = 0;  // of the transposed convolution: positions added at the end, below stride
};

struct Conv1dRule : OpRule {
  Conv1dShape shape;  // of the convolution; for the transposed one, of the convolution it is the transpose of
};

namespace detail {

inline void check_conv(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t out_channels, const Conv1dOptions& o) {
  PV_CHECK(x.rank() == 3 && weight.rank() == 3, "{}: x{} by w{}: both need three dimensions", op, x.shape().str(), weight.shape().str());
  PV_CHECK(x.dtype() == weight.dtype(), "{}: x {} by w {}", op, dtype_name(x.dtype()), dtype_name(weight.dtype()));
  check_same_context(op, x, weight);
  constexpr int64_t kMost = int64_t{1} << 31;  // so that no sum of positions overflows
  PV_CHECK(o.stride >= 1 && o.stride <= kMost && o.dilation >= 1 && o.dilation <= kMost && o.padding >= 0 && o.padding <= kMost,
           "{}: stride {}, padding {}, dilation {}", op, o.stride, o.padding, o.dilation);
  PV_CHECK(weight.size(2) >= 1, "{}: w{} has no taps", op, weight.shape().str());
  PV_CHECK(!bias.defined() || (bias.shape() == Shape{out_channels} && bias.dtype() == x.dtype()), "{}: bias{} for {} output channels", op, bias.shape().str(),
           out_channels);
  if (bias.defined()) check_same_context(op, x, bias);
}
inline Conv1dRule conv_rule(const Conv1dShape& s, Shape out, const Tensor& x) {
  Conv1dRule r;
  r.out = out;
  r.shape = s;
  const double weights = static_cast<double>(s.C_out * s.C_in * s.K);
  r.flops = 2 * static_cast<double>(s.B * s.L_out) * weights;
  r.bytes = (weights + static_cast<double>(s.B * (s.C_in * s.L_in + s.C_out * s.L_out))) * static_cast<double>(item_bytes(x.dtype()));
  return r;
}
template <class T>
Epilogue<T> conv_epilogue(const Tensor& bias, Activation activation, double slope, bool accumulate = false) {
  return {bias.defined() ? bias.data<T>() : nullptr, activation, static_cast<T>(slope), accumulate};
}
inline void channel_sums(const Tensor& gy, Tensor& gb, bool add) {
  dispatch(gy.dtype(), "conv1d",
           [&]<class T>(T) { k::sum_channels<T>(gy.context().stream(), gy.data<T>(), gb.data<T>(), gy.size(0), gy.size(1), gy.size(2), add); });
}

}  // namespace detail

// x [B, in, L], weight [out, in, K], bias [out] or undefined -> [B, out, (L + 2 padding - dilation (K - 1) - 1) / stride + 1]
inline Conv1dRule conv1d_rule(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dOptions& o) {
  detail::check_conv("conv1d", x, weight, bias, weight.size(0), o);
  PV_CHECK(x.size(1) == weight.size(1), "conv1d: x{} by w{}: {} channels against {}", x.shape().str(), weight.shape().str(), x.size(1), weight.size(1));
  PV_CHECK(o.output_padding == 0, "conv1d: output padding {} belongs to the transposed convolution", o.output_padding);
  const int64_t reach = o.dilation * (weight.size(2) - 1) + 1, padded = x.size(2) + 2 * o.padding;
  PV_CHECK(padded >= reach, "conv1d: x{} padded by {} is shorter than the window of {} positions", x.shape().str(), o.padding, reach);
  const Conv1dShape s{x.size(0), x.size(1), x.size(2), weight.size(0), (padded - reach) / o.stride + 1, weight.size(2), o.stride, o.padding, o.dilation};
  return detail::conv_rule(s, {s.B, s.C_out, s.L_out}, x);
}

// y[b, o, t] = act(sum over i, k of weight[o, i, k] x[b, i, t stride - padding + k dilation] + bias[o]): one fused kernel, as
// PyTorch's conv1d.
inline Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dOptions& options = {}, Activation activation = Activation::none,
                     double slope = 0.01) {
  PV_CHECK(slope >= 0, "conv1d: slope {} is negative", slope);
  const Conv1dRule rule = conv1d_rule(x, weight, bias, options);
  const Conv1dShape s = rule.shape;
  Tensor y = Tensor::empty(x.context(), rule.out, x.dtype(), "conv1d");
  dispatch(x.dtype(), "conv1d", [&]<class T>(T) {
    k::conv1d<T>(x.context().stream(), x.data<T>(), weight.data<T>(), y.data<T>(), s, detail::conv_epilogue<T>(bias, activation, slope));
  });
  auto backward = [x, weight, y = activation == Activation::none ? Tensor() : y, s, activation, slope](Grads& g) {
    const Tensor gy = detail::through_activation(y, g.out(), activation, slope);
    g.write_or_add(0, [&](Tensor& gx, bool add) {
      dispatch(gx.dtype(), "conv1d", [&]<class T>(T) {
        k::conv1d_grad_input<T>(gx.context().stream(), gy.data<T>(), weight.data<T>(), gx.data<T>(), s,
                                detail::conv_epilogue<T>(Tensor(), Activation::none, 0, add));
      });
    });
    g.write_or_add(1, [&](Tensor& gw, bool add) {
      dispatch(gw.dtype(), "conv1d", [&]<class T>(T) { k::conv1d_grad_weight<T>(gw.context().stream(), x.data<T>(), gy.data<T>(), gw.data<T>(), s, add); });
    });
    g.write_or_add(2, [&](Tensor& gb, bool add) { detail::channel_sums(gy, gb, add); });
  };
  if (activation == Activation::none) return record("conv1d", {x, weight, bias}, y, {x, weight}, std::move(backward));
  return record("conv1d", {x, weight, bias}, y, {x, weight, y}, std::move(backward));
}

// x [B, in, L], weight [in, out, K], bias [out] or undefined -> [B, out, (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1]
inline Conv1dRule conv_transpose1d_rule(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dOptions& o) {
  detail::check_conv("conv_transpose1d", x, weight, bias, weight.size(1), o);
  PV_CHECK(x.size(1) == weight.size(0), "conv_transpose1d: x{} by w{}: {} channels against {}", x.shape().str(), weight.shape().str(), x.size(1),
           weight.size(0));
  PV_CHECK(o.output_padding >= 0 && o.output_padding < std::max(o.stride, o.dilation), "conv_transpose1d: output padding {} must be below stride or dilation",
           o.output_padding);
  PV_CHECK(x.size(2) > 0, "conv_transpose1d: x{} has no positions", x.shape().str());
  const int64_t length = (x.size(2) - 1) * o.stride - 2 * o.padding + o.dilation * (weight.size(2) - 1) + o.output_padding + 1;
  PV_CHECK(length > 0, "conv_transpose1d: x{} by w{} with padding {} leaves {} positions", x.shape().str(), weight.shape().str(), o.padding, length);
  // The convolution from our output to our input.
  const Conv1dShape s{x.size(0), weight.size(1), length, x.size(1), x.size(2), weight.size(2), o.stride, o.padding, o.dilation};
  return detail::conv_rule(s, {s.B, s.C_in, s.L_in}, x);
}

// The transpose of conv1d with the same weight: y = act(x placed `stride` apart, convolved + bias), as PyTorch's
// conv_transpose1d.
inline Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dOptions& options = {},
                               Activation activation = Activation::none, double slope = 0.01) {
  PV_CHECK(slope >= 0, "conv_transpose1d: slope {} is negative", slope);
  const Conv1dRule rule = conv_transpose1d_rule(x, weight, bias, options);
  const Conv1dShape s = rule.shape;
  Tensor y = Tensor::empty(x.context(), rule.out, x.dtype(), "conv_transpose1d");
  dispatch(x.dtype(), "conv_transpose1d", [&]<class T>(T) {
    k::conv1d_grad_input<T>(x.context().stream(), x.data<T>(), weight.data<T>(), y.data<T>(), s, detail::conv_epilogue<T>(bias, activation, slope));
  });
  auto backward = [x, weight, y = activation == Activation::none ? Tensor() : y, s, activation, slope](Grads& g) {
    const Tensor gy = detail::through_activation(y, g.out(), activation, slope);
    g.write_or_add(0, [&](Tensor& gx, bool add) {
      dispatch(gx.dtype(), "conv_transpose1d", [&]<class T>(T) {
        k::conv1d<T>(gx.context().stream(), gy.data<T>(), weight.data<T>(), gx.data<T>(), s, detail::conv_epilogue<T>(Tensor(), Activation::none, 0, add));
      });
    });
    g.write_or_add(1, [&](Tensor& gw, bool add) {
      dispatch(gw.dtype(), "conv_transpose1d",
               [&]<class T>(T) { k::conv1d_grad_weight<T>(gw.context().stream(), gy.data<T>(), x.data<T>(), gw.data<T>(), s, add); });
    });
    g.write_or_add(2, [&](Tensor& gb, bool add) { detail::channel_sums(gy, gb, add); });
  };
  if (activation == Activation::none) return record("conv_transpose1d", {x, weight, bias}, y, {x, weight}, std::move(backward));
  return record("conv_transpose1d", {x, weight, bias}, y, {x, weight, y}, std::move(backward));
}

}  // namespace panvae::ops
