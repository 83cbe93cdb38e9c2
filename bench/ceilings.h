// What the machine can do at most, measured: a row is held against the longer of its bytes at this bandwidth and its
// operations at this rate (on cuda also one launch).
#pragma once
#include <map>
#include <memory>
#include <string>

#include "bench/measure.h"
#include "kernels/triad.h"

namespace panvae::bench {

// Bytes a second of the triad, and of reading its arrays, by the median.
double bandwidth_of(Triad& triad, const Limits& limits);
double reading_of(Triad& triad, const Limits& limits);

// The least time of a row, and what sets it.
struct Floor {
  double seconds = 0;
  const char* bound = "none";  // memory, compute, blas (the same product by BLAS), launch
  double hard = 0;             // without what BLAS happens to reach, and without memory where the data is in a cache: less is impossible
};

// What the device can do at a moment.
struct Ability {
  double bandwidth = 0;  // bytes a second. cpu: the triad, or of a row that writes next to nothing, reading; cuda: a copy on the device
  double peak = 0;       // operations a second. cpu: BLAS on a square product, or multiply-adds in registers; cuda: the faster of ours and cuBLASLt
  double launch = 0;     // seconds of a kernel that does almost nothing; 0 on cpu
  // The better of each.
  void join(const Ability& other);
};

class Ceilings {
 public:
  Ceilings(Stream& stream, const Options& options) : stream_(stream), options_(options) {}
  // As measured when first asked for.
  double bandwidth();
  double reading();
  double peak(DType dtype, MathMode mode);
  double launch();
  // What there is for a row now. On cuda that does not change, unless `anew`; on cpu it is measured, briefly: cores and
  // memory may be shared with others, and what they leave changes within minutes.
  Ability now(const Row& row, bool anew = false);
  Floor floor(const Row& row, const Measurement& m, const Ability& ability);

 private:
  double measure_bandwidth(const Limits& limits, bool reading = false);
  double measure_peak(DType dtype, MathMode mode, const Limits& limits);
  double measure_launch();
  Stream& stream_;
  const Options& options_;
  std::unique_ptr<Triad> triad_;
  double bandwidth_ = 0, reading_ = 0, launch_ = 0;
  std::map<std::string, double> peaks_;
};

}  // namespace panvae::bench
