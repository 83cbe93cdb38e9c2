// What the machine can do at most, measured: a row is held against the longer of its bytes at this bandwidth and its
// operations at this rate (on cuda also one launch).
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "bench/measure.h"

namespace panvae::bench {

// On cpu, in place over three arrays with a fourth read, 28 bytes an element of f32: Adam's traffic without its arithmetic.
// A plain copy would understate what Adam reaches.
class Triad {
 public:
  explicit Triad(int64_t n);
  ~Triad();
  Triad(const Triad&) = delete;
  Triad& operator=(const Triad&) = delete;
  double bandwidth(const Limits& limits);  // bytes a second

 private:
  int64_t n_;
  float *block_, *arrays_[4];
};

// The least time of a row, and what sets it.
struct Floor {
  double seconds = 0;
  const char* bound = "none";  // memory, compute, blas (the same product by BLAS), launch
  double hard = 0;             // without what BLAS happens to reach: less is impossible, not only better than others
};

class Ceilings {
 public:
  Ceilings(Stream& stream, const Options& options) : stream_(stream), options_(options) {}
  // Each is measured when it is first asked for and kept: on cuda for good, on cpu the rates for some seconds, since cores
  // and memory may be shared with others, and what they leave changes within minutes.
  double bandwidth();  // bytes a second. cpu: the triad; cuda: a copy on the device
  double peak(DType dtype, MathMode mode) {
    return peak(dtype, mode, false);
  }                 // operations a second of a large square product. cpu: BLAS; cuda: the faster of ours and cuBLASLt
  double launch();  // seconds of a kernel that does almost nothing; cuda only, else 0

  double bandwidth_now();                                   // the triad anew, briefly
  Floor floor(const Row& row, bool hot, double bandwidth);  // a hot row has no memory to wait for
  // Measures again what bounds `row` but for memory, in case the machine was busy, and keeps the better.
  void again(const Row& row);

 private:
  struct Rate {
    double value = 0;
    std::chrono::steady_clock::time_point when;
  };
  // The kept rate, or a new one where it is too old; `keep_better` measures in any case.
  double rate(const std::string& key, const std::function<double()>& measure, bool keep_better = false);
  double blas(const Row& row);  // operations a second of BLAS alone at a product's shape
  double peak(DType dtype, MathMode mode, bool keep_better);
  double measure_copy();
  double measure_peak(DType dtype, MathMode mode);
  double measure_blas(const Row& row);
  Stream& stream_;
  const Options& options_;
  std::unique_ptr<Triad> triad_;
  double bandwidth_ = 0, launch_ = 0;
  std::map<std::string, Rate> rates_;
};

}  // namespace panvae::bench
