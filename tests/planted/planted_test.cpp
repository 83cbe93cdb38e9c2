// This program is linked with kernels/matmul.cu compiled without its barriers (PV_TEST_WITHOUT_MATMUL_BARRIER). What the
// tests of the cases compare must notice.
#include "orders.h"

namespace panvae {
namespace {

TEST(matmul_without_barrier, is_noticed_by_the_orders) {
  for (ProductFill fill : {ProductFill::staged, ProductFill::pipelined})
    for (MathMode mode : {MathMode::ieee, MathMode::tf32, MathMode::bf16}) {
      const Verdict v = product(33, 65, 40, mode, fill);
      EXPECT_TRUE(v.noticed()) << "a matmul without its barrier passed, mode " << static_cast<int>(mode) << ", fill " << static_cast<int>(fill);
    }
}

TEST(matmul_without_barrier, is_noticed_in_large_tiles) {
  for (ProductFill fill : {ProductFill::staged, ProductFill::pipelined}) EXPECT_TRUE(product(1500, 1430, 24, MathMode::ieee, fill).noticed());
}

// Control: what was not planted passes the same comparison, here a reduction with barriers of its own.
TEST(matmul_without_barrier, leaves_other_kernels_alone) {
  const std::vector<float> x = numbers(700);
  const Verdict v = compare_orders(7, [&](Stream& stream, float* y) { k::sum_rows<float>(stream, x.data(), y, 7, 100); });
  EXPECT_FALSE(v.noticed());
}

// And the CPU twin, which has no barrier, is right even in this program.
TEST(matmul_without_barrier, cpu_twin_is_right) {
  Stream stream({DeviceType::cpu, 0});
  const std::vector<float> a{1, 2, 3, 4}, b{5, 6, 7, 8};
  std::vector<float> c(4);
  k::matmul<float>(stream, a.data(), false, b.data(), false, c.data(), 2, 2, 2, Epilogue<float>{});
  EXPECT_EQ(c, (std::vector<float>{19, 22, 43, 50}));
}

}  // namespace
}  // namespace panvae
