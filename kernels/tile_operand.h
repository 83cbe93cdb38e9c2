// What tiled products multiply (kernels/tile.h): operands, anything that says what its element (row, k) is.
//
// An operand has    T at(row, k)              for row in [0, rows), k in [0, K)
//                   bool k_contiguous()       neighbouring k are neighbours in memory, else neighbouring rows are; static
//                                             constexpr where that is known, which saves kernels
// and to be copied asynchronously, where rows and K are at most kMostAddressed,
//                   of_row(row), of_k(k)      what each of them adds to an address, anything; computed once where one stays
//                   const T* address(of_row, of_k)    null where the element is 0
//                   bool addressable() const  where that alone does not make its numbers fit 31 bits
//                   bool wide()               four neighbours from a multiple of 4 on are 16 aligned bytes in memory
//                   const T* data             any of its memory
//                   int64_t stride            only of a matrix: (outer, inner) is data[outer * stride + inner]
#pragma once
#include <concepts>

#include "kernels/device_math.h"

namespace panvae::PV_EXEC {

// Four neighbours, moved 16 bytes at a time.
template <class T>
struct alignas(16) Four {
  T v[4];
};
template <class T>
__device__ inline Four<T> load_four(const T* p) {
  return *reinterpret_cast<const Four<T>*>(p);
}
template <class T>
__device__ inline void store_four(T* p, const Four<T>& x) {
  *reinterpret_cast<Four<T>*>(p) = x;
}

template <class T>
__device__ bool aligned_rows(const T* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 4 == 0;
}

// A matrix as an operand, or its transpose.
template <class T>
struct MatrixOperand {
  const T* data;
  int64_t stride;
  bool contiguous;  // stored [rows, K], else [K, rows]
  __host__ __device__ bool k_contiguous() const { return contiguous; }
  __device__ T at(int64_t row, int64_t k) const { return data[contiguous ? row * stride + k : k * stride + row]; }
  __device__ int64_t of_row(int row) const { return contiguous ? int64_t{row} * static_cast<int>(stride) : row; }
  __device__ int64_t of_k(int k) const { return contiguous ? k : int64_t{k} * static_cast<int>(stride); }
  __device__ const T* address(int64_t of_row, int64_t of_k) const { return data + (of_row + of_k); }
  __device__ bool wide() const { return aligned_rows(data, stride); }
};
// One that is stored [rows, K] whoever asks, which saves kernels.
template <class T>
struct RowsOperand {
  const T* data;
  int64_t stride;
  __host__ __device__ static constexpr bool k_contiguous() { return true; }
  __device__ T at(int64_t row, int64_t k) const { return data[row * stride + k]; }
  __device__ int64_t of_row(int row) const { return row * stride; }
  __device__ int64_t of_k(int k) const { return k; }
  __device__ const T* address(int64_t of_row, int64_t of_k) const { return data + (of_row + of_k); }
  __device__ bool wide() const { return aligned_rows(data, stride); }
};

inline constexpr int64_t kMostAddressed = int64_t{1} << 30;  // rows and k of PipelinedMain are 32-bit numbers

template <class Operand, class T>
concept Addressed = requires(const Operand& m, int i) {
  { m.address(m.of_row(i), m.of_k(i)) } -> std::same_as<const T*>;
  { m.data } -> std::convertible_to<const T*>;
  m.wide();
};

template <class Operand>
bool addressable(const Operand& m) {
  if constexpr (requires { m.addressable(); }) return m.addressable();
  else return true;
}

// The part of a product that a block computes: a tile of c from (row0, column0) on, over k in [k_begin, k_end).
struct TileRange {
  int64_t row0, rows, column0, columns, k_begin, k_end;
};

// A matrix: element (row, k) is data[outer * stride + inner], inner being the contiguous one.
template <class Operand>
concept Strided = requires(const Operand& m) {
  { m.stride } -> std::convertible_to<int64_t>;
};

// f(std::bool_constant<whether k is contiguous>), one instance where the operand knows it when compiled.
template <class Operand, class F>
void by_contiguity(const Operand& m, F f) {
  if constexpr (requires { typename std::bool_constant<Operand::k_contiguous()>; }) f(std::bool_constant<Operand::k_contiguous()>{});
  else if (m.k_contiguous()) f(std::true_type{});
  else f(std::false_type{});
}

}  // namespace panvae::PV_EXEC
