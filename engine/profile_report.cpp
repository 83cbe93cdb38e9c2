#include "engine/profile_report.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/context.h"
#include "engine/tensor.h"
#include "kernels/kernels.h"
#include "kernels/triad.h"

namespace panvae {

namespace {

// Seconds of the fastest of several calls.
double fastest(Stream& stream, const std::function<void()>& call) {
  double best = 1e30, total = 0;
  call();
  stream.synchronize();
  for (int i = 0; i < 3 || (i < 100 && total < 0.4); ++i) {
    const auto begin = std::chrono::steady_clock::now();
    call();
    stream.synchronize();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

std::string percent(double share) {
  return fmt::format("{:.1f}", 100 * share);
}

}  // namespace

DeviceCeilings measure_ceilings(Device device, MathMode math) {
  Context context(device);
  Stream& stream = context.stream();
  stream.math = math;
  const bool gpu = device.type == DeviceType::cuda;
  const int64_t side = gpu ? 8192 : 768;
  DeviceCeilings c;
  if (gpu) {
    constexpr int64_t n = int64_t{1} << 27;
    const Tensor from = Tensor::zeros(context, {n}), to = Tensor::zeros(context, {n});
    c.bandwidth = 8.0 * static_cast<double>(n) / fastest(stream, [&] { k::copy<float>(stream, from.data<float>(), to.data<float>(), n); });
  } else {
    // Eight times the cache, as the bench takes; at most 2 GiB.
    const int64_t bytes = std::clamp<int64_t>(8 * stream.backend().properties(0).cache_bytes, int64_t{256} << 20, int64_t{2} << 30);
    Triad triad(bytes / static_cast<int64_t>(4 * sizeof(float)));
    c.bandwidth = triad.bytes() / fastest(stream, [&] { triad.pass(); });
  }
  const Tensor a = Tensor::zeros(context, {side, side}), b = Tensor::zeros(context, {side, side}), d = Tensor::zeros(context, {side, side});
  const double edge = static_cast<double>(side);
  c.operations = 2 * edge * edge * edge / fastest(stream, [&] {
                   k::matmul<float>(stream, a.data<float>(), false, b.data<float>(), true, d.data<float>(), side, side, side, Epilogue<float>{});
                 });
  return c;
}

std::string profile_table(const Profile& profile, const DeviceCeilings& ceilings, size_t most) {
  const std::vector<Profile::Row> rows = profile.rows();
  const double whole = std::max(1e-12, profile.seconds());
  TextTable t({"kernel", "calls", "time", "%", "GB/s", "GFLOP/s", "% of", "ceiling"});
  auto row = [&](const Profile::Row& r, bool judged) {
    const double seconds = std::max(1e-12, r.seconds), memory = r.bytes / ceilings.bandwidth, compute = r.flops / ceilings.operations;
    t.row({r.name, std::to_string(r.calls), human_seconds(r.seconds), percent(r.seconds / whole), fmt::format("{:.1f}", r.bytes / seconds * 1e-9),
           fmt::format("{:.1f}", r.flops / seconds * 1e-9), judged ? percent(std::max(memory, compute) / seconds) : "",
           judged ? (memory >= compute ? "memory" : "compute") : ""});
  };
  Profile::Row others;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i < most) {
      row(rows[i], true);
      continue;
    }
    others.calls += rows[i].calls;
    others.seconds += rows[i].seconds;
    others.bytes += rows[i].bytes;
    others.flops += rows[i].flops;
  }
  if (rows.size() > most) {
    others.name = fmt::format("{} more", rows.size() - most);
    row(others, false);
  }
  const double outside = std::max(0.0, whole - profile.seconds_in_kernels());
  t.row({"outside of kernels", "", human_seconds(outside), percent(outside / whole), "", "", "", ""});
  t.row({"all", std::to_string(profile.calls_seen()), human_seconds(whole), "100.0", "", "", "", ""});
  return t.str() + fmt::format("ceilings measured here: {:.1f} GB/s, {:.1f} GFLOP/s\n", ceilings.bandwidth * 1e-9, ceilings.operations * 1e-9);
}

void write_chrome_trace(const std::string& path, const Profile& profile) {
  std::string text = "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"calls\":" + std::to_string(profile.calls_seen()) + "},\"traceEvents\":[";
  const char* separator = "\n";
  for (const Profile::Call& c : profile.calls()) {
    Json sizes = Json::array();
    for (int64_t s : c.work.sizes)
      if (s > 0) sizes.push_back(s);
    const Json event = {{"name", c.kernel},
                        {"cat", "kernel"},
                        {"ph", "X"},
                        {"pid", 1},
                        {"tid", 1},
                        {"ts", c.begin * 1e6},
                        {"dur", c.seconds * 1e6},
                        {"args", {{"sizes", sizes}, {"variant", c.work.variant}, {"bytes", c.work.bytes}, {"flops", c.work.flops}}}};
    text += separator + event.dump();
    separator = ",\n";
  }
  write_file(path, text + "\n]}\n");
}

}  // namespace panvae
