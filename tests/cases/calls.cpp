// Memory of a call, and the comparison of what came out. No test framework here: the bench uses it too.
#include <algorithm>
#include <cstring>

#include "op_case.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define PV_HIDE(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define PV_SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define PV_HIDE(p, n) (void)(p), (void)(n)
#define PV_SHOW(p, n) (void)(p), (void)(n)
#endif

namespace panvae::cases {

// ---- values
Fill uniform(double low, double high) {
  return [=](PhiloxSequence& draw, int64_t) { return low + (high - low) * draw.uniform(); };
}
Fill away_from_zero() {
  return [](PhiloxSequence& draw, int64_t) {
    const double size = 0.1 + 1.9 * draw.uniform();
    return draw.uniform() < 0.5 ? -size : size;
  };
}
Fill specials() {
  return [](PhiloxSequence& draw, int64_t i) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    const double list[] = {0.0, -0.0, inf, -inf, std::nan(""), 1e-44, -1e-44, 3e38, -3e38, 1e-30, 1.5, -1.5};
    const double ordinary = 4 * draw.uniform() - 2;
    // At the head of every 4096 elements only: denormals are slow on some processors, and the bench times these values.
    return i % 2 || i % 4096 >= 48 ? ordinary : list[i / 2 % 12];
  };
}
Fill indices(int64_t below) {
  return [=](PhiloxSequence& draw, int64_t) { return static_cast<double>(draw.below(static_cast<uint64_t>(below))); };
}

namespace {

constexpr size_t kSentinel = 256;  // bytes on either side, a multiple of every alignment
constexpr int kSentinelByte = 0xA5, kPoisonByte = 0xFF;

double load(DType dtype, const char* p) {
  switch (dtype) {
    case DType::f32: {
      float v;
      std::memcpy(&v, p, 4);
      return v;
    }
    case DType::f64: {
      double v;
      std::memcpy(&v, p, 8);
      return v;
    }
    case DType::bf16: {
      bf16 v;
      std::memcpy(&v, p, 2);
      return to_float(v);
    }
    case DType::f16: {
      f16 v;
      std::memcpy(&v, p, 2);
      return to_float(v);
    }
    case DType::i64: {
      int64_t v;
      std::memcpy(&v, p, 8);
      return static_cast<double>(v);
    }
  }
  return 0;
}
void store(DType dtype, char* p, double x) {
  switch (dtype) {
    case DType::f32: {
      const float v = static_cast<float>(x);
      std::memcpy(p, &v, 4);
      return;
    }
    case DType::f64: {
      std::memcpy(p, &x, 8);
      return;
    }
    case DType::bf16: {
      const bf16 v = to_bf16(static_cast<float>(x));
      std::memcpy(p, &v, 2);
      return;
    }
    case DType::f16: {
      const f16 v = to_f16(static_cast<float>(x));
      std::memcpy(p, &v, 2);
      return;
    }
    case DType::i64: {
      const int64_t v = static_cast<int64_t>(x);
      std::memcpy(p, &v, 8);
      return;
    }
  }
}
double rounded_to(DType dtype, double x) {
  char b[8];
  store(dtype, b, x);
  return load(dtype, b);
}

}  // namespace

bool near(double got, double expected, double expected_rounded, double bound) {
  if (std::isnan(expected)) return std::isnan(got);
  if (got == expected_rounded) return true;
  return std::isfinite(expected_rounded) && std::abs(got - expected) <= bound;
}

// ---- one call
Calls::Calls(Stream& stream_, uint64_t seed, Shift shift, int variant_, int64_t sample, const Calls* like)
    : stream(stream_), variant(variant_), seed_(seed), shift_(shift), sample_(sample), like_(like) {}

Calls::~Calls() {
  for (Buffer& b : buffers_) {
    if (stream.type() != DeviceType::cuda) PV_SHOW(b.block, b.bytes);
    stream.backend().free(stream.device().index, b.block);
  }
}

std::shared_ptr<std::vector<double>> Calls::draw(DType dtype, int64_t count, const Fill& fill) {
  if (like_) return like_->buffers_[buffers_.size()].before;
  PhiloxSequence sequence({seed_, static_cast<uint32_t>(buffers_.size()), 0});
  auto values = std::make_shared<std::vector<double>>(static_cast<size_t>(count));
  // Of a large call of which a sample is compared, numbers repeat after a prime number of elements: drawing them all would
  // take longer than timing it.
  const int64_t drawn = sample_ > 0 ? std::min<int64_t>(count, 1048573) : count;
  for (int64_t i = 0; i < drawn; ++i) (*values)[static_cast<size_t>(i)] = rounded_to(dtype, fill(sequence, i));
  for (int64_t i = drawn; i < count; i += drawn) std::copy_n(values->begin(), std::min(drawn, count - i), values->begin() + i);
  return values;
}

size_t Calls::add(DType dtype, int64_t count, std::shared_ptr<std::vector<double>> values, bool output) {
  const size_t item = static_cast<size_t>(item_bytes(dtype)), n = static_cast<size_t>(count);
  const bool shifted = shift_ == Shift::all || (shift_ == Shift::first && buffers_.empty());
  Buffer b{.dtype = dtype,
           .count = count,
           .block = nullptr,
           .data = nullptr,
           .bytes = 0,
           .head = kSentinel + (shifted ? item : 0),
           .initial = {},
           .has_values = values != nullptr,
           .output = output,
           .before = values,
           .expected = {},
           .bounds = {},
           .name = "buffer " + std::to_string(buffers_.size())};
  b.bytes = b.head + n * item + kSentinel;
  b.initial.assign(b.bytes, static_cast<char>(kSentinelByte));
  if (values)
    for (size_t i = 0; i < n; ++i) store(dtype, b.initial.data() + b.head + i * item, (*values)[i]);
  else std::memset(b.initial.data() + b.head, kPoisonByte, n * item);
  const Backend& backend = stream.backend();
  const int device = stream.device().index;
  b.block = static_cast<char*>(backend.alloc(device, b.bytes));
  PV_CHECK(b.block, "cases: out of memory");
  b.data = b.block + b.head;
  backend.copy(device, b.block, b.initial.data(), b.bytes, CopyKind::host_to_device, stream.handle());
  if (stream.type() != DeviceType::cuda) {  // reads beyond the ends are AddressSanitizer's business
    PV_HIDE(b.block, b.head);
    PV_HIDE(b.data + n * item, kSentinel);
  }
  buffers_.push_back(std::move(b));
  return buffers_.size() - 1;
}

void Calls::restore() {
  for (const Buffer& b : buffers_)
    if (b.output && b.has_values)
      stream.backend().copy(stream.device().index, b.data, b.initial.data() + b.head, static_cast<size_t>(b.count * item_bytes(b.dtype)),
                            CopyKind::host_to_device, stream.handle());
}

void Calls::drop_checks() {
  for (Buffer& b : buffers_) {
    if (!b.output || !b.has_values) b.initial = {};
    if (b.before) *b.before = {};
    b.expected = b.bounds = {};
  }
}

int64_t Calls::device_bytes() const {
  int64_t n = 0;
  for (const Buffer& b : buffers_) n += static_cast<int64_t>(b.bytes);
  return n;
}

Outcome Calls::finish() {
  Outcome out;
  auto fail = [&](std::string text) { out.failures.push_back(std::move(text)); };
  if (!kernel_) fail("the case called no kernel: r.call(...) is missing");
  stream.synchronize();
  for (Buffer& b : buffers_) {
    if (stream.type() != DeviceType::cuda) PV_SHOW(b.block, b.bytes);
    std::vector<char> now(b.bytes);
    stream.backend().copy(stream.device().index, now.data(), b.block, b.bytes, CopyKind::device_to_host, stream.handle());
    const size_t item = static_cast<size_t>(item_bytes(b.dtype)), data_bytes = static_cast<size_t>(b.count) * item, tail = b.head + data_bytes;
    for (size_t i = 0; i < b.bytes; ++i) {
      if (i == b.head) i = tail;
      if (i == b.bytes) break;
      if (now[i] == b.initial[i]) continue;
      fail(fmt::format("{}: written {} bytes {}", b.name, i < b.head ? b.head - i : i - tail, i < b.head ? "before its begin" : "behind its end"));
      break;
    }
    if (!b.output) {
      if (std::memcmp(now.data() + b.head, b.initial.data() + b.head, data_bytes) != 0) fail(b.name + ": an input was changed");
      continue;
    }
    if (!b.expects) {
      fail(b.name + ": an output without an expectation");
      continue;
    }
    out.bits.insert(out.bits.end(), now.begin() + static_cast<std::ptrdiff_t>(b.head), now.begin() + static_cast<std::ptrdiff_t>(tail));
    int64_t wrong = 0;
    const std::vector<char> poison(item, static_cast<char>(kPoisonByte));
    for (int64_t i = 0; i < b.count; ++i) {
      const char* p = now.data() + b.head + static_cast<size_t>(i) * item;
      const bool unwritten = b.dtype != DType::i64 && std::memcmp(p, poison.data(), item) == 0;
      if (i % b.stride != 0 && !unwritten) continue;
      const size_t j = static_cast<size_t>(i / b.stride);
      const double got = load(b.dtype, p), expected = b.expected[j];
      if (i % b.stride == 0) {
        out.values.push_back(got);
        out.bounds.push_back(b.bounds[j]);
      }
      if (!unwritten && near(got, expected, rounded_to(b.dtype, expected), b.bounds[j])) continue;
      if (++wrong > 3) continue;
      if (unwritten) fail(fmt::format("{}[{}]: never written", b.name, i));
      else fail(fmt::format("{}[{}]: {} instead of {} +- {}", b.name, i, got, expected, b.bounds[j]));
    }
    if (wrong > 3) fail(fmt::format("{}: {} of {} elements are wrong", b.name, wrong, b.count));
  }
  return out;
}

}  // namespace panvae::cases
