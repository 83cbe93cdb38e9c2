// What simt streams record, and that they refuse what a GPU cannot capture.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace panvae::test {
namespace {

struct SimtStream : Stream {
  SimtStream() : Stream({DeviceType::simt, 0}) { simt = {simt::Order::forward, 1, 1}; }
  void copy(void* to, const void* from, size_t bytes, CopyKind kind) { backend().copy(0, to, from, bytes, kind, handle()); }
};

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
#define EXPECT_CONTAINS(text, part) EXPECT_TRUE(contains(text, part)) << "'" << (text) << "' lacks '" << (part) << "'"

// What a second stream was told is done as late as allowed, just before what waits for it, and with every second launch as early, just
// behind what it waits for.
TEST(graph, a_stream_that_joins_is_done_when_it_is_waited_for) {
  SimtStream main, side;
  std::vector<float> x{1, 2}, y(2, 0.0f), z(2, 0.0f);
  const auto order = [&](SimtStream& earlier, SimtStream& later) { main.backend().order(0, earlier.handle(), later.handle()); };
  // y = 2 x aside; meanwhile x += 1, which y must not see unless it is waited for before.
  const auto capture = [&](bool wait_before) {
    return main.capture([&] {
      order(main, side);
      k::scale<float>(side, x.data(), y.data(), 2, 2.0f);
      side.copy(z.data(), y.data(), 2 * sizeof(float), CopyKind::device_to_device);
      side.backend().fill_bytes(0, y.data() + 1, 0, sizeof(float), side.handle());
      if (wait_before) order(side, main);
      k::axpy<float>(main, x.data(), x.data(), 2, 1.0f);
      if (!wait_before) order(side, main);
    });
  };
  const Graph right = capture(true), wrong = capture(false);
  EXPECT_EQ(y, (std::vector<float>{0, 0})) << "nothing was done";
  for (const char* how : {"late", "early"}) {
    x = {1, 2};
    right.launch(main);
    EXPECT_EQ(x, (std::vector<float>{2, 4})) << how;
    EXPECT_EQ(z, (std::vector<float>{2, 4})) << how;
    EXPECT_EQ(y, (std::vector<float>{2, 0})) << how;
  }
  x = {1, 2};
  wrong.launch(main);
  EXPECT_EQ(z, (std::vector<float>{4, 8})) << "what overwrites an operand too early is seen";
  x = {1, 2};
  wrong.launch(main);
  EXPECT_EQ(z, (std::vector<float>{2, 4})) << "early";
  EXPECT_CONTAINS(right.difference(wrong), "against");
  EXPECT_EQ(right.difference(capture(true)), "");
  k::scale<float>(side, x.data(), y.data(), 2, 10.0f);
  EXPECT_EQ(y, (std::vector<float>{20, 40})) << "after the capture the stream works at once again";
  EXPECT_CONTAINS(error_of([&] {
                    main.capture([&] {
                      order(main, side);
                      k::scale<float>(side, x.data(), y.data(), 2, 2.0f);
                    });
                  }),
                  "nobody has waited");
}

// The other way round: the second stream must wait for what it reads, and for those who still read what it writes.
TEST(graph, a_stream_that_joined_waits_again_for_what_came_since) {
  SimtStream main, side;
  std::vector<float> x(2), y(2), z(2);
  const auto order = [&](SimtStream& earlier, SimtStream& later) { main.backend().order(0, earlier.handle(), later.handle()); };
  // Aside y = 2 x, which z has y of before; x += x is not to be missed.
  const auto capture = [&](bool wait_again) {
    return main.capture([&] {
      order(main, side);
      k::axpy<float>(main, x.data(), x.data(), 2, 1.0f);
      k::copy<float>(main, y.data(), z.data(), 2);
      if (wait_again) order(main, side);
      k::scale<float>(side, x.data(), y.data(), 2, 2.0f);
      order(side, main);
    });
  };
  const auto launched = [&](const Graph& graph) {
    x = {1, 2}, y = {7, 7}, z = {0, 0};
    graph.launch(main);
    return std::pair(y, z);
  };
  const std::pair expected{std::vector<float>{4, 8}, std::vector<float>{7, 7}};
  const Graph right = capture(true), wrong = capture(false);
  for (int launch = 0; launch < 4; ++launch) EXPECT_EQ(launched(right), expected) << launch;
  EXPECT_EQ(launched(wrong), expected) << "late";
  EXPECT_EQ(launched(wrong), std::pair(std::vector<float>({2, 4}), std::vector<float>({2, 4}))) << "what did not wait is seen";
  EXPECT_CONTAINS(right.difference(wrong), "a wait of the second stream against");
}

TEST(graph, records_without_doing_and_does_at_every_launch) {
  SimtStream s;
  std::vector<float> x{1, 2, 3}, y(3, 0.0f), z(3, 7.0f);
  float factor = 2;
  const Graph graph = s.capture([&] {
    EXPECT_TRUE(s.capturing());
    k::scale<float>(s, x.data(), y.data(), 3, factor);
    s.backend().fill_bytes(0, z.data(), 0, sizeof(float), s.handle());
    k::add<float>(s, y.data(), z.data(), z.data(), 3);
    s.copy(x.data(), z.data(), 3 * sizeof(float), CopyKind::device_to_device);
  });
  EXPECT_FALSE(s.capturing());
  EXPECT_EQ(y, (std::vector<float>{0, 0, 0})) << "nothing was done";
  EXPECT_EQ(z, (std::vector<float>{7, 7, 7}));
  factor = 100;  // the graph has the number of then
  graph.launch(s);
  EXPECT_EQ(y, (std::vector<float>{2, 4, 6}));
  EXPECT_EQ(x, (std::vector<float>{2, 11, 13}));
  graph.launch(s);  // and reads memory as it is now
  EXPECT_EQ(y, (std::vector<float>{4, 22, 26}));
  EXPECT_EQ(x, (std::vector<float>{4, 33, 39}));
  k::scale<float>(s, x.data(), y.data(), 3, 1.0f);
  EXPECT_EQ(y, x) << "after the capture the stream works at once again";
}

TEST(graph, an_empty_one_and_one_without_elements_do_nothing) {
  SimtStream s;
  s.capture([] {}).launch(s);
  float x = 1;
  s.capture([&] { k::scale<float>(s, &x, &x, 0, 5.0f); }).launch(s);
  EXPECT_EQ(x, 1);
  EXPECT_CONTAINS(error_of([&] { Graph().launch(s); }), "before anything was captured");
}

TEST(graph, what_a_gpu_cannot_capture_is_an_error_and_makes_the_capture_void) {
  SimtStream s;
  const Backend& b = s.backend();
  std::vector<float> x(4), host(4);
  void* event = b.event_create(0);
  b.event_record(event, s.handle());
  void *block = b.alloc(0, 64), *locked = b.alloc_host(0, 64);
  s.scratch(size_t{100});
  const struct {
    const char* what;
    std::function<void()> act;
  } acts[] = {
      {"waits for the stream", [&] { s.synchronize(); }},
      {"memory is taken from the device", [&] { b.alloc(0, 64); }},
      {"page-locked memory is taken", [&] { b.alloc_host(0, 64); }},
      {"memory of the host is copied to the device", [&] { s.copy(x.data(), host.data(), 16, CopyKind::host_to_device); }},
      {"memory of the device is copied to the host", [&] { s.copy(host.data(), x.data(), 16, CopyKind::device_to_host); }},
      {"an event is recorded", [&] { b.event_record(event, s.handle()); }},
      {"the time between events", [&] { b.event_milliseconds(event, event); }},
      {"bytes of scratch memory are asked for", [&] { s.scratch(size_t{10} << 20); }},
      {"captured within a capture", [&] { s.capture([] {}); }},
      {"a graph is launched", [&, done = std::make_shared<Graph>(s.capture([] {}))] { done->launch(s); }},
  };
  for (const auto& [what, act] : acts) {
    SCOPED_TRACE(what);
    EXPECT_CONTAINS(error_of([&] { s.capture(act); }), what);
    EXPECT_FALSE(s.capturing());
    // Whoever swallows the error gets no graph.
    const std::string text = error_of([&] { s.capture([&] { error_of(act); }); });
    if (!contains(what, "scratch") && !contains(what, "within a capture")) {
      EXPECT_CONTAINS(text, "the capture is void");
      EXPECT_CONTAINS(text, what);
    }
  }
  // Functions that must not throw: the end of the capture does.
  EXPECT_CONTAINS(error_of([&] { s.capture([&] { b.free(0, std::exchange(block, nullptr)); }); }), "void: memory was given back to the device");
  EXPECT_CONTAINS(error_of([&] { s.capture([&] { b.free_host(std::exchange(locked, nullptr)); }); }), "void: page-locked memory was given back");
  b.event_destroy(event);
  k::fill<float>(s, x.data(), 4, 3.0f);
  EXPECT_EQ(x, (std::vector<float>{3, 3, 3, 3})) << "the stream is usable after all of that";
}

TEST(graph, an_exception_of_the_work_comes_through_and_ends_the_capture) {
  SimtStream s;
  float x = 0;
  EXPECT_THROW(s.capture([&]() {
    k::fill<float>(s, &x, 1, 1.0f);
    throw std::runtime_error("mine");
  }),
               std::runtime_error);
  EXPECT_FALSE(s.capturing());
  k::fill<float>(s, &x, 1, 2.0f);
  EXPECT_EQ(x, 2);
}

// As in CUDA's thread-local mode: what others do is their business.
TEST(graph, other_threads_and_other_streams_work_on) {
  SimtStream s;
  float x = 0, y = 0, z = 0;
  const Graph graph = s.capture([&] {
    k::fill<float>(s, &x, 1, 1.0f);
    std::thread([&] {
      SimtStream other;
      other.backend().free(0, other.backend().alloc(0, 64));
      k::fill<float>(other, &y, 1, 2.0f);
    }).join();
    SimtStream beside;
    k::fill<float>(beside, &z, 1, 3.0f);
  });
  EXPECT_EQ(x, 0);
  EXPECT_EQ(y, 2);
  EXPECT_EQ(z, 3);
  graph.launch(s);
  EXPECT_EQ(x, 1);
}

TEST(graph, the_cpu_has_none_and_says_so) {
  Stream s({DeviceType::cpu, 0});
  EXPECT_CONTAINS(error_of([&] { s.capture([] {}); }), "captures none");
  EXPECT_FALSE(s.backend().why_no_graphs().empty());
  EXPECT_FALSE(s.capturing());
}

TEST(graph, names_the_call_in_which_two_differ) {
  SimtStream s;
  std::vector<float> x(16), y(16);
  auto recorded = [&](int64_t n, float factor, const float* from, uint32_t step) {
    return s.capture([=, &s, &x, &y] {
      s.backend().fill_bytes(0, x.data(), 0, 4, s.handle());
      k::scale<float>(s, from, y.data(), n, factor);
      k::random_normal<float>(s, y.data(), n, 0.0f, 1.0f, PhiloxKey{1, 2, step});
    });
  };
  const Graph first = recorded(8, 2, x.data(), 5), nan = recorded(8, NAN, x.data(), 5);
  EXPECT_EQ(first.difference(recorded(8, 2, x.data(), 5)), "");
  EXPECT_EQ(nan.difference(recorded(8, NAN, x.data(), 5)), "") << "a NaN equals itself";
  EXPECT_CONTAINS(first.difference(recorded(8, 3, x.data(), 5)), "has another argument");
  EXPECT_CONTAINS(first.difference(recorded(8, 3, x.data(), 5)), "elementwise.cu");
  EXPECT_CONTAINS(first.difference(recorded(8, 2, x.data() + 4, 5)), "has another argument");
  EXPECT_CONTAINS(first.difference(recorded(8, 2, x.data() + 1, 5)), "is another kernel") << "one without wide loads";
  EXPECT_CONTAINS(first.difference(recorded(4096, 2, x.data(), 5)), "has another grid");
  EXPECT_CONTAINS(first.difference(recorded(8, 2, x.data(), 6)), "random.cu");
  EXPECT_CONTAINS(first.difference(recorded(8, 2, x.data(), 6)), "has another argument 4");
  EXPECT_CONTAINS(first.difference(s.capture([&] { k::fill<float>(s, x.data(), 1, 0.0f); })), "against kernel");
  EXPECT_CONTAINS(first.difference(s.capture([&] { s.backend().fill_bytes(0, x.data(), 1, 4, s.handle()); })), "has another end or value");
  EXPECT_CONTAINS(first.difference(s.capture([&] { s.backend().fill_bytes(0, x.data(), 0, 4, s.handle()); })), "3 calls against 1");
}

// Scratch memory may move between captures; who keeps a graph can tell.
TEST(graph, scratch_memory_counts_its_moves) {
  SimtStream s;
  const int64_t before = s.scratch_moves();
  s.scratch(size_t{1000});
  EXPECT_EQ(s.scratch_moves(), before + 1);
  s.scratch(size_t{500});
  EXPECT_EQ(s.scratch_moves(), before + 1);
  s.scratch(size_t{1} << 20);
  EXPECT_EQ(s.scratch_moves(), before + 2);
}

}  // namespace
}  // namespace panvae::test
