// Where products by tensor cores have the elements of their matrices. A part of kernels/language.h, which kernels include.
#pragma once

namespace panvae {

// Which element of the matrices of D = A B + D a register of a lane holds (PTX ISA, "Matrix Fragments for mma").
// A is M x K, B is K x N, D is M x N. tf32: one element per register. bf16: two per register, so `i` counts halves,
// register i / 2, low half first.
namespace fragment {
struct Place {
  int row, col;
  bool operator==(const Place&) const = default;
};
// D: 16 x 8, i < 4.
__host__ __device__ constexpr Place d(int lane, int i) {
  return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2};
}
// A of tf32: 16 x 8, i < 4. B: 8 x 8, i < 2.
__host__ __device__ constexpr Place tf32_a(int lane, int i) {
  return {lane / 4 + i % 2 * 8, lane % 4 + i / 2 * 4};
}
__host__ __device__ constexpr Place tf32_b(int lane, int i) {
  return {lane % 4 + i * 4, lane / 4};
}
// A of bf16: 16 x 16, i < 8. B: 16 x 8, i < 4.
__host__ __device__ constexpr Place bf16_a(int lane, int i) {
  return {lane / 4 + i / 2 % 2 * 8, lane % 4 * 2 + i % 2 + i / 4 * 8};
}
__host__ __device__ constexpr Place bf16_b(int lane, int i) {
  return {lane % 4 * 2 + i % 2 + i / 2 * 8, lane / 4};
}
// D of a warpgroup: 64 x N, thread 0 to 127, i < N / 2 (PTX ISA, "Matrix fragments for wgmma.mma_async").
__host__ __device__ constexpr Place warpgroup(int thread, int i) {
  return {thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, i / 4 * 8 + thread % 4 * 2 + i % 2};
}
}  // namespace fragment

// Where of a row's 128 bytes in shared memory the 16 bytes c lie, for products by warpgroups: so that eight rows at one c are 32 banks.
__host__ __device__ constexpr unsigned warpgroup_chunk(unsigned row, unsigned c) {
  return c ^ (row & 7);
}

}  // namespace panvae
