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

// A row of a table: a kernel, or several together.
struct Sum {
  std::string name;
  int64_t calls = 0;
  double seconds = 0, bytes = 0, flops = 0;
  double memory = 0, compute = 0;  // least seconds of what is bound by either

  void add(const Sum& s) {
    calls += s.calls;
    seconds += s.seconds, bytes += s.bytes, flops += s.flops;
    memory += s.memory, compute += s.compute;
  }
};

Sum sum_of(const Profile::Row& r, const DeviceCeilings& ceilings) {
  const double memory = r.bytes / (r.reads_only ? ceilings.reading : ceilings.bandwidth), compute = r.flops / ceilings.operations;
  const bool by_memory = memory >= compute;
  return {r.name, r.calls, r.seconds, r.bytes, r.flops, by_memory ? memory : 0, by_memory ? 0 : compute};
}

std::string table_of(const char* what, const std::vector<Sum>& rows, double whole, double outside, size_t most) {
  TextTable t({what, "calls", "time", "%", "GB/s", "GFLOP/s", "% of", "ceiling"});
  auto row = [&](const Sum& s, bool judged) {
    const double seconds = std::max(1e-12, s.seconds);
    t.row({s.name, std::to_string(s.calls), human_seconds(s.seconds), percent(s.seconds / whole), fmt::format("{:.1f}", s.bytes / seconds * 1e-9),
           fmt::format("{:.1f}", s.flops / seconds * 1e-9), judged ? percent((s.memory + s.compute) / seconds) : "",
           judged ? (s.memory >= s.compute ? "memory" : "compute") : ""});
  };
  Sum others, all;
  for (size_t i = 0; i < rows.size(); ++i) {
    all.add(rows[i]);
    if (i < most) row(rows[i], true);
    else others.add(rows[i]);
  }
  if (rows.size() > most) {
    others.name = fmt::format("{} more", rows.size() - most);
    row(others, false);
  }
  t.row({"outside of kernels", "", human_seconds(outside), percent(outside / whole), "", "", "", ""});
  t.row({"all", std::to_string(all.calls), human_seconds(whole), "100.0", "", "", "", ""});
  return t.str();
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
    c.reading = c.bandwidth;
  } else {
    // Eight times the cache, as the bench takes; at most 2 GiB.
    const int64_t bytes = std::clamp<int64_t>(8 * stream.backend().properties(0).cache_bytes, int64_t{256} << 20, int64_t{2} << 30);
    Triad triad(bytes / static_cast<int64_t>(4 * sizeof(float)));
    c.bandwidth = triad.bytes() / fastest(stream, [&] { triad.pass(); });
    c.reading = triad.read_bytes() / fastest(stream, [&] { triad.read(); });
  }
  const Tensor a = Tensor::zeros(context, {side, side}), b = Tensor::zeros(context, {side, side}), d = Tensor::zeros(context, {side, side});
  const double edge = static_cast<double>(side);
  c.operations = 2 * edge * edge * edge / fastest(stream, [&] {
                   k::matmul<float>(stream, a.data<float>(), false, b.data<float>(), true, d.data<float>(), side, side, side, Epilogue<float>{});
                 });
  return c;
}

std::string profile_table(const Profile& profile, const DeviceCeilings& ceilings, size_t most) {
  std::vector<Sum> ops, kernels;
  for (const Profile::Op& op : profile.ops()) {
    ops.push_back({op.name});
    for (const Profile::Row& r : op.kernels) ops.back().add(sum_of(r, ceilings));
    ops.back().calls = op.calls;
  }
  for (const Profile::Row& r : profile.rows()) kernels.push_back(sum_of(r, ceilings));
  const double whole = std::max(1e-12, profile.seconds()), outside = std::max(0.0, whole - profile.seconds_in_kernels());
  return table_of("operation", ops, whole, outside, most) + "\n" + table_of("kernel", kernels, whole, outside, most) +
         fmt::format("ceilings measured here: {:.1f} GB/s, {:.1f} GB/s where nothing is written, {:.1f} GFLOP/s\n", ceilings.bandwidth * 1e-9,
                     ceilings.reading * 1e-9, ceilings.operations * 1e-9);
}

void write_chrome_trace(const std::string& path, const Profile& profile) {
  std::string text = "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"calls\":" + std::to_string(profile.calls_seen()) + "},\"traceEvents\":[";
  const char* separator = "\n";
  auto event = [&](const std::string& name, const char* category, double begin, double seconds, Json more) {
    const Json e = {{"name", name},         {"cat", category},        {"ph", "X"}, {"pid", 1}, {"tid", 1}, {"ts", begin * 1e6},
                    {"dur", seconds * 1e6}, {"args", std::move(more)}};
    text += separator + e.dump();
    separator = ",\n";
  };
  const std::vector<Profile::Call>& calls = profile.calls();
  for (size_t i = 0; i < calls.size(); ++i) {
    const Profile::Call& c = calls[i];
    if (i == 0 || calls[i - 1].claim != c.claim) {
      size_t last = i;
      while (last + 1 < calls.size() && calls[last + 1].claim == c.claim) ++last;
      event(profile.op_names()[c.op], "operation", c.begin, calls[last].begin + calls[last].seconds - c.begin, Json::object());
    }
    Json sizes = Json::array();
    for (int64_t s : c.work.sizes)
      if (s > 0) sizes.push_back(s);
    event(c.kernel, "kernel", c.begin, c.seconds, {{"sizes", sizes}, {"variant", c.work.variant}, {"bytes", c.work.bytes}, {"flops", c.work.flops}});
  }
  write_file(path, text + "\n]}\n");
}

}  // namespace panvae
