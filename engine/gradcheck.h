// Backward functions against central differences, for whoever writes an op or a loss.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/tensor.h"

namespace panvae {

struct GradcheckOptions {
  double step = 1e-6;            // relative to max(1, |x|)
  double tolerance = 1e-6;       // on |analytic - numeric| / max(1, largest gradient of the input)
  int64_t most_per_input = 400;  // 1 or more; larger inputs are sampled at evenly spread elements
};
struct GradcheckResult {
  bool ok = true;
  double worst = 0;     // largest relative difference met
  std::string message;  // where, and the two values, if not ok
};

// `f` maps f64 inputs to a tensor of any shape; what is checked is the gradient of sum(f * r) with fixed random r, in f64,
// with respect to every input whose `differentiable` is true (all, if empty). `f` is called many times and must be a
// function of its inputs alone (draw noise by a fixed PhiloxKey). Inputs are restored.
GradcheckResult gradcheck(Context& context, const std::function<Tensor(const std::vector<Tensor>&)>& f, std::vector<Tensor> inputs,
                          const std::vector<bool>& differentiable = {}, GradcheckOptions options = {});

}  // namespace panvae
