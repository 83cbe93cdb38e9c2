#include "kernels/profile.h"

#include <fmt/format.h>

#include <algorithm>

namespace panvae {

namespace {

constexpr size_t kMostPending = 4096;  // events at once

std::string name_of(const char* kernel, const char* variant, const std::array<int64_t, 5>& sizes) {
  std::string s = kernel;
  if (*variant) s += fmt::format(" {}", variant);
  for (size_t i = 0; i < sizes.size() && sizes[i] > 0; ++i) s += fmt::format("{}{}", i == 0 ? " " : " x ", sizes[i]);
  return s;
}

}  // namespace

Profile::Profile() : start_(std::chrono::steady_clock::now()) {}
Profile::~Profile() = default;

double Profile::seconds() const {
  if (finished_ >= 0) return finished_;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Profile::begin(Stream& stream, const char* kernel, const Work& work) {
  kernel_ = kernel;
  work_ = work;
  device_ = stream.device();
  math_ = stream.math;
  stream.backend().range_push(kernel);
  if (stream.type() != DeviceType::cuda) {
    begin_ = seconds();
    return;
  }
  if (pending_.size() >= kMostPending) settle(stream);
  if (!origin_) {
    origin_ = stream.backend().event_create(stream.device().index);
    stream.backend().event_record(origin_, stream.handle());
  }
  first_ = stream.backend().event_create(stream.device().index);
  stream.backend().event_record(first_, stream.handle());
}

void Profile::end(Stream& stream) {
  stream.backend().range_pop();
  if (stream.type() != DeviceType::cuda) return add(kernel_, work_, begin_, seconds() - begin_);
  void* last = stream.backend().event_create(stream.device().index);
  stream.backend().event_record(last, stream.handle());
  pending_.push_back({kernel_, work_, first_, last});
}

void Profile::settle(Stream& stream) {
  if (stream.type() != DeviceType::cuda) return;
  stream.synchronize();
  for (const Pending& p : pending_) {
    const double begin = static_cast<double>(stream.backend().event_milliseconds(origin_, p.first)) * 1e-3;
    add(p.kernel, p.work, begin, static_cast<double>(stream.backend().event_milliseconds(p.first, p.last)) * 1e-3);
    stream.backend().event_destroy(p.first);
    stream.backend().event_destroy(p.last);
  }
  pending_.clear();
}

void Profile::add(const char* kernel, const Work& work, double begin, double seconds) {
  Row& row = rows_[{{kernel, work.variant}, work.sizes}];
  ++row.calls;
  row.seconds += seconds;
  row.bytes += work.bytes;
  row.flops += work.flops;
  ++seen_;
  if (calls_.size() < kMostCalls) calls_.push_back({kernel, work, begin, seconds});
}

std::vector<Profile::Row> Profile::rows() const {
  std::vector<Row> all;
  for (const auto& [key, row] : rows_) {
    all.push_back(row);
    all.back().name = name_of(key.first.first, key.first.second, key.second);
  }
  std::sort(all.begin(), all.end(), [](const Row& a, const Row& b) { return a.seconds != b.seconds ? a.seconds > b.seconds : a.name < b.name; });
  return all;
}

double Profile::seconds_in_kernels() const {
  double sum = 0;
  for (const auto& [key, row] : rows_) sum += row.seconds;
  return sum;
}

}  // namespace panvae
