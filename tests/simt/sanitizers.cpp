// Faults that only a sanitizer sees, most of them with results that are right. Each is run in a child process of the
// sanitizer's build, whose report must name the kernel and the lines marked FAULT.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <cctype>
#include <cstdlib>
#include <sstream>

#include "base/file.h"
#include "common.h"

namespace panvae::PV_EXEC {

#ifdef __SANITIZE_THREAD__

// Right in forward order: who is read has run before.
__global__ void missing_barrier(int* y) {
  SHARED(int, s, 64);
  const int t = threadIdx.x;
  s[t] = t;                      // FAULT barrier: the write
  y[t] = t == 0 ? 0 : s[t - 1];  // FAULT barrier: the read
}

// A shuffle makes lanes meet, but orders no memory: only __syncwarp does.
__global__ void missing_syncwarp(int* y) {
  SHARED(int, s, 32);
  const int t = threadIdx.x;
  s[t] = __shfl_xor_sync(kFullMask, t, 1);  // FAULT syncwarp: the write
  y[t] = __any_sync(kFullMask, 1);
  y[t] += s[t ^ 1];  // FAULT syncwarp: the read
}

// The barrier at the end of a loop that uses an array again.
__global__ void missing_second_barrier(int* y) {
  SHARED(int, s, 64);
  const int t = threadIdx.x;
  for (int i = 0; i < 2; ++i) {
    s[t] = t;  // FAULT loop: the write
    __syncthreads();
    y[t] = s[63 - t];  // FAULT loop: the read
  }
}

__global__ void blocks_add_up(int* y) {
  if (threadIdx.x == 0) y[0] += 1;  // FAULT blocks: both
}

// Blocks that are not neighbours: the first and the last of five.
__global__ void distant_blocks(int* y) {
  if (threadIdx.x == 0) y[blockIdx.x % (gridDim.x - 1)] = 1;  // FAULT distant blocks: both
}

__global__ void block_reads_another(int* y, int* z) {
  const int b = blockIdx.x;
  if (threadIdx.x == 0) y[b] = b;                  // FAULT neighbour: the write
  if (threadIdx.x == 1 && b > 0) z[b] = y[b - 1];  // FAULT neighbour: the read
}

// As kernels/last_block.h has it, but by an atomic that orders no other memory; by none at all.
__global__ void last_block_unordered(int* parts, unsigned* arrivals, int* y) {
  const unsigned t = threadIdx.x;
  bool last = false;
  if (t == 0) {
    parts[blockIdx.x] = 1;  // FAULT last block: the write
    last = atomicAdd(arrivals, 1u) == gridDim.x - 1;
  }
  if (__syncthreads_or(last) && t < gridDim.x) y[t] = parts[t];  // FAULT last block: the read
}
__global__ void last_block_uncounted(unsigned* arrivals, int* y) {
  bool last = false;
  if (threadIdx.x == 0) last = (*arrivals)++ == gridDim.x - 1;  // FAULT arrivals: both
  if (__syncthreads_or(last)) y[threadIdx.x] = 1;
}

#else

__global__ void shared_overflow(int n) {
  SHARED(float, s, 8);
  const int t = threadIdx.x;
  if (t < n) s[t] = 1;  // FAULT shared overflow
}

__device__ inline float element(const float* p, int i) {
  return p[i];
}
__global__ void shared_over_read(int n, float* y) {
  SHARED(float, s, 8);
  if (threadIdx.x == 0) {
    for (int i = 0; i < 8; ++i) s[i] = 1;
    y[0] = element(s, n);  // FAULT shared over-read
  }
}

__global__ void overflow_of_dynamic(int n) {
  DYN_SHARED(float, s);
  if (threadIdx.x == 0) s[n] = 1;  // FAULT dynamic overflow
}

__global__ void out_of_bounds(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[0] = x[i];  // FAULT out of bounds
}

__global__ void copy_out_of_bounds(const float* x) {
  SHARED(float, s, 4);
  cp_async4(s, x);  // FAULT copy
}

__global__ void misaligned_load(const float* x, float* y) {
  const auto v = *reinterpret_cast<const float4*>(x + threadIdx.x);  // FAULT misaligned load
  y[threadIdx.x] = v.x + v.w;
}

__global__ void misaligned_store(float* y) {
  *reinterpret_cast<float2*>(y + threadIdx.x) = make_float2(1, 2);  // FAULT misaligned store
}

#endif

}  // namespace panvae::PV_EXEC

namespace panvae::test {
namespace {

// "sanitizers.cpp:31" of the line with this mark.
std::string place_of(const std::string& mark) {
  std::istringstream text(read_file(PANVAE_SOURCE_DIR "/tests/simt/sanitizers.cpp"));
  std::string line;
  for (int number = 1; std::getline(text, line); ++number)
    if (line.ends_with("// FAULT " + mark)) return fmt::format("sanitizers.cpp:{}", number);
  ADD_FAILURE() << "no line is marked " << mark;
  return {};
}

// A report with `what`, and for each mark a line of a stack that has both the kernel and the place.
class Reports {
 public:
  using is_gtest_matcher = void;
  Reports(std::string what, std::string kernel, const std::vector<std::string>& marks) : what_(std::move(what)), kernel_("panvae::simt::" + kernel + "(") {
    for (const std::string& mark : marks) places_.push_back(place_of(mark));
  }
  bool MatchAndExplain(const std::string& report, std::ostream* why) const {
    bool good = contains(report, what_);
    if (!good && why) *why << "there is no \"" << what_ << "\"; ";
    for (const std::string& place : places_) {
      std::istringstream lines(report);
      std::string line;
      bool found = false;
      while (!found && std::getline(lines, line)) {
        const size_t at = line.find(place), end = at + place.size();
        found = at != std::string::npos && (end == line.size() || !std::isdigit(static_cast<unsigned char>(line[end]))) && contains(line, kernel_);
      }
      if (!found && why) *why << "no line has both " << kernel_ << " and " << place << "; ";
      good = good && found;
    }
    return good;
  }
  void DescribeTo(std::ostream* out) const { *out << "reports " << what_ << " in " << kernel_; }
  void DescribeNegationTo(std::ostream* out) const { *out << "does not report " << what_; }

 private:
  std::string what_, kernel_;
  std::vector<std::string> places_;
};

class sanitizer : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }  // the child starts anew
};

// In forward order, so that nothing but the sanitizer finds fault; the child ends here where it does not end before.
template <class... P, class... A>
void expect_report(const Reports& report, simt::dim3 grid, simt::dim3 block, size_t smem, void (*kernel)(P...), A... args) {
  auto child = [&] {
    Stream stream({DeviceType::simt, 0});
    stream.simt = {simt::Order::forward, 1, 1};
    simt::launch(stream, grid, block, smem, kernel, args...);
    std::exit(0);
  };
  EXPECT_EXIT(
      child(), [](int status) { return WIFEXITED(status) && WEXITSTATUS(status) != 0; }, report);
}

#ifdef __SANITIZE_THREAD__

// Results are static: TSan remembers four accesses to eight bytes, and on a stack it may still remember others.
TEST_F(sanitizer, missing_barrier) {
  static int y[64];
  expect_report({"data race", "missing_barrier", {"barrier: the write", "barrier: the read"}}, 1, 64, 0, simt::missing_barrier, &y[0]);
}
TEST_F(sanitizer, missing_barrier_at_the_end_of_a_loop) {
  static int y[64];
  expect_report({"data race", "missing_second_barrier", {"loop: the write", "loop: the read"}}, 1, 64, 0, simt::missing_second_barrier, &y[0]);
}
TEST_F(sanitizer, missing_syncwarp) {
  static int y[32];
  expect_report({"data race", "missing_syncwarp", {"syncwarp: the write", "syncwarp: the read"}}, 1, 32, 0, simt::missing_syncwarp, &y[0]);
}
TEST_F(sanitizer, blocks_write_one_element) {
  static int y[8];
  expect_report({"data race", "blocks_add_up", {"blocks: both"}}, 2, 32, 0, simt::blocks_add_up, &y[0]);
  expect_report({"data race", "blocks_add_up", {"blocks: both"}}, 2, 256, 0, simt::blocks_add_up, &y[0]);
  expect_report({"data race", "distant_blocks", {"distant blocks: both"}}, 5, 32, 0, simt::distant_blocks, &y[0]);
}
TEST_F(sanitizer, block_reads_what_another_writes) {
  static int y[2], z[2];
  expect_report({"data race", "block_reads_another", {"neighbour: the write", "neighbour: the read"}}, 2, 64, 0, simt::block_reads_another, &y[0], &z[0]);
}

TEST_F(sanitizer, last_block_without_order) {
  static int parts[4], y[64];
  static unsigned arrivals[2];
  expect_report({"data race", "last_block_unordered", {"last block: the write", "last block: the read"}}, 4, 64, 0, simt::last_block_unordered, &parts[0],
                &arrivals[0], &y[0]);
  expect_report({"data race", "last_block_uncounted", {"arrivals: both"}}, 4, 64, 0, simt::last_block_uncounted, &arrivals[1], &y[0]);
}

#else

TEST_F(sanitizer, shared_overflow) {
  float y;
  expect_report({"index 8 out of bounds for type 'float [8]'", "shared_overflow", {"shared overflow"}}, 1, 32, 0, simt::shared_overflow, 9);
  expect_report({"AddressSanitizer: use-after-poison", "shared_over_read", {"shared over-read"}}, 1, 32, 0, simt::shared_over_read, 8, &y);
  expect_report({"AddressSanitizer: use-after-poison", "overflow_of_dynamic", {"dynamic overflow"}}, 1, 32, 64, simt::overflow_of_dynamic, 16);
}
TEST_F(sanitizer, out_of_bounds) {
  const std::vector<float> x(40);
  float y;
  expect_report({"AddressSanitizer: heap-buffer-overflow", "out_of_bounds", {"out of bounds"}}, 2, 32, 0, simt::out_of_bounds, x.data(), &y, 40);
  expect_report({"AddressSanitizer: heap-buffer-overflow", "copy_out_of_bounds", {"copy"}}, 1, 1, 0, simt::copy_out_of_bounds, x.data() + 40);
}
TEST_F(sanitizer, misaligned_vector_access) {
  alignas(16) float x[36] = {}, y[36];
  expect_report({"misaligned address", "misaligned_load", {"misaligned load"}}, 1, 32, 0, simt::misaligned_load, &x[0], &y[0]);
  expect_report({"misaligned address", "misaligned_store", {"misaligned store"}}, 1, 32, 0, simt::misaligned_store, &y[0]);
}

#endif

}  // namespace
}  // namespace panvae::test
#endif
