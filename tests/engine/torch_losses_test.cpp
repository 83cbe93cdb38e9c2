// The losses against PyTorch, and what they promise beside their formulas.
#include <limits>

#include "base/threads.h"
#include "engine/ops/layout.h"
#include "engine/ops/losses.h"
#include "torch_reference.h"

namespace panvae::test {
namespace {

Tensor rows(Context& c, const std::vector<int64_t>& r) {
  return Tensor::from(c, {static_cast<int64_t>(r.size())}, r);
}
std::vector<int64_t> range(int64_t n, int64_t first = 0) {
  std::vector<int64_t> r(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) r[static_cast<size_t>(i)] = first + i;
  return r;
}

// PyTorch has three tensors of T rows; here positives and negatives are rows of one. The reference has no epsilon; ours,
// 1e-12 under the root, is below its tolerance in f64.
TEST(torch, triplet) {
  const int n = cases_of("triplet", "anchor");
  EXPECT_EQ(n, 3);
  for (const Where& w : everywhere())
    for (int i = 0; i < n; ++i) {
      const std::string name = "triplet." + std::to_string(i), k = name + ".";
      Context c(w.device);
      Tensor x = load(c, k + "anchor", w.dtype), y = ops::concat({load(c, k + "positive", w.dtype), load(c, k + "negative", w.dtype)}, 0);
      x.require_gradient("x"), y.require_gradient("y");
      const int64_t count = x.size(0);
      Tape tape(c);
      const Tensor loss = ops::triplet(x, y, rows(c, range(count)), rows(c, range(count)), rows(c, range(count, count)), options(name)["margin"]);
      tape.backward(loss);
      expect_reference(loss, k + "loss", w);
      expect_reference(x.gradient(), k + "ganchor", w);
      expect_reference(ops::slice(y.gradient(), 0, 0, count), k + "gpositive", w);
      expect_reference(ops::slice(y.gradient(), 0, count, 2 * count), k + "gnegative", w);
    }
}

TEST(torch, bce_with_logits) {
  EXPECT_EQ(cases_of("bce_with_logits", "x"), 1);
  for (const Where& w : everywhere()) {
    const std::string k = "bce_with_logits.0.";
    Context c(w.device);
    Tensor x = load(c, k + "x", w.dtype);
    x.require_gradient("x");
    Tape tape(c);
    const Tensor loss = ops::bce_with_logits(x, load(c, k + "target", w.dtype));
    tape.backward(loss);
    expect_reference(loss, k + "loss", w);
    expect_reference(x.gradient(), k + "gx", w);
  }
}

TEST(torch, mse) {
  EXPECT_EQ(cases_of("mse", "x"), 1);
  for (const Where& w : everywhere()) {
    const std::string k = "mse.0.";
    Context c(w.device);
    Tensor x = load(c, k + "x", w.dtype), target = load(c, k + "target", w.dtype);
    x.require_gradient("x"), target.require_gradient("target");
    Tape tape(c);
    const Tensor loss = ops::mse(x, target);
    tape.backward(loss);
    expect_reference(loss, k + "loss", w);
    expect_reference(x.gradient(), k + "gx", w);
    std::vector<double> opposite = values(k + "gx");
    for (double& v : opposite) v = -v;
    expect_values(doubles(target.gradient()), opposite, w, "the target's gradient");
  }
}

TEST(triplet, identical_points_have_a_finite_gradient) {
  for (Device device : host_devices()) {
    Context c(device);
    Tensor x = parameter(c, {2, 3}, {1, 2, 3, 1, 2, 3}, "x");
    Tape tape(c);
    const Tensor loss = ops::triplet(x, x, rows(c, {0, 1}), rows(c, {0, 0}), rows(c, {1, 1}), 0.5);
    tape.backward(loss);
    EXPECT_FLOAT_EQ(static_cast<float>(loss.item()), 0.5f);
    EXPECT_EQ(x.gradient().host<float>(), std::vector<float>(6, 0.0f));
  }
}

// PyTorch 2.15, F.triplet_margin_loss(a, p, n, margin=1, eps=0): at a distance of 0 its norm has the gradient 0, and so has our root.
TEST(triplet, a_distance_of_zero_has_the_gradient_of_pytorch) {
  struct Example {
    std::vector<float> a, p, n;
    double loss;
    std::vector<float> of_a, of_p, of_n;
  };
  const std::vector<float> at = {1, 2, -1}, off = {1.5f, 2, -1}, none = {0, 0, 0};
  for (const Example& e : {Example{at, at, at, 1, none, none, none}, Example{at, at, off, 0.5, {1, 0, 0}, none, {-1, 0, 0}},
                           Example{at, off, at, 1.5, {-1, 0, 0}, {1, 0, 0}, none}})
    for (Device device : host_devices()) {
      Context c(device);
      std::vector<float> both = e.p;
      both.insert(both.end(), e.n.begin(), e.n.end());
      Tensor x = parameter(c, {1, 3}, e.a, "x"), y = parameter(c, {2, 3}, both, "y");
      Tape tape(c);
      const Tensor loss = ops::triplet(x, y, rows(c, {0}), rows(c, {0}), rows(c, {1}), 1);
      tape.backward(loss);
      EXPECT_NEAR(loss.item(), e.loss, 1.1e-6) << "each distance is 1e-6 at least";
      std::vector<float> of_y = e.of_p;
      of_y.insert(of_y.end(), e.of_n.begin(), e.of_n.end());
      const std::vector<float> gx = x.gradient().host<float>(), gy = y.gradient().host<float>();
      for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(gx[i], e.of_a[i], 1e-6);
      for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(gy[i], of_y[i], 1e-6);
    }
}

TEST(triplet, rows_without_a_triplet_and_triplets_without_loss_get_no_gradient) {
  for (Device device : host_devices()) {
    Context c(device);
    // Row 2 of x is never an anchor. The triplet of anchor 1 is satisfied: its negative is far off.
    Tensor x = parameter(c, {3, 1}, {0, 10, 5}, "x"), y = parameter(c, {4, 1}, {1, 2, 11, 100}, "y");
    Tape tape(c);
    const Tensor loss = ops::triplet(x, y, rows(c, {0, 1}), rows(c, {0, 2}), rows(c, {1, 3}), 1.5);
    tape.backward(loss);
    EXPECT_FLOAT_EQ(static_cast<float>(loss.item()), 0.25f);               // (1 - 2 + 1.5) / 2
    EXPECT_EQ(x.gradient().host<float>(), (std::vector<float>{0, 0, 0}));  // -1/2 + 1/2 for anchor 0
    EXPECT_EQ(y.gradient().host<float>(), (std::vector<float>{0.5f, -0.5f, 0, 0}));
  }
}

TEST(triplet, an_index_outside_makes_the_loss_nan_and_touches_nothing) {
  for (Device device : host_devices())
    for (int64_t bad : {int64_t{-1}, int64_t{3}, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()})
      for (int which = 0; which < 3; ++which) {
        Context c(device);
        Tensor x = parameter(c, {3, 2}, ramp(6), "x"), y = parameter(c, {3, 2}, ramp(6, 0.5f), "y");
        std::vector<int64_t> index[3] = {{0, 1}, {0, 1}, {2, 0}};
        index[which][1] = bad;
        Tape tape(c);
        const Tensor loss = ops::triplet(x, y, rows(c, index[0]), rows(c, index[1]), rows(c, index[2]));
        tape.backward(loss);
        EXPECT_TRUE(std::isnan(loss.item()));
        for (const Tensor& t : {x, y})
          for (float v : t.gradient().host<float>()) EXPECT_TRUE(std::isfinite(v));
      }
}

TEST(triplet, a_nan_in_a_row_reaches_the_loss_and_its_gradient) {
  for (Device device : host_devices()) {
    Context c(device);
    Tensor x = parameter(c, {2, 2}, {1, NAN, 3, 4}, "x"), y = parameter(c, {2, 2}, {0, 1, 2, 3}, "y");
    Tape tape(c);
    const Tensor loss = ops::triplet(x, y, rows(c, {0}), rows(c, {0}), rows(c, {1}));
    tape.backward(loss);
    EXPECT_TRUE(std::isnan(loss.item()));
    EXPECT_TRUE(std::isnan(x.gradient().host<float>()[1]));
    EXPECT_EQ(x.gradient().host<float>()[2], 0) << "of a row that is not used";
  }
}

TEST(triplet, without_a_tape_it_is_the_same_loss) {
  for (Device device : host_devices()) {
    Context c(device);
    Tensor x = parameter(c, {5, 3}, ramp(15), "x"), y = parameter(c, {5, 3}, ramp(15, 0.7f), "y");
    auto loss = [&] { return ops::triplet(x, y, rows(c, range(5)), rows(c, {1, 2, 3, 4, 0}), rows(c, {2, 2, 1, 1, 3})).item(); };
    const double alone = loss();
    Tape tape(c);
    EXPECT_EQ(loss(), alone);
  }
}

// The bits of losses, gradients and sums of rows, for every number of threads.
TEST(losses, give_the_same_bits_for_any_number_of_threads) {
  const int before = threads();
  std::vector<std::vector<float>> first;
  for (int n : {1, 2, 3, 8}) {
    set_threads(n);
    Context c;
    const int64_t N = 500, D = 70, count = 6000;
    std::vector<int64_t> a(static_cast<size_t>(count)), p(a.size()), q(a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      const int64_t j = static_cast<int64_t>(i);
      a[i] = j * 37 % 311, p[i] = j * j % 499, q[i] = j % 7;  // few negatives, named often
    }
    Tensor x = parameter(c, {N, D}, ramp(static_cast<size_t>(N * D)), "x"), y = parameter(c, {N, D}, ramp(static_cast<size_t>(N * D), 0.8f), "y");
    Tape tape(c);
    const Tensor triplets = ops::triplet(x, y, rows(c, a), rows(c, p), rows(c, q)), taken = ops::gather_rows(x, rows(c, p));
    const Tensor other = ops::gather_rows(y, rows(c, q)), ones = Tensor::from(c, taken.shape(), std::vector<float>(static_cast<size_t>(count * D), 1.0f));
    const Tensor error = ops::mse(taken, other), entropy = ops::bce_with_logits(ops::transpose(taken), ops::transpose(ones));
    const Tensor total = ops::add(ops::add(triplets, error), entropy);
    tape.backward(total);
    const std::vector<std::vector<float>> now = {total.host<float>(), x.gradient().host<float>(), y.gradient().host<float>()};
    if (first.empty()) first = now;
    EXPECT_EQ(now, first) << n << " threads";
  }
  set_threads(before);
}

// BCE where exp overflows: finite, and exact in the tails.
TEST(bce_with_logits, is_stable) {
  for (Device device : host_devices()) {
    Context c(device);
    for (float x : {0.0f, 30.0f, -30.0f, 88.0f, -88.0f, 1e4f, -1e4f, 3e38f, -3e38f})
      for (float t : {0.0f, 1.0f}) {
        Tensor logit = parameter(c, {1}, {x}, "x");
        Tape tape(c);
        const Tensor loss = ops::bce_with_logits(logit, tensor(c, {1}, {t}));
        tape.backward(loss);
        const double away = t == 1 ? -x : x;  // how far on the wrong side
        const double expected = away > 0 ? away + std::log1p(std::exp(-away)) : std::log1p(std::exp(away));
        EXPECT_NEAR(loss.item(), expected, 1e-6 * expected + 1e-45) << x << " for " << t;
        EXPECT_NEAR(logit.gradient().host<float>()[0], 1 / (1 + std::exp(-static_cast<double>(x))) - t, 1e-7) << x << " for " << t;
      }
    for (float t : {0.0f, 1.0f}) EXPECT_TRUE(std::isnan(ops::bce_with_logits(tensor(c, {2}, {0, NAN}), tensor(c, {2}, {t, t})).item()));
    EXPECT_TRUE(std::isnan(ops::mse(tensor(c, {2}, {0, 1}), tensor(c, {2}, {NAN, 1})).item()));
  }
}

TEST(losses, refuse_what_does_not_fit) {
  Context c, other;
  Tensor x = parameter(c, {3, 2}, ramp(6), "x"), y = tensor(c, {4, 2}, ramp(8));
  EXPECT_CONTAINS(error_of([&] { ops::mse(x, y); }).message(), "[3, 2] F32 against [4, 2] F32");
  EXPECT_CONTAINS(error_of([&] { ops::mse(y, Tensor::zeros(c, {4, 2}, DType::f64)); }).message(), "F64");
  EXPECT_CONTAINS(error_of([&] { ops::mse(y, tensor(other, {4, 2}, ramp(8))); }).message(), "two contexts");
  EXPECT_CONTAINS(error_of([&] { ops::mse(tensor(c, {0}, {}), tensor(c, {0}, {})); }).message(), "of no elements");
  EXPECT_CONTAINS(error_of([&] { ops::bce_with_logits(y, y.part(0, {2, 4})); }).message(), "bce_with_logits: [4, 2]");
  EXPECT_CONTAINS(error_of([&] { ops::bce_with_logits(tensor(c, {3, 2}, ramp(6)), x); }).message(), "target needs a gradient");
  const Tensor two = rows(c, {0, 1}), three = rows(c, {0, 1, 2});
  EXPECT_CONTAINS(error_of([&] { ops::triplet(x, y.part(0, {2, 4}), two, two, two); }).message(), "x[3, 2] F32 with y[2, 4] F32");
  EXPECT_CONTAINS(error_of([&] { ops::triplet(x, y, two, three, two); }).message(), "2 anchors, 3 positives, 2 negatives");
  EXPECT_CONTAINS(error_of([&] { ops::triplet(x, y, two, two, tensor(c, {2}, {0, 1})); }).message(), "no list of i64");
  EXPECT_CONTAINS(error_of([&] { ops::triplet(x, y, rows(c, {}), rows(c, {}), rows(c, {})); }).message(), "no triplets");
  EXPECT_CONTAINS(error_of([&] { ops::triplet(x, y, two, two, rows(other, {0, 1})); }).message(), "two contexts");
}

}  // namespace
}  // namespace panvae::test
