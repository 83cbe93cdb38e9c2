// Direct convolution on the CPU. A tile of outputs, two vectors of positions by up to kTile channels, stays in registers while
// all input channels and taps pass: the inputs are two vector loads, the weight of each (channel, tap) is broadcast. Outputs are
// stored as they lie, without a transpose, which would cost a tenth of a tile with few input channels.
//
// Positions count through the samples, with just the zeros between that taps may read: neither short rows nor the end of a row
// leave lanes idle. A few hundred positions of the input, a panel, are copied once (not per tap, as im2col does, but where the
// zeros would take more than a fifth of the lanes), and all output channels computed from it: panel and weights share L2, the
// weights of a tile stay in L1. Outputs and inputs that come next are prefetched: on cold memory that is another tenth.
//
// With stride s, a panel holds rows by residue, x[0], x[s], x[2s], ..., then x[1], x[s + 1], ...: what a tap reads of it is then
// contiguous. The input gradient is the same walk over gy: the inputs u of one phase u mod s see a fixed set of taps, each
// at a fixed shift.
//
// The weight gradient sums over positions, so that channels lie in lanes: of x or gy the one with fewer channels is turned, the
// other is broadcast where it lies. A tile passes through all samples in order.
//
// Tasks are panels, or tiles of the weight gradient: the same bits for any number of threads.
#include "kernels/conv1d_direct.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/threads.h"
#include "kernels/register_tile.h"

namespace panvae::cpu {

namespace {

template <class T>
constexpr int64_t kLine = 64 / sizeof(T);  // of a cache

template <class T>
void store(T* p, Vector<T> v) {
  std::memcpy(p, &v, sizeof v);
}
// Of n values, in whole vectors as far as there are enough: the last one overlaps the one before it.
template <class T>
void copy(const T* from, int64_t n, T* to) {
  if (n < kLanes<T>) {
    std::copy(from, from + n, to);
    return;
  }
  for (int64_t i = 0; i + kLanes<T> < n; i += kLanes<T>) store<T>(to + i, load(from + i));
  store<T>(to + n - kLanes<T>, load(from + n - kLanes<T>));
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

// Outputs first, first + step, ...: `count` of a row, all with the same taps. Output j reads at tap k of w the element
// j * stride + offset of the source's row, 0 outside.
struct Tap {
  int64_t k, offset;
};
struct Phase {
  int64_t first, step, count;
  std::vector<Tap> taps;
};

// A walk: what forward and input gradient have in common.
struct Walk {
  int64_t in_channels, in_length, out_channels, out_length;
  int64_t weight_in, weight_out;  // distances in w between input channels and between output channels
  int64_t stride;
  std::vector<Phase> phases;
};

Walk forward_walk(const Conv1dShape& s) {
  Walk w{s.C_in, s.L_in, s.C_out, s.L_out, s.K, s.C_in * s.K, s.stride, {{0, 1, s.L_out, {}}}};
  for (int64_t k = 0; k < s.K; ++k) w.phases[0].taps.push_back({k, k * s.dilation - s.padding});
  return w;
}

Walk grad_input_walk(const Conv1dShape& s) {
  Walk w{s.C_out, s.L_out, s.C_in, s.L_in, s.C_in * s.K, s.K, 1, {}};
  // Input u = first + j stride was read as tap k by output j + (first + padding - k dilation) / stride.
  for (int64_t first = 0; first < std::min(s.stride, s.L_in); ++first) {
    Phase p{first, s.stride, (s.L_in - first + s.stride - 1) / s.stride, {}};
    for (int64_t k = 0; k < s.K; ++k) {
      const int64_t from = first + s.padding - k * s.dilation;
      if (from % s.stride == 0) p.taps.push_back({k, from / s.stride});
    }
    w.phases.push_back(std::move(p));
  }
  return w;
}

// The rows of a panel, for one input channel: element j of row r is source[j * stride + begins[r]], and tap i reads row
// tap_rows[i] from its element tap_offsets[i] on.
struct Rows {
  std::vector<int64_t> begins, tap_rows, tap_offsets;
  int64_t reach, pitch;  // the largest offset; positions from one sample to the next

  // Row r has data in [first, last), of `count` outputs.
  std::pair<int64_t, int64_t> data(const Walk& walk, int64_t count, size_t r) const {
    const int64_t first = std::max<int64_t>(walk.stride - 1 - begins[r], 0) / walk.stride;
    const int64_t last = std::max<int64_t>(walk.in_length - begins[r] + walk.stride - 1, 0) / walk.stride;
    return {first, std::clamp(last, first, std::max(first, count + reach))};
  }
};

// Shared: the taps have a row by residue. Else each has its own, which leaves no gaps between samples.
Rows rows_of(const Walk& walk, const Phase& phase, bool shared) {
  Rows rows{{}, {}, {}, 0, phase.count};
  int64_t low = phase.taps.empty() ? 0 : phase.taps[0].offset, high = low;
  for (const Tap& tap : phase.taps) low = std::min(low, tap.offset), high = std::max(high, tap.offset);
  if (shared) rows.reach = (high - low) / walk.stride;
  for (int64_t r = 0; shared && r < std::min(walk.stride, high - low + 1); ++r) rows.begins.push_back(low + r);
  for (const Tap& tap : phase.taps) {
    rows.tap_rows.push_back(shared ? (tap.offset - low) % walk.stride : static_cast<int64_t>(rows.begins.size()));
    rows.tap_offsets.push_back(shared ? (tap.offset - low) / walk.stride : 0);
    if (!shared) rows.begins.push_back(tap.offset);
  }
  // The next sample begins behind the outputs and the data of this one, and so far that they do not read its data.
  for (size_t r = 0; r < rows.begins.size(); ++r) {
    const auto [first, last] = rows.data(walk, phase.count, r);
    if (first < last) rows.pitch = std::max({rows.pitch, last, phase.count + rows.reach - first});
  }
  return rows;
}
// Gaps of a quarter are too much: short rows of many or of far taps.
Rows rows_of(const Walk& walk, const Phase& phase) {
  Rows shared = rows_of(walk, phase, true);
  return 4 * shared.pitch > 5 * phase.count ? rows_of(walk, phase, false) : shared;
}

// packed [tile of output channels][input channel][tap of the phase][channel of the tile]
template <class T>
void pack_weights(const Walk& walk, const Phase& phase, const T* w, T* packed) {
  const int64_t steps = walk.in_channels * static_cast<int64_t>(phase.taps.size());
  parallel_chunks(tiles_of(walk.out_channels), 1, [&, steps](int64_t tile, int64_t) {
    const int64_t begin = tile_begin(walk.out_channels, tile), channels = tile_begin(walk.out_channels, tile + 1) - begin;
    T* to = packed + begin * steps;
    for (int64_t i = 0; i < walk.in_channels; ++i)
      for (const Tap& tap : phase.taps) {
        const T* from = w + i * walk.weight_in + begin * walk.weight_out + tap.k;
        for (int64_t o = 0; o < channels; ++o) *to++ = from[o * walk.weight_out];
      }
  });
}

// panel [input channel][row][width]: what `count` positions from `position` on read, which count through the samples.
template <class T>
void fill_panel(const Walk& walk, const Phase& phase, const Rows& rows, int64_t position, int64_t count, int64_t width, const T* in, int64_t samples,
                T* panel) {
  const int64_t channel = static_cast<int64_t>(rows.begins.size()) * width;
  for (size_t r = 0; r < rows.begins.size(); ++r, panel += width) {
    const auto [first, last] = rows.data(walk, phase.count, r);
    for (int64_t at = 0, n = 0; at < count; at += n) {
      const int64_t b = (position + at) / rows.pitch, j = (position + at) % rows.pitch;
      const bool data = b < samples && j >= first && j < last;
      n = std::min(count - at, (j < first ? std::min(first, rows.pitch) : data ? last : rows.pitch) - j);
      T* to = panel + at;
      for (int64_t i = 0; i < walk.in_channels; ++i, to += channel) {
        if (!data) {
          std::fill(to, to + n, T(0));
          continue;
        }
        const T* from = in + (b * walk.in_channels + i) * walk.in_length + j * walk.stride + rows.begins[r];
        if (walk.stride == 1) copy(from, n, to);
        else
          for (int64_t t = 0; t < n; ++t) to[t] = from[t * walk.stride];
      }
    }
  }
}

// Memory that will be needed, a block of each row: from `at` on, to at + last, which may lie in the next sample.
template <class T>
struct Ahead {
  const T* at;
  int64_t last, row;
};

// sums [N][kBlock]: of N output channels, over all input channels and taps. Meanwhile the outputs are fetched, which are
// stored next, and then inputs of the next panel: a few lines per input channel, because many at once would hold up the loads.
template <class T, int N>
void tile(const T* panel, int64_t row, int64_t in_channels, const int64_t* starts, int64_t taps, const T* weights, Ahead<T> ahead, const Ahead<T>& then,
          T* sums) {
  Vector<T> acc[N][2] = {};
  for (int64_t i = 0; i < in_channels; ++i, panel += row) {
    if (i == N) ahead = then;
    __builtin_prefetch(ahead.at);
    __builtin_prefetch(ahead.at + kLanes<T>);
    __builtin_prefetch(ahead.at + ahead.last);
    ahead.at += ahead.row;
    for (int64_t k = 0; k < taps; ++k, weights += N) {
      const Vector<T> x0 = load(panel + starts[k]), x1 = load(panel + starts[k] + kLanes<T>);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        acc[n][0] += weights[n] * x0;
        acc[n][1] += weights[n] * x1;
      }
    }
  }
  std::memcpy(sums, acc, sizeof acc);
}

// Lanes lane, lane + 1, ... of a tile are outputs at, at + step, ... of a row.
struct Run {
  int64_t lane, count, at;
};

// Channels of y, rows of `length`, from sums [N][kBlock].
template <class T, int N>
void store_tile(T* sums, const std::vector<Run>& runs, int64_t step, int64_t length, T* y, const T* bias, const Epilogue<T>& e) {
  if (e.accumulate)
    for (const Run& run : runs)
      for (int64_t n = 0; n < N; ++n)
        for (int64_t j = 0; j < run.count; ++j) sums[n * kBlock<T> + run.lane + j] += y[n * length + run.at + j * step];
  const bool whole = step == 1 && runs[0].count == kBlock<T>;
  for (int64_t n = 0; n < N; ++n, sums += kBlock<T>, y += length) {
    for (int64_t half = 0; half < kBlock<T>; half += kLanes<T>) {
      Vector<T> x = load(sums + half) + (bias ? bias[n] : T(0));
      if (e.activation == Activation::relu) x = x < T(0) ? Vector<T>{} : x;
      if (e.activation == Activation::leaky_relu) x = x < T(0) ? e.slope * x : x;
      store<T>(whole ? y + runs[0].at + half : sums + half, x);
    }
    if (whole) continue;
    for (const Run& run : runs)
      if (step == 1) copy(sums + run.lane, run.count, y + run.at);
      else
        for (int64_t j = 0; j < run.count; ++j) y[run.at + j * step] = sums[run.lane + j];
  }
}

// A panel holds several blocks of positions, so that most of a row of input is read at once and most of a row of output is
// written soon after its start; it shares L2 with the weights.
constexpr int64_t kPanelBlocks = 8, kPanelBytes = 256 << 10;
template <class T>
int64_t panel_blocks(const Walk& walk, const Rows& rows) {
  const int64_t block = walk.in_channels * static_cast<int64_t>(rows.begins.size()) * kVectorBytes * 2;
  return std::clamp<int64_t>(kPanelBytes / std::max<int64_t>(block, 1), 1, kPanelBlocks);
}
template <class T>
int64_t panel_width(const Walk& walk, const Rows& rows) {
  return panel_blocks<T>(walk, rows) * kBlock<T> + rows.reach;
}

// The positions of a tile: where its outputs go, and where the panel after this one reads at its place.
template <class T>
struct Block {
  std::vector<Run> runs;
  Ahead<T> outputs, inputs;
};
template <class T>
Block<T> block_at(const Walk& walk, const Phase& phase, const Rows& rows, int64_t position, int64_t samples, const T* in, int64_t blocks) {
  Block<T> block;
  for (int64_t lane = 0; lane < kBlock<T>; lane += rows.pitch - (position + lane) % rows.pitch) {
    const int64_t b = (position + lane) / rows.pitch, j = (position + lane) % rows.pitch;
    if (b < samples && j < phase.count)
      block.runs.push_back({lane, std::min(phase.count - j, kBlock<T> - lane), b * walk.out_channels * walk.out_length + phase.first + j * phase.step});
  }
  if (block.runs.empty()) return block;
  const Run &first = block.runs.front(), &last = block.runs.back();
  block.outputs = {nullptr, last.at + (last.count - 1) * phase.step - first.at, walk.out_length};
  const auto read_at = [&](int64_t p) {
    const int64_t j = std::min(p % rows.pitch * walk.stride, walk.in_length);
    return in + std::min(p / rows.pitch, samples - 1) * walk.in_channels * walk.in_length + j;
  };
  const int64_t next = position + blocks * kBlock<T> + rows.reach;
  block.inputs = {read_at(next), read_at(next + kBlock<T> - 1) - read_at(next), walk.in_length};
  return block;
}

template <class T>
void walk_phase(const Walk& walk, const Phase& phase, const Rows& rows, int64_t samples, In<T> in, const T* packed, T* panels, InOut<T> out,
                const Epilogue<T>& e) {
  const int64_t taps = static_cast<int64_t>(phase.taps.size()), steps = walk.in_channels * taps, width = panel_width<T>(walk, rows);
  const int64_t channel = static_cast<int64_t>(rows.begins.size()) * width;
  std::vector<int64_t> starts;
  for (size_t i = 0; i < phase.taps.size(); ++i) starts.push_back(rows.tap_rows[i] * width + rows.tap_offsets[i]);
  const int64_t all = (samples * rows.pitch + kBlock<T> - 1) / kBlock<T>;
  parallel_chunks(all, (all + threads() - 1) / threads(), [&](int64_t begin, int64_t end, int64_t thread) {
    T* const panel = panels + thread * walk.in_channels * channel;
    for (int64_t n = 0; begin < end; begin += n) {
      n = std::min(end - begin, panel_blocks<T>(walk, rows));
      fill_panel<T>(walk, phase, rows, begin * kBlock<T>, n * kBlock<T> + rows.reach, width, in, samples, panel);
      std::vector<Block<T>> blocks;
      for (int64_t i = 0; i < n; ++i) blocks.push_back(block_at<T>(walk, phase, rows, (begin + i) * kBlock<T>, samples, in, n));
      for (int64_t i = 0; i < tiles_of(walk.out_channels); ++i) {
        const int64_t first = tile_begin(walk.out_channels, i);
        T* const y = out + first * walk.out_length;
        with_tile_size(tile_begin(walk.out_channels, i + 1) - first, [&]<int N>(std::integral_constant<int, N>) {
          alignas(kVectorBytes) T sums[N * kBlock<T>];
          for (int64_t j = 0; j < n; ++j) {
            const Block<T>& block = blocks[static_cast<size_t>(j)];
            if (block.runs.empty()) continue;
            const Ahead<T> outputs{y + block.runs[0].at, block.outputs.last, block.outputs.row};
            const Ahead<T> inputs = i == 0 ? block.inputs : Ahead<T>{packed, 0, 0};
            tile<T, N>(panel + j * kBlock<T>, channel, walk.in_channels, starts.data(), taps, packed + first * steps, outputs, inputs, sums);
            store_tile<T, N>(sums, block.runs, phase.step, walk.out_length, y, e.bias ? e.bias + first : nullptr, e);
          }
        });
      }
    }
  });
}

template <class T>
void walk_samples(Stream& stream, const Walk& walk, int64_t samples, In<T> in, In<T> w, InOut<T> out, const Epilogue<T>& e) {
  if (samples * walk.out_channels * walk.out_length == 0) return;
  std::vector<Rows> rows;
  int64_t panel = 0, weights = 0;
  for (const Phase& phase : walk.phases) {
    rows.push_back(rows_of(walk, phase));
    panel = std::max(panel, walk.in_channels * static_cast<int64_t>(rows.back().begins.size()) * panel_width<T>(walk, rows.back()));
    weights = std::max(weights, walk.out_channels * walk.in_channels * static_cast<int64_t>(phase.taps.size()));
  }
  T* const packed = stream.scratch<T>(weights + threads() * panel);
  for (size_t i = 0; i < walk.phases.size(); ++i) {
    pack_weights<T>(walk, walk.phases[i], w, packed);
    walk_phase<T>(walk, walk.phases[i], rows[i], samples, in, packed, packed + weights, out, e);
  }
}

template <class T>
struct Operand {
  const T* at;
  int64_t sample, row, step;  // distances between samples, between rows (of the broadcast one) and between positions
};
// sums [N][kBlock]: adds the products of N rows, broadcast, with the lanes, over `count` positions of each of `samples`.
// Meanwhile as many samples after these are fetched, of whose rows a call reads too little at a time for the hardware to guess.
template <class T, int N>
void weight_tile(const Operand<T>& rows, const Operand<T>& lanes, int64_t samples, int64_t count, T* sums) {
  Vector<T> acc[N][2];
  std::memcpy(acc, sums, sizeof acc);
  for (int64_t b = 0; b < samples; ++b) {
    const T *p = rows.at + b * rows.sample, *q = lanes.at + b * lanes.sample, *next = p + samples * rows.sample;
    for (int64_t t = 0; t < count; ++t, p += rows.step, q += lanes.step, next += kLine<T>) {
      __builtin_prefetch(next);
      const Vector<T> v0 = load(q), v1 = load(q + kLanes<T>);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        const T x = p[n * rows.row];
        acc[n][0] += x * v0;
        acc[n][1] += x * v1;
      }
    }
  }
  std::memcpy(sums, acc, sizeof acc);
}

}  // namespace

template <class T>
void direct_conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, const Conv1dShape& s, const Epilogue<T>& e) {
  walk_samples<T>(stream, forward_walk(s), s.B, x, w, y, e);
}

template <class T>
void direct_conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, const Conv1dShape& s, const Epilogue<T>& e) {
  walk_samples<T>(stream, grad_input_walk(s), s.B, grad_y, w, grad_x, e);
}

// The operand in lanes is turned to [sample][block of channels][position][channel of the block].
template <class T>
void direct_conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, const Conv1dShape& s, bool accumulate) {
  if (s.C_in * s.C_out * s.K == 0) return;
  constexpr int64_t kPositions = 512;  // of a pass: sums are loaded and stored seldom, and the other taps find its operands in L2
  const auto blocks_of = [](int64_t channels) { return (channels + kBlock<T> - 1) / kBlock<T>; };
  // The fewer lanes the better, idle ones included; then, the less to turn.
  const bool turn_x = std::pair(blocks_of(s.C_in) * s.C_out, s.C_in) < std::pair(blocks_of(s.C_out) * s.C_in, s.C_out);
  const T *const turned_from = turn_x ? x : grad_y, *const broadcast = turn_x ? grad_y : x;
  const int64_t channels = turn_x ? s.C_in : s.C_out, length = turn_x ? s.L_in : s.L_out, blocks = blocks_of(channels);
  const int64_t rows = turn_x ? s.C_out : s.C_in, row_length = turn_x ? s.L_out : s.L_in, block_size = length * kBlock<T>;
  T* const turned = stream.scratch<T>(s.B * blocks * block_size);
  parallel_chunks(s.B * blocks, 1, [&](int64_t i, int64_t) {
    const int64_t first = i % blocks * kBlock<T>;
    turn_rows<T>(turned_from + (i / blocks * channels + first) * length, std::min(kBlock<T>, channels - first), length, turned + i * block_size);
  });
  const int64_t samples = std::max<int64_t>(1, kPositions / std::max<int64_t>(1, s.L_out));
  parallel_chunks(tiles_of(rows) * blocks, 1, [&](int64_t task, int64_t) {
    const int64_t row = tile_begin(rows, task / blocks), block = task % blocks;
    with_tile_size(tile_begin(rows, task / blocks + 1) - row, [&]<int N>(std::integral_constant<int, N>) {
      std::vector<T> sums(static_cast<size_t>(s.K * N * kBlock<T>));
      for (int64_t b = 0; b < s.B; b += samples)
        for (int64_t k = 0; k < s.K; ++k) {
          // Outputs first to last read within the row at tap k, the first of them at `in`.
          const int64_t offset = k * s.dilation - s.padding, first = std::max<int64_t>(s.stride - 1 - offset, 0) / s.stride;
          const int64_t last = std::min(s.L_out, std::max<int64_t>(s.L_in - offset + s.stride - 1, 0) / s.stride), in = first * s.stride + offset;
          if (first >= last) continue;
          const int64_t row_at = turn_x ? first : in, lanes_at = turn_x ? in : first;
          const Operand<T> a{broadcast + (b * rows + row) * row_length + row_at, rows * row_length, row_length, turn_x ? 1 : s.stride};
          const Operand<T> lanes{turned + (b * blocks + block) * block_size + lanes_at * kBlock<T>, blocks * block_size, 0,
                                 (turn_x ? s.stride : 1) * kBlock<T>};
          weight_tile<T, N>(a, lanes, std::min(samples, s.B - b), last - first, sums.data() + k * N * kBlock<T>);
        }
      for (int64_t k = 0; k < s.K; ++k)
        for (int64_t n = 0; n < N; ++n)
          for (int64_t lane = 0; lane < std::min(kBlock<T>, channels - block * kBlock<T>); ++lane) {
            const int64_t c = block * kBlock<T> + lane, o = turn_x ? row + n : c, i = turn_x ? c : row + n;
            T& to = grad_w[(o * s.C_in + i) * s.K + k];
            to = sums[static_cast<size_t>((k * N + n) * kBlock<T> + lane)] + (accumulate ? to : T(0));
          }
    });
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
