// What one call of each kernel of the table must do: the fewest bytes that move, and the operations of its formula, for the
// profile. Parameters are those of the kernel. Included by kernels.h, behind the table; the OpCases check that bench counts
// the same. A row that is named several times needs to be read once.
#pragma once
#include <algorithm>

#include "kernels/kernels.h"

namespace panvae::work {

template <class T>
constexpr double item = static_cast<double>(sizeof(T));

// `tensors` of n elements, `operations` on each element.
template <class T>
Work each(int64_t n, double tensors, double operations) {
  const double count = static_cast<double>(n);
  return {tensors * count * item<T>, operations * count, {n}};
}
template <class T>
Work each(int64_t a, int64_t b, double tensors, double operations) {
  Work w = each<T>(a * b, tensors, operations);
  w.sizes = {a, b};
  return w;
}
template <class T>
Work each(int64_t a, int64_t b, int64_t c, double tensors, double operations) {
  Work w = each<T>(a * b * c, tensors, operations);
  w.sizes = {a, b, c};
  return w;
}

// One line a kernel.
// clang-format off
template <class T> Work fill(Out<T>, int64_t n, T) { return each<T>(n, 1, 0); }
template <class T> Work copy(In<T>, Out<T>, int64_t n) { return each<T>(n, 2, 0); }
template <class T> Work add(In<T>, In<T>, Out<T>, int64_t n) { return each<T>(n, 3, 1); }
template <class T> Work sub(In<T>, In<T>, Out<T>, int64_t n) { return each<T>(n, 3, 1); }
template <class T> Work mul(In<T>, In<T>, Out<T>, int64_t n) { return each<T>(n, 3, 1); }
template <class T> Work scale(In<T>, Out<T>, int64_t n, T) { return each<T>(n, 2, 1); }
template <class T> Work axpy(In<T>, InOut<T>, int64_t n, T) { return each<T>(n, 3, 2); }
template <class T> Work scale_by(In<T>, In<T>, Out<T>, int64_t n) { return each<T>(n, 2, 1); }
template <class T> Work spread(In<T>, Out<T>, int64_t n, T) { return each<T>(n, 1, 1); }
template <class T> Work relu(In<T>, Out<T>, int64_t n) { return each<T>(n, 2, 1); }
template <class T> Work relu_grad(In<T>, In<T>, Out<T>, int64_t n) { return each<T>(n, 3, 1); }
template <class T> Work leaky_relu(In<T>, Out<T>, int64_t n, T) { return each<T>(n, 2, 2); }
template <class T> Work leaky_relu_grad(In<T>, In<T>, Out<T>, int64_t n, T) { return each<T>(n, 3, 2); }
template <class T> Work gelu(In<T>, Out<T>, int64_t n) { return each<T>(n, 2, 20); }
template <class T> Work gelu_grad(In<T>, In<T>, Out<T>, int64_t n) { return each<T>(n, 3, 22); }

template <class T> Work cast_to_f32(In<T>, Out<float>, int64_t n) { return {static_cast<double>(n) * (item<T> + 4), 0, {n}}; }
template <class T> Work cast_from_f32(In<float>, Out<T>, int64_t n) { return {static_cast<double>(n) * (item<T> + 4), 0, {n}}; }
template <class T> Work cast_to_bf16(In<T>, Out<bf16>, int64_t n) { return {static_cast<double>(n) * (item<T> + 2), 0, {n}}; }
template <class T> Work cast_from_bf16(In<bf16>, Out<T>, int64_t n) { return {static_cast<double>(n) * (item<T> + 2), 0, {n}}; }

template <class T> Work gather_rows(In<T>, In<int64_t>, Out<T>, int64_t rows, int64_t count, int64_t columns, T) {
  return {static_cast<double>((count + std::min(count, rows)) * columns) * item<T> + 8 * static_cast<double>(count), 0, {count, columns}};
}
template <class T> Work scatter_add_rows(In<T>, In<int64_t>, InOut<T>, int64_t target_rows, int64_t count, int64_t columns, bool accumulate) {
  const double moved = static_cast<double>(count * columns);
  const double target = static_cast<double>((accumulate ? 2 * std::min(count, target_rows) : target_rows) * columns);
  return {(moved + target) * item<T> + 8 * static_cast<double>(count), moved, {target_rows, count, columns}};
}
template <class T> Work gather_blocks(In<T>, In<int64_t>, In<int64_t>, Out<T>, int64_t rows, int64_t columns, int64_t count, int64_t width) {
  return {static_cast<double>(count * width + std::min(count * width, rows * columns)) * item<T> + 16 * static_cast<double>(count), 0, {count, width}};
}
template <class T> Work gather_blocks_f16(In<f16>, In<int64_t>, In<int64_t>, Out<T>, int64_t rows, int64_t columns, int64_t count, int64_t width) {
  return {static_cast<double>(count * width) * item<T> + 2 * static_cast<double>(std::min(count * width, rows * columns)) + 16 * static_cast<double>(count), 0, {count, width}};
}

template <class T> Work copy_strided(In<T>, int64_t, InOut<T>, int64_t, int64_t rows, int64_t columns, bool accumulate) {
  return each<T>(rows, columns, accumulate ? 3 : 2, accumulate ? 1 : 0);
}
template <class T> Work transpose(In<T>, Out<T>, int64_t B, int64_t R, int64_t C) { return each<T>(B, R, C, 2, 0); }

// Sums: what goes in, and the few that come out.
inline Work reads(Work w) { w.reads_only = true; return w; }
template <class T> Work and_few(Work in, int64_t out) { in.bytes += static_cast<double>(out) * item<T>; return in; }
template <class T> Work sum_rows(In<T>, Out<T>, int64_t rows, int64_t columns) { return reads(and_few<T>(each<T>(rows, columns, 1, 1), rows)); }
template <class T> Work sum_columns(In<T>, InOut<T>, int64_t rows, int64_t columns, bool) { return reads(and_few<T>(each<T>(rows, columns, 1, 1), columns)); }
template <class T> Work sum_channels(In<T>, InOut<T>, int64_t B, int64_t C, int64_t L, bool) { return reads(and_few<T>(each<T>(B, C, L, 1, 1), C)); }
template <class T> Work sum(In<T>, Out<T>, int64_t n, T) { return reads(each<T>(n, 1, 1)); }
template <class T> Work sum_squares(In<T>, Out<double>, int64_t n) { return reads(each<T>(n, 1, 2)); }

template <class T> Work matmul(In<T>, bool transpose_a, In<T>, bool transpose_b, InOut<T>, int64_t M, int64_t N, int64_t K, Epilogue<T>) {
  const double m = static_cast<double>(M), n = static_cast<double>(N), kk = static_cast<double>(K);
  return {(m * kk + kk * n + m * n) * item<T>, 2 * m * n * kk, {M, N, K}, transpose_a ? (transpose_b ? "TT" : "TN") : (transpose_b ? "NT" : "NN")};
}
template <class T> Work matmul_rows(In<T> a, bool transpose_a, In<T> b, bool transpose_b, Out<T> c, int64_t, int64_t N, int64_t K, int64_t, int64_t rows) {
  return matmul<T>(a, transpose_a, b, transpose_b, c, rows, N, K, {});
}
template <class T> Work convolution(const Conv1dShape& s) {
  return {static_cast<double>(s.B * (s.C_in * s.L_in + s.C_out * s.L_out) + s.C_out * s.C_in * s.K) * item<T>,
          2 * static_cast<double>(s.B * s.L_out * s.C_out) * static_cast<double>(s.C_in * s.K), {s.B, s.C_in, s.L_in, s.C_out, s.K}};
}
template <class T> Work conv1d(In<T>, In<T>, InOut<T>, Conv1dShape s, Epilogue<T>) { return convolution<T>(s); }
template <class T> Work conv1d_grad_input(In<T>, In<T>, InOut<T>, Conv1dShape s, Epilogue<T>) { return convolution<T>(s); }
template <class T> Work conv1d_grad_weight(In<T>, In<T>, InOut<T>, Conv1dShape s, bool) { return convolution<T>(s); }
template <class T> Work bias_activation(InOut<T>, int64_t A, int64_t C, int64_t L, In<T>, Activation, T) { return and_few<T>(each<T>(A, C, L, 2, 2), C); }

template <class T> Work random_uniform(Out<T>, int64_t n, T, T, PhiloxKey) { return each<T>(n, 1, 2); }
template <class T> Work random_normal(Out<T>, int64_t n, T, T, PhiloxKey) { return each<T>(n, 1, 30); }
template <class T> Work reparameterize(In<T>, In<T>, Out<T>, int64_t n, PhiloxKey) { return each<T>(n, 3, 40); }
template <class T> Work reparameterize_grad(In<T>, In<T>, Out<T>, int64_t n, PhiloxKey) { return each<T>(n, 3, 40); }
template <class T> Work dropout(In<T>, Out<T>, int64_t n, double, PhiloxKey) { return each<T>(n, 2, 26); }

template <class T> Work huber_kl(In<T>, In<T>, In<T>, In<T>, int64_t B, int64_t G, int64_t Z, T, T, Out<T>, Out<T>, Out<T>, Out<T>) {
  const double features = static_cast<double>(B * G), latents = static_cast<double>(B * Z);
  return {(3 * features + 4 * latents) * item<T>, 8 * features + 20 * latents, {B, G, Z}};
}
template <class T> Work linear_huber_kl(In<T>, In<T>, In<T>, In<T>, In<T>, In<T>, int64_t B, int64_t R, int64_t G, int64_t H, int64_t Z, T, T, Out<T>, Out<T> grad_pred, Out<T>, Out<T>, Out<T>) {
  const double operands = static_cast<double>(R * H + G * H), features = static_cast<double>(R * G), latents = static_cast<double>(B * Z);
  return {(operands + (grad_pred ? 2 : 1) * features + 4 * latents) * item<T>, features * (2 * static_cast<double>(H) + 9) + 20 * latents, {R, G, H, Z}};
}
template <class T> Work linear_batchnorm(In<T>, In<T>, Epilogue<T>, In<T>, In<T>, int64_t M, int64_t N, int64_t K, T, T, InOut<T>, InOut<T>, Out<T>, Out<T>, Out<T>) {
  const double operands = static_cast<double>(M * K + N * K), outputs = static_cast<double>(M * N);
  return {(operands + 2 * outputs) * item<T>, outputs * (2 * static_cast<double>(K) + 11), {M, N, K}};
}
template <class T> Work batchnorm_train(In<T>, In<T>, In<T>, int64_t B, int64_t C, int64_t L, T, T, InOut<T>, InOut<T>, Out<T>, Out<T>) { return each<T>(B, C, L, 2, 9); }
template <class T> Work batchnorm_eval(In<T>, In<T>, In<T>, In<T>, In<T>, int64_t B, int64_t C, int64_t L, T, Out<T>, Out<T>) { return each<T>(B, C, L, 2, 4); }
template <class T> Work batchnorm_grad(In<T>, In<T>, In<T>, In<T>, int64_t B, int64_t C, int64_t L, bool, Out<T>, InOut<T>, InOut<T>, bool, bool) {
  return each<T>(B, C, L, 3, 11);
}
template <class T> Work layernorm(In<T>, In<T>, In<T>, int64_t R, int64_t C, T, Out<T>, Out<T>) { return each<T>(R, C, 2, 9); }
template <class T> Work layernorm_grad(In<T>, In<T>, In<T>, In<T>, int64_t R, int64_t C, Out<T>, InOut<T>, InOut<T>, bool, bool) { return each<T>(R, C, 3, 14); }
template <class T> Work softmax(In<T>, Out<T>, int64_t R, int64_t C) { return each<T>(R, C, 2, 5); }
template <class T> Work softmax_grad(In<T>, In<T>, Out<T>, int64_t R, int64_t C) { return each<T>(R, C, 3, 4); }
template <class T> Work mse(In<T>, In<T>, int64_t n, Out<T>, Out<T>) { return each<T>(n, 3, 5); }
template <class T> Work bce_with_logits(In<T>, In<T>, int64_t n, Out<T>, Out<T>) { return each<T>(n, 3, 40); }
template <class T> Work triplet(In<T> x, In<T> y, In<int64_t>, In<int64_t>, In<int64_t>, int64_t N, int64_t M, int64_t D, int64_t count, T, Out<T>, Out<T> grad_x, Out<T> grad_y) {
  const int64_t read = x == y ? std::min(3 * count, N) : std::min(count, N) + std::min(2 * count, M), written = (grad_x ? N : 0) + (grad_y && grad_y != grad_x ? M : 0);
  return {static_cast<double>((read + written) * D) * item<T> + 24 * static_cast<double>(count),
          20 * static_cast<double>(count * D), {count, D}};
}
template <class T> Work adam_prepare(In<double>, In<T>, int64_t, InOut<double>, AdamOptions) { return {8.0 * static_cast<double>(adam_slots), 10, {}}; }
template <class T> Work adam(InOut<T>, In<T>, InOut<T>, InOut<T>, int64_t n, In<double>, AdamOptions) { return each<T>(n, 7, 14); }
template <class T> Work matmul_adam(In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> p, InOut<T>, InOut<T>, int64_t M, int64_t N, int64_t K, InOut<double>, AdamOptions) {
  Work w = matmul<T>(a, transpose_a, b, transpose_b, p, M, N, K, {});
  const double elements = static_cast<double>(M) * static_cast<double>(N);
  w.bytes += 5 * elements * item<T>;  // p, m and v are read and written; the product is not
  w.flops += 16 * elements;
  return w;
}
template <class T> Work adam_summing(InOut<T>, In<T>, InOut<T>, InOut<T>, int64_t n, In<double>, AdamOptions, Out<double>) {
  Work w = each<T>(n, 7, 16);
  w.bytes += 8 * static_cast<double>(adam_stretches(n));
  return w;
}
template <class T> Work adam_join_norm(In<T>, int64_t count, InOut<T>) { return {8 * static_cast<double>(count), static_cast<double>(count), {count}}; }
template <class T> Work adam_gate(In<T>, int64_t parts, In<T>, int64_t products, T, Out<T>) {
  const double numbers = static_cast<double>(parts + 2 * products);
  return {8 * numbers, numbers, {parts, products}};
}
template <class T> Work clip(InOut<T>, int64_t n, In<double>, T) { return each<T>(n, 2, 1); }
// clang-format on

}  // namespace panvae::work
