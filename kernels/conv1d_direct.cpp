// Direct convolution on the CPU. A tile of outputs, up to kTile positions by two vectors of channels, stays in registers
// while all input channels and taps pass: an input value is broadcast, the weights of that (channel, tap) are two vector
// loads, and both are read where they lie. Nothing is copied per tap, as im2col does; only rows of input are laid out with
// their padding (once per sample, in L2), and weights once per call.
//
// With stride s, a row is laid out by phase, x[0], x[s], x[2s], ..., x[1], x[s + 1], ...: what a tap reads of it is then
// contiguous. The input gradient is the same walk over gy: the inputs u of one phase u mod s see a fixed set of taps, each
// at a fixed shift.
//
// Samples run in parallel, the weight gradient instead over blocks of input channels, each through all samples in order:
// the same bits for any number of threads.
#include "kernels/conv1d_direct.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/threads.h"

namespace panvae::cpu {

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kTile = 14;  // 28 of 32 registers hold sums
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kTile = 6;  // 12 of 16
#else
constexpr int kVectorBytes = 16, kTile = 6;
#endif
template <class T>
using Vector [[gnu::vector_size(kVectorBytes)]] = T;
template <class T>
constexpr int64_t kLanes = kVectorBytes / sizeof(T);
template <class T>
constexpr int64_t kBlock = 2 * kLanes<T>;  // output channels of a tile

template <class T>
Vector<T> load(const T* p) {
  Vector<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
int64_t padded_channels(int64_t channels) {
  return (channels + kBlock<T> - 1) / kBlock<T> * kBlock<T>;
}

// Lanes and vectors change places, v[i][j] <-> v[j][i], by exchanging the off-diagonal quarters of squares of side 2 kHalf.
template <class T, class I, I kHalf, I... kLane>
void transpose(Vector<T>* v, std::integer_sequence<I, kLane...> lanes) {
  constexpr I n = sizeof...(kLane);
  constexpr Vector<I> low = {(kLane & kHalf ? n + kLane - kHalf : kLane)...}, high = {(kLane & kHalf ? n + kLane : kLane + kHalf)...};
#pragma GCC unroll 16
  for (I i = 0; i < n; ++i) {
    if (i & kHalf) continue;
    const Vector<T> a = v[i], b = v[i + kHalf];
    v[i] = __builtin_shuffle(a, b, low);
    v[i + kHalf] = __builtin_shuffle(a, b, high);
  }
  if constexpr (kHalf > 1) transpose<T, I, kHalf / 2>(v, lanes);
}
template <class T>
void transpose(Vector<T>* v) {  // kLanes of them
  using I = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  constexpr I lanes = kLanes<T>;
  transpose<T, I, lanes / 2>(v, std::make_integer_sequence<I, lanes>{});
}

// to [length][kBlock] from rows [channels, length], zeros behind the last channel. Whole squares are turned in registers.
template <class T>
void turn_rows(const T* from, int64_t channels, int64_t length, T* to) {
  constexpr int64_t lanes = kLanes<T>;
  for (int64_t group = 0; group < kBlock<T>; group += lanes) {
    const int64_t rows = std::clamp<int64_t>(channels - group, 0, lanes), whole = rows == lanes ? length / lanes * lanes : 0;
    const T* source = from + group * length;
    for (int64_t t = 0; t < whole; t += lanes) {
      Vector<T> v[lanes];
      for (int64_t o = 0; o < lanes; ++o) v[o] = load(source + o * length + t);
      transpose<T>(v);
      for (int64_t n = 0; n < lanes; ++n) std::memcpy(to + (t + n) * kBlock<T> + group, &v[n], sizeof v[n]);
    }
    for (int64_t t = whole; t < length; ++t)
      for (int64_t o = 0; o < lanes; ++o) to[t * kBlock<T> + group + o] = o < rows ? source[o * length + t] : T(0);
  }
}

// How rows of input are laid out: element j of phase r is row[r * length + j] = source[j * stride + r - shift], 0 outside.
struct Layout {
  int64_t stride, length, shift;
  int64_t row() const { return stride * length; }
};

template <class T>
void lay_out(const T* source, int64_t rows, int64_t source_length, const Layout& a, T* to) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t r = 0; r < a.stride; ++r) {
      T* out = to + i * a.row() + r * a.length;
      const T* in = source + i * source_length;
      // j * stride + r - shift within [0, source_length)
      const int64_t first = std::clamp<int64_t>(a.shift > r ? (a.shift - r + a.stride - 1) / a.stride : 0, 0, a.length);
      const int64_t end = source_length + a.shift - r;
      const int64_t last = std::clamp<int64_t>(end <= 0 ? 0 : (end + a.stride - 1) / a.stride, first, a.length);
      std::fill(out, out + first, T(0));
      if (a.stride == 1) std::copy(in + first - a.shift, in + last - a.shift, out + first);
      else
        for (int64_t j = first; j < last; ++j) out[j] = in[j * a.stride + r - a.shift];
      std::fill(out + last, out + a.length, T(0));
    }
}

// Outputs first, first + step, ...: `count` of them, all with the same taps; tap i reads the row from starts[i] + position.
struct Phase {
  int64_t first, step, count;
  std::vector<int64_t> taps, starts;
};

// A walk: what forward and input gradient have in common.
struct Walk {
  int64_t in_channels, in_length, out_channels, out_length;
  int64_t weight_in, weight_out;  // distances in w between input channels and between output channels
  Layout layout;
  std::vector<Phase> phases;
};

Walk forward_walk(const Conv1dShape& s) {
  Walk w{s.C_in, s.L_in, s.C_out, s.L_out, s.K, s.C_in * s.K, {s.stride, s.L_out + s.dilation * (s.K - 1) / s.stride, s.padding}, {}};
  Phase p{0, 1, s.L_out, {}, {}};
  for (int64_t k = 0; k < s.K; ++k) {
    p.taps.push_back(k);
    p.starts.push_back(k * s.dilation % s.stride * w.layout.length + k * s.dilation / s.stride);
  }
  w.phases.push_back(std::move(p));
  return w;
}

Walk grad_input_walk(const Conv1dShape& s) {
  Walk w{s.C_out, s.L_out, s.C_in, s.L_in, s.C_in * s.K, s.K, {1, s.L_out, 0}, {}};
  // Input u = first + j stride was read as tap k by output j + (first + padding - k dilation) / stride.
  for (int64_t first = 0; first < std::min(s.stride, s.L_in); ++first) {
    Phase p{first, s.stride, (s.L_in - first + s.stride - 1) / s.stride, {}, {}};
    for (int64_t k = 0; k < s.K; ++k) {
      const int64_t from = first + s.padding - k * s.dilation;
      if (from % s.stride != 0) continue;
      p.taps.push_back(k);
      p.starts.push_back(from / s.stride);
      w.layout.shift = std::max(w.layout.shift, -from / s.stride);
    }
    w.phases.push_back(std::move(p));
  }
  for (Phase& p : w.phases)
    for (int64_t& start : p.starts) {
      start += w.layout.shift;
      w.layout.length = std::max(w.layout.length, start + p.count);
    }
  return w;
}

// packed [block of output channels][input channel][tap of the phase][channel of the block], zeros behind the last channel
template <class T>
void pack_weights(const Walk& walk, const Phase& phase, const T* w, T* packed) {
  const int64_t taps = static_cast<int64_t>(phase.taps.size());
  parallel_chunks(padded_channels<T>(walk.out_channels) / kBlock<T>, 1, [&, taps](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      T* to = packed + block * walk.in_channels * taps * kBlock<T>;
      const int64_t channels = std::min(kBlock<T>, walk.out_channels - block * kBlock<T>);
      for (int64_t i = 0; i < walk.in_channels; ++i)
        for (int64_t k : phase.taps) {
          const T* from = w + i * walk.weight_in + block * kBlock<T> * walk.weight_out + k;
          for (int64_t o = 0; o < channels; ++o) to[o] = from[o * walk.weight_out];
          std::fill(to + channels, to + kBlock<T>, T(0));
          to += kBlock<T>;
        }
    }
  });
}

// sums [kTile][kBlock]: of N positions from `in` on, over all input channels and taps.
template <class T, int N>
void tile(const T* in, int64_t row, int64_t in_channels, const int64_t* starts, int64_t taps, const T* weights, T* sums) {
  Vector<T> acc[N][2] = {};
  for (int64_t i = 0; i < in_channels; ++i)
    for (int64_t k = 0; k < taps; ++k, weights += kBlock<T>) {
      const T* p = in + i * row + starts[k];
      const Vector<T> w0 = load(weights), w1 = load(weights + kLanes<T>);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        acc[n][0] += p[n] * w0;
        acc[n][1] += p[n] * w1;
      }
    }
  std::memcpy(sums, acc, sizeof acc);
}

// sums [N][kBlock]: adds the products of N windows (`length` positions each) with gy [length][kBlock].
template <class T, int N>
void weight_tile(const T* const* windows, int64_t length, const T* gy, T* sums) {
  Vector<T> acc[N][2];
  std::memcpy(acc, sums, sizeof acc);
  for (int64_t t = 0; t < length; ++t, gy += kBlock<T>) {
    const Vector<T> g0 = load(gy), g1 = load(gy + kLanes<T>);
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      acc[n][0] += windows[n][t] * g0;
      acc[n][1] += windows[n][t] * g1;
    }
  }
  std::memcpy(sums, acc, sizeof acc);
}

// f(std::integral_constant<int, n>) for n in [1, kTile].
template <class F, int... N>
void with_constant(int64_t n, F&& f, std::integer_sequence<int, N...>) {
  (void)((n == N + 1 && (f(std::integral_constant<int, N + 1>{}), true)) || ...);
}
template <class F>
void with_tile_size(int64_t n, F&& f) {
  with_constant(n, f, std::make_integer_sequence<int, kTile>{});
}

// [0, n) in as few tiles as possible, of sizes that differ by at most one: f(begin, size).
template <class F>
void each_tile(int64_t n, F&& f) {
  const int64_t tiles = (n + kTile - 1) / kTile;
  for (int64_t i = 0; i < tiles; ++i) f(n * i / tiles, n * (i + 1) / tiles - n * i / tiles);
}

// y [channels of a block, length] at positions 0, step, ... from sums [N][kBlock].
template <class T, int N>
void store_tile(const T* sums, T* y, int64_t length, int64_t step, int64_t channels, const T* bias, const Epilogue<T>& e) {
  constexpr int64_t lanes = kLanes<T>;
  for (int64_t group = 0; group < channels; group += lanes)
    for (int64_t position = 0; position < N; position += lanes) {
      // A square of channels by positions, turned so that a vector holds the positions of one channel.
      const int64_t count = std::min<int64_t>(lanes, N - position);
      Vector<T> v[lanes] = {};
      for (int64_t n = 0; n < count; ++n) v[n] = load(sums + (position + n) * kBlock<T> + group);
      transpose<T>(v);
      for (int64_t o = group; o < std::min(group + lanes, channels); ++o) {
        T* to = y + o * length + position * step;
        Vector<T> x = v[o - group] + (bias ? bias[o] : T(0));
        if (e.accumulate)
          for (int64_t n = 0; n < count; ++n) x[n] += to[n * step];
        if (e.activation == Activation::relu) x = x < T(0) ? Vector<T>{} : x;
        if (e.activation == Activation::leaky_relu) x = x < T(0) ? e.slope * x : x;
        if (step == 1 && N <= lanes) std::memcpy(to, &x, N * sizeof(T));  // of a size the compiler knows
        else
          for (int64_t n = 0; n < count; ++n) to[n * step] = x[n];
      }
    }
}

template <class T>
void walk_samples(Stream& stream, const Walk& walk, int64_t samples, In<T> in, In<T> w, InOut<T> out, const Epilogue<T>& e) {
  if (samples * walk.out_channels * walk.out_length == 0) return;
  const int64_t blocks = padded_channels<T>(walk.out_channels) / kBlock<T>, rows = walk.in_channels * walk.layout.row();
  std::vector<int64_t> packed_at;
  int64_t packed_size = 0;
  for (const Phase& p : walk.phases) {
    packed_at.push_back(packed_size);
    packed_size += blocks * kBlock<T> * walk.in_channels * static_cast<int64_t>(p.taps.size());
  }
  T* const packed = stream.scratch<T>(packed_size + threads() * rows);
  for (size_t i = 0; i < walk.phases.size(); ++i) pack_weights(walk, walk.phases[i], w, packed + packed_at[i]);
  parallel_chunks(samples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      T* const laid_out = packed + packed_size + thread_index() * rows;
      lay_out(in + b * walk.in_channels * walk.in_length, walk.in_channels, walk.in_length, walk.layout, laid_out);
      for (size_t i = 0; i < walk.phases.size(); ++i) {
        const Phase& phase = walk.phases[i];
        const int64_t taps = static_cast<int64_t>(phase.taps.size());
        for (int64_t block = 0; block < blocks; ++block) {
          const T* weights = packed + packed_at[i] + block * kBlock<T> * walk.in_channels * taps;
          const int64_t first = block * kBlock<T>, channels = std::min(kBlock<T>, walk.out_channels - first);
          T* y = out + (b * walk.out_channels + first) * walk.out_length + phase.first;
          each_tile(phase.count, [&](int64_t position, int64_t size) {
            alignas(kVectorBytes) T sums[kTile * kBlock<T>];
            with_tile_size(size, [&]<int N>(std::integral_constant<int, N>) {
              tile<T, N>(laid_out + position, walk.layout.row(), walk.in_channels, phase.starts.data(), taps, weights, sums);
              store_tile<T, N>(sums, y + position * phase.step, walk.out_length, phase.step, channels, e.bias ? e.bias + first : nullptr, e);
            });
          });
        }
      }
    }
  });
}

}  // namespace

template <class T>
void direct_conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, const Conv1dShape& s, const Epilogue<T>& e) {
  walk_samples(stream, forward_walk(s), s.B, x, w, y, e);
}

template <class T>
void direct_conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, const Conv1dShape& s, const Epilogue<T>& e) {
  walk_samples(stream, grad_input_walk(s), s.B, grad_y, w, grad_x, e);
}

// gy is laid out as [sample][block of output channels][position][channel of the block]; sums are [block][C_in][tap][channel].
template <class T>
void direct_conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, const Conv1dShape& s, bool accumulate) {
  if (s.C_in * s.C_out * s.K == 0) return;
  constexpr int64_t kChannels = 64, kBlocks = 4;  // input channels and blocks of output channels of a task: its sums stay in L2
  const Walk walk = forward_walk(s);
  const Phase& phase = walk.phases[0];
  const int64_t blocks = padded_channels<T>(s.C_out) / kBlock<T>, block_sums = s.C_in * s.K * kBlock<T>, block_gy = s.L_out * kBlock<T>;
  const int64_t tasks_in = (s.C_in + kChannels - 1) / kChannels, tasks = tasks_in * ((blocks + kBlocks - 1) / kBlocks), rows = kChannels * walk.layout.row();
  T* const gy = stream.scratch<T>(s.B * blocks * block_gy + blocks * block_sums + threads() * rows);
  T* const sums = gy + s.B * blocks * block_gy;
  parallel_chunks(s.B * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * kBlock<T>, channels = std::min(kBlock<T>, s.C_out - first);
      turn_rows(grad_y + (i / blocks * s.C_out + first) * s.L_out, channels, s.L_out, gy + i * block_gy);
    }
  });
  parallel_chunks(tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task % tasks_in * kChannels, channels = std::min(kChannels, s.C_in - first);
      const int64_t first_block = task / tasks_in * kBlocks, last_block = std::min(first_block + kBlocks, blocks);
      T* const laid_out = sums + blocks * block_sums + thread_index() * rows;
      for (int64_t block = first_block; block < last_block; ++block) {
        T* sum = sums + block * block_sums + first * s.K * kBlock<T>;
        std::fill(sum, sum + channels * s.K * kBlock<T>, T(0));
      }
      for (int64_t b = 0; b < s.B; ++b) {
        lay_out(x + (b * s.C_in + first) * s.L_in, channels, s.L_in, walk.layout, laid_out);
        for (int64_t block = first_block; block < last_block; ++block)
          each_tile(channels * s.K, [&](int64_t row, int64_t size) {
            const T* windows[kTile];
            for (int64_t n = 0; n < size; ++n) windows[n] = laid_out + (row + n) / s.K * walk.layout.row() + phase.starts[static_cast<size_t>((row + n) % s.K)];
            with_tile_size(size, [&]<int N>(std::integral_constant<int, N>) {
              weight_tile<T, N>(windows, s.L_out, gy + (b * blocks + block) * block_gy, sums + block * block_sums + (first * s.K + row) * kBlock<T>);
            });
          });
      }
      for (int64_t o = first_block * kBlock<T>; o < std::min(last_block * kBlock<T>, s.C_out); ++o)
        for (int64_t i = first * s.K; i < (first + channels) * s.K; ++i) {
          T& to = grad_w[o * s.C_in * s.K + i];
          to = sums[o / kBlock<T> * block_sums + i * kBlock<T> + o % kBlock<T>] + (accumulate ? to : T(0));
        }
    }
  });
}

#define PV_DIRECT(T)                                                                                                  \
  template void direct_conv1d<T>(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, const Epilogue<T>&);            \
  template void direct_conv1d_grad_input<T>(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, const Epilogue<T>&); \
  template void direct_conv1d_grad_weight<T>(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, bool);
PV_DIRECT(float)
PV_DIRECT(double)
#undef PV_DIRECT

}  // namespace panvae::cpu
