// Weight gradient and Adam in one on cpu: the same bits for any number of threads, which share the product between them.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "base/philox.h"
#include "base/threads.h"
#include "kernels/kernels.h"

namespace panvae::test {
namespace {

template <class T>
std::vector<T> drawn(int64_t count, uint32_t op) {
  PhiloxSequence sequence({7, op, 0});
  std::vector<T> x(static_cast<size_t>(count));
  for (T& v : x) v = static_cast<T>(2 * sequence.uniform() - 1);
  return x;
}

// p, m, v and the gradient's norm behind one step.
template <class T>
std::vector<double> step(int64_t M, int64_t N, int64_t K) {
  Stream stream({DeviceType::cpu, 0});
  const std::vector<T> a = drawn<T>(K * M, 1), b = drawn<T>(K * N, 2);
  std::vector<T> p = drawn<T>(M * N, 3), m = drawn<T>(M * N, 4), v(p.size(), T(0.5));
  std::vector<double> slots(adam_slots, 0.0);
  slots[adam_learning_rate] = slots[adam_step_size] = 1e-2;
  slots[adam_gradient_scale] = slots[adam_sqrt_bias2] = 1;
  cpu::matmul_adam<T>(stream, a.data(), true, b.data(), false, p.data(), m.data(), v.data(), M, N, K, slots.data(), AdamOptions{});
  std::vector<double> all;
  for (const std::vector<T>* x : {&p, &m, &v}) all.insert(all.end(), x->begin(), x->end());
  all.push_back(slots[adam_norm]);
  return all;
}

// More threads than rows of tiles, as many, and numbers that do not divide them; columns of one panel and of several.
template <class T>
void expect_same_bits(int64_t M, int64_t N, int64_t K) {
  const int before = threads();
  set_threads(1);
  const std::vector<double> one = step<T>(M, N, K);
  EXPECT_GT(one.back(), 0);
  for (int n : {2, 3, 7}) {
    set_threads(n);
    EXPECT_TRUE(step<T>(M, N, K) == one) << M << " x " << N << " x " << K << ", " << n << " threads";
  }
  set_threads(before);
}

TEST(matmul_adam, has_the_same_bits_with_any_number_of_threads) {
  for (const auto& [M, N, K] : std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {5, 700, 3}, {64, 31, 20}, {211, 800, 300}, {3, 1000, 1000}}) {
    expect_same_bits<float>(M, N, K);
    expect_same_bits<double>(M, N, K);
  }
}

// Squares of the gradient that are zero or infinite in f32 count in its norm.
TEST(matmul_adam, has_the_norm_of_gradients_whose_squares_f32_does_not_hold) {
  constexpr int64_t M = 20, N = 70;
  for (const double size : {1e-30, 1e-22, 1e-16, 1.0, 1e16, 1e22, 1e30}) {
    Stream stream({DeviceType::cpu, 0});
    std::vector<float> a = drawn<float>(M, 1), b = drawn<float>(N, 2);
    for (float& x : a) x = static_cast<float>(x * size);
    double expected = 0;
    for (float x : a)
      for (float y : b) expected += static_cast<double>(x * y) * static_cast<double>(x * y);
    std::vector<float> p(M * N), m(M * N), v(M * N);
    std::vector<double> slots(adam_slots, 0.0);
    slots[adam_gradient_scale] = slots[adam_sqrt_bias2] = 1;
    cpu::matmul_adam<float>(stream, a.data(), true, b.data(), false, p.data(), m.data(), v.data(), M, N, 1, slots.data(), AdamOptions{});
    EXPECT_NEAR(slots[adam_norm] / std::sqrt(expected), 1, 1e-6) << size;
  }
}

// Rows of any length, from any place in memory: the update goes on from line to line, and no element is left out or met twice.
TEST(matmul_adam, updates_each_element_once_wherever_its_line_begins) {
  for (const int64_t N : {1, 15, 16, 17, 47, 1000, 5003})
    for (const int64_t past : {0, 1, 7, 15}) {
      constexpr int64_t M = 42;  // whole tiles of any size
      Stream stream({DeviceType::cpu, 0});
      const std::vector<float> a(M, 1.0F), b(static_cast<size_t>(N), 1.0F);
      std::vector<float> p(static_cast<size_t>(M * N + 16)), m(p.size()), v(p.size());
      std::vector<double> slots(adam_slots, 0.0);
      slots[adam_step_size] = slots[adam_gradient_scale] = slots[adam_sqrt_bias2] = 1;
      cpu::matmul_adam<float>(stream, a.data(), true, b.data(), false, p.data() + past, m.data() + past, v.data() + past, M, N, 1, slots.data(),
                              AdamOptions{.beta1 = 0.5, .beta2 = 0.75, .eps = 0});
      for (int64_t i = 0; i < static_cast<int64_t>(p.size()); ++i) {
        const bool inside = i >= past && i < past + M * N;
        const auto at = static_cast<size_t>(i);
        ASSERT_EQ(m[at], inside ? 0.5F : 0) << N << " columns, " << past << " behind a line: element " << i;
        ASSERT_EQ(v[at], inside ? 0.25F : 0) << i;
        ASSERT_EQ(p[at], inside ? -1.0F : 0) << i;
      }
    }
}

}  // namespace
}  // namespace panvae::test
