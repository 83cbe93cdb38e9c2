// Products of few rows on cpu against plain sums, whatever the sizes leave over; nothing beside the operands is read or written.
#include "kernels/few_rows.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/philox.h"
#include "base/threads.h"
#include "kernels/kernels.h"

namespace panvae::test {
namespace {

// A matrix whose rows lie apart, with NaN before, between and behind them.
template <class T>
struct Apart {
  int64_t rows, columns, stride;
  std::vector<T> all;

  Apart(int64_t rows_, int64_t columns_, int64_t gap, uint32_t op)
      : rows(rows_), columns(columns_), stride(columns_ + gap), all(static_cast<size_t>((rows_ + 2) * stride), std::numeric_limits<T>::quiet_NaN()) {
    PhiloxSequence sequence({9, op, 0});
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c) data()[r * stride + c] = static_cast<T>(2 * sequence.uniform() - 1);
  }
  T* data() { return all.data() + stride; }
  double at(int64_t r, int64_t c) const { return static_cast<double>(all[static_cast<size_t>((r + 1) * stride + c)]); }
  int64_t finite() const {
    int64_t n = 0;
    for (const T x : all) n += std::isfinite(x);
    return n;
  }
};

template <class T>
void expect_plain_sums(bool transpose_b, int64_t M, int64_t N, int64_t K, bool accumulate) {
  Apart<T> a(M, K, 3, 1), b(transpose_b ? N : K, transpose_b ? K : N, 5, 2), c(M, N, 1, 3);
  const Apart<T> before = c;
  cpu::few_rows_product<T>(transpose_b, M, N, K, a.data(), a.stride, b.data(), b.stride, accumulate, c.data(), c.stride);
  double worst = 0;
  for (int64_t m = 0; m < M; ++m)
    for (int64_t n = 0; n < N; ++n) {
      long double sum = accumulate ? before.at(m, n) : 0;
      for (int64_t k = 0; k < K; ++k) sum += static_cast<long double>(a.at(m, k)) * (transpose_b ? b.at(n, k) : b.at(k, n));
      const double error = std::abs(static_cast<double>(c.at(m, n) - sum));
      if (!(error <= worst)) worst = error;
    }
  const double unit = static_cast<double>(std::numeric_limits<T>::epsilon());
  EXPECT_LE(worst, unit * (32 + 0.5 * static_cast<double>(K)))
      << M << " x " << N << " x " << K << (transpose_b ? " turned" : "") << (accumulate ? " added" : "");
  EXPECT_EQ(c.finite(), M * N);
}

template <class T>
class few_rows : public testing::Test {};
using Types = testing::Types<float, double>;
struct Names {
  template <class T>
  static std::string GetName(int) {
    return sizeof(T) == 4 ? "f32" : "f64";
  }
};
TYPED_TEST_SUITE(few_rows, Types, Names);

// Sizes below and beyond the tiles of every kind of processor, vectors, blocks of K (5120 floats along rows, 512 where panels are turned, 128
// rows along columns), panels, and rows of a at once.
TYPED_TEST(few_rows, products_are_plain_sums) {
  const std::vector<std::array<int64_t, 3>> sizes = {{1, 1, 1},     {1, 33, 700},    {2, 31, 127},   {5, 7, 17},    {6, 64, 128},   {7, 65, 129},
                                                     {13, 3, 5},    {15, 97, 40},    {32, 128, 257}, {3, 9, 9001},  {64, 600, 130}, {65, 40, 4100},
                                                     {12, 31, 520}, {14, 1100, 520}, {20, 70, 1100}, {130, 45, 530}};
  for (const auto& [M, N, K] : sizes)
    for (const bool transpose_b : {true, false})
      for (const bool accumulate : {false, true}) expect_plain_sums<TypeParam>(transpose_b, M, N, K, accumulate);
}

TYPED_TEST(few_rows, bits_are_the_same_with_any_number_of_threads) {
  const int before = threads();
  for (const int64_t M : {5, 19})
    for (const bool transpose_b : {true, false}) {
      std::vector<TypeParam> first;
      for (const int n : {1, 2, 3, 7}) {
        set_threads(n);
        Apart<TypeParam> a(M, 5000, 0, 1), b(transpose_b ? 1100 : 5000, transpose_b ? 5000 : 1100, 0, 2);
        std::vector<TypeParam> c(static_cast<size_t>(M * 1100));
        cpu::few_rows_product<TypeParam>(transpose_b, M, 1100, 5000, a.data(), a.stride, b.data(), b.stride, false, c.data(), 1100);
        if (n == 1) first = c;
        EXPECT_TRUE(c == first) << M << " rows, " << n << " threads";
      }
    }
  set_threads(before);
}

// What is not finite stays in the sums that have it.
TYPED_TEST(few_rows, what_is_not_finite_reaches_its_own_sums_alone) {
  constexpr int64_t N = 70, K = 300;
  for (const auto& [M, transpose_b] : {std::pair<int64_t, bool>{9, true}, {20, true}, {9, false}}) {
    Apart<TypeParam> a(M, K, 0, 1), b(transpose_b ? N : K, transpose_b ? K : N, 0, 2), c(M, N, 0, 3);
    a.data()[4 * a.stride + K - 1] = std::numeric_limits<TypeParam>::infinity();
    b.data()[transpose_b ? (N - 1) * b.stride : N - 1] = std::numeric_limits<TypeParam>::quiet_NaN();
    cpu::few_rows_product<TypeParam>(transpose_b, M, N, K, a.data(), a.stride, b.data(), b.stride, false, c.data(), c.stride);
    for (int64_t m = 0; m < M; ++m)
      for (int64_t n = 0; n < N; ++n) EXPECT_EQ(std::isfinite(c.at(m, n)), m != 4 && n != N - 1) << m << ", " << n;
  }
}

// The op takes this way for a batch of 8 and BLAS for one of 300, whose first rows are the same numbers; where it is compiled for.
TYPED_TEST(few_rows, the_op_agrees_with_that_of_many_rows) {
  constexpr int64_t kMany = 300, kFew = 8, N = 300, K = 700;
#if defined(__FMA__)
  EXPECT_TRUE(cpu::few_rows<TypeParam>(false, true, kFew, N, K) && cpu::few_rows<TypeParam>(false, false, kFew, N, K));
#endif
  EXPECT_FALSE(cpu::few_rows<TypeParam>(false, true, kMany, N, K) || cpu::few_rows<TypeParam>(false, false, kMany, N, K));
  EXPECT_FALSE(cpu::few_rows<TypeParam>(true, true, kFew, N, K) || cpu::few_rows<TypeParam>(false, true, kFew, 10, 10));
  Stream stream({DeviceType::cpu, 0});
  Apart<TypeParam> a(kMany, K, 0, 1), b(N, K, 0, 2), bias(1, N, 0, 3);
  for (const bool transpose_b : {true, false}) {
    std::vector<TypeParam> few(kFew * N, TypeParam(1)), many(kMany * N, TypeParam(1));
    const Epilogue<TypeParam> e{.bias = bias.data(), .activation = Activation::leaky_relu, .slope = TypeParam(0.2), .accumulate = true};
    cpu::matmul<TypeParam>(stream, a.data(), false, b.data(), transpose_b, few.data(), kFew, N, K, e);
    cpu::matmul<TypeParam>(stream, a.data(), false, b.data(), transpose_b, many.data(), kMany, N, K, e);
    for (size_t i = 0; i < few.size(); ++i)
      ASSERT_NEAR(static_cast<double>(few[i]), static_cast<double>(many[i]), 400 * static_cast<double>(std::numeric_limits<TypeParam>::epsilon())) << i;
  }
}

}  // namespace
}  // namespace panvae::test
