// Tiled products for simt and cuda: c = epilogue(A B), where A and B are anything that says what its element (row, k) is.
// The matrix product reads matrices, the convolutions read windows of their input: one frame, one set of loops.
//
//   block      a tile of BM x BN of c and a range of k (blockIdx.y; more than one only where c alone has too few tiles to
//              fill a GPU: the partial tiles are then added in fixed order by a second kernel, so results are deterministic).
//              kernels/tile_plan.h cuts
//   main loop  brings BK of k at a time, a stage, to shared memory and multiplies it; one barrier a stage. Three of them:
//                StagedMain     through registers, the next stage being loaded while this one is multiplied. Any operand, any
//                               alignment, f64 too; rounded when stored to shared memory, [k][row]
//                PipelinedMain  cp.async into several stages, f32 as it lies in memory, in layouts without bank conflicts
//                               (kernels/tile_stage.h); rounded when read
//                WarpgroupMain  through registers, rounded, multiplied by whole warpgroups (kernels/tile_warpgroups.h); matrices in
//                               tf32 and bf16, on cards that can, where it is asked for
//   inner loop what math modes swap (kernels/tile_loop.h): ieee keeps TM x TN elements a thread (FMA in T); tf32 and bf16
//              keep fragments of mma.sync m16n8k8 / m16n8k16 a warp, operands rounded to nearest, accumulated in f32
// The first two add the same numbers in the same order: which one runs never changes a bit of c (Stream::fill; only what an
// output sums over a tile follows the tile). Rows and columns outside are staged as zeros and not stored, so no size is special.
//
// An operand is what kernels/tile_operand.h says.
// An output has     void store(row, column, sum)    for row in [0, M), column in [0, N)
// and may have      void begin_tile()               before the first store
// and to take four columns at a time, from a multiple of 4 on:
//                   bool wide()                     whether it can
//                   Quad load_quad(row, column)     what it needs from memory; of several quads before the first is stored
//                   void store_quad(row, column, sums, quad)
// and may sum what it stores, being a copy of its own in each thread:
//                   void end_tile(row0, row_end, column0, column_end)    by all threads of a block, once each has stored its
//                                                                        part of a tile; row0 and column0 are multiples of kTileUnit
//                   void* scratch, size_t scratch_bytes()                memory for that: stream.scratch() still has it behind the product
//                   static constexpr bool medium_tiles = true            tiles of 64 x 128 alone: storing needs registers,
//                                                                        of which the accumulators of others leave too few
// A main loop has   Loop, the inner loop, which has BM, BN, threads, quads, place_of and quad
//                   shared_bytes, of dynamic shared memory
//                   blocks, the fewest on a multiprocessor, which limits registers
//                   run(loop, a, b, range)    multiplies a range of a tile
#pragma once
#include <algorithm>
#include <utility>

#include "kernels/device_math.h"
#include "kernels/kernels.h"
#include "kernels/tile_loop.h"
#include "kernels/tile_operand.h"
#include "kernels/tile_plan.h"
#include "kernels/tile_stage.h"
#include "kernels/tile_warpgroups.h"

namespace panvae {

template <class T>
__host__ __device__ inline T activate(T x, Activation activation, T slope) {
  if (activation == Activation::none || !(x < T(0))) return x;
  return activation == Activation::relu ? T(0) : slope * x;
}

namespace PV_EXEC {

// Sides of tiles are multiples of this.
inline constexpr int64_t kTileUnit = 64;

template <class Output>
concept EndsTiles = requires(Output& output) {
  output.end_tile(int64_t{}, int64_t{}, int64_t{}, int64_t{});
};
template <class Output>
__device__ void begin_tile(Output& output) {
  if constexpr (requires { output.begin_tile(); }) output.begin_tile();
}
template <int kRows, int kColumns, class Output>
__device__ void end_tile(Output& output, int64_t row0, int64_t M, int64_t column0, int64_t N) {
  static_assert(kRows % kTileUnit == 0 && kColumns % kTileUnit == 0);
  output.end_tile(row0, row0 + kRows < M ? row0 + kRows : M, column0, column0 + kColumns < N ? column0 + kColumns : N);
}

template <class Output>
concept TakesQuads = requires(const Output& output) {
  output.load_quad(int64_t{}, int64_t{});
};
template <class Output>
__device__ bool takes_quads(const Output& output) {
  if constexpr (TakesQuads<Output>) return output.wide();
  else return false;
}

// ---- through registers
// How one element is staged in shared memory. A word holds one element (ieee, tf32) or a pair along k (bf16).
template <class T>
struct IeeeStage {
  using Word = T;
  static constexpr int pack = 1, pad = 16 / sizeof(T);
  template <int kStride>
  __device__ static void store(Word* words, int row, int k, T x) {
    words[k * kStride + row] = x;
  }
};
struct Tf32Stage {
  using Word = uint32_t;
  static constexpr int pack = 1, pad = 4;
  template <int kStride>
  __device__ static void store(Word* words, int row, int k, float x) {
    words[k * kStride + row] = to_tf32(x);
  }
};
struct Bf16Stage {
  using Word = uint32_t;
  static constexpr int pack = 2, pad = 4;
  template <int kStride>
  __device__ static void store(Word* words, int row, int k, float x) {
    reinterpret_cast<bf16*>(words)[2 * ((k / 2) * kStride + row) + k % 2] = to_bf16(x);
  }
};

// Moves ROWS x BK elements of an operand to registers (zeros outside), then to shared memory as [k][row].
template <class T, class Stage, int ROWS, int BK, int THREADS>
struct TileLoader {
  static constexpr int per_thread = ROWS * BK / THREADS, stride = ROWS + Stage::pad;
  static_assert(ROWS * BK % THREADS == 0);
  T held[per_thread];

  // Neighbouring threads take neighbouring addresses in either storage order.
  __device__ static void place(bool k_contiguous, int i, int& row, int& k) {
    const int e = i * THREADS + static_cast<int>(threadIdx.x);
    row = k_contiguous ? e / BK : e % ROWS;
    k = k_contiguous ? e % BK : e / ROWS;
  }
  template <class Operand>
  __device__ void load(const Operand& m, int64_t row0, int64_t rows, int64_t k0, int64_t k_end) {
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
      int row, k;
      place(m.k_contiguous(), i, row, k);
      held[i] = row0 + row < rows && k0 + k < k_end ? m.at(row0 + row, k0 + k) : T(0);
    }
  }
  __device__ void store(bool k_contiguous, typename Stage::Word* words) const {
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
      int row, k;
      place(k_contiguous, i, row, k);
      Stage::template store<stride>(words, row, k, held[i]);
    }
  }
};

// Padding keeps the shared rows 16-byte aligned and the banks of a warp's reads distinct, of tf32 but for pairs.
template <class Stage, int ROWS>
struct StagedView {
  const typename Stage::Word* words;
  __device__ const typename Stage::Word* row(int k) const { return words + k * (ROWS + Stage::pad); }
  template <int kWords>
  __device__ void read(int r, int k, uint32_t (&to)[4][kWords]) const {
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const Four<uint32_t> four = load_four(row(k / Stage::pack + w) + r);
#pragma unroll
      for (int i = 0; i < 4; ++i) to[i][w] = four.v[i];
    }
  }
};

template <class InnerLoop, class T, class Stage, int BK>
struct StagedMain {
  using Loop = InnerLoop;
  using Word = typename Stage::Word;
  static constexpr int words_k = BK / Stage::pack, words_a = words_k * (Loop::BM + Stage::pad), words_b = words_k * (Loop::BN + Stage::pad);
  static constexpr int blocks = 1;
  static constexpr size_t shared_bytes = 2 * (words_a + words_b) * sizeof(Word);

  template <class A, class B>
  __device__ static void run(Loop& loop, const A& a, const B& b, const TileRange& r) {
    DYN_SHARED(Word, shared);
    TileLoader<T, Stage, Loop::BM, BK, Loop::threads> load_a;
    TileLoader<T, Stage, Loop::BN, BK, Loop::threads> load_b;
    load_a.load(a, r.row0, r.rows, r.k_begin, r.k_end);
    load_b.load(b, r.column0, r.columns, r.k_begin, r.k_end);
    int side = 0;
    for (int64_t k0 = r.k_begin; k0 < r.k_end; k0 += BK, side ^= 1) {
      Word *const stage_a = shared + side * (words_a + words_b), *const stage_b = stage_a + words_a;
      load_a.store(a.k_contiguous(), stage_a);
      load_b.store(b.k_contiguous(), stage_b);
      // One barrier a stage is enough: a thread can only overwrite this side after the barrier of the next stage, which
      // all threads reach after they have multiplied this one.
#ifndef PV_TEST_WITHOUT_MATMUL_BARRIER  // tests/planted removes it, to see that the order test notices
      __syncthreads();
#endif
      if (k0 + BK < r.k_end) {
        load_a.load(a, r.row0, r.rows, k0 + BK, r.k_end);
        load_b.load(b, r.column0, r.columns, k0 + BK, r.k_end);
      }
      loop.template multiply<BK>(StagedView<Stage, Loop::BM>{stage_a}, StagedView<Stage, Loop::BN>{stage_b}, r.k_end - k0);
    }
  }
};

// ---- cp.async
// The elements of a stage as they lie in memory, rounded as a loop reads them.
template <class Layout>
struct RawView {
  const float* elements;
  __device__ const float* row(int k) const { return elements + Layout::offset(0, static_cast<unsigned>(k)); }
  template <int kWords>
  __device__ void read(unsigned r, unsigned k, uint32_t (&to)[4][kWords]) const {
    constexpr bool by_k = Layout::offset(0, 1) == 1;
    Four<float> four[4];
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) four[i] = load_four(elements + (by_k ? Layout::offset(r + i, k) : Layout::offset(r, k + i)));
    auto element = [&](int i, int j) { return by_k ? four[i].v[j] : four[j].v[i]; };
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int w = 0; w < kWords; ++w) {
        if constexpr (kWords == 4) to[i][w] = to_tf32(element(i, w));
        else to[i][w] = pack_bf16(element(i, 2 * w), element(i, 2 * w + 1));
      }
  }
};

template <class Layout, int WIDTH, bool kContiguous>
__host__ __device__ constexpr stage::Place copy_place(unsigned e) {
  return WIDTH == 4 ? Layout::wide(e) : Layout::narrow(kContiguous, e);
}
template <int WIDTH>
__device__ inline void copy_async(float* to, const float* from, int elements) {
  if constexpr (WIDTH == 4) cp_async16(to, from, elements * 4);
  else cp_async4(to, from, elements * 4);
}

// The copies of a stage that lies within the matrix: from one to the next a thread goes on by some rows or some k, so its
// addresses cost an addition each. Most stages are such, and have too many copies to compute each anew. Where narrow copies
// are the exception, the compiler may be told nothing of their thread (HIDDEN): it would keep their places through the main loop, in
// registers that tiles of 128 x 128 do not have.
template <class Layout, int WIDTH, bool kContiguous, bool HIDDEN, int THREADS, class Operand>
__device__ inline void copy_inside(const Operand& m, int row0, int k0, float* to) {
  constexpr stage::Place begin = copy_place<Layout, WIDTH, kContiguous>(0), next = copy_place<Layout, WIDTH, kContiguous>(THREADS);
  static_assert(kContiguous ? next.k == begin.k : next.row == begin.row);
  constexpr int step = static_cast<int>(kContiguous ? next.row - begin.row : next.k - begin.k);
  unsigned thread = threadIdx.x;
  if constexpr (WIDTH == 1 && HIDDEN && Layout::takes_wide(kContiguous)) asm volatile("" : "+r"(thread));
  const stage::Place first = copy_place<Layout, WIDTH, kContiguous>(thread);
  const float* from = m.address(m.of_row(row0 + static_cast<int>(first.row)), m.of_k(k0 + static_cast<int>(first.k)));
#pragma unroll
  for (unsigned i = 0; i < Layout::ROWS * Layout::BK / WIDTH / THREADS; ++i) {
    const stage::Place p = copy_place<Layout, WIDTH, kContiguous>(i * THREADS + thread);
    copy_async<WIDTH>(to + Layout::offset(p.row, p.k), from, WIDTH);
    from = opaque(from + step * m.stride);
  }
}

// At edges, where what is outside becomes zero, and of windows. A thread's copies all have one k, or all one row.
template <class Layout, int WIDTH, bool kContiguous, int THREADS, class Operand>
__device__ inline void copy_at_edge(const Operand& m, int row0, int rows, int k0, int k_end, float* to) {
  const unsigned thread = threadIdx.x;
  const stage::Place first = copy_place<Layout, WIDTH, kContiguous>(thread);
  auto of_one = [&] {
    if constexpr (kContiguous) return m.of_k(k0 + static_cast<int>(first.k));
    else return m.of_row(row0 + static_cast<int>(first.row));
  }();
#pragma unroll 4
  for (unsigned i = 0; i < Layout::ROWS * Layout::BK / WIDTH / THREADS; ++i) {
    const stage::Place p = copy_place<Layout, WIDTH, kContiguous>(i * THREADS + thread);
    const int row = row0 + static_cast<int>(kContiguous ? p.row : first.row), k = k0 + static_cast<int>(kContiguous ? first.k : p.k);
    const float* from;
    if constexpr (kContiguous) from = m.address(m.of_row(row), of_one);
    else from = m.address(of_one, m.of_k(k));
    const int there = row < rows && k < k_end && from ? min(WIDTH, kContiguous ? k_end - k : rows - row) : 0;
    copy_async<WIDTH>(to + Layout::offset(p.row, p.k), there > 0 ? from : m.data, there);
  }
}

// Begins the copies of a stage.
template <class Layout, bool kContiguous, bool HIDDEN, int THREADS, class Operand>
__device__ inline void copy_stage(const Operand& m, bool wide, int row0, int rows, int k0, int k_end, float* to) {
  static_assert(Layout::ROWS * Layout::BK / 4 % THREADS == 0);
  if constexpr (Strided<Operand>) {
    if (row0 + Layout::ROWS <= rows && k0 + Layout::BK <= k_end) {
      if constexpr (Layout::takes_wide(kContiguous))
        if (wide) return copy_inside<Layout, 4, kContiguous, HIDDEN, THREADS>(m, row0, k0, to);
      return copy_inside<Layout, 1, kContiguous, HIDDEN, THREADS>(m, row0, k0, to);
    }
  }
  if constexpr (Layout::takes_wide(kContiguous))
    if (wide) return copy_at_edge<Layout, 4, kContiguous, THREADS>(m, row0, rows, k0, k_end, to);
  copy_at_edge<Layout, 1, kContiguous, THREADS>(m, row0, rows, k0, k_end, to);
}

template <class InnerLoop, class LayoutA, bool kContiguousA, class LayoutB, bool kContiguousB, int STAGES>
struct PipelinedMain {
  using Loop = InnerLoop;
  static constexpr int BK = LayoutA::BK, size = LayoutA::size + LayoutB::size;
  static constexpr int blocks = Loop::BM * Loop::BN < 128 * 128 && Loop::threads == 128 ? 3 : 2;
  static constexpr size_t shared_bytes = STAGES * size * sizeof(float);
  static constexpr bool kHidden = kContiguousA == kContiguousB && (kContiguousA || Loop::BM == 128);  // where the compiler ran out of registers
  static_assert(LayoutA::ROWS == Loop::BM && LayoutB::ROWS == Loop::BN && LayoutB::BK == BK && kRangeUnit % BK == 0);
  static_assert(shared_bytes <= 96 << 10, "what every card from compute capability 8.0 on has for a block, but for 3 KiB");

  template <class A, class B>
  __device__ static void run(Loop& loop, const A& a, const B& b, const TileRange& r) {
    DYN_SHARED(float, shared);
    const int row0 = static_cast<int>(r.row0), rows = static_cast<int>(r.rows), column0 = static_cast<int>(r.column0), columns = static_cast<int>(r.columns);
    const int k_begin = static_cast<int>(r.k_begin), k_end = static_cast<int>(r.k_end);
    const bool wide_a = a.wide(), wide_b = b.wide();
    // A group of copies for each stage, also where nothing is left to copy: then all waits count alike.
    auto copy = [&](int k0, int slot) {
      if (k0 < k_end) {
        copy_stage<LayoutA, kContiguousA, kHidden, Loop::threads>(a, wide_a, row0, rows, k0, k_end, shared + slot * size);
        copy_stage<LayoutB, kContiguousB, kHidden, Loop::threads>(b, wide_b, column0, columns, k0, k_end, shared + slot * size + LayoutA::size);
      }
      cp_async_commit();
    };
#pragma unroll 1
    for (int s = 0; s < STAGES - 1; ++s) copy(k_begin + s * BK, s);
    int slot = 0;
    for (int k0 = k_begin; k0 < k_end; k0 += BK) {
#ifndef PV_TEST_WITHOUT_COPY_WAIT  // tests/planted removes it
      cp_async_wait<STAGES - 2>();
#endif
      // Behind the barrier this stage is there for all, and all have multiplied the one before, whose place is free.
#ifndef PV_TEST_WITHOUT_MATMUL_BARRIER
      __syncthreads();
#endif
      copy(k0 + (STAGES - 1) * BK, slot == 0 ? STAGES - 1 : slot - 1);
      const float* const stage_a = shared + slot * size;
      loop.template multiply<BK>(RawView<LayoutA>{stage_a}, RawView<LayoutB>{stage_a + LayoutA::size}, k_end - k0);
      slot = slot == STAGES - 1 ? 0 : slot + 1;
    }
  }
};

// ---- the frame
// Partial sums as an output: those of one range of k, [M, stride], whose rows are whole quads.
template <class T>
struct PartialOutput {
  struct Quad {};
  T* sums;
  int64_t stride;
  __device__ static bool wide() { return true; }
  __device__ Quad load_quad(int64_t, int64_t) const { return {}; }
  __device__ void store_quad(int64_t row, int64_t column, const T (&sum)[4], Quad) const {
    store_four(sums + row * stride + column, {{sum[0], sum[1], sum[2], sum[3]}});
  }
};
__host__ __device__ constexpr int64_t partial_stride(int64_t N) {
  return (N + 3) / 4 * 4;
}

// Several quads of a thread, from q on: all that they need is loaded before the first is stored, for a load behind a store
// waits for it where a compiler does not know that they are of different memory. place(i) and take(i, sums), for i < kQuads.
template <int kQuads, class T, class Output, class Place, class Take>
__device__ inline void store_quads(Output& output, bool wide, int64_t M, int64_t N, Place place, Take take) {
  T sums[kQuads][4];
#pragma unroll
  for (int i = 0; i < kQuads; ++i) take(i, sums[i]);
  if constexpr (TakesQuads<Output>) {
    if (wide) {
      decltype(output.load_quad(int64_t{}, int64_t{})) held[kQuads] = {};
#pragma unroll
      for (int i = 0; i < kQuads; ++i) {
        const auto [row, column] = place(i);
        if (row < M && column < N) held[i] = output.load_quad(row, column);
      }
#pragma unroll
      for (int i = 0; i < kQuads; ++i) {
        const auto [row, column] = place(i);
        if (row < M && column < N) output.store_quad(row, column, sums[i], held[i]);
      }
      return;
    }
  }
  if constexpr (requires { output.store(M, N, sums[0][0]); }) {
#pragma unroll
    for (int i = 0; i < kQuads; ++i) {
      const auto [row, column] = place(i);
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (row < M && column + e < N) output.store(row, column + e, sums[i][e]);
    }
  }
}

struct Element {
  int64_t row, column;
};
inline constexpr int kQuadsAtOnce = 2;

template <class T, class Loop, class Output>
__device__ inline void store_tile(const Loop& loop, Output& output, int64_t row0, int64_t M, int64_t column0, int64_t N) {
  static_assert(Loop::quads % kQuadsAtOnce == 0);
  const bool wide = takes_quads(output);
  const unsigned thread = threadIdx.x;
#pragma unroll
  for (int q = 0; q < Loop::quads; q += kQuadsAtOnce)
    store_quads<kQuadsAtOnce, T>(
        output, wide, M, N,
        [&](int i) {
          const fragment::Place p = Loop::place_of(thread, q + i);
          return Element{row0 + p.row, column0 + p.col};
        },
        [&](int i, T(&sums)[4]) { loop.quad(q + i, sums); });
}

// `partials` not null: the raw sums of this range of k go to partials[blockIdx.y], [M, partial_stride], and a second kernel ends the work.
template <class Main, class T, class A, class B, class Output>
__global__ void __launch_bounds__(Main::Loop::threads, Main::blocks)
    tile_kernel(A a, B b, Output output, int64_t M, int64_t N, int64_t K, int64_t k_range, int64_t tiles_m, Out<T> partials) {
  begin_kernel();
  using Loop = typename Main::Loop;
  if constexpr (has_code<Main>()) {
    const int64_t row0 = blockIdx.x % tiles_m * Loop::BM, column0 = blockIdx.x / tiles_m * Loop::BN;
    const int64_t k_begin = blockIdx.y * k_range, k_end = k_begin + k_range < K ? k_begin + k_range : K;
    Loop loop;
    Main::run(loop, a, b, {row0, M, column0, N, k_begin, k_end});
    if (partials) {
      PartialOutput<T> sums{partials + blockIdx.y * M * partial_stride(N), partial_stride(N)};
      return store_tile<T>(loop, sums, row0, M, column0, N);
    }
    begin_tile(output);
    store_tile<T>(loop, output, row0, M, column0, N);
    if constexpr (EndsTiles<Output>) end_tile<Loop::BM, Loop::BN>(output, row0, M, column0, N);
  }
}

// The sums of a quad's ranges in order, several loads under way.
template <class T>
__device__ inline void sum_ranges(const T* partials, int64_t row, int64_t column, int64_t M, int64_t N, int64_t ranges, T (&sums)[4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) sums[e] = T(0);
  if (row >= M || column >= N) return;
  const T* from = partials + row * partial_stride(N) + column;
#pragma unroll 8
  for (int64_t r = 0; r < ranges; ++r) {
    const Four<T> part = load_four(from + r * M * partial_stride(N));
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[e] += part.v[e];
  }
}

// A thread ends a quad. Of an output that ends tiles a block has a whole one, of kTileUnit x kTileUnit.
template <class T, class Output>
__global__ void tile_total_kernel(In<T> partials, Output output, int64_t M, int64_t N, int64_t ranges, int64_t quads_across) {
  begin_kernel();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const Element at{i / quads_across, i % quads_across * 4};
  if (at.row >= M) return;
  store_quads<1, T>(
      output, takes_quads(output), M, N, [&](int) { return at; }, [&](int, T(&sums)[4]) { sum_ranges<T>(partials, at.row, at.column, M, N, ranges, sums); });
}

// Four blocks a multiprocessor, one in f64: left to itself, the compiler wants eight and has too few registers for the loads.
template <class T, class Output>
__global__ void __launch_bounds__(kBlock, sizeof(T) == 8 ? 1 : 4)
    tile_total_by_tiles_kernel(In<T> partials, Output output, int64_t M, int64_t N, int64_t ranges, int64_t tiles_m) {
  begin_kernel();
  const int64_t row0 = blockIdx.x % tiles_m * kTileUnit, column0 = blockIdx.x / tiles_m * kTileUnit;
  constexpr int across = kTileUnit / 4;
  begin_tile(output);
  for (int i = threadIdx.x; i < kTileUnit * across; i += blockDim.x) {
    const Element at{row0 + i / across, column0 + i % across * 4};
    store_quads<1, T>(
        output, takes_quads(output), M, N, [&](int) { return at; }, [&](int, T(&sums)[4]) { sum_ranges<T>(partials, at.row, at.column, M, N, ranges, sums); });
  }
  end_tile<kTileUnit, kTileUnit>(output, row0, M, column0, N);
}

// Memory for `count` partial sums, null for none, behind what the output asks for.
template <class T, class Output>
T* tile_scratch(Stream& stream, Output& output, int64_t count) {
  size_t kept = 0;
  if constexpr (EndsTiles<Output>) kept = (output.scratch_bytes() + 255) / 256 * 256;
  if (kept == 0 && count == 0) return nullptr;
  char* scratch = stream.scratch<char>(static_cast<int64_t>(kept) + count * static_cast<int64_t>(sizeof(T)));
  if constexpr (EndsTiles<Output>) output.scratch = scratch;
  return count > 0 ? reinterpret_cast<T*>(scratch + kept) : nullptr;
}

template <class Main, class T, class A, class B, class Output>
void tile_launch(Stream& stream, A a, B b, Output output, int64_t M, int64_t N, int64_t K, const TilePlan& plan) {
  using Loop = typename Main::Loop;
  const int64_t tiles_m = (M + Loop::BM - 1) / Loop::BM, tiles = tiles_m * ((N + Loop::BN - 1) / Loop::BN);
  T* partials = tile_scratch<T>(stream, output, plan.ranges > 1 ? plan.ranges * M * partial_stride(N) : 0);
  launch(stream, dim3(grid_for(tiles, 1), static_cast<unsigned>(plan.ranges)), Loop::threads, Main::shared_bytes, tile_kernel<Main, T, A, B, Output>, a, b,
         output, M, N, K, plan.k_range, tiles_m, partials);
  if (!partials) return;
  if constexpr (EndsTiles<Output>) {
    const int64_t cells_m = (M + kTileUnit - 1) / kTileUnit, cells = cells_m * ((N + kTileUnit - 1) / kTileUnit);
    launch(stream, grid_for(cells, 1), kBlock, 0, tile_total_by_tiles_kernel<T, Output>, static_cast<In<T>>(partials), output, M, N, plan.ranges, cells_m);
  } else {
    const int64_t across = (N + 3) / 4;
    launch(stream, grid_for(M * across, kBlock), kBlock, 0, tile_total_kernel<T, Output>, static_cast<In<T>>(partials), output, M, N, plan.ranges, across);
  }
}

// Warps of a tensor-core tile: each has 64 x 64 of 128 x 128, 64 x 32 of 64 x 128, 32 x 32 of 64 x 64. The larger a warp's tile, the fewer
// bytes of shared memory a product; with 128 accumulators a thread two blocks of the largest still fit a multiprocessor's registers.
template <MathMode mode, int BM, int BN, class A, class B, class Output>
void tile_pipelined(Stream& stream, A a, B b, Output output, int64_t M, int64_t N, int64_t K, const TilePlan& plan) {
  by_contiguity(a, [&](auto a_k) {
    by_contiguity(b, [&](auto b_k) {
      if constexpr (!a_k && b_k) {
        // Both operands transposed: tile_product leaves it to StagedMain.
      } else if constexpr (mode == MathMode::ieee) {
        using Loop = IeeeLoop<float, BM, BN, BM / 16, BN / 16>;
        tile_launch<PipelinedMain<Loop, stage::Padded<BM, 16>, a_k, stage::Padded<BN, 16>, b_k, 3>, float>(stream, a, b, output, M, N, K, plan);
      } else {
        using Loop = MmaLoop<mode, BM, BN, BM == BN ? 2 : 1, BM == BN ? 2 : 4>;
        tile_launch<PipelinedMain<Loop, stage::Swizzled<BM, 32, a_k>, a_k, stage::Swizzled<BN, 32, b_k>, b_k, 3>, float>(stream, a, b, output, M, N, K, plan);
      }
    });
  });
}

template <MathMode mode, class A, class B, class Output>
void tile_by_warpgroups(Stream& stream, A a, B b, Output output, int64_t M, int64_t N, int64_t K) {
  const TilePlan plan = warpgroup_plan(M, N, K);
  by_contiguity(a, [&](auto a_k) {
    by_contiguity(b, [&](auto b_k) {
      if constexpr (a_k || !b_k) {
        const auto run = [&]<int BM>() { tile_launch<WarpgroupMain<WarpgroupLoop<mode, BM, 128>, a_k, b_k>, float>(stream, a, b, output, M, N, K, plan); };
        plan.tile.m == 256 ? run.template operator()<256>() : run.template operator()<128>();
      }
    });
  });
}

template <MathMode mode, class A, class B, class Output>
void tile_product_in(Stream& stream, A a, B b, Output output, int64_t M, int64_t N, int64_t K) {
  const TilePlan plan = tile_plan(M, N, K);
  [[maybe_unused]] const ProductFill measured = std::exchange(stream.measured_fill, ProductFill::automatic);
  if constexpr (Addressed<A, float> && Addressed<B, float>) {
    const bool possible = std::max({M, N, K}) <= kMostAddressed && addressable(a) && addressable(b) && (a.k_contiguous() || !b.k_contiguous());
    const ProductFill fill = stream.fill == ProductFill::automatic ? measured : stream.fill;
    if constexpr (mode != MathMode::ieee && Strided<A> && Strided<B> && !requires { Output::medium_tiles; })
      if (possible && fill == ProductFill::warpgroups && warpgroups_multiply(stream.device().index))
        return tile_by_warpgroups<mode>(stream, a, b, output, M, N, K);
    if (possible && fill != ProductFill::staged) {
      if constexpr (requires { Output::medium_tiles; }) {
        return tile_pipelined<mode, 64, 128>(stream, a, b, output, M, N, K, plan);
      } else {
        // Measured on an H100: in tf32 three blocks of 64 x 128 a multiprocessor are faster than two of 128 x 128, unless k is split.
        const bool large = plan.tile == TileSize{128, 128} && (mode != MathMode::tf32 || plan.ranges > 1);
        if (large) return tile_pipelined<mode, 128, 128>(stream, a, b, output, M, N, K, plan);
        if (plan.tile.n == 128) return tile_pipelined<mode, 64, 128>(stream, a, b, output, M, N, K, plan);
        return tile_pipelined<mode, 64, 64>(stream, a, b, output, M, N, K, plan);
      }
    }
  }
  // Of fewer sizes, since a tile decides no bits; eight warps, which wait less for their loads.
  if constexpr (mode == MathMode::ieee) {
    if (plan.tile.m == 64)
      return tile_launch<StagedMain<IeeeLoop<float, 64, 64, 4, 4>, float, IeeeStage<float>, 16>, float>(stream, a, b, output, M, N, K, plan);
    tile_launch<StagedMain<IeeeLoop<float, 128, 128, 8, 8>, float, IeeeStage<float>, 8>, float>(stream, a, b, output, M, N, K, plan);
  } else {
    using Stage = std::conditional_t<mode == MathMode::tf32, Tf32Stage, Bf16Stage>;
    tile_launch<StagedMain<MmaLoop<mode, 128, 128, 2, 4>, float, Stage, 16>, float>(stream, a, b, output, M, N, K, plan);
  }
}

// output.store(row, column, sum over k of a.at(row, k) b.at(column, k)) in the stream's math mode; M and N at least 1.
template <class T, class A, class B, class Output>
void tile_product(Stream& stream, A a, B b, Output output, int64_t M, int64_t N, int64_t K) {
  if constexpr (sizeof(T) == 8)
    return tile_launch<StagedMain<IeeeLoop<T, 64, 64, 4, 4>, T, IeeeStage<T>, 8>, T>(stream, a, b, output, M, N, K, plan_ranges({64, 64}, M, N, K));
  else if (stream.math == MathMode::tf32) return tile_product_in<MathMode::tf32>(stream, a, b, output, M, N, K);
  else if (stream.math == MathMode::bf16) return tile_product_in<MathMode::bf16>(stream, a, b, output, M, N, K);
  else return tile_product_in<MathMode::ieee>(stream, a, b, output, M, N, K);
}

}  // namespace PV_EXEC
}  // namespace panvae
