// This program is linked with kernels/matmul.cu compiled without the wait for its asynchronous copies
// (PV_TEST_WITHOUT_COPY_WAIT). What the tests of the cases compare must notice.
#include "tests/planted/orders.h"

namespace panvae {
namespace {

TEST(matmul_without_wait, is_noticed) {
  for (MathMode mode : {MathMode::ieee, MathMode::tf32, MathMode::bf16}) {
    EXPECT_TRUE(product(33, 65, 40, mode, ProductFill::pipelined).noticed()) << "a matmul that does not wait passed, mode " << static_cast<int>(mode);
    EXPECT_TRUE(product(33, 65, 40, mode, ProductFill::automatic).noticed()) << "the pipeline is what runs unless asked otherwise";
  }
}

// Control: the other main loop has no copies to wait for, and is right even in this program.
TEST(matmul_without_wait, leaves_the_other_fill_alone) {
  for (MathMode mode : {MathMode::ieee, MathMode::tf32, MathMode::bf16}) EXPECT_FALSE(product(33, 65, 40, mode, ProductFill::staged).noticed());
}

}  // namespace
}  // namespace panvae
