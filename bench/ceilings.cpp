#include "bench/ceilings.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/register_tile.h"

namespace panvae::bench {

namespace {

// Memory of the device for as long as a ceiling is measured.
struct Block {
  Block(Stream& s, size_t bytes) : stream(s), p(s.backend().alloc(s.device().index, bytes)) {
    if (!p) fail_machine(fmt::format("out of memory: {} bytes for a ceiling", bytes), to_string(s.device()));
    stream.backend().fill_bytes(stream.device().index, p, 0, bytes, stream.handle());
  }
  ~Block() { stream.backend().free(stream.device().index, p); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(p);
  }
  Stream& stream;
  void* p;
};

template <class T>
double product_rate(Stream& stream, const Limits& limits, int64_t n) {
  const size_t bytes = static_cast<size_t>(n * n) * sizeof(T);
  const Block a(stream, bytes), b(stream, bytes), c(stream, bytes);
  for (const Block* x : {&a, &b}) k::random_normal<T>(stream, x->template as<T>(), n * n, T(0), T(1), PhiloxKey{1, 0, 0});
  const Summary s = time_calls(stream, limits, {[&] { k::matmul<T>(stream, a.as<T>(), false, b.as<T>(), true, c.as<T>(), n, n, n, Epilogue<T>{}); }, {}});
  return 2.0 * static_cast<double>(n * n) * static_cast<double>(n) / s.median;
}

// Multiply-adds of all threads on as many sums as their registers hold: no product is faster, and BLAS a little slower.
template <class T>
double register_rate(Stream& stream, const Limits& limits) {
  constexpr int64_t kSteps = 10000, kRows = cpu::kTile;
  std::vector<T> sums(static_cast<size_t>(threads()));
  const Summary s = time_calls(stream, limits,
                               {[&] {
                                  parallel_chunks(threads(), 1, [&](int64_t thread, int64_t) {
                                    cpu::Vector<T> acc[kRows][2], x = cpu::Vector<T>{} + T(0.5) + sums[static_cast<size_t>(thread)] * T(0);
                                    for (int64_t n = 0; n < kRows; ++n)  // different ones: equal sums would be computed once
                                      acc[n][0] = cpu::Vector<T>{} + static_cast<T>(n), acc[n][1] = acc[n][0] + T(0.5);
                                    for (int64_t i = 0; i < kSteps; ++i)
#pragma GCC unroll 16
                                      for (int64_t n = 0; n < kRows; ++n) acc[n][0] = acc[n][0] * x + x, acc[n][1] = acc[n][1] * x + x;
                                    T sum = T(0);
                                    for (int64_t n = 0; n < kRows; ++n) sum += acc[n][0][0] + acc[n][1][1];
                                    sums[static_cast<size_t>(thread)] = sum;
                                  });
                                },
                                {}});
  return 2.0 * static_cast<double>(threads() * kSteps * kRows * cpu::kBlock<T>) / s.median;
}

}  // namespace

double bandwidth_of(Triad& triad, const Limits& limits) {
  Stream stream({DeviceType::cpu, 0});
  return triad.bytes() / time_calls(stream, limits, {[&] { triad.pass(); }, {}}).median;
}

double reading_of(Triad& triad, const Limits& limits) {
  Stream stream({DeviceType::cpu, 0});
  return triad.read_bytes() / time_calls(stream, limits, {[&] { triad.read(); }, {}}).median;
}

void Ability::join(const Ability& other) {
  bandwidth = std::max(bandwidth, other.bandwidth);
  peak = std::max(peak, other.peak);
  launch = std::min(launch, other.launch);
}

double Ceilings::measure_bandwidth(const Limits& limits, bool reading) {
  if (stream_.type() == DeviceType::cpu) {
    if (!triad_) triad_ = std::make_unique<Triad>(cold_bytes(stream_) / static_cast<int64_t>(4 * sizeof(float)));
    return reading ? reading_of(*triad_, limits) : bandwidth_of(*triad_, limits);
  }
  const size_t bytes = static_cast<size_t>(std::max(cold_bytes(stream_), int64_t{512} << 20));
  const Block from(stream_, bytes), to(stream_, bytes);
  const auto copy = [&] { stream_.backend().copy(stream_.device().index, to.p, from.p, bytes, CopyKind::device_to_device, stream_.handle()); };
  return 2 * static_cast<double>(bytes) / time_calls(stream_, limits, {copy, {}}).median;
}

// On cpu a product of some milliseconds, whose matrices fit the cache, or multiply-adds in registers.
double Ceilings::measure_peak(DType dtype, MathMode mode, const Limits& limits) {
  const MathMode before = std::exchange(stream_.math, mode);
  const int64_t n = stream_.type() == DeviceType::cpu ? 768 : dtype == DType::f32 ? 8192 : 4096;
  double best = 0;
  for (const Provider p : {Provider::ours, Provider::vendor}) {
    if (p == Provider::vendor && (stream_.type() != DeviceType::cuda || !why_no_vendor(ProviderOp::matmul).empty())) continue;
    stream_.provider = p;
    best = std::max(best, dtype == DType::f32 ? product_rate<float>(stream_, limits, n) : product_rate<double>(stream_, limits, n));
  }
  stream_.math = before;
  if (stream_.type() == DeviceType::cpu)
    best = std::max(best, dtype == DType::f32 ? register_rate<float>(stream_, limits) : register_rate<double>(stream_, limits));
  return best;
}

double Ceilings::measure_launch() {
  if (stream_.type() != DeviceType::cuda) return 0;
  const Block block(stream_, 256);
  return time_calls(stream_, options_.limits, {[&] { k::fill<float>(stream_, block.as<float>(), 1, 0.0f); }, {}}).median;
}

double Ceilings::bandwidth() {
  if (bandwidth_ == 0) bandwidth_ = measure_bandwidth(options_.limits);
  return bandwidth_;
}
double Ceilings::reading() {
  if (reading_ == 0) reading_ = measure_bandwidth(options_.limits, true);
  return reading_;
}
double Ceilings::peak(DType dtype, MathMode mode) {
  double& rate = peaks_[fmt::format("{} {}", type_name(dtype), math_name(mode))];
  if (rate == 0) rate = measure_peak(dtype, mode, options_.limits);
  return rate;
}
double Ceilings::launch() {
  if (launch_ == 0) launch_ = measure_launch();
  return launch_;
}

Ability Ceilings::now(const Row& row, bool anew) {
  if (stream_.type() == DeviceType::simt) return {};
  const bool computes = row.flops() > 0;
  if (stream_.type() == DeviceType::cuda && !anew) return {bandwidth(), computes ? peak(row.dtype, row.op->math) : 0, launch()};
  const Limits brief{options_.limits.seconds / 10, options_.limits.precision};
  return {measure_bandwidth(brief, row.op->reads_only), computes ? measure_peak(row.dtype, row.op->math, brief) : 0, measure_launch()};
}

Floor Ceilings::floor(const Row& row, const Measurement& m, const Ability& ability) {
  Floor f;
  const auto at_least = [&](double seconds, const char* bound) {
    if (seconds > f.seconds) f.seconds = seconds, f.bound = bound;
  };
  if (stream_.type() == DeviceType::simt) return f;
  const double beside = m.blas ? row.flops() / m.blas->median : 0;
  const double memory = row.bytes() / ability.bandwidth;
  if (!m.hot) at_least(memory, "memory");
  if (row.flops() > 0) at_least(row.flops() / std::max(ability.peak, beside), "compute");
  at_least(ability.launch, "launch");
  f.hard = f.seconds;
  if (m.hot) at_least(memory, "memory");
  if (beside > 0) f.seconds = row.flops() / beside, f.bound = "blas";
  return f;
}

}  // namespace panvae::bench
