#include "engine/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "engine/ops/arithmetic.h"
#include "engine/tape.h"

namespace panvae {

GradcheckResult gradcheck(Context& context, const std::function<Tensor(const std::vector<Tensor>&)>& f, std::vector<Tensor> inputs,
                          const std::vector<bool>& differentiable, GradcheckOptions options) {
  for (Tensor& t : inputs) PV_CHECK(t.dtype() == DType::f64 || t.dtype() == DType::i64, "gradcheck: an input of {}; use F64", dtype_name(t.dtype()));
  PV_CHECK(differentiable.empty() || differentiable.size() == inputs.size(), "gradcheck: {} inputs, and {} of `differentiable`", inputs.size(),
           differentiable.size());
  PV_CHECK(options.most_per_input > 0, "gradcheck: at most {} elements of an input", options.most_per_input);
  auto checked = [&](size_t i) { return inputs[i].dtype() == DType::f64 && (differentiable.empty() || differentiable[i]); };
  Tensor weights;
  auto objective = [&](const std::vector<Tensor>& in) {
    Tensor y = f(in);
    if (!weights.defined()) {
      weights = Tensor::empty(context, y.shape(), DType::f64);
      k::random_uniform<double>(context.stream(), weights.data<double>(), weights.count(), 0.5, 1.5, PhiloxKey{77, 0, kInitStep});
    }
    return ops::sum(ops::mul(y, weights));
  };

  std::vector<std::vector<double>> analytic(inputs.size());
  {
    for (size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = inputs[i].detach();
      if (checked(i)) inputs[i].require_gradient("input " + std::to_string(i));
    }
    Tape tape(context);
    tape.backward(objective(inputs));
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!checked(i)) continue;
      Tensor g = inputs[i].gradient();
      analytic[i] = g.defined() ? g.host<double>() : std::vector<double>(static_cast<size_t>(inputs[i].count()), 0.0);
    }
  }

  GradcheckResult result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!checked(i)) continue;
    Tensor x = inputs[i] = inputs[i].detach();
    std::vector<double> values = x.host<double>();
    double largest = 1;
    for (double g : analytic[i]) largest = std::max(largest, std::abs(g));
    const int64_t n = x.count(), stride = std::max<int64_t>(1, n / options.most_per_input);
    for (int64_t j = 0; j < n; j += stride) {
      const double original = values[static_cast<size_t>(j)], h = options.step * std::max(1.0, std::abs(original));
      auto at = [&](double v) {
        x.part(j, {1}).upload(&v, 1);
        return objective(inputs).item();
      };
      const double numeric = (at(original + h) - at(original - h)) / (2 * h);
      x.part(j, {1}).upload(&original, 1);
      const double a = analytic[i][static_cast<size_t>(j)], difference = std::abs(a - numeric) / largest;
      if (!(difference <= result.worst)) result.worst = difference;
      if (!(difference <= options.tolerance) && result.ok) {
        result.ok = false;
        result.message = fmt::format("input {}, element {}: backward gives {}, differences give {}", i, j, a, numeric);
      }
    }
  }
  return result;
}

}  // namespace panvae
