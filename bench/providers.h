// Who can do the work of a case: the engine, and the libraries that it is held against.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/provider.h"
#include "tests/cases/op_case.h"

namespace panvae::bench {

struct Contender {
  std::string name;
  DeviceType device;
  std::function<bool(const cases::OpCase&)> covers;
  // What it does instead of the case's own body, verified and timed like that; null: the body of the case.
  std::function<void(cases::Run<float>&, const cases::Sizes&)> f32;
  std::function<void(cases::Run<double>&, const cases::Sizes&)> f64;
  bool unfused = false;  // the unfused body of the case
  // The body of the case, computed by the vendor's library for this.
  std::optional<ProviderOp> library;
  std::string why_absent() const { return library ? why_no_vendor(*library) : ""; }  // loads the library
};

// In the order of the columns of a table; ours first.
const std::vector<Contender>& all_contenders();

// Of that name, or null.
const Contender* contender(const std::string& name, DeviceType device);

// Its sizes begin with M, N, K, transposes. The ceiling of a product on cpu is what BLAS alone reaches at the same shape.
bool is_product(const cases::OpCase& c);

}  // namespace panvae::bench
