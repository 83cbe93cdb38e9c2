// Trains a small net on XOR and exits with 0 when it has learnt it. The lines between the marks stand in README.md, word
// for word: the test examples.readme compares them.
#include <cstdio>
#include <memory>

#include "engine/layers.h"
#include "engine/ops/arithmetic.h"
#include "engine/optimizer.h"

using namespace panvae;

int main() {
  // [ten lines]
  Context context(parse_device("cpu"));  // or "cuda": the rest stays as it is
  Sequential net(std::make_unique<Linear>(2, 16), std::make_unique<LeakyReLU>(), std::make_unique<Linear>(16, 1));
  ModuleState state(context, net, /*seed=*/0);
  Adam adam(state);
  Tensor x = Tensor::from<float>(context, {4, 2}, {0, 0, 0, 1, 1, 0, 1, 1}), y = Tensor::from<float>(context, {4, 1}, {0, 1, 1, 0});
  for (int i = 0; i < 3000; ++i) {
    Tape tape(context);
    Tensor error = ops::sub(net(x), y);
    adam.zero_grad(), tape.backward(ops::mean(ops::mul(error, error)));
    adam.step();
  }
  // [/ten lines]
  bool learnt = true;
  const auto truth = y.host<float>(), guess = net(x).host<float>();  // no tape: nothing is recorded
  for (size_t i = 0; i < truth.size(); ++i) {
    std::printf("%.0f  %.3f\n", truth[i], guess[i]);
    learnt = learnt && guess[i] > truth[i] - 0.2f && guess[i] < truth[i] + 0.2f;
  }
  return learnt ? 0 : 1;
}
