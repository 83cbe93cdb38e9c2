// What is printed and written of a row: a line of the table, and counters in Google Benchmark's JSON.
#pragma once
#include <benchmark/benchmark.h>

#include <map>
#include <string>

#include "bench/ceilings.h"

namespace panvae::bench {

// Above this part of its ceiling a row's bytes or operations are counted wrongly, or the ceiling is.
inline constexpr double kOverCeiling = 1.05;

// Counters and label of a row that was measured. `over`: above its ceiling.
void report_row(benchmark::State& state, const Row& row, const Measurement& m, const Floor& floor, bool over);

// Device, threads, libraries, versions and ceilings, for the head of the table and the context of the JSON.
std::map<std::string, std::string> describe(Stream& stream, Ceilings& ceilings, const std::vector<Row>& rows);

// The names of rows as they are, without the "/iterations:1/manual_time" that Google Benchmark appends.
class JsonReporter : public benchmark::JSONReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override;
};

class TableReporter : public benchmark::BenchmarkReporter {
 public:
  // `errors`: messages of the rows that failed, by name, filled while the rows run.
  TableReporter(std::map<std::string, std::string> context, size_t name_width, const std::map<std::string, std::string>& errors)
      : context_(std::move(context)), name_width_(name_width), errors_(errors) {}
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;

 private:
  std::map<std::string, std::string> context_;
  size_t name_width_;
  const std::map<std::string, std::string>& errors_;
};

}  // namespace panvae::bench
