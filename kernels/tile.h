// Tiled products for simt and cuda: c = epilogue(A B), where A and B are anything that says what its element (row, k) is.
// The matrix product reads matrices, the convolutions read windows of their input: one frame, one set of inner loops.
//
//   block   a tile of BM x BN of c and a range of k (blockIdx.y; more than one only where c alone has too few tiles to
//           fill a GPU: the partial tiles are then added in fixed order by a second kernel, so results are deterministic)
//   stage   BK of k at a time in shared memory, both operands stored [k][row], double-buffered: the next stage is loaded
//           to registers while this one is multiplied; one barrier a stage
//   inner   the loop, the part that math modes swap: ieee keeps TM x TN elements a thread (FMA in T); tf32 and bf16 keep
//           a 64 x 32 warp tile of mma.sync m16n8k8 / m16n8k16 fragments, operands rounded to nearest when staged,
//           accumulated in f32
// Padding keeps the shared rows 16-byte aligned and the banks of a warp's reads distinct. Rows and columns outside are
// staged as zeros and not stored, so no size is special.
//
// An operand has    T at(row, k)            for row in [0, rows), k in [0, K)
//                   bool k_contiguous()     neighbouring k are neighbours in memory, else neighbouring rows are
// An output has     void store(row, column, sum)    for row in [0, M), column in [0, N)
// and may have     void begin_tile()      before the first store
// and may sum what it stores, being a copy of its own in each thread:
//                   void end_tile(row0, row_end, column0, column_end)    by all threads of a block, once each has stored its
//                                                                        part of a tile; row0 and column0 are multiples of kTileUnit
//                   void* scratch, size_t scratch_bytes()                memory for that: stream.scratch() still has it behind the product
#pragma once
#include <algorithm>

#include "kernels/device_math.h"
#include "kernels/kernels.h"

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
template <class Loop, class Output>
__device__ void end_tile(Output& output, int64_t row0, int64_t M, int64_t column0, int64_t N) {
  static_assert(Loop::BM % kTileUnit == 0 && Loop::BN % kTileUnit == 0);
  output.end_tile(row0, row0 + Loop::BM < M ? row0 + Loop::BM : M, column0, column0 + Loop::BN < N ? column0 + Loop::BN : N);
}

// A matrix as an operand, or its transpose.
template <class T>
struct MatrixOperand {
  const T* data;
  int64_t stride;
  bool contiguous;  // stored [rows, K], else [K, rows]
  __device__ bool k_contiguous() const { return contiguous; }
  __device__ T at(int64_t row, int64_t k) const { return data[contiguous ? row * stride + k : k * stride + row]; }
};

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
  static constexpr int pack = 1, pad = 8;
  template <int kStride>
  __device__ static void store(Word* words, int row, int k, float x) {
    words[k * kStride + row] = to_tf32(x);
  }
};
struct Bf16Stage {
  using Word = uint32_t;
  static constexpr int pack = 2, pad = 8;
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

// ieee: thread (tx, ty) keeps TM x TN elements in groups of four rows and four columns, BM / groups apart, so that a
// warp's reads of a shared row are 16-byte wide and free of bank conflicts.
template <class T, int BM_, int BN_, int BK_, int TM, int TN>
struct IeeeLoop {
  using Stage = IeeeStage<T>;
  using Value = T;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, threads = (BM / TM) * (BN / TN);
  static constexpr int row_groups = TM / 4, column_groups = TN / 4;
  T acc[TM][TN] = {};

  // (i, j) of this thread's accumulators -> (row, column) of the tile
  __device__ static int row(int i) { return i / 4 * (BM / row_groups) + static_cast<int>(threadIdx.x) / (BN / TN) * 4 + i % 4; }
  __device__ static int column(int j) { return j / 4 * (BN / column_groups) + static_cast<int>(threadIdx.x) % (BN / TN) * 4 + j % 4; }

  __device__ void multiply(const T* a, const T* b) {
    constexpr int sa = BM + Stage::pad, sb = BN + Stage::pad;
#pragma unroll
    for (int k = 0; k < BK; ++k) {
      T x[TM], y[TN];
#pragma unroll
      for (int i = 0; i < TM; ++i) x[i] = a[k * sa + row(i)];
#pragma unroll
      for (int j = 0; j < TN; ++j) y[j] = b[k * sb + column(j)];
#pragma unroll
      for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) acc[i][j] += x[i] * y[j];
    }
  }
  template <class F>
  __device__ void each(F f) const {
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; ++j) f(row(i), column(j), acc[i][j]);
  }
};

// tf32 and bf16: eight warps, two along M and four along N, each with a tile of (BM / 2) x (BN / 4) in fragments of
// 16 x 8. Staged words hold one k (tf32) or two (bf16): a fragment reads the same words (row g or g + 8, word t or t + 4)
// in both, which is how the two instructions lay out their operands (PTX ISA, mma.m16n8k8 and mma.m16n8k16).
template <class StageType, int BM_, int BN_, int BK_>
struct MmaLoop {
  using Stage = StageType;
  using Value = float;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, threads = 256;
  static constexpr int fragments_m = BM / 2 / 16, fragments_n = BN / 4 / 8;
  float acc[fragments_m][fragments_n][4] = {};

  __device__ static int lane_group() { return static_cast<int>(threadIdx.x) % kWarp / 4; }
  __device__ static int lane_in_group() { return static_cast<int>(threadIdx.x) % 4; }
  __device__ static int warp_row() { return static_cast<int>(threadIdx.x) / kWarp / 4 * (BM / 2); }
  __device__ static int warp_column() { return static_cast<int>(threadIdx.x) / kWarp % 4 * (BN / 4); }

  __device__ void multiply(const uint32_t* a, const uint32_t* b) {
    constexpr int sa = BM + Stage::pad, sb = BN + Stage::pad;
    const int g = lane_group(), t = lane_in_group();
#pragma unroll
    for (int w = 0; w < BK / Stage::pack; w += 8) {
      uint32_t x[fragments_m][4], y[fragments_n][2];
#pragma unroll
      for (int i = 0; i < fragments_m; ++i) {
        const uint32_t* p = a + (w + t) * sa + warp_row() + i * 16 + g;
        x[i][0] = p[0];
        x[i][1] = p[8];
        x[i][2] = p[4 * sa];
        x[i][3] = p[4 * sa + 8];
      }
#pragma unroll
      for (int j = 0; j < fragments_n; ++j) {
        const uint32_t* p = b + (w + t) * sb + warp_column() + j * 8 + g;
        y[j][0] = p[0];
        y[j][1] = p[4 * sb];
      }
#pragma unroll
      for (int i = 0; i < fragments_m; ++i)
#pragma unroll
        for (int j = 0; j < fragments_n; ++j) {
          if constexpr (Stage::pack == 1) mma_tf32(acc[i][j], x[i], y[j]);
          else mma_bf16(acc[i][j], x[i], y[j]);
        }
    }
  }
  template <class F>
  __device__ void each(F f) const {
    const int g = lane_group(), t = lane_in_group();
#pragma unroll
    for (int i = 0; i < fragments_m; ++i)
#pragma unroll
      for (int j = 0; j < fragments_n; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) f(warp_row() + i * 16 + g + e / 2 * 8, warp_column() + j * 8 + 2 * t + e % 2, acc[i][j][e]);
  }
};

// `partials` not null: the raw sums of this range of k go to partials[blockIdx.y], [M, N], and tile_total_kernel ends the work.
template <class Loop, class T, class A, class B, class Output>
__global__ void __launch_bounds__(Loop::threads)
    tile_kernel(A a, B b, Output output, int64_t M, int64_t N, int64_t K, int64_t k_range, int64_t tiles_m, Out<T> partials) {
  using Stage = typename Loop::Stage;
  using Word = typename Stage::Word;
  constexpr int words_k = Loop::BK / Stage::pack, words_a = words_k * (Loop::BM + Stage::pad), words_b = words_k * (Loop::BN + Stage::pad);
  SHARED(Word, stage_a, 2 * words_a);
  SHARED(Word, stage_b, 2 * words_b);

  const int64_t row0 = blockIdx.x % tiles_m * Loop::BM, column0 = blockIdx.x / tiles_m * Loop::BN;
  const int64_t k_begin = blockIdx.y * k_range, k_end = k_begin + k_range < K ? k_begin + k_range : K;

  TileLoader<T, Stage, Loop::BM, Loop::BK, Loop::threads> load_a;
  TileLoader<T, Stage, Loop::BN, Loop::BK, Loop::threads> load_b;
  Loop loop;
  load_a.load(a, row0, M, k_begin, k_end);
  load_b.load(b, column0, N, k_begin, k_end);
  int side = 0;
  for (int64_t k0 = k_begin; k0 < k_end; k0 += Loop::BK, side ^= 1) {
    load_a.store(a.k_contiguous(), stage_a + side * words_a);
    load_b.store(b.k_contiguous(), stage_b + side * words_b);
    // One barrier a stage is enough: a thread can only overwrite this side after the barrier of the next stage, which
    // all threads reach after they have multiplied this one.
#ifndef PV_TEST_WITHOUT_MATMUL_BARRIER  // tests/planted removes it, to see that the order test notices
    __syncthreads();
#endif
    if (k0 + Loop::BK < k_end) {
      load_a.load(a, row0, M, k0 + Loop::BK, k_end);
      load_b.load(b, column0, N, k0 + Loop::BK, k_end);
    }
    loop.multiply(stage_a + side * words_a, stage_b + side * words_b);
  }
  begin_tile(output);
  loop.each([&](int i, int j, T sum) {
    const int64_t row = row0 + i, column = column0 + j;
    if (row >= M || column >= N) return;
    if (partials) partials[blockIdx.y * M * N + row * N + column] = sum;
    else output.store(row, column, sum);
  });
  if constexpr (EndsTiles<Output>)
    if (!partials) end_tile<Loop>(output, row0, M, column0, N);
}

template <class T, class Output>
__global__ void tile_total_kernel(In<T> partials, Output output, int64_t elements, int64_t N, int64_t ranges) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  T sum = T(0);
  for (int64_t r = 0; r < ranges; ++r) sum += partials[r * elements + i];
  output.store(i / N, i % N, sum);
}

// The same for an output that ends tiles: a block has all of one.
template <class Loop, class T, class Output>
__global__ void __launch_bounds__(Loop::threads)
    tile_total_by_tiles_kernel(In<T> partials, Output output, int64_t M, int64_t N, int64_t ranges, int64_t tiles_m) {
  const int64_t row0 = blockIdx.x % tiles_m * Loop::BM, column0 = blockIdx.x / tiles_m * Loop::BN;
  begin_tile(output);
  for (int i = threadIdx.x; i < Loop::BM * Loop::BN; i += blockDim.x) {
    const int64_t row = row0 + i / Loop::BN, column = column0 + i % Loop::BN;
    if (row >= M || column >= N) continue;
    T sum = T(0);
    for (int64_t r = 0; r < ranges; ++r) sum += partials[r * M * N + row * N + column];
    output.store(row, column, sum);
  }
  end_tile<Loop>(output, row0, M, column0, N);
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

template <class Loop, class T, class A, class B, class Output>
void tile_launch(Stream& stream, A a, B b, Output output, int64_t M, int64_t N, int64_t K) {
  const int64_t tiles_m = (M + Loop::BM - 1) / Loop::BM, tiles = tiles_m * ((N + Loop::BN - 1) / Loop::BN);
  // Two blocks for each of the 132 multiprocessors of an H100 keep it busy; a range of at least eight stages pays for
  // its second pass. Constants and not the device's properties: the same bits on every device.
  constexpr int64_t wanted_blocks = 264, least_stages = 8;
  const int64_t stages = (K + Loop::BK - 1) / Loop::BK;
  const int64_t wanted = std::clamp<int64_t>(wanted_blocks / tiles, 1, std::max<int64_t>(1, stages / least_stages));
  const int64_t k_range = std::max<int64_t>(1, (stages + wanted - 1) / wanted) * Loop::BK, ranges = std::max<int64_t>(1, (K + k_range - 1) / k_range);
  T* partials = tile_scratch<T>(stream, output, ranges > 1 ? ranges * M * N : 0);
  launch(stream, dim3(grid_for(tiles, 1), static_cast<unsigned>(ranges)), Loop::threads, 0, tile_kernel<Loop, T, A, B, Output>, a, b, output, M, N, K, k_range,
         tiles_m, partials);
  if (!partials) return;
  if constexpr (EndsTiles<Output>)
    launch(stream, grid_for(tiles, 1), Loop::threads, 0, tile_total_by_tiles_kernel<Loop, T, Output>, static_cast<In<T>>(partials), output, M, N, ranges,
           tiles_m);
  else launch(stream, grid_for(M * N, kBlock), kBlock, 0, tile_total_kernel<T, Output>, static_cast<In<T>>(partials), output, M * N, N, ranges);
}

// output.store(row, column, sum over k of a.at(row, k) b.at(column, k)) in the stream's math mode; M and N at least 1.
template <class T, class A, class B, class Output>
void tile_product(Stream& stream, A a, B b, Output output, int64_t M, int64_t N, int64_t K) {
  if constexpr (sizeof(T) == 8) {
    tile_launch<IeeeLoop<T, 64, 64, 8, 4, 4>, T>(stream, a, b, output, M, N, K);
  } else {
    if (stream.math == MathMode::tf32) return tile_launch<MmaLoop<Tf32Stage, 128, 128, 16>, T>(stream, a, b, output, M, N, K);
    if (stream.math == MathMode::bf16) return tile_launch<MmaLoop<Bf16Stage, 128, 128, 16>, T>(stream, a, b, output, M, N, K);
    if (M <= 64 || N <= 64) return tile_launch<IeeeLoop<T, 64, 64, 16, 4, 4>, T>(stream, a, b, output, M, N, K);
    tile_launch<IeeeLoop<T, 128, 128, 8, 8, 8>, T>(stream, a, b, output, M, N, K);
  }
}

}  // namespace PV_EXEC
}  // namespace panvae
