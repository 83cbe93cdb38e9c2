// The CPU side of kernels/conv1d.cu: convolutions without im2col. Its functions are described in conv1d_direct.cpp.
#pragma once
#include "kernels/kernels.h"

namespace panvae::cpu {

template <class T>
void direct_conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, const Conv1dShape& s, const Epilogue<T>& e);
template <class T>
void direct_conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, const Conv1dShape& s, const Epilogue<T>& e);
template <class T>
void direct_conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, const Conv1dShape& s, bool accumulate);

}  // namespace panvae::cpu
