// Our options of panvae_bench; those that begin with --benchmark_ are Google Benchmark's.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "bench/timing.h"
#include "engine/shape.h"
#include "tests/cases/op_case.h"

namespace panvae::bench {

struct Options {
  std::string device = "auto";
  std::vector<DType> dtypes;                                 // empty: f32, or what a case has
  std::vector<MathMode> modes;                               // of products; empty: all of the device
  std::vector<std::string> providers;                        // empty: all of the device
  std::vector<std::pair<std::string, cases::Sizes>> shapes;  // empty: the rows of the cases
  Limits limits;
  int threads = 0;
  bool hot = false;
  int64_t memory = int64_t{4} << 30;  // for copies of the buffers
  bool help = false;
};

extern const char* const kUsage;

// Takes our options out of argv and leaves the rest. Fails (usage) on values that make no sense.
Options parse_options(int& argc, char** argv);

const char* math_name(MathMode m);
const char* type_name(DType t);

}  // namespace panvae::bench
