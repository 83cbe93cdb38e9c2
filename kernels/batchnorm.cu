// Batch normalisation (Ioffe and Szegedy 2015) over x [B, C, L], as PyTorch's BatchNorm1d: one mean and variance a channel,
// over the N = B L elements of batch and length. [B, C] is L = 1.
//
//   train   y = w (x - mean) / sqrt(var + eps) + b, var = 1/N sum (x - mean)^2
//           running_mean = (1 - m) running_mean + m mean, running_var = (1 - m) running_var + m var N / (N - 1)
//   eval    the same with mean and var from the running statistics
//   grad    h = (x - mean) / sqrt(var + eps);  g_b = sum g_y;  g_w = sum g_y h
//           train: g_x = w / sqrt(var + eps) (g_y - 1/N g_b - 1/N h g_w);  eval: g_x = w / sqrt(var + eps) g_y
//
// Bytes (f32): forward 8 N C, gradient 12 N C, where the second pass over a channel finds it in a cache. Sums are taken in a
// fixed order, relative to the channel's first element, those of squares from the mean; a mean is kept in two parts. So a
// deviation of 1 at a mean of 10^4 costs no digits.
//
// simt, cuda: a block has 8 neighbouring columns of [B, C], a 32-byte sector of each row, or one channel of [B, C, L]. Up to
// N = 1024 or 8192 its numbers stay in registers: one launch, each number is read once. Of more, up to 32 blocks share a
// channel: one launch for their parts, one whose blocks merge them, read again, and write. Mean and variance are two plain
// sums over the block: no thread waits for divisions, as in merging moments. Evaluation of [B, C] moves packs of columns where
// they are aligned.
// cpu: kernels/batchnorm_cpu.h
#include <algorithm>
#include <cmath>

#include "kernels/batchnorm.h"
#include "kernels/batchnorm_cpu.h"
#include "kernels/block_sums.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"

namespace panvae {

namespace PV_EXEC {

constexpr int kStrip = 8;                 // columns of a block where L = 1
constexpr int kPart = 16;                 // numbers of a thread where blocks share a channel
constexpr int kMostParts = kWarp;         // blocks that share a channel
constexpr int64_t kMostStretches = 4096;  // likewise in evaluation

// Numbers of a thread, K of a channel that are Lanes apart, and where they lie.
template <class T, int K, int Lanes, class I>
struct Group {
  T v[K] = {};
  I at[K], left;  // left: elements of the channel from the first of them on

  // Places behind the end are the first one, so that loads need no condition. The compiler shall know nothing of a place: it
  // would compute it once more where it is stored to.
  template <int W>
  __device__ void place(Walk<W, I>& walk, I last) {
    left = walk.element < last ? last - walk.element : I(0);
#pragma unroll
    for (int j = 0; j < K; ++j, walk.next()) {
      at[j] = j == 0 || has(j) ? walk.at : at[0];
      if constexpr (sizeof(I) == 4) asm volatile("" : "+r"(at[j]));
    }
  }
  __device__ bool has(int j) const {
    return left > static_cast<I>(j * Lanes);
  }
  __device__ void load(const T* x) {
    if (left == 0) return;
#pragma unroll
    for (int j = 0; j < K; ++j) v[j] = x[at[j]];
  }
  __device__ void centre(const Normaliser<T>& s) {
#pragma unroll
    for (int j = 0; j < K; ++j) v[j] = s.centred(v[j]);
  }
  // y = f(j) where there is an element j.
  template <class F>
  __device__ void store(T* y, F f) const {
#pragma unroll
    for (int j = 0; j < K; ++j)
      if (has(j)) y[at[j]] = f(j);
  }
  // The sum of term(v[j]) over what there is, in four parts: K in a row would wait for each other.
  template <class F>
  __device__ T sum(F term) const {
    T s[4] = {};
#pragma unroll
    for (int j = 0; j < K; ++j)
      if (has(j)) s[j % 4] += term(v[j]);
    return (s[0] + s[1]) + (s[2] + s[3]);
  }
};

// Elements first <= e < last of channel c. A block has W neighbouring channels, each shared by Threads / W threads; blocks may
// share a channel, each with a stretch of its elements, the last one with what is left.
template <int W, int Threads, class I>
struct Place {
  I c, first, last;
  bool there, leads;  // leads: of the threads of all blocks that have the channel

  // W = 1: plus a 0 of which the compiler does not know that it is one. Numbers that all threads of a block have in common, as
  // those of a channel, it would move to registers of the block, and wait for them before the loads behind them begin.
  __device__ Place(I N, I C)
      : c(blockIdx.x * I(W) + (W > 1 ? threadIdx.x % W : threadIdx.x >= blockDim.x)),
        first(0),
        last(c < C ? N : I(0)),
        there(c < C),
        leads(there && threadIdx.x < W) {}
  __device__ Place(I N, I C, I stretch) : Place(N, C) {
    leads = leads && blockIdx.y == 0;
    first = blockIdx.y * stretch;
    last = !there ? first : stretch < N - first ? first + stretch : N;
  }
  __device__ Walk<W, I> walk(I C, I L) const { return {c, first + threadIdx.x / W, Threads / W, C, L}; }
};

// Of some numbers of a channel: the distance of their mean from the channel's first element, and m2.
template <class T>
struct PartMoments {
  T distance, m2;
};

// Of those that the block has, in each of its threads. Kept: they are K for each thread, or fewer, and stay in `some`, less
// their mean; else threads merge theirs as they read them. Mean and variance are two plain sums over the block, that of x and
// that of squared distances from the mean: no division stands in the way, as it would where moments are merged.
template <int W, int Threads, bool Kept, class T, int K, class I>
__device__ PartMoments<T> part_of_block(const T* x, Walk<W, I> walk, I last, T origin, T share, Group<T, K, Threads / W, I>& some) {
  constexpr int kBank = kPartials<W, Threads>;
  SHARED(Sum<T>, partial, 2 * kBank);
  Moments<T> m{T(0), T(0), T(0)};
  T sum = T(0);
  if constexpr (Kept) {
    some.place(walk, last);
    some.load(x);
    sum = some.sum([=](T v) { return v - origin; });
  } else {
#pragma unroll 1
    while (walk.element < last) {
      const int count = load_ahead(x, walk, last, some.v);
      add_loaded(m, some.v, count, origin);
    }
    sum = m.count * m.mean;
  }
  const T distance = merge_in_each_warp<W, Threads>(Sum<T>{sum}, Sum<T>{T(0)}, partial).value * share;
  T square = m.m2 + m.count * ((m.mean - distance) * (m.mean - distance));
  if constexpr (Kept) {
    some.centre({exact_sum(origin, distance), T(0)});
    square = some.sum([](T v) { return v * v; });
  }
  return {distance, merge_in_each_warp<W, Threads>(Sum<T>{square}, Sum<T>{T(0)}, partial + kBank).value};
}

// A channel's mean and variance at the end of training's sums: what its leading thread writes, and what was before.
template <class T>
struct Training {
  T share, share_but_one, eps, momentum;  // 1 / N, 1 / (N - 1)
  T *running_mean, *running_var, *statistics;

  // The running statistics are read ahead: after the sums nothing would be left to do until they come.
  struct Before {
    T mean, var;
  };
  __device__ Before before(int64_t c, bool leads) const { return leads ? Before{running_mean[c], running_var[c]} : Before{T(0), T(0)}; }
  __device__ Normaliser<T> end(int64_t c, int64_t C, T origin, PartMoments<T> all, Before old, bool leads) const {
    const Normaliser<T> s{exact_sum(origin, all.distance), inverse_root(all.m2 * share + eps)};
    if (leads) {
      auto moved = [this](T from, T value) { return (T(1) - momentum) * from + momentum * value; };
      put(statistics, c, C, s);
      running_mean[c] = moved(old.mean, s.mean.large);
      running_var[c] = moved(old.var, all.m2 * share_but_one);
    }
    return s;
  }
};

template <class T, int W, int K, int Threads>
__global__ void __launch_bounds__(Threads)
    batchnorm_train_kernel(In<T> x, In<T> weight, In<T> bias, uint32_t N, uint32_t C, uint32_t L, Training<T> training, Out<T> y) {
  begin_kernel();
  const Place<W, Threads, uint32_t> place(N, C);
  const uint32_t c = place.c;
  const T origin = place.there ? x[c * L] : T(0);
  const T w = place.there && weight ? weight[c] : T(1), shift = place.there && bias ? bias[c] : T(0);
  const auto before = training.before(c, place.leads);
  Group<T, K, Threads / W, uint32_t> some;
  const PartMoments<T> all = part_of_block<W, Threads, true>(x, place.walk(C, L), place.last, origin, training.share, some);
  if (!place.there) return;
  const T scale = w * training.end(c, C, origin, all, before, place.leads).inverse;
  some.store(y, [&](int j) { return some.v[j] * scale + shift; });
}

// parts [C, gridDim.y]; share: 1 / elements of a part, and of the last one
template <class T, int W, int K, bool Kept, class I>
__global__ void __launch_bounds__(kBlock) batchnorm_parts_kernel(In<T> x, I N, I C, I L, I stretch, T share, T share_of_last, PartMoments<T>* parts) {
  begin_kernel();
  const Place<W, kBlock, I> place(N, C, stretch);
  const T origin = place.there ? x[place.c * L] : T(0);
  Group<T, K, kBlock / W, I> some;
  const PartMoments<T> part = part_of_block<W, kBlock, Kept>(x, place.walk(C, L), place.last, origin, blockIdx.y + 1 < gridDim.y ? share : share_of_last, some);
  if (place.there && threadIdx.x < W) parts[place.c * gridDim.y + blockIdx.y] = part;
}

// V over the parts of a channel, kMostParts or fewer, of which each lane of a warp has W: number part_of<W>(j), j < W.
template <int W>
__device__ unsigned part_of(int j) {
  return threadIdx.x % kWarp / W + j * (kWarp / W);
}
template <int W, class F>
__device__ auto merge_parts(F mine) {
  auto all = mine(0);
#pragma unroll
  for (int j = 1; j < W; ++j) all.merge(mine(j));
#pragma unroll
  for (int offset = kWarp / 2; offset >= W; offset /= 2) all.merge(shuffle_xor(all, offset));
  return all;
}

// Where the statistics of a channel come from: the parts of its blocks, or the running statistics. `read` gives a function
// that ends with them.
template <class T>
struct FromParts {
  const T* x;
  const PartMoments<T>* parts;
  Training<T> training;

  template <int W, class P, class I>
  __device__ auto read(const P& place, I N, I C, I L, I stretch) const {
    const T origin = place.there ? x[place.c * L] : T(0);
    const auto before = training.before(place.c, place.leads);
    return [=, to = training, all = parts] {
      PartMoments<T> part[W];
      T count[W];
#pragma unroll
      for (int j = 0; j < W; ++j) {
        const I i = part_of<W>(j), first = i * stretch;
        const bool has = place.there && i < gridDim.y;
        part[j] = has ? all[place.c * gridDim.y + i] : PartMoments<T>{T(0), T(0)};
        count[j] = has ? T(stretch < N - first ? stretch : N - first) : T(0);
      }
      const T distance = merge_parts<W>([&](int j) { return Sum<T>{count[j] * part[j].distance}; }).value * to.share;
      const T m2 = merge_parts<W>([&](int j) {
                     const T d = part[j].distance - distance;
                     return Sum<T>{part[j].m2 + count[j] * (d * d)};
                   }).value;
      return place.there ? to.end(place.c, C, origin, {distance, m2}, before, place.leads) : Normaliser<T>{};
    };
  }
};
template <class T>
struct FromRunning {
  const T *mean, *var;
  T eps;
  T* statistics;

  template <int W, class P, class I>
  __device__ auto read(const P& place, I, I C, I, I) const {
    const T m = place.there ? mean[place.c] : T(0), v = place.there ? var[place.c] : T(1);
    return [=, to = statistics, e = eps] {
      const Normaliser<T> s{{m, T(0)}, inverse_root(v + e)};
      if (place.leads) put(to, place.c, C, s);
      return s;
    };
  }
};

// The compiler moves no load over the barrier: without it those of x, whose places take longest to compute, would begin when
// the parts are there.
template <class T, int W, int K, class From, class I>
__global__ void __launch_bounds__(kBlock) batchnorm_normalise_kernel(In<T> x, In<T> weight, In<T> bias, I N, I C, I L, I stretch, From from, Out<T> y) {
  begin_kernel();
  const Place<W, kBlock, I> place(N, C, stretch);
  const T w = place.there && weight ? weight[place.c] : T(1), shift = place.there && bias ? bias[place.c] : T(0);
  const auto statistics = from.template read<W>(place, N, C, L, stretch);
  Walk<W, I> walk = place.walk(C, L);
  Group<T, K, kBlock / W, I> some;
  some.place(walk, place.last);
  some.load(x);
  __syncthreads();
  const Normaliser<T> s = statistics();
  const T scale = w * s.inverse;
  for (;;) {
    some.store(y, [&](int j) { return s.centred(some.v[j]) * scale + shift; });
    if (walk.element >= place.last) return;
    some.place(walk, place.last);
    some.load(x);
  }
}

// Rows of L = 1: V, T or a pack of T, in kPacks columns of V; a block takes kRows rows at a time.
constexpr int kRowThreads = 128, kRows = 32;
template <class T, class V>
constexpr int kPacks = sizeof(V) > sizeof(T) ? 8 : kWarp;
template <class T, class V, class I>
__global__ void __launch_bounds__(kRowThreads)
    batchnorm_eval_rows_kernel(In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, I N, I C, T eps, Out<T> y, Out<T> statistics) {
  begin_kernel();
  constexpr int kSize = sizeof(V) / sizeof(T), kColumns = kPacks<T, V>, kLanes = kRowThreads / kColumns, K = kRows / kLanes;
  struct Numbers {
    alignas(V) T v[kSize];
  };
  const I c = (blockIdx.x * I(kColumns) + threadIdx.x % kColumns) * kSize, first = blockIdx.y * I(kRows) + threadIdx.x / kColumns,
          stride = gridDim.y * I(kRows);
  if (c >= C) return;
  auto load = [](const T* from) { return std::bit_cast<Numbers>(*reinterpret_cast<const V*>(from)); };
  Numbers some[K];
  auto load_rows = [&](I row) {
#pragma unroll
    for (int k = 0; k < K; ++k)
      if (row + k * kLanes < N) some[k] = load(x + (row + k * kLanes) * C + c);
  };
  load_rows(first);
  Numbers w, shift;
  if (weight) w = load(weight + c);
  if (bias) shift = load(bias + c);
  const Numbers mean = load(running_mean + c), var = load(running_var + c);
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    const Normaliser<T> s{{mean.v[i], T(0)}, inverse_root(var.v[i] + eps)};
    w.v[i] = weight ? w.v[i] * s.inverse : s.inverse;
    shift.v[i] = bias ? shift.v[i] : T(0);
    if (blockIdx.y == 0 && threadIdx.x < kColumns) put(statistics, c + i, C, s);
  }
  for (I row = first; row < N;) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (row + k * kLanes >= N) continue;
#pragma unroll
      for (int i = 0; i < kSize; ++i) some[k].v[i] = (some[k].v[i] - mean.v[i]) * w.v[i] + shift.v[i];
      *reinterpret_cast<V*>(y + (row + k * kLanes) * C + c) = std::bit_cast<V>(some[k]);
    }
    row += stride;
    load_rows(row);
  }
}

// What the gradient makes of a channel's sums of grad_y and grad_y (x - mean).
template <class T>
struct Gradient {
  T share;  // 1 / N
  bool constant;
  const T* weight;
  T *grad_weight, *grad_bias;
  bool add_weight, add_bias;

  struct Factors {
    bool constant;
    T scale, mean, slope;
    __device__ T operator()(T g, T centred) const { return constant ? scale * g : scale * ((g - mean) - centred * slope); }
  };
  __device__ T weight_of(int64_t c, bool there) const { return there && weight ? weight[c] : T(1); }
  __device__ Factors end(int64_t c, T w, T inverse, Sums<T> sums, bool leads) const {
    if (leads) {
      put_or_add(grad_weight, c, add_weight, sums.b * inverse);
      put_or_add(grad_bias, c, add_bias, sums.a);
    }
    return {constant, w * inverse, sums.a * share, sums.b * inverse * inverse * share};
  }
};

// Numbers of a thread: grad_y and x - mean.
template <class T, int K, int Lanes, class I>
struct Pairs {
  Group<T, K, Lanes, I> g, x;

  template <int W>
  __device__ void load(const T* grad_y, const T* from, Walk<W, I>& walk, I last) {
    g.place(walk, last);
    x = g;
    g.load(grad_y);
    x.load(from);
  }
  __device__ Sums<T> sums() const {
    Sums<T> s{T(0), T(0)};
#pragma unroll
    for (int j = 0; j < K; ++j)
      if (g.has(j)) s.merge({g.v[j], g.v[j] * x.v[j]});
    return s;
  }
  __device__ void store(T* grad_x, const typename Gradient<T>::Factors& f) const {
    g.store(grad_x, [&](int j) { return f(g.v[j], x.v[j]); });
  }
};

template <class T, int W, int K, int Threads>
__global__ void __launch_bounds__(Threads)
    batchnorm_grad_kernel(In<T> x, const T* grad_y, In<T> statistics, uint32_t N, uint32_t C, uint32_t L, Gradient<T> gradient, T* grad_x) {
  begin_kernel();
  SHARED(Sums<T>, partial, (kPartials<W, Threads>));
  const Place<W, Threads, uint32_t> place(N, C);
  Walk<W, uint32_t> walk = place.walk(C, L);
  const Normaliser<T> s = place.there ? normaliser_of(statistics, place.c, C) : Normaliser<T>{};
  const T w = gradient.weight_of(place.c, place.there);
  Pairs<T, K, Threads / W, uint32_t> some;
  some.load(grad_y, x, walk, place.last);
  some.x.centre(s);
  const Sums<T> sums = merge_in_each_warp<W, Threads>(some.sums(), Sums<T>{T(0), T(0)}, partial);
  const auto factors = gradient.end(place.c, w, s.inverse, sums, place.leads);
  if (grad_x) some.store(grad_x, factors);
}

// parts [C, gridDim.y]
template <class T, int W, int K, class I>
__global__ void __launch_bounds__(kBlock) batchnorm_grad_parts_kernel(In<T> x, const T* grad_y, In<T> statistics, I N, I C, I L, I stretch, Sums<T>* parts) {
  begin_kernel();
  SHARED(Sums<T>, partial, (kPartials<W, kBlock>));
  const Place<W, kBlock, I> place(N, C, stretch);
  Walk<W, I> walk = place.walk(C, L);
  const Normaliser<T> s = place.there ? normaliser_of(statistics, place.c, C) : Normaliser<T>{};
  Sums<T> sums{T(0), T(0)};
#pragma unroll 1
  while (walk.element < place.last) {
    Pairs<T, K, kBlock / W, I> some;
    some.load(grad_y, x, walk, place.last);
    some.x.centre(s);
    sums.merge(some.sums());
  }
  sums = merge_in_each_warp<W, kBlock>(sums, Sums<T>{T(0), T(0)}, partial);
  if (place.there && threadIdx.x < W) parts[place.c * gridDim.y + blockIdx.y] = sums;
}

// `count` parts; without grad_x the grid's y dimension is 1.
template <class T, int W, int K, class I>
__global__ void __launch_bounds__(kBlock) batchnorm_grad_write_kernel(In<T> x, const T* grad_y, In<T> statistics, I N, I C, I L, I stretch, unsigned count,
                                                                      const Sums<T>* parts, Gradient<T> gradient, T* grad_x) {
  begin_kernel();
  const Place<W, kBlock, I> place(N, C, stretch);
  Walk<W, I> walk = place.walk(C, L);
  const Normaliser<T> s = place.there ? normaliser_of(statistics, place.c, C) : Normaliser<T>{};
  const T w = gradient.weight_of(place.c, place.there);
  Pairs<T, K, kBlock / W, I> some;
  some.load(grad_y, x, walk, grad_x ? place.last : place.first);
  __syncthreads();  // as above
  Sums<T> part[W];
#pragma unroll
  for (int j = 0; j < W; ++j) {
    const unsigned i = part_of<W>(j);
    part[j] = place.there && i < count ? parts[place.c * count + i] : Sums<T>{T(0), T(0)};
  }
  const Sums<T> sums = merge_parts<W>([&](int j) { return part[j]; });
  const auto factors = gradient.end(place.c, w, s.inverse, sums, place.leads);
  if (!grad_x) return;
  for (;;) {
    some.x.centre(s);
    some.store(grad_x, factors);
    if (walk.element >= place.last) return;
    some.load(grad_y, x, walk, place.last);
  }
}

// How the N elements of a channel are given to blocks: `parts` of them, of `stretch` elements each, a multiple of `lanes`; up to
// `most`, and no more than have `each` elements.
struct Cut {
  int64_t stretch, parts;
  Cut(int64_t N, int64_t lanes, int64_t each, int64_t most) {
    const int64_t wanted = std::clamp<int64_t>((N + each - 1) / each, 1, most), share = std::max<int64_t>(1, (N + wanted - 1) / wanted);
    stretch = (share + lanes - 1) / lanes * lanes;
    parts = std::max<int64_t>(1, (N + stretch - 1) / stretch);
  }
};

// Calls one of two for C channels of N elements: in_registers.operator()<W, K, Threads>() where a block keeps those of a channel,
// else in_parts.operator()<W, I>().
template <class F, class G>
void by_size(const Stream& stream, int64_t N, int64_t C, int64_t L, F in_registers, G in_parts) {
  const bool short_index = N * C <= stream.short_index;
  if (L == 1) {
    if (!short_index) in_parts.template operator()<kStrip, int64_t>();
    else if (N <= 8 * 64 / kStrip) in_registers.template operator()<kStrip, 8, 64>();
    else if (N <= 8 * 256 / kStrip) in_registers.template operator()<kStrip, 8, 256>();
    else if (N <= 16 * 512 / kStrip) in_registers.template operator()<kStrip, 16, 512>();
    else in_parts.template operator()<kStrip, uint32_t>();
  } else {
    if (!short_index) in_parts.template operator()<1, int64_t>();
    else if (N <= 8 * 256) in_registers.template operator()<1, 8, 256>();
    else if (N <= 16 * 512) in_registers.template operator()<1, 16, 512>();
    else in_parts.template operator()<1, uint32_t>();
  }
}

template <class T>
void batchnorm_train(Stream& stream, In<T> x, In<T> weight, In<T> bias, int64_t B, int64_t C, int64_t L, T eps, T momentum, InOut<T> running_mean,
                     InOut<T> running_var, Out<T> y, Out<T> statistics) {
  const int64_t N = B * L;
  if (N == 0) return;
  const Training<T> training{T(1) / T(N), T(1) / T(N - 1), eps, momentum, running_mean, running_var, statistics};
  by_size(
      stream, N, C, L,
      [&]<int W, int K, int Threads>() {
        launch(stream, grid_for(C, W), Threads, 0, batchnorm_train_kernel<T, W, K, Threads>, x, weight, bias, static_cast<uint32_t>(N),
               static_cast<uint32_t>(C), static_cast<uint32_t>(L), training, y);
      },
      [&]<int W, class I>() {
        constexpr int64_t kLanes = kBlock / W, kKept = kPart * kLanes;
        const Cut cut(N, kLanes, kKept, kMostParts);
        const dim3 grid(grid_for(C, W), static_cast<unsigned>(cut.parts));
        const I n = static_cast<I>(N), channels = static_cast<I>(C), length = static_cast<I>(L), stretch = static_cast<I>(cut.stretch);
        PartMoments<T>* const parts = stream.scratch<PartMoments<T>>(C * cut.parts);
        const auto find = cut.stretch <= kKept ? batchnorm_parts_kernel<T, W, kPart, true, I> : batchnorm_parts_kernel<T, W, kAhead, false, I>;
        launch(stream, grid, kBlock, 0, find, x, n, channels, length, stretch, T(1) / T(cut.stretch), T(1) / T(N - (cut.parts - 1) * cut.stretch), parts);
        launch(stream, grid, kBlock, 0, batchnorm_normalise_kernel<T, W, kPart, FromParts<T>, I>, x, weight, bias, n, channels, length, stretch,
               FromParts<T>{x, parts, training}, y);
      });
}

template <class T>
void batchnorm_eval(Stream& stream, In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, int64_t B, int64_t C, int64_t L, T eps, Out<T> y,
                    Out<T> statistics) {
  const int64_t N = B * L;
  auto rows = [&]<class V, class I>() {
    constexpr int64_t kColumns = kPacks<T, V> * static_cast<int64_t>(sizeof(V) / sizeof(T));
    launch(stream, dim3(grid_for(C, kColumns), static_cast<unsigned>(Cut(N, kRows, kRows, kMostStretches).parts)), kRowThreads, 0,
           batchnorm_eval_rows_kernel<T, V, I>, x, weight, bias, running_mean, running_var, static_cast<I>(N), static_cast<I>(C), eps, y, statistics);
  };
  auto channels = [&]<class I>() {
    const Cut cut(N, kBlock, kAhead * kBlock, kMostStretches);
    launch(stream, dim3(grid_for(C, 1), static_cast<unsigned>(cut.parts)), kBlock, 0, batchnorm_normalise_kernel<T, 1, kAhead, FromRunning<T>, I>, x, weight,
           bias, static_cast<I>(N), static_cast<I>(C), static_cast<I>(L == 0 ? 1 : L), static_cast<I>(cut.stretch),
           FromRunning<T>{running_mean, running_var, eps, statistics}, y);
  };
  const bool short_index = N * C <= stream.short_index;
  if (L != 1) short_index ? channels.template operator()<uint32_t>() : channels.template operator()<int64_t>();
  else if (!short_index) rows.template operator()<T, int64_t>();
  else if (C % Pack<T>::size == 0 && aligned16(x, weight, bias, running_mean, running_var, y)) rows.template operator()<Pack<T>, uint32_t>();
  else rows.template operator()<T, uint32_t>();
}

template <class T>
void batchnorm_grad(Stream& stream, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t B, int64_t C, int64_t L, bool constant, Out<T> grad_x,
                    InOut<T> grad_weight, InOut<T> grad_bias, bool add_weight, bool add_bias) {
  const int64_t N = B * L;
  const Gradient<T> gradient{T(1) / T(N), constant, weight, grad_weight, grad_bias, add_weight, add_bias};
  by_size(
      stream, N, C, L,
      [&]<int W, int K, int Threads>() {
        launch(stream, grid_for(C, W), Threads, 0, batchnorm_grad_kernel<T, W, K, Threads>, x, grad_y, statistics, static_cast<uint32_t>(N),
               static_cast<uint32_t>(C), static_cast<uint32_t>(L == 0 ? 1 : L), gradient, grad_x);
      },
      [&]<int W, class I>() {
        const Cut cut(N, kBlock / W, kAhead * kBlock / W, kMostParts);
        const unsigned parts = static_cast<unsigned>(cut.parts), strips = grid_for(C, W);
        const I n = static_cast<I>(N), channels = static_cast<I>(C), length = static_cast<I>(L), stretch = static_cast<I>(cut.stretch);
        Sums<T>* const sums = stream.scratch<Sums<T>>(C * cut.parts);
        launch(stream, dim3(strips, parts), kBlock, 0, batchnorm_grad_parts_kernel<T, W, kAhead, I>, x, grad_y, statistics, n, channels, length, stretch, sums);
        launch(stream, dim3(strips, grad_x ? parts : 1), kBlock, 0, batchnorm_grad_write_kernel<T, W, kAhead, I>, x, grad_y, statistics, n, channels, length,
               stretch, parts, static_cast<const Sums<T>*>(sums), gradient, grad_x);
      });
}

}  // namespace PV_EXEC

PV_INSTANTIATE(batchnorm_train)
PV_INSTANTIATE(batchnorm_eval)
PV_INSTANTIATE(batchnorm_grad)

}  // namespace panvae
