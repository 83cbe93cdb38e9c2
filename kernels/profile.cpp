#include "kernels/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace panvae {

namespace {

constexpr size_t kMostPending = 4096;  // pairs of events at once

std::string name_of(const char* kernel, const char* variant, const std::array<int64_t, 5>& sizes) {
  std::string s = kernel;
  if (*variant) s += fmt::format(" {}", variant);
  for (size_t i = 0; i < sizes.size() && sizes[i] > 0; ++i) s += fmt::format("{}{}", i == 0 ? " " : " x ", sizes[i]);
  return s;
}

template <class Rows>
void sort_by_time(Rows& rows) {
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds != b.seconds ? a.seconds > b.seconds : a.name < b.name; });
}

void add_up(Profile::Row& to, const Profile::Row& from) {
  to.calls += from.calls;
  to.seconds += from.seconds;
  to.bytes += from.bytes;
  to.flops += from.flops;
  to.reads_only = from.reads_only;
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
  // Calls that an operation may still claim wait for it, unless nobody claims any.
  if (pending_.size() >= kMostPending) drain(stream, unclaimed_ < kMostPending / 2 ? pending_.size() - unclaimed_ : pending_.size());
  if (stream.type() != DeviceType::cuda) {
    begin_ = seconds();
    return;
  }
  if (!origin_) {
    origin_ = stream.backend().event_create(stream.device().index);
    stream.backend().event_record(origin_, stream.handle());
  }
  first_ = stream.backend().event_create(stream.device().index);
  stream.backend().event_record(first_, stream.handle());
}

// From a destructor: a call whose events a lost device refuses is left out, and what failed is on its way or said by the next call.
void Profile::end(Stream& stream) {
  try {
    Pending call{kernel_, work_, begin_, 0, nullptr, nullptr, kUnclaimed, 0};
    if (stream.type() == DeviceType::cuda) {
      call.first = first_;
      call.last = stream.backend().event_create(stream.device().index);
      stream.backend().event_record(call.last, stream.handle());
    } else {
      call.seconds = seconds() - begin_;
    }
    stream.backend().range_pop();
    pending_.push_back(call);
    ++unclaimed_;
    ++seen_;
  } catch (const Error&) {
  }
}

void Profile::settle(Stream& stream) {
  drain(stream, pending_.size());
}

void Profile::drain(Stream& stream, size_t count) {
  if (stream.type() == DeviceType::cuda) stream.synchronize();
  for (size_t i = 0; i < count; ++i) {
    const Pending& call = pending_[i];
    if (!call.last) {
      add(call, call.begin, call.seconds);
      continue;
    }
    const double begin = static_cast<double>(stream.backend().event_milliseconds(origin_, call.first)) * 1e-3;
    add(call, begin, static_cast<double>(stream.backend().event_milliseconds(call.first, call.last)) * 1e-3);
    stream.backend().event_destroy(call.first);
    stream.backend().event_destroy(call.last);
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(count));
  unclaimed_ = std::min(unclaimed_, pending_.size());
}

void Profile::claim(const std::string& op) {
  const size_t number = op_number(op);
  ++op_calls_[number];
  ++claims_;
  for (size_t i = pending_.size() - unclaimed_; i < pending_.size(); ++i) {
    pending_[i].op = number;
    pending_[i].claim = claims_;
  }
  unclaimed_ = 0;
}

size_t Profile::op_number(const std::string& name) {
  const auto [at, added] = op_numbers_.try_emplace(name, op_names_.size());
  if (added) {
    op_names_.push_back(name);
    op_calls_.push_back(0);
  }
  return at->second;
}

void Profile::add(const Pending& call, double begin, double seconds) {
  size_t op = call.op;
  int64_t claim = call.claim;
  if (op == kUnclaimed) {
    ++op_calls_[op = op_number(call.kernel)];
    claim = ++claims_;
  }
  Row& row = rows_[{op, call.kernel, call.work.variant, call.work.sizes}];
  add_up(row, {"", 1, seconds, call.work.bytes, call.work.flops, call.work.reads_only});
  if (calls_.size() < kMostCalls) calls_.push_back({call.kernel, call.work, begin, seconds, op, claim});
}

std::vector<Profile::Row> Profile::rows() const {
  std::map<std::string, Row> by_name;
  for (const auto& [key, row] : rows_) add_up(by_name[name_of(key.kernel, key.variant, key.sizes)], row);
  std::vector<Row> all;
  for (auto& [name, row] : by_name) {
    row.name = name;
    all.push_back(row);
  }
  sort_by_time(all);
  return all;
}

std::vector<Profile::Op> Profile::ops() const {
  std::vector<Op> all(op_names_.size());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].name = op_names_[i];
    all[i].calls = op_calls_[i];
  }
  for (const auto& [key, row] : rows_) {
    Op& op = all[key.op];
    op.seconds += row.seconds;
    op.kernels.push_back(row);
    op.kernels.back().name = name_of(key.kernel, key.variant, key.sizes);
  }
  for (Op& op : all) sort_by_time(op.kernels);
  sort_by_time(all);
  return all;
}

double Profile::seconds_in_kernels() const {
  double sum = 0;
  for (const auto& [key, row] : rows_) sum += row.seconds;
  return sum;
}

}  // namespace panvae
