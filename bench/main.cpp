#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <stdexcept>

#include "base/error.h"
#include "base/threads.h"
#include "bench/report.h"

namespace panvae::bench {
namespace {

struct Session {
  Stream& stream;
  const Options& options;
  Ceilings& ceilings;
  std::map<std::string, std::string> errors;
  bool failed = false;
};

constexpr const char* kTooLarge = "out of memory: for buffers of this size, or the values that they must hold";

// Google Benchmark asks for one iteration, whose time is the median of ours.
void run(benchmark::State& state, const Row& row, Session& session) {
  const auto skip = [&](std::string why) {
    state.SkipWithError(why.c_str());
    session.errors[row.name()] = std::move(why);
  };
  const auto fail = [&](std::string why) {
    session.failed = true;
    skip("ERROR " + std::move(why));
  };
  try {
    Ceilings& ceilings = session.ceilings;
    Ability ability = ceilings.now(row);
    const Measurement m = measure(session.stream, row, session.options);
    if (!m.failures.empty()) return fail("wrong result: " + m.failures[0]);
    if (m.declined) return skip("the library does not compute this");
    ability.join(ceilings.now(row));
    const auto over = [&](const Floor& floor) { return !m.noisy && floor.hard > kOverCeiling * m.time.high; };
    Floor floor = ceilings.floor(row, m, ability);
    if (over(floor)) {
      ability.join(ceilings.now(row, true));
      floor = ceilings.floor(row, m, ability);
    }
    session.failed |= over(floor);
    report_row(state, row, m, floor, over(floor));
    for (auto _ : state) state.SetIterationTime(m.time.median);
  } catch (const std::bad_alloc&) {
    fail(kTooLarge);
  } catch (const std::length_error&) {
    fail(kTooLarge);
  } catch (const std::exception& e) {
    fail(e.what());
  }
}

// Value of a flag of Google Benchmark, which offers no way to ask for it; "" where it is not given.
std::string flag(int argc, char** argv, const std::string& name) {
  std::string value;
  for (int i = 1; i < argc; ++i)
    if (const std::string a = argv[i]; a == name) value = "true";
    else if (a.rfind(name + "=", 0) == 0) value = a.substr(name.size() + 1);
  return value;
}

int main(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  if (options.help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const std::string format = flag(argc, argv, "--benchmark_format"), list = flag(argc, argv, "--benchmark_list_tests"),
                    out_format = flag(argc, argv, "--benchmark_out_format");
  const std::string out = flag(argc, argv, "--benchmark_out");
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;

  set_threads(options.threads);
  const Device device = parse_device(options.device);
  const std::string filter = benchmark::GetBenchmarkFilter();
  const std::vector<Row> rows = filtered(make_rows(options, device), filter);
  if (rows.empty()) fail_usage("no row of these options" + (filter.empty() ? "" : " matches " + quoted(filter)), "", "--benchmark_list_tests lists the rows");
  if (!list.empty() && list != "false" && list != "0") {
    for (const Row& r : rows) fmt::print("{}\n", r.name());
    return 0;
  }

  // Google Benchmark would say so when the ceilings are measured, with the status of a row that is wrong.
  if (!out.empty() && !std::ofstream(out, std::ios::app))
    fail_machine("cannot write " + quoted(out), "--benchmark_out", "check the folder and its permissions");

  Stream stream(device);
  Ceilings ceilings(stream, options);
  Session session{stream, options, ceilings, {}};
  const std::map<std::string, std::string> context = describe(stream, ceilings, rows);
  size_t width = 0;
  for (const auto& [key, value] : context) benchmark::AddCustomContext(key, value);
  for (const Row& r : rows) {
    width = std::max(width, r.name().size());
    benchmark::RegisterBenchmark(r.name().c_str(), [&session, r](benchmark::State& state) { run(state, r, session); })->UseManualTime()->Iterations(1);
  }
  std::unique_ptr<benchmark::BenchmarkReporter> display, file;
  if (format.empty() || format == "console") display = std::make_unique<TableReporter>(context, width, session.errors);
  else if (format == "json") display = std::make_unique<JsonReporter>();
  if (!out.empty() && (out_format.empty() || out_format == "json")) file = std::make_unique<JsonReporter>();
  benchmark::RunSpecifiedBenchmarks(display.get(), file.get(), "all");
  benchmark::Shutdown();
  return session.failed ? 1 : 0;
}

}  // namespace
}  // namespace panvae::bench

int main(int argc, char** argv) try { return panvae::bench::main(argc, argv); } catch (const panvae::Error& e) {
  fmt::print(stderr, "panvae_bench: error: {}\n", e.what());
  return static_cast<int>(e.code());
}
