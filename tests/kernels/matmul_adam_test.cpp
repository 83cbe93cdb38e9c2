// Weight gradient and Adam in one on cpu: the same bits for any number of threads, which share the product between them.
#include <gtest/gtest.h>

#include <array>
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

}  // namespace
}  // namespace panvae::test
