// Stores past the caches: every element once, nothing beside it, and the same bits as ordinary stores. The cases of
// tests/cases are too small to stream.
#include "kernels/streaming.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "base/philox.h"
#include "kernels/kernels.h"

namespace panvae::test {
namespace {

constexpr int64_t kLarge = cpu::kStreamBytes / 4 + 77;  // floats, just enough to stream

// to [n] at an offset into lines, between sentinels; write(to) fills it with 1, 2, 3, ...
template <class T, class Write>
void expect_written(int64_t offset, int64_t n, Write write) {
  constexpr int64_t kGuard = 64;
  std::vector<T> block(static_cast<size_t>(2 * kGuard + 64 + n), T(-9));
  const auto address = reinterpret_cast<uintptr_t>(block.data() + kGuard);
  T* to = block.data() + kGuard + static_cast<int64_t>((64 - address % 64) % 64 / sizeof(T)) + offset;
  write(to);
  int64_t wrong = 0;
  for (T* p = block.data(); p < block.data() + block.size(); ++p) wrong += *p != (p >= to && p < to + n ? T(p - to + 1) : T(-9));
  EXPECT_EQ(wrong, 0) << "offset " << offset << ", " << n << " elements";
}

template <class T>
void every_element_once() {
  for (int64_t offset = 0; offset < 20; ++offset)
    for (int64_t n : {0, 1, 5, 15, 16, 17, 31, 33, 64, 255, 300, 2000}) {
      std::vector<T> source(static_cast<size_t>(n));
      std::iota(source.begin(), source.end(), T(1));
      for (bool streaming : {false, true}) {
        expect_written<T>(offset, n, [&](T* to) {
          std::vector<int> times(static_cast<size_t>(n));
          cpu::store(streaming, to, n, [&](int64_t first, int64_t count, T* part) {
            for (int64_t i = 0; i < count; ++i) part[i] = T(first + i + 1), ++times[static_cast<size_t>(first + i)];
          });
          EXPECT_EQ(times, std::vector<int>(static_cast<size_t>(n), 1));
          cpu::end_stores(streaming);
        });
        expect_written<T>(offset, n, [&](T* to) { cpu::store_copy(streaming, to, source.data(), n), cpu::end_stores(streaming); });
        expect_written<T>(offset, n, [&](T* to) {
          cpu::store_value(streaming, to, T(3), n);
          cpu::end_stores(streaming);
          for (int64_t i = 0; i < n; ++i) {
            EXPECT_EQ(to[i], T(3));
            to[i] = T(i + 1);
          }
        });
      }
    }
}

TEST(streaming, writes_every_element_once_and_nothing_else) {
  every_element_once<float>();
  every_element_once<double>();
  every_element_once<int16_t>();
}

TEST(streaming, is_for_large_outputs_that_lie_apart_from_the_inputs) {
  std::vector<float> memory(8);  // addresses only
  const int64_t n = kLarge;
  const float* x = memory.data();
  float* y = memory.data() + n;
#if defined(__SSE2__)
  EXPECT_TRUE(cpu::streams(y, n));
  EXPECT_TRUE(cpu::streams(y, n, x)) << "they touch";
  EXPECT_TRUE(cpu::streams(memory.data(), n, y));
#endif
  EXPECT_FALSE(cpu::streams(y, n, y)) << "in place";
  EXPECT_FALSE(cpu::streams(y - 1, n, x)) << "one element in common";
  EXPECT_FALSE(cpu::streams(memory.data(), n, x, x + n - 1));
  EXPECT_FALSE(cpu::streams(y, n / 2, x)) << "small";
}

class Large : public testing::Test {
 protected:
  // Starts one element off a line, so that ends are ragged.
  static std::vector<float> noise(uint32_t op) {
    Stream stream({DeviceType::cpu, 0});
    std::vector<float> v(static_cast<size_t>(kLarge) + 1);
    k::random_uniform<float>(stream, v.data(), kLarge + 1, -2, 2, PhiloxKey{7, op, 0});
    v[100] = NAN, v[kLarge - 1] = INFINITY;
    return v;
  }
  static bool same(const float* a, const float* b) { return std::memcmp(a, b, kLarge * sizeof(float)) == 0; }
  Stream stream{Device{DeviceType::cpu, 0}};
};

// In place nothing is streamed: the same call over its input gives what is expected.
TEST_F(Large, elementwise_kernels_give_the_bits_they_give_in_place) {
  const std::vector<float> a = noise(0), b = noise(1);
  std::vector<float> apart(a.size()), in_place;
  float* y = apart.data() + 1;
  const float *pa = a.data() + 1, *pb = b.data() + 1;
  auto check = [&](const std::vector<float>& start, auto&& kernel) {
    in_place = start;
    kernel(y), kernel(in_place.data() + 1);
    return same(y, in_place.data() + 1);
  };
  auto again = [&](float* to) { return to == y ? pa : to; };
  EXPECT_TRUE(check(a, [&](float* to) { k::scale<float>(stream, again(to), to, kLarge, 0.3f); }));
  EXPECT_TRUE(check(a, [&](float* to) { k::leaky_relu<float>(stream, again(to), to, kLarge, 0.2f); }));
  EXPECT_TRUE(check(a, [&](float* to) { k::add<float>(stream, again(to), pb, to, kLarge); }));
  EXPECT_TRUE(check(a, [&](float* to) { k::relu_grad<float>(stream, pb, again(to), to, kLarge); }));
  EXPECT_TRUE(check(a, [&](float* to) { k::gelu<float>(stream, again(to), to, kLarge); }));
  EXPECT_TRUE(check(a, [&](float* to) { k::dropout<float>(stream, again(to), to, kLarge, 0.25, PhiloxKey{5, 6, 7}); })) << "words belong to elements";
  k::copy<float>(stream, pa, y, kLarge);
  EXPECT_TRUE(same(y, pa));
  k::cast_to_f32<float>(stream, pb, y, kLarge);
  EXPECT_TRUE(same(y, pb));
  k::fill<float>(stream, y, kLarge, 2.5f);
  EXPECT_EQ(std::vector<float>(y, y + kLarge), std::vector<float>(kLarge, 2.5f));
}

TEST_F(Large, casts_give_the_bits_of_single_casts) {
  const int64_t n = 2 * kLarge;  // bf16: half the bytes
  std::vector<float> x(static_cast<size_t>(n) + 1), back(x.size());
  k::random_normal<float>(stream, x.data(), n, 0, 1, PhiloxKey{1, 2, 3});
  std::vector<bf16> narrow(x.size());
  k::cast_to_bf16<float>(stream, x.data(), narrow.data() + 1, n);
  k::cast_from_bf16<float>(stream, narrow.data() + 1, back.data() + 1, n);
  int64_t wrong = 0;
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) wrong += narrow[i + 1].bits != to_bf16(x[i]).bits || back[i + 1] != to_float(to_bf16(x[i]));
  EXPECT_EQ(wrong, 0);
}

TEST_F(Large, gather_rows_takes_the_rows) {
  const std::vector<float> x = noise(2);
  const int64_t columns = 4099, rows = kLarge / columns, taken = rows + 3;
  std::vector<int64_t> index(static_cast<size_t>(taken));
  for (int64_t i = 0; i < taken; ++i) index[static_cast<size_t>(i)] = i * 37 % rows;
  std::vector<float> y(static_cast<size_t>(taken * columns) + 1);
  k::gather_rows<float>(stream, x.data(), index.data(), y.data() + 1, rows, taken, columns, 0.0f);
  for (int64_t i = 0; i < taken; ++i)
    ASSERT_EQ(std::memcmp(y.data() + 1 + i * columns, x.data() + index[static_cast<size_t>(i)] * columns, static_cast<size_t>(columns) * 4), 0) << "row " << i;
}

TEST_F(Large, a_slice_is_the_columns) {
  const std::vector<float> x = noise(5);
  const int64_t columns = 4099, stride = columns + 3, rows = kLarge / columns + 1;
  std::vector<float> wide(static_cast<size_t>(rows * stride)), y(static_cast<size_t>(rows * columns) + 1);
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = x[i % x.size()];
  k::copy_strided<float>(stream, wide.data() + 2, stride, y.data() + 1, columns, rows, columns, false);
  for (int64_t i = 0; i < rows; ++i)
    ASSERT_EQ(std::memcmp(y.data() + 1 + i * columns, wide.data() + 2 + i * stride, static_cast<size_t>(columns) * 4), 0) << "row " << i;
}

TEST_F(Large, mse_gives_the_bits_it_gives_in_place) {
  std::vector<float> x = noise(6), target = noise(7), grad(x.size());
  x[100] = target[100] = x[kLarge - 1] = target[kLarge - 1] = 1;  // a NaN is not equal to itself
  float loss, loss_in_place;
  k::mse<float>(stream, x.data(), target.data(), kLarge, &loss, grad.data());
  k::mse<float>(stream, x.data(), target.data(), kLarge, &loss_in_place, x.data());
  EXPECT_EQ(loss, loss_in_place);
  EXPECT_TRUE(same(grad.data(), x.data()));
}

TEST_F(Large, huber_kl_gives_the_bits_it_gives_in_place) {
  std::vector<float> pred = noise(3), target = noise(4);
  const int64_t B = 7, G = kLarge / B + 1;
  pred.resize(static_cast<size_t>(B * G)), target.resize(pred.size());
  const std::vector<float> latent(static_cast<size_t>(B), 0.5f);
  std::vector<float> apart(pred.size()), grad_mu(latent.size()), grad_logvar(latent.size()), loss[2] = {std::vector<float>(3), std::vector<float>(3)};
  pred[100] = pred[static_cast<size_t>(kLarge) - 1] = 1;
  target[100] = target[static_cast<size_t>(kLarge) - 1] = 1;
  for (int in_place : {0, 1})
    k::huber_kl<float>(stream, pred.data(), target.data(), latent.data(), latent.data(), B, G, 1, 0.5f, 0.1f, loss[in_place].data(),
                       in_place ? pred.data() : apart.data(), grad_mu.data(), grad_logvar.data());
  EXPECT_TRUE(std::isfinite(loss[0][0]));
  EXPECT_EQ(loss[0], loss[1]);
  EXPECT_EQ(apart, pred);
}

}  // namespace
}  // namespace panvae::test
