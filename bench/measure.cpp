#include "bench/measure.h"

#include <algorithm>
#include <cmath>

namespace panvae::bench {

namespace {

constexpr int64_t kChecked = 250;  // elements of an output that are compared
constexpr int64_t kCacheGuess = int64_t{32} << 20;
constexpr int64_t kMostCopies = 4096;
// Buffers that are read and written get their first values back after so many calls: sums do not run away, and factors
// below 1 do not end in denormals.
constexpr size_t kCallsBeforeRestore = 8;
constexpr double kGraphBelow = 50e-6;
constexpr double kRest = 0.01;  // seconds, after which threads of OpenMP sleep

// Rows of more operations a byte are not bound by memory on any processor.
constexpr double kMostOperations = 16;

template <class T>
struct Call : cases::Run<T> {
  using cases::Run<T>::Run;
  std::vector<Span> spans() const {
    std::vector<Span> spans;
    for (const auto& b : this->buffers_) spans.push_back({b.data, b.count * item_bytes(b.dtype), b.has_values, b.output});
    return spans;
  }
};

}  // namespace

int64_t cold_bytes(Stream& stream) {
  const int64_t known = stream.backend().properties(stream.device().index).cache_bytes;
  return 8 * (known > 0 ? known : kCacheGuess);
}

template <class T>
void Rotation::make(Stream& stream, const Row& row) {
  auto run = std::make_unique<Call<T>>(stream, cases::seed_of(*row.op), cases::Calls::Shift::none, 0, kChecked, calls_.empty() ? nullptr : calls_[0].get());
  const Contender& by = *row.contender;
  const cases::OpCase& of = *row.op;
  if constexpr (std::is_same_v<T, float>) (by.unfused ? of.unfused_f32 : by.f32 ? by.f32 : of.f32)(*run, row.sizes);
  else (by.unfused ? of.unfused_f64 : by.f64 ? by.f64 : of.f64)(*run, row.sizes);
  plain_.emplace_back(run->spans());
  calls_.push_back(std::move(run));
}

Rotation::Rotation(Stream& stream, const Row& row, int64_t cold, int64_t memory) {
  const auto make_one = [&] { row.dtype == DType::f32 ? make<float>(stream, row) : make<double>(stream, row); };
  stream.provider = row.contender->library ? Provider::vendor : Provider::ours;
  make_one();
  if (stream.provider == Provider::vendor && stream.computed_by != Provider::vendor) {
    declined_ = true;
    return;
  }
  const cases::Outcome outcome = calls_[0]->finish();
  failures_ = outcome.failures;
  checked_ = static_cast<int64_t>(outcome.values.size());
  if (!failures_.empty()) return;
  const int64_t bytes = std::max<int64_t>(1, calls_[0]->device_bytes());
  size_t copies = static_cast<size_t>(std::min({cold / bytes + 1, std::max<int64_t>(1, memory / bytes), kMostCopies}));
  hot_ = static_cast<int64_t>(copies) * bytes <= cold || cold == 0;
  if (hot_) copies = 1;
  while (calls_.size() < copies) make_one();
  for (auto& c : calls_) c->drop_checks();
  for (auto& c : calls_) c->restore();
}

Work Rotation::work() {
  return {[this] {
            calls_[next_]->repeat();
            if (++next_ == calls_.size()) next_ = 0;
          },
          [this](int64_t calls) {
            since_restored_ += static_cast<size_t>(calls);
            if (since_restored_ < kCallsBeforeRestore * calls_.size()) return;
            since_restored_ = 0;
            for (auto& c : calls_) c->restore();
          }};
}

std::optional<Work> Rotation::plain(const Row& row) {
  if (row.flops() > kMostOperations * row.bytes() || std::abs(plain_[0].bytes() - row.bytes()) > 0.1 * row.bytes()) return {};
  return Work{[this] {
                plain_[next_plain_].pass();
                if (++next_plain_ == plain_.size()) next_plain_ = 0;
              },
              {}};
}

Measurement measure(Stream& stream, const Row& row, const Options& options) {
  Measurement m;
  Rotation rotation(stream, row, options.hot ? 0 : cold_bytes(stream), options.memory);
  m.declined = rotation.declined();
  m.failures = rotation.failures();
  m.checked = rotation.checked();
  if (m.declined || !m.failures.empty()) return m;
  m.copies = rotation.copies();
  m.hot = rotation.hot();
  std::vector<Work> works{rotation.work()};
  std::optional<Rotation> alone;
  std::optional<Summary>* beside = nullptr;
  if (stream.type() == DeviceType::cpu && is_product(*row.op)) {
    Row by_blas = row;
    by_blas.contender = contender("blas", DeviceType::cpu);
    alone.emplace(stream, by_blas, options.hot ? 0 : cold_bytes(stream), options.memory);
    if (alone->failures().empty()) works.push_back(alone->work()), beside = &m.blas;
  } else if (stream.type() == DeviceType::cpu && !m.hot) {
    if (auto plain = rotation.plain(row)) works.push_back(*std::move(plain)), beside = &m.plain;
  }
  if (beside) {
    const std::vector<Summary> both = time_in_turns(stream, options.limits, works, beside == &m.blas ? kRest : 0);
    m.time = both[0], *beside = both[1];
  } else {
    m.time = time_calls(stream, options.limits, works[0]);
  }
  m.noisy = m.time.half_width() > options.limits.precision;
  if (stream.type() == DeviceType::cuda && m.time.median < kGraphBelow)
    m.graph = time_graph(stream, options.limits, rotation.work(), static_cast<int>(std::clamp<size_t>(m.copies, 20, 1000)));
  return m;
}

}  // namespace panvae::bench
