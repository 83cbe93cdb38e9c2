#include "bench/report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "base/blas.h"
#include "base/text.h"
#include "base/threads.h"
#include "bench/processor.h"
#include "git_hash.h"
#include "kernels/provider.h"

namespace panvae::bench {

namespace {

using Run = benchmark::BenchmarkReporter::Run;

Run renamed(Run run) {
  run.run_name.iterations.clear();
  run.run_name.time_type.clear();
  return run;
}

double counter(const Run& run, const char* name) {
  const auto at = run.counters.find(name);
  return at == run.counters.end() ? 0 : static_cast<double>(at->second);
}

// "12.3 us", always of one width.
std::string short_time(double seconds) {
  const char* units[] = {"ns", "us", "ms", "s "};
  int unit = 0;
  for (seconds *= 1e9; seconds >= 999.5 && unit < 3; ++unit) seconds /= 1000;
  return fmt::format("{:6.{}f} {}", seconds, seconds < 9.995 ? 2 : seconds < 99.95 ? 1 : 0, units[unit]);
}

}  // namespace

void report_row(benchmark::State& state, const Row& row, const Measurement& m, const Floor& floor, bool over) {
  auto& c = state.counters;
  const double seconds = m.time.median;
  c["median_ns"] = seconds * 1e9;
  c["low_ns"] = m.time.low * 1e9;
  c["high_ns"] = m.time.high * 1e9;
  c["p20_ns"] = m.time.p20 * 1e9;
  c["p80_ns"] = m.time.p80 * 1e9;
  c["samples"] = static_cast<double>(m.time.samples);
  c["bytes"] = row.bytes();
  c["flops"] = row.flops();
  if (const double unfused = row.unfused_bytes(); unfused > row.bytes()) {
    c["unfused_bytes"] = unfused;
    c["saved_bytes"] = unfused - row.bytes();
  }
  c["GB/s"] = row.bytes() / seconds / 1e9;
  c["GFLOP/s"] = row.flops() / seconds / 1e9;
  if (floor.seconds > 0) {
    c["floor_ns"] = floor.seconds * 1e9;
    c["percent_of_ceiling"] = 100 * floor.seconds / seconds;
  }
  if (m.plain) {
    c["plain_ns"] = m.plain->median * 1e9;
    c["percent_of_plain"] = 100 * m.plain->median / seconds;
  }
  c["verified"] = static_cast<double>(m.checked);
  c["copies"] = static_cast<double>(m.copies);
  c["noisy"] = m.noisy;
  c["hot"] = m.hot;
  if (m.graph) {
    c["graph_ns"] = m.graph->median * 1e9;
    c["graph_low_ns"] = m.graph->low * 1e9;
    c["graph_high_ns"] = m.graph->high * 1e9;
  }
  state.SetLabel(fmt::format("case={} sizes={} dtype={} math={} provider={} bound={}{}{}{}", row.op->name, fmt::join(row.sizes, ","), type_name(row.dtype),
                             math_name(row.op->math), row.contender->name, floor.bound, m.noisy ? " noisy" : "", m.hot ? " hot" : "", over ? " over" : ""));
}

std::map<std::string, std::string> describe(Stream& stream, Ceilings& ceilings, const std::vector<Row>& rows) {
  std::map<std::string, std::string> context{{"panvae", fmt::format("{} (commit {})", PANVAE_VERSION, PANVAE_GIT_HASH)},
                                             {"device", to_string(stream.device())},
                                             {"threads", std::to_string(threads())},
                                             {"blas", blas_description()},
                                             {"compiler", __VERSION__}};
  const DeviceProperties p = stream.backend().properties(stream.device().index);
  std::ifstream cpuinfo("/proc/cpuinfo");
  context["device_name"] = stream.type() == DeviceType::cuda ? p.name : processor_name(cpuinfo);
  context["cache_bytes"] = std::to_string(p.cache_bytes);
  if (!cuda_toolkit_version().empty()) context["cuda_toolkit"] = cuda_toolkit_version();
  if (stream.type() == DeviceType::cuda)
    for (const VendorLibrary& v : vendor_libraries()) context[v.name] = v.why_absent.empty() ? v.version : "absent: " + v.why_absent;
  if (stream.type() == DeviceType::simt) return context;
  context["ceiling_bandwidth"] = fmt::format("{:.1f} GB/s", ceilings.bandwidth() / 1e9);
  context["ceiling_reading"] = fmt::format("{:.1f} GB/s", ceilings.reading() / 1e9);
  for (const Row& r : rows)
    if (r.flops() > 0)
      context[fmt::format("ceiling_{}_{}", type_name(r.dtype), math_name(r.op->math))] =
          fmt::format("{:.0f} GFLOP/s", ceilings.peak(r.dtype, r.op->math) / 1e9);
  if (stream.type() == DeviceType::cuda) context["ceiling_launch"] = fmt::format("{:.2f} us", ceilings.launch() * 1e6);
  return context;
}

void JsonReporter::ReportRuns(const std::vector<Run>& runs) {
  std::vector<Run> clean;
  for (const Run& r : runs) clean.push_back(renamed(r));
  JSONReporter::ReportRuns(clean);
}

bool TableReporter::ReportContext(const Context&) {
  for (const auto& [key, value] : context_) fmt::print("{:<18} {}\n", key, value);
  fmt::print("\n{:<{}} {:>9} {:>9} {:>9} {:>8} {:>9} {:>5}  {:>5}  {}\n", "row", name_width_, "median", "p20", "p80", "GB/s", "GFLOP/s", "%", "plain",
             "of; marks");
  return true;
}

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& original : runs) {
    if (original.run_type != Run::RT_Iteration) continue;
    const Run run = renamed(original);
    const std::string name = run.run_name.str();
    if (const auto error = errors_.find(name); error != errors_.end()) {
      fmt::print("{:<{}} {}\n", name, name_width_, error->second);
      continue;
    }
    std::string marks;
    if (const size_t bound = run.report_label.find("bound="); bound != std::string::npos) marks = run.report_label.substr(bound + 6);
    if (counter(run, "graph_ns") > 0) marks += fmt::format("; in a graph {}", short_time(counter(run, "graph_ns") * 1e-9));
    if (const double saved = counter(run, "saved_bytes"); saved > 0)
      marks += fmt::format("; saves {:.1f} MB of {:.1f} MB", saved * 1e-6, counter(run, "unfused_bytes") * 1e-6);
    const double percent = counter(run, "percent_of_ceiling"), plain = counter(run, "percent_of_plain"), flops = counter(run, "GFLOP/s");
    fmt::print("{:<{}} {} {} {} {:8.2f} {:>9} {:>5}  {:>5}  {}\n", name, name_width_, short_time(counter(run, "median_ns") * 1e-9),
               short_time(counter(run, "p20_ns") * 1e-9), short_time(counter(run, "p80_ns") * 1e-9), counter(run, "GB/s"),
               flops > 0 ? fmt::format("{:.2f}", flops) : "-", percent > 0 ? fmt::format("{:.0f}", percent) : "-",
               plain > 0 ? fmt::format("{:.0f}", plain) : "-", marks);
  }
  std::fflush(stdout);
}

}  // namespace panvae::bench
