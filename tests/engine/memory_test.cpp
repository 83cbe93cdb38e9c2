#include "engine/memory.h"

#include <cmath>
#include <cstdlib>
#include <set>

#include "engine/ops/activation.h"
#include "engine/ops/arithmetic.h"
#include "helpers.h"

namespace panvae::test {
namespace {

TEST(memory, blocks_are_aligned_and_apart) {
  Context c;
  std::vector<Tensor> tensors;
  for (int64_t n : {1, 3, 64, 100, 1000}) tensors.push_back(Tensor::empty(c, {n}));
  std::set<void*> places;
  for (const Tensor& t : tensors) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.bytes()) % 256, 0u);
    EXPECT_TRUE(places.insert(t.bytes()).second);
  }
  EXPECT_NE(Tensor::empty(c, {0}).bytes(), nullptr);
}

TEST(memory, the_cache_gives_the_best_fit) {
  Memory m({DeviceType::cpu, 0});
  const auto small = m.take(1024, "a"), middle = m.take(8192, "b"), large = m.take(65536, "c");
  const int64_t held = m.held_bytes();
  for (const auto& b : {large, middle, small}) m.give(b);
  EXPECT_EQ(m.held_bytes(), held) << "freed blocks stay in the cache";
  std::vector<Memory::Block> again{m.take(8192, "d"), m.take(900, "e")};
  EXPECT_EQ(again[0].data, middle.data);
  EXPECT_EQ(again[1].data, small.data);
  // Far larger blocks are kept for who needs them.
  const auto other = m.take(16384, "f");
  EXPECT_NE(other.data, large.data);
  again.push_back(m.take(65000, "g"));
  EXPECT_EQ(again[2].data, large.data);
  EXPECT_EQ(m.peak_bytes(), m.held_bytes());
  again.push_back(other);
  for (const auto& b : again) m.give(b);
}

TEST(memory, a_tensor_gives_its_block_back) {
  Context c;
  void* first = nullptr;
  {
    const Tensor t = Tensor::empty(c, {1000});
    first = t.bytes();
  }
  EXPECT_EQ(Tensor::empty(c, {1000}).bytes(), first);
}

TEST(memory, a_tensor_may_die_after_its_context) {
  Tensor t;
  {
    Context c;
    t = Tensor::empty(c, {100});
  }
  t = {};
}

TEST(memory, a_tensor_whose_context_is_gone_says_so) {
  float mine[3] = {1, 2, 3};
  Tensor own, wrapped;
  {
    Context c;
    own = Tensor::zeros(c, {3});
    wrapped = Tensor::wrap(c, mine, {3}, DType::f32);
  }
  const Context another;  // it may lie where the other one lay
  for (Tensor* t : {&own, &wrapped}) {
    EXPECT_CONTAINS(error_of([&] { t->context(); }).message(), "[3] is of a context that is gone");
    EXPECT_CONTAINS(error_of([&] { t->host<float>(); }).message(), "context that is gone");
    EXPECT_CONTAINS(error_of([&] { ops::scale(*t, 2); }).message(), "context that is gone");
  }
  EXPECT_EQ(mine[2], 3);
}

std::vector<void*> addresses_of_a_step(Context& c, int64_t n, bool keep_order = true) {
  Step step(c);
  std::vector<Tensor> t{Tensor::empty(c, {n}), Tensor::empty(c, {2 * n})};
  std::vector<void*> p;
  for (const Tensor& x : t) p.push_back(x.bytes());
  {
    const Tensor inner = ops::scale(t[0], 1);
    p.push_back(inner.bytes());
  }
  p.push_back(Tensor::empty(c, {keep_order ? n : 1}).bytes());
  return p;
}

TEST(memory, the_arena_gives_the_same_addresses_in_every_step) {
  Context c;
  addresses_of_a_step(c, 300);  // sizes the arena
  const auto second = addresses_of_a_step(c, 300), third = addresses_of_a_step(c, 300);
  EXPECT_EQ(second, third);
  EXPECT_EQ(std::set<void*>(second.begin(), second.end()).size(), second.size()) << "no block is handed out twice within a step";
  const int64_t held = c.memory().held_bytes();
  addresses_of_a_step(c, 300);
  EXPECT_EQ(c.memory().held_bytes(), held);
}

TEST(memory, the_arena_grows_after_a_larger_step) {
  Context c;
  addresses_of_a_step(c, 100);
  addresses_of_a_step(c, 100);
  addresses_of_a_step(c, 5000);  // the rest comes from the cache
  const auto one = addresses_of_a_step(c, 5000), two = addresses_of_a_step(c, 5000);
  EXPECT_EQ(one, two);
  const auto small = addresses_of_a_step(c, 100);
  EXPECT_EQ(small[0], one[0]) << "a smaller step uses the same arena";
}

TEST(memory, a_tensor_of_a_step_is_an_error_once_the_step_has_ended) {
  Context c;
  addresses_of_a_step(c, 10);
  Tensor kept, view;
  {
    Step step(c);
    kept = Tensor::empty(c, {10});
    view = kept.view({5, 2});
    EXPECT_NE(kept.bytes(), nullptr);
  }
  for (const Tensor& t : {kept, view}) EXPECT_CONTAINS(error_of([&] { t.bytes(); }).message(), "a step that has ended");
  {
    Step step(c);
    error_of([&] { kept.bytes(); });
    error_of([&] { ops::add(kept, kept); });
  }
}

TEST(memory, tensors_made_before_a_step_outlive_it) {
  Context c;
  addresses_of_a_step(c, 10);
  const Tensor t = tensor(c, {2}, {1, 2});
  { Step step(c); }
  EXPECT_EQ(t.host<float>(), (std::vector<float>{1, 2}));
}

TEST(memory, steps_do_not_nest) {
  Context c;
  {
    Step step(c);
    error_of([&] { Step second(c); });
  }
  Step again(c);
}

TEST(memory, a_poisoned_arena_holds_nan) {
  Context c;
  addresses_of_a_step(c, 50);
  c.memory().poison_arena = true;
  Step step(c);
  for (float v : Tensor::empty(c, {50}).host<float>()) EXPECT_TRUE(std::isnan(v));
  for (float v : Tensor::zeros(c, {50}).host<float>()) EXPECT_EQ(v, 0);
}

struct Limited {
  size_t limit = 0, used = 0, calls = 0;
  std::map<void*, size_t> blocks = {};
  ExternalAllocator allocator() {
    return {[this](size_t n) -> void* {
              ++calls;
              if (used + n > limit) return nullptr;
              void* p = std::aligned_alloc(256, n);
              blocks[p] = n;
              used += n;
              return p;
            },
            [this](void* p) {
              used -= blocks.at(p);
              blocks.erase(p);
              std::free(p);
            }};
  }
};

TEST(memory, out_of_memory_names_who_holds_what) {
  Limited limited{.limit = 100 << 10};
  {
    Context c({}, 0, limited.allocator());
    const Tensor weights = Tensor::empty(c, {10000}, DType::f32, "parameters"), a = Tensor::empty(c, {2000}, DType::f32, "activation"),
                 b = Tensor::empty(c, {2000}, DType::f32, "activation");
    const Error e = error_of([&] { Tensor::empty(c, {20000}, DType::f32, "gradients"); });
    EXPECT_EQ(e.code(), ErrorCode::machine);
    for (const char* part : {"out of memory", "gradients", "of parameters", "39.", "in 2 of activation", "KiB"}) EXPECT_CONTAINS(std::string(e.what()), part);
    EXPECT_LT(e.message().find("parameters"), e.message().find("activation")) << "largest first";
    // The error leaves everything usable.
    EXPECT_NO_THROW(Tensor::empty(c, {1000}));
  }
  EXPECT_EQ(limited.used, 0u) << "what an embedder lends comes back";
  EXPECT_GT(limited.calls, 0u);
}

TEST(memory, half_an_allocator_is_an_error) {
  Limited limited;
  const ExternalAllocator whole = limited.allocator();
  EXPECT_CONTAINS(error_of([&] { Context c({}, 0, {whole.alloc, {}}); }).message(), "alloc alone");
  EXPECT_CONTAINS(error_of([&] { Context c({}, 0, {{}, whole.free}); }).message(), "free alone");
}

TEST(memory, an_allocator_that_does_not_align_is_an_error) {
  int held = 0;
  ExternalAllocator odd;
  odd.alloc = [&](size_t bytes) -> void* { return ++held, static_cast<char*>(std::aligned_alloc(256, bytes + 256)) + 16; };
  odd.free = [&](void* p) { --held, std::free(static_cast<char*>(p) - 16); };
  Context c({}, 0, odd);
  EXPECT_CONTAINS(error_of([&] { Tensor::empty(c, {8}); }).message(), "no multiple of 256 bytes");
  EXPECT_EQ(held, 0);
}

TEST(memory, the_cache_is_emptied_before_giving_up) {
  Limited limited{.limit = 100 << 10};
  Context c({}, 0, limited.allocator());
  { const Tensor t = Tensor::empty(c, {20000}); }
  EXPECT_EQ(limited.used, 80128u) << "80000 bytes in the cache";
  EXPECT_NO_THROW(Tensor::empty(c, {10000}));
}

TEST(memory, steps_run_without_an_arena_where_it_does_not_fit) {
  Limited limited{.limit = 64 << 10};
  Context c({}, 0, limited.allocator());
  const Tensor held = Tensor::empty(c, {4000});
  for (int i = 0; i < 4; ++i) {
    Step step(c);
    for (int j = 0; j < 10; ++j) Tensor::zeros(c, {2000});  // 80 KB in all, 8 KB at a time
  }
}

}  // namespace
}  // namespace panvae::test
