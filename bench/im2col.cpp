#include "bench/im2col.h"

#include <algorithm>

#include "base/blas.h"
#include "base/threads.h"
#include "tests/cases/conv_formulas.h"

namespace panvae::bench {

namespace {

using cases::Run, cases::Sizes;

// The outputs t in [first, last) whose tap k lies within a row of x.
struct Span {
  int64_t first, last, u;  // u: where the tap of output `first` lies
};
Span span_of(const Conv1dShape& s, int64_t k) {
  const int64_t offset = k * s.dilation - s.padding;
  const int64_t first = offset >= 0 ? 0 : std::min(s.L_out, (-offset + s.stride - 1) / s.stride);
  const int64_t last = std::clamp((s.L_in - offset + s.stride - 1) / s.stride, first, s.L_out);
  return {first, last, first * s.stride + offset};
}

// columns [C_in K, L_out] of one sample x [C_in, L_in].
template <class T>
void im2col(const Conv1dShape& s, const T* x, T* columns) {
  for (int64_t c = 0; c < s.C_in; ++c)
    for (int64_t k = 0; k < s.K; ++k, columns += s.L_out) {
      const Span span = span_of(s, k);
      const T* from = x + c * s.L_in + span.u;
      std::fill(columns, columns + span.first, T(0));
      if (s.stride == 1) std::copy(from, from + (span.last - span.first), columns + span.first);
      else
        for (int64_t t = span.first; t < span.last; ++t) columns[t] = from[(t - span.first) * s.stride];
      std::fill(columns + span.last, columns + s.L_out, T(0));
    }
}
// The other way, adding up: gx [C_in, L_in] of one sample.
template <class T>
void col2im(const Conv1dShape& s, const T* columns, T* gx) {
  std::fill(gx, gx + s.C_in * s.L_in, T(0));
  for (int64_t c = 0; c < s.C_in; ++c)
    for (int64_t k = 0; k < s.K; ++k, columns += s.L_out) {
      const Span span = span_of(s, k);
      T* to = gx + c * s.L_in + span.u;
#pragma omp simd
      for (int64_t t = span.first; t < span.last; ++t) to[(t - span.first) * s.stride] += columns[t];
    }
}

// Room for the windows of a sample, one a thread.
template <class T>
std::shared_ptr<std::vector<T>> windows(const Conv1dShape& s) {
  return std::make_shared<std::vector<T>>(static_cast<size_t>(threads() * s.C_in * s.K * s.L_out));
}

}  // namespace

template <class T>
void im2col_conv1d(Run<T>& r, const Sizes& sizes) {
  const Conv1dShape s = cases::shape_of(sizes);
  const int64_t width = s.C_in * s.K;
  const auto x = r.in(s.B * s.C_in * s.L_in), w = r.in(s.C_out * width), y = r.out(s.B * s.C_out * s.L_out);
  r.call([=, room = windows<T>(s)](Stream&) {
    parallel_chunks(s.B, 1, [&](int64_t b, int64_t, int64_t thread) {
      T* columns = room->data() + thread * width * s.L_out;
      im2col<T>(s, x + b * s.C_in * s.L_in, columns);
      gemm(false, false, s.C_out, s.L_out, width, w.data, width, columns, s.L_out, T(0), y + b * s.C_out * s.L_out, s.L_out);
    });
  });
  r.expect(
      y, cases::conv_units(width), [&](int64_t i) { return forward_at(s, x, w, i, false); }, [&](int64_t i) { return forward_at(s, x, w, i, true); });
}

template <class T>
void im2col_conv1d_grad_input(Run<T>& r, const Sizes& sizes) {
  const Conv1dShape s = cases::shape_of(sizes);
  const int64_t width = s.C_in * s.K;
  const auto gy = r.in(s.B * s.C_out * s.L_out), w = r.in(s.C_out * width), gx = r.out(s.B * s.C_in * s.L_in);
  r.call([=, room = windows<T>(s)](Stream&) {
    parallel_chunks(s.B, 1, [&](int64_t b, int64_t, int64_t thread) {
      T* columns = room->data() + thread * width * s.L_out;
      gemm(true, false, width, s.L_out, s.C_out, w.data, width, gy + b * s.C_out * s.L_out, s.L_out, T(0), columns, s.L_out);
      col2im<T>(s, columns, gx + b * s.C_in * s.L_in);
    });
  });
  r.expect(
      gx, cases::conv_units(s.C_out * s.K), [&](int64_t i) { return grad_input_at(s, gy, w, i, false); },
      [&](int64_t i) { return grad_input_at(s, gy, w, i, true); });
}

// Each thread sums over its samples, then the sums are added.
template <class T>
void im2col_conv1d_grad_weight(Run<T>& r, const Sizes& sizes) {
  const Conv1dShape s = cases::shape_of(sizes);
  const int64_t width = s.C_in * s.K, count = s.C_out * width;
  const auto x = r.in(s.B * s.C_in * s.L_in), gy = r.in(s.B * s.C_out * s.L_out), gw = r.out(count);
  r.call([=, room = windows<T>(s), sums = std::make_shared<std::vector<T>>(static_cast<size_t>(threads() * count))](Stream&) {
    const int team = threads();
    parallel_chunks(team, 1, [&](int64_t thread, int64_t) {
      T *columns = room->data() + thread * width * s.L_out, *sum = sums->data() + thread * count;
      std::fill(sum, sum + count, T(0));
      for (int64_t b = thread * s.B / team; b < (thread + 1) * s.B / team; ++b) {
        im2col<T>(s, x + b * s.C_in * s.L_in, columns);
        gemm(false, true, s.C_out, width, s.L_out, gy + b * s.C_out * s.L_out, s.L_out, columns, s.L_out, T(1), sum, width);
      }
    });
    parallel_chunks(count, 16384, [&](int64_t begin, int64_t end) {
      std::copy(sums->data() + begin, sums->data() + end, gw + begin);
      for (int64_t thread = 1; thread < team; ++thread)
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) gw.data[i] += (*sums)[static_cast<size_t>(thread * count + i)];
    });
  });
  r.expect(
      gw, cases::conv_units(s.B * s.L_out), [&](int64_t i) { return grad_weight_at(s, x, gy, i, false); },
      [&](int64_t i) { return grad_weight_at(s, x, gy, i, true); });
}

template void im2col_conv1d<float>(Run<float>&, const Sizes&);
template void im2col_conv1d<double>(Run<double>&, const Sizes&);
template void im2col_conv1d_grad_input<float>(Run<float>&, const Sizes&);
template void im2col_conv1d_grad_input<double>(Run<double>&, const Sizes&);
template void im2col_conv1d_grad_weight<float>(Run<float>&, const Sizes&);
template void im2col_conv1d_grad_weight<double>(Run<double>&, const Sizes&);

}  // namespace panvae::bench
