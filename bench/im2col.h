// Convolution on cpu as it is commonly written: windows copied to a matrix (im2col), then BLAS. What ours is held against.
#pragma once
#include "tests/cases/op_case.h"

namespace panvae::bench {

// Bodies for the cases conv1d, conv1d_grad_input and conv1d_grad_weight, whose sizes they take: without bias, activation and
// accumulation. Samples run in parallel, each with BLAS on its own thread and windows that stay in its cache.
template <class T>
void im2col_conv1d(cases::Run<T>& r, const cases::Sizes& s);
template <class T>
void im2col_conv1d_grad_input(cases::Run<T>& r, const cases::Sizes& s);
template <class T>
void im2col_conv1d_grad_weight(cases::Run<T>& r, const cases::Sizes& s);

}  // namespace panvae::bench
