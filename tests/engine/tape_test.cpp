#include <algorithm>
#include <limits>

#include "engine/ops/activation.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/linear.h"
#include "helpers.h"

namespace panvae::test {
namespace {

using Values = std::vector<float>;

TEST(tape, one_op) {
  Context c;
  const Tensor x = parameter(c, {3}, {1, 2, 3}, "x");
  Tape tape(c);
  tape.backward(ops::sum(ops::scale(x, 5)));
  EXPECT_EQ(x.gradient().host<float>(), (Values{5, 5, 5}));
}

TEST(tape, a_tensor_used_several_times_gets_the_sum) {
  Context c;
  const Tensor x = parameter(c, {2}, {3, -2}, "x");
  Tape tape(c);
  const Tensor y = ops::mul(x, x);                                           // 2x
  const Tensor z = ops::add(ops::add(y, x), ops::sub(x, ops::scale(x, 3)));  // + 1 + 1 - 3
  tape.backward(ops::sum(z));
  EXPECT_EQ(x.gradient().host<float>(), (Values{5, -5}));
}

TEST(tape, an_intermediate_used_several_times_gets_the_sum) {
  Context c;
  const Tensor x = parameter(c, {1, 2}, {1, 2}, "x");
  Tape tape(c);
  const Tensor h = ops::scale(x, 2);  // [2, 4]
  const Tensor flat = ops::reshape(h, {2}), again = ops::reshape(h, {2, 1});
  const Tensor loss = ops::add(ops::sum(ops::mul(flat, flat)), ops::add(ops::sum(again), ops::sum(h)));
  tape.backward(loss);
  EXPECT_EQ(x.gradient().host<float>(), (Values{2 * (2 * 2 + 2), 2 * (2 * 4 + 2)}));
}

TEST(tape, both_inputs_the_same_tensor) {
  Context c;
  const Tensor x = parameter(c, {2, 2}, {1, 2, 3, 4}, "x");
  Tape tape(c);
  tape.backward(ops::sum(ops::matmul(x, x)));
  // d/dx sum(x x) = (x^T 1)^T-like: row sums of x^T plus column sums.
  EXPECT_EQ(x.gradient().host<float>(), (Values{3 + 4, 7 + 4, 3 + 6, 7 + 6}));
}

TEST(tape, passes_accumulate_until_gradients_are_forgotten) {
  Context c;
  const Tensor x = parameter(c, {1}, {2}, "x");
  auto pass = [&] {
    Tape tape(c);
    tape.backward(ops::mul(x, x));
  };
  pass();
  EXPECT_EQ(x.gradient().item(), 4);
  pass();
  EXPECT_EQ(x.gradient().item(), 8);
  x.variable()->written = false;
  EXPECT_FALSE(x.gradient().defined());
  pass();
  EXPECT_EQ(x.gradient().item(), 4);
}

TEST(tape, a_gradient_buffer_is_overwritten_first_whatever_it_held) {
  Context c;
  Tensor x = tensor(c, {2}, {1, 2}), buffer = tensor(c, {2}, {NAN, NAN});
  x.require_gradient("x", buffer);
  Tape tape(c);
  tape.backward(ops::sum(x));
  EXPECT_EQ(buffer.host<float>(), (Values{1, 1}));
  EXPECT_TRUE(x.gradient().same_memory(buffer));
}

TEST(tape, unused_parameters_and_dead_branches_get_none) {
  Context c;
  const Tensor x = parameter(c, {2}, {1, 2}, "x"), unused = parameter(c, {2}, {1, 2}, "unused"), dead = parameter(c, {2}, {1, 2}, "dead");
  Tape tape(c);
  ops::mul(dead, dead);  // leads nowhere
  tape.backward(ops::sum(x));
  EXPECT_TRUE(x.gradient().defined());
  EXPECT_FALSE(unused.gradient().defined());
  EXPECT_FALSE(dead.gradient().defined());
}

TEST(tape, inputs_without_gradient_are_left_out) {
  Context c;
  const Tensor x = parameter(c, {2}, {1, 2}, "x"), data = tensor(c, {2}, {3, 4});
  Tape tape(c);
  const Tensor constant = ops::mul(data, data);
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_FALSE(constant.needs_gradient());
  tape.backward(ops::sum(ops::mul(x, constant)));
  EXPECT_EQ(x.gradient().host<float>(), (Values{9, 16}));
  EXPECT_FALSE(data.gradient().defined());
}

TEST(tape, none_means_inference) {
  Context c;
  const Tensor x = parameter(c, {2}, {1, -2}, "x");
  const Tensor y = ops::relu(ops::scale(x, 2));
  EXPECT_EQ(y.host<float>(), (Values{2, 0}));
  EXPECT_FALSE(y.needs_gradient());
  EXPECT_EQ(c.tape(), nullptr);
}

TEST(tape, detach_stops_the_gradient) {
  Context c;
  const Tensor x = parameter(c, {1}, {3}, "x");
  Tape tape(c);
  const Tensor y = ops::scale(x, 2);
  tape.backward(ops::mul(y, y.detach()));
  EXPECT_EQ(x.gradient().item(), 12);
}

TEST(tape, a_view_shares_memory_and_reshape_carries_the_gradient) {
  Context c;
  const Tensor x = parameter(c, {2, 3}, {1, 2, 3, 4, 5, 6}, "x");
  Tape tape(c);
  const Tensor r = ops::reshape(x, {3, 2});
  EXPECT_TRUE(r.same_memory(x));
  EXPECT_EQ(r.shape(), (Shape{3, 2}));
  EXPECT_FALSE(x.view({6}).needs_gradient());
  tape.backward(ops::sum(ops::mul(r, tensor(c, {3, 2}, {1, 2, 3, 4, 5, 6}))));
  EXPECT_EQ(x.gradient().shape(), (Shape{2, 3}));
  EXPECT_EQ(x.gradient().host<float>(), (Values{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(error_of([&] { ops::reshape(x, {5}); }).code(), ErrorCode::usage);
  EXPECT_EQ(x.part(2, {2, 2}).host<float>(), (Values{3, 4, 5, 6}));
  error_of([&] { x.part(5, {2}); });
}

TEST(tape, a_reshaped_gradient_is_not_spoilt_by_its_other_owner) {
  Context c;
  // The gradient of r is taken over as that of h; h then gets a second share added.
  const Tensor x = parameter(c, {2}, {1, 2}, "x"), w = parameter(c, {2, 1}, {3, 4}, "w");
  Tape tape(c);
  const Tensor h = ops::scale(x, 1), r = ops::reshape(h, {2, 1});
  tape.backward(ops::add(ops::sum(ops::mul(r, w)), ops::sum(ops::scale(h, 10))));
  EXPECT_EQ(x.gradient().host<float>(), (Values{13, 14}));
  EXPECT_EQ(w.gradient().host<float>(), (Values{1, 2}));
}

TEST(tape, writing_in_place_what_backward_needs_is_an_error) {
  Context c;
  const Tensor x = parameter(c, {2}, {1, 2}, "x");
  Tensor w = tensor(c, {2}, {3, 4});
  Tape tape(c);
  const Tensor loss = ops::sum(ops::mul(x, w));
  const float values[] = {5, 6};
  w.upload(values, 2);
  const Error e = error_of([&] { tape.backward(loss); });
  EXPECT_EQ(e.code(), ErrorCode::usage);
  EXPECT_CONTAINS(e.message(), "changed in place");
  EXPECT_CONTAINS(e.message(), "mul");
}

TEST(tape, writing_in_place_what_backward_does_not_need_is_allowed) {
  Context c;
  const Tensor x = parameter(c, {2}, {1, 2}, "x");
  Tensor w = tensor(c, {2}, {3, 4});
  Tape tape(c);
  const Tensor loss = ops::sum(ops::add(x, w));
  w.assign(tensor(c, {2}, {0, 0}));
  tape.backward(loss);
  EXPECT_EQ(x.gradient().host<float>(), (Values{1, 1}));
}

// The first gradient of w is a factor in the second pass, which adds to the same buffer.
TEST(tape, a_gradient_in_a_graph_that_is_written_meanwhile_is_an_error) {
  Context c;
  const Tensor w = parameter(c, {1}, {2}, "w");
  {
    Tape tape(c);
    tape.backward(ops::mul(w, w));
  }
  const Tensor g = w.gradient(), copy = ops::scale(g, 1);
  const auto pass = [&](const Tensor& factor) {
    Tape tape(c);
    const Tensor a = ops::mul(w, factor), b = ops::mul(w, w);
    tape.backward(ops::add(a, b));
  };
  EXPECT_CONTAINS(error_of([&] { pass(g); }).message(), "changed in place after use");
  const float before = w.gradient().host<float>()[0];
  pass(copy);
  EXPECT_EQ(w.gradient().host<float>()[0] - before, 8);
}

// A second place for the gradient would cut off all that lies before.
TEST(tape, what_an_op_made_is_no_parameter) {
  Context c;
  const Tensor w = parameter(c, {1}, {2}, "w");
  Tape tape(c);
  Tensor h = ops::mul(w, w);
  EXPECT_CONTAINS(error_of([&] { h.require_gradient("h"); }).message(), "h of shape [1] was made by mul on a tape");
  tape.backward(ops::mul(h, h));
  EXPECT_EQ(w.gradient().host<float>(), (Values{32}));
  Tensor own = h.detach();
  own.require_gradient("own");
  EXPECT_TRUE(own.needs_gradient());
}

TEST(tape, a_view_counts_as_its_memory_when_written) {
  Context c;
  const Tensor x = parameter(c, {2}, {1, 2}, "x");
  Tensor both = tensor(c, {4}, {1, 2, 3, 4});
  const Tensor w = both.part(2, {2});
  Tape tape(c);
  const Tensor loss = ops::sum(ops::mul(x, w));
  both.assign(tensor(c, {4}, {0, 0, 0, 0}));
  error_of([&] { tape.backward(loss); });
}

TEST(tape, a_second_tape_of_a_context_is_an_error) {
  Context c, other;
  Tape tape(c);
  EXPECT_CONTAINS(error_of([&] { Tape second(c); }).message(), "another tape");
  Tape elsewhere(other);  // contexts live side by side
  EXPECT_EQ(c.tape(), &tape);
  EXPECT_EQ(other.tape(), &elsewhere);
}

TEST(tape, is_gone_after_its_scope_and_after_an_error) {
  Context c;
  const Tensor x = parameter(c, {2}, {1, 2}, "x");
  try {
    Tape tape(c);
    ops::add(x, tensor(c, {3}, {1, 2, 3}));
    FAIL();
  } catch (const Error& e) {
    EXPECT_CONTAINS(e.message(), "add: [2] F32 with [3] F32");
    EXPECT_EQ(e.op(), "add");
  }
  EXPECT_EQ(c.tape(), nullptr);
  Tape tape(c);
  tape.backward(ops::sum(x));
}

TEST(tape, backward_wants_one_number_that_depends_on_a_parameter) {
  Context c;
  const Tensor x = parameter(c, {2}, {1, 2}, "x");
  Tape tape(c);
  EXPECT_CONTAINS(error_of([&] { tape.backward(ops::scale(x, 2)); }).message(), "[2]");
  EXPECT_CONTAINS(error_of([&] { tape.backward(ops::sum(tensor(c, {2}, {1, 2}))); }).message(), "does not depend");
}

TEST(tape, runs_once_and_recording_goes_on_behind_it) {
  Context c;
  const Tensor x = parameter(c, {1}, {2}, "x"), y = parameter(c, {1}, {7}, "y");
  Tape tape(c);
  tape.backward(ops::mul(x, x));
  EXPECT_EQ(tape.size(), 0u);
  tape.backward(ops::mul(y, y));
  EXPECT_EQ(x.gradient().item(), 4);
  EXPECT_EQ(y.gradient().item(), 14);
}

TEST(tape, a_second_backward_of_what_has_run_is_an_error) {
  Context c;
  const Tensor x = parameter(c, {1}, {2}, "x");
  Tape tape(c);
  const Tensor trunk = ops::mul(x, x), one = ops::scale(trunk, 3), two = ops::scale(trunk, 5);
  tape.backward(one);
  // `two` went with the nodes that it shares with `one`.
  for (const Tensor& loss : {one, two}) EXPECT_CONTAINS(error_of([&] { tape.backward(loss); }).message(), "a tape runs once");
  EXPECT_EQ(x.gradient().item(), 12);
  // What is recorded behind it from `trunk` would stop there.
  const Error e = error_of([&] { ops::scale(trunk, 5); });
  EXPECT_EQ(e.op(), "scale");
  EXPECT_CONTAINS(e.message(), "an input of shape [1], made by mul, belongs to a tape that has run backward or is gone");
  tape.backward(ops::mul(x, trunk.detach()));
  EXPECT_EQ(x.gradient().item(), 12 + 4);
}

TEST(tape, a_loss_of_another_tape_is_an_error) {
  Context c, other;
  const Tensor x = parameter(c, {1}, {2}, "x");
  Tensor hidden;
  {
    Tape tape(c);
    hidden = ops::mul(x, x);
  }
  Tape tape(c), elsewhere(other);
  EXPECT_CONTAINS(error_of([&] { tape.backward(hidden); }).message(), "not made by an op on this tape");
  EXPECT_CONTAINS(error_of([&] { ops::mul(x, hidden); }).message(), "a tape that has run backward or is gone");
  EXPECT_CONTAINS(error_of([&] { tape.backward(x); }).message(), "not made by an op on this tape") << "a parameter itself";
  const Tensor loss = ops::scale(x, 3);
  EXPECT_CONTAINS(error_of([&] { elsewhere.backward(loss); }).message(), "not made by an op on this tape");
  EXPECT_FALSE(x.gradient().defined());
  tape.backward(loss);
  EXPECT_EQ(x.gradient().item(), 3);
}

// Ops write in place over gradients that nobody reads after them, so what a tensor within the graph keeps would be wrong.
TEST(tape, gradients_of_intermediates_are_gone_behind_it) {
  Context c;
  const Tensor x = parameter(c, {1, 2}, {1, -2}, "x"), w = parameter(c, {2, 2}, {1, 2, 3, 4}, "w");
  Tape tape(c);
  const Tensor h = ops::linear(x, w, {}, Activation::leaky_relu, 0.5), loss = ops::sum(ops::scale(h, 7));
  tape.backward(loss);
  EXPECT_FALSE(h.gradient().defined());
  EXPECT_FALSE(loss.gradient().defined());
  EXPECT_EQ(x.gradient().host<float>(), (Values{3.5f * (1 + 3), 3.5f * (2 + 4)}));
}

TEST(tape, a_share_given_to_two_inputs_is_not_spoilt_by_either) {
  Context c;
  const Tensor x = parameter(c, {1}, {2}, "x"), y = parameter(c, {1}, {3}, "y");
  Tape tape(c);
  const Tensor a = ops::scale(x, 1), b = ops::scale(y, 1), more = ops::scale(a, 10);
  const Tensor both = record("both", {a, b}, ops::add(a.detach(), b.detach()), {}, [](Grads& g) {
    g.give(0, g.out());
    g.give(1, g.out());
  });
  tape.backward(ops::add(both, more));  // adds 10 to what a was given
  EXPECT_EQ(x.gradient().item(), 11);
  EXPECT_EQ(y.gradient().item(), 1);
}

TEST(tape, a_gradient_of_a_step_that_has_ended_is_named) {
  Context c;
  const Tensor x = parameter(c, {1}, {2}, "x");
  auto step = [&](const Tensor& t) {
    Step scope(c);
    Tape tape(c);
    tape.backward(ops::mul(t, t));
  };
  step(parameter(c, {1}, {1}, "other"));  // sizes the arena
  step(x);
  EXPECT_CONTAINS(error_of([&] { step(x); }).message(), "the gradient of x is that of a Step that has ended");
  Tensor z = tensor(c, {1}, {3});
  z.require_gradient("z", Tensor::zeros(c, {1}));
  step(z), step(z);
  EXPECT_EQ(z.gradient().item(), 12);
}

TEST(tape, an_error_in_backward_leaves_the_context_usable) {
  Context c;
  const Tensor x = parameter(c, {1}, {2}, "x");
  {
    Tape tape(c);
    const Tensor y = record("broken", {x}, ops::scale(x.detach(), 1), {}, [](Grads&) { throw Error(ErrorCode::usage, "broken: no gradient"); });
    EXPECT_CONTAINS(error_of([&] { tape.backward(y); }).message(), "broken");
    EXPECT_EQ(c.tape(), &tape);
  }
  Tape tape(c);
  tape.backward(ops::scale(x, 3));
  EXPECT_EQ(x.gradient().item(), 3);
}

// What backward functions written elsewhere get wrong: nothing is read or written beside the gradient.
TEST(tape, shares_that_do_not_fit_are_errors) {
  Context c, other;
  const Tensor x = parameter(c, {2, 3}, Values(6), "x");
  const auto message = [&](std::function<void(Grads&)> backward) {
    Tape tape(c);
    const Tensor y = record("mine", {x}, ops::sum(x.detach()), {}, std::move(backward));
    return error_of([&] { tape.backward(y); }).message();
  };
  EXPECT_CONTAINS(message([&](Grads& g) { g.give(0, Tensor::zeros(c, {2})); }), "a share of shape [2] F32 for the gradient of an input of shape [2, 3] F32");
  EXPECT_CONTAINS(message([&](Grads& g) { g.give(0, Tensor::zeros(c, {2, 3}, DType::f64)); }), "[2, 3] F64 for the gradient");
  EXPECT_CONTAINS(message([&](Grads& g) { g.give(0, Tensor::zeros(other, {2, 3})); }), "two contexts");
  EXPECT_CONTAINS(message([&](Grads& g) { g.give(1, Tensor::zeros(c, {2, 3})); }), "a gradient of input 1 of an op that was recorded with 1");
  EXPECT_CONTAINS(message([](Grads& g) { g.write(-1, [](Tensor&) {}); }), "a gradient of input -1");
  EXPECT_CONTAINS(message([](Grads& g) { g.needs(1); }), "a gradient of input 1");
  const Tensor a = Tensor::zeros(c, {2, 4}), b = Tensor::zeros(c, {4, 2});
  EXPECT_CONTAINS(message([&](Grads& g) { g.write_product(0, a, false, b, false); }), "the product of [2, 4] and [4, 2] for an input of shape [2, 3]");
  EXPECT_CONTAINS(message([&](Grads& g) { g.write_product(0, a, false, Tensor::zeros(c, {3, 5}), true); }), "[2, 4] and [3, 5]^T");
  Tape tape(c);
  EXPECT_CONTAINS(error_of([&] { record("mine", {x}, ops::sum(x.detach()), {}, nullptr); }).message(), "mine: recorded without a backward function");
}

TEST(tape, inputs_of_another_context_are_an_error) {
  Context c, other({DeviceType::simt, 0});
  const Tensor x = parameter(c, {1}, {1}, "x"), elsewhere = parameter(other, {1}, {1}, "elsewhere");
  Tape tape(c);
  EXPECT_CONTAINS(error_of([&] {
                    record("mine", {x, elsewhere}, ops::sum(x.detach()), {}, [](Grads&) {});
                  }).message(),
                  "mine: tensors of two contexts, on cpu and on simt");
}

TEST(tape, hooks_see_each_leaf_once_when_its_gradient_is_complete) {
  Context c;
  const Tensor x = parameter(c, {1}, {2}, "x"), w = parameter(c, {1}, {5}, "w"), unused = parameter(c, {1}, {1}, "unused");
  std::vector<std::pair<std::string, double>> seen;
  for (const Tensor& t : {x, w, unused}) t.variable()->hooks.push_back([&seen, name = t.variable()->name](Tensor& g) { seen.emplace_back(name, g.item()); });
  // A hook may change the gradient, as an all-reduce does.
  w.variable()->hooks.push_back([](Tensor& g) {
    const float v = -1;
    g.upload(&v, 1);
  });
  Tape tape(c);
  const Tensor h = ops::mul(x, x);
  tape.backward(ops::mul(ops::add(h, x), w));  // (x^2 + x) w
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<std::pair<std::string, double>>{{"w", 6}, {"x", 25}}));
  EXPECT_EQ(w.gradient().item(), -1);
}

TEST(tape, a_long_chain_needs_no_stack) {
  Context c;
  const Tensor x = parameter(c, {1}, {1}, "x");
  Tape tape(c);
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = ops::scale(y, 1);
  tape.backward(y);
  EXPECT_EQ(x.gradient().item(), 1);
}

TEST(tape, errors_of_shape_come_before_any_allocation) {
  Context c;
  const Tensor a = tensor(c, {2, 3}, Values(6)), b = tensor(c, {2, 4}, Values(8)), bias = tensor(c, {3}, Values(3)), empty = Tensor::zeros(c, {0}),
               wide = Tensor::zeros(c, {2, 3}, DType::f64);
  const std::string before = c.memory().report();
  EXPECT_CONTAINS(error_of([&] { ops::matmul(a, b); }).message(), "inner sizes differ");
  EXPECT_CONTAINS(error_of([&] { ops::linear(a, b, {}); }).message(), "linear: x[2, 3] against W[2, 4]");
  EXPECT_CONTAINS(error_of([&] { ops::linear(a, a, bias); }).message(), "bias[3]");
  error_of([&] { ops::leaky_relu(a, -1); });
  error_of([&] { ops::mean(empty); });
  error_of([&] { ops::add(a, wide); });
  Context other;
  EXPECT_CONTAINS(error_of([&] { ops::mul(a, Tensor::zeros(other, {2, 3})); }).message(), "two contexts");
  EXPECT_EQ(c.memory().report(), before);
}

TEST(tensor, reading_as_another_type_is_an_error) {
  Context c;
  const Tensor t = tensor(c, {2}, {1, 2});
  EXPECT_CONTAINS(error_of([&] { t.data<double>(); }).message(), "F32 read as F64");
  error_of([&] { Tensor().data<float>(); });
  error_of([&] { Tensor().bump_version(); });
  error_of([&] { t.item(); });
  error_of([&] { Tensor::from(c, {3}, std::vector<float>{1, 2}); });
  error_of([&] { Shape{1, 2, 3, 4, 5}; });
  error_of([&] { Shape{-1}; });
  EXPECT_CONTAINS(error_of([&] { t.size(1); }).message(), "no dimension 1 in [2]");
  EXPECT_CONTAINS(error_of([&] { t.size(-2); }).message(), "no dimension -2 in [2]");
  EXPECT_EQ(t.size(-1), 2);
}

// Counts and bytes would wrap around: to 0 elements here, to few bytes there.
TEST(tensor, sizes_beyond_64_bits_are_an_error) {
  Context c;
  const int64_t large = int64_t{1} << 32;
  EXPECT_CONTAINS(error_of([&] { Tensor::empty(c, {large, large}); }).message(), "shape: [4294967296, 4294967296] has more than 2^59 elements");
  EXPECT_CONTAINS(error_of([&] { Tensor::empty(c, {int64_t{1} << 62}, DType::f64); }).message(), "more than 2^59");
  error_of([&] { Shape{0, large, large}; });
  const Tensor t = tensor(c, {4}, {1, 2, 3, 4});
  EXPECT_CONTAINS(error_of([&] { t.part(std::numeric_limits<int64_t>::max(), {2}); }).message(), "part: 2 elements");
  EXPECT_EQ((Shape{0, large}).count(), 0);
}

TEST(tensor, wraps_memory_of_the_caller) {
  Context c;
  std::vector<float> mine{1, 2, 3};
  {
    const Tensor t = Tensor::wrap(c, mine.data(), {3}, DType::f32);
    k::scale<float>(c.stream(), t.data<float>(), t.data<float>(), 3, 2);
  }
  EXPECT_EQ(mine, (Values{2, 4, 6}));
  EXPECT_CONTAINS(error_of([&] { Tensor::wrap(c, reinterpret_cast<char*>(mine.data()) + 1, {2}, DType::f32); }).message(), "no multiple of 4 bytes");
  EXPECT_CONTAINS(error_of([&] { Tensor::wrap(c, nullptr, {2}, DType::f32); }).message(), "at no address");
  EXPECT_NO_THROW(Tensor::wrap(c, nullptr, {0, 2}, DType::f32));
}

}  // namespace
}  // namespace panvae::test
