// Who computes a call: names, the environment, the file of choices, and the choice itself with made-up timings.
#include "kernels/provider.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/dynamic_library.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "kernels/kernels.h"
#include "tests/base/helpers.h"

namespace panvae::test {
namespace {

ProviderSettings from(std::map<std::string, std::string> environment) {
  return ProviderSettings::from_environment([=](const char* name) -> const char* {
    const auto at = environment.find(name);
    return at == environment.end() ? nullptr : at->second.c_str();
  });
}

ProviderCall product(int64_t M, int64_t N, int64_t K, int flags = 0, MathMode math = MathMode::tf32) {
  return {ProviderOp::matmul, 4, math, flags, {M, N, K}};
}
const ProviderPlace kHere{"a card", "cuBLASLt 1.2.3"};

// Warnings of the library while this lives.
struct Warnings {
  std::vector<std::string> lines;
  log::Sink before = log::set_sink([this](log::Level level, std::string_view line) {
    if (level == log::Level::warning) lines.emplace_back(line);
  });
  ~Warnings() { log::set_sink(before); }
};

TEST(ProviderSettings, FollowTheEnvironment) {
  EXPECT_EQ(from({}).provider, Provider::automatic);
  EXPECT_FALSE(from({}).measure);
  EXPECT_EQ(from({{"PANVAE_PROVIDER", ""}}).provider, Provider::automatic);
  EXPECT_EQ(from({{"PANVAE_PROVIDER", "auto"}}).provider, Provider::automatic);
  EXPECT_EQ(from({{"PANVAE_PROVIDER", "ours"}}).provider, Provider::ours);
  EXPECT_EQ(from({{"PANVAE_PROVIDER", "vendor"}}).provider, Provider::vendor);
  const ProviderSettings file = from({{"PANVAE_PROVIDER", "some/choices.json"}});
  EXPECT_EQ(file.provider, Provider::automatic);
  EXPECT_EQ(file.file, "some/choices.json");
  EXPECT_FALSE(file.measure);
  const ProviderSettings tune = from({{"PANVAE_TUNE", "choices"}, {"PANVAE_PROVIDER", "auto"}});
  EXPECT_EQ(tune.file, "choices");
  EXPECT_TRUE(tune.measure);
}

TEST(ProviderSettings, WordsWithoutMeaningAreErrors) {
  const Error unknown = error_of([] { from({{"PANVAE_PROVIDER", "cublas"}}); });
  EXPECT_EQ(unknown.code(), ErrorCode::usage);
  EXPECT_CONTAINS(unknown.what(), "PANVAE_PROVIDER");
  EXPECT_CONTAINS(unknown.what(), "'cublas'");
  EXPECT_CONTAINS(unknown.what(), "auto, ours, vendor");
  EXPECT_CONTAINS(error_of([] { from({{"PANVAE_PROVIDER", "ours"}, {"PANVAE_TUNE", "x"}}); }).what(), "set one of the two");
  EXPECT_CONTAINS(error_of([] { from({{"PANVAE_PROVIDER", "x.json"}, {"PANVAE_TUNE", "y"}}); }).what(), "set one of the two");
  EXPECT_CONTAINS(error_of([] { ProviderSettings::from_words(".json", "", "--provider", "--tune"); }).what(), "--provider: no provider '.json'");
}

TEST(ProviderCall, HasANameThatTellsCallsApart) {
  const ProviderCall c = product(256, 1024, 19421, ProviderCall::transpose_b | ProviderCall::bias | ProviderCall::relu);
  EXPECT_EQ(c.str(), "matmul/f32/tf32/M256xN1024xK19421/nt+bias+relu");
  ProviderCall v{ProviderOp::conv1d_grad_input, 8, MathMode::ieee, ProviderCall::accumulate, {1, 2, 3, 4, 5, 6, 7, 8, 9}};
  EXPECT_EQ(v.str(), "conv1d_grad_input/f64/ieee/B1xCi2xLi3xCo4xLo5xK6xs7xp8xd9/plain+accumulate");
  std::vector<ProviderCall> calls{c, v};
  for (size_t i = 0; i < 9; ++i) {
    ProviderCall other = v;
    other.sizes[i] += 10;
    calls.push_back(other);
  }
  for (const int flag : {1, 2, 4, 8, 16, 32}) calls.push_back(product(256, 1024, 19421, flag));
  for (const MathMode m : {MathMode::ieee, MathMode::bf16}) calls.push_back(product(256, 1024, 19421, 0, m));
  std::set<std::string> names;
  std::set<size_t> hashes;
  for (const ProviderCall& call : calls) {
    EXPECT_TRUE(names.insert(call.str()).second) << call.str();
    EXPECT_TRUE(hashes.insert(ProviderCallHash()(call)).second) << call.str();
  }
}

// A contest with made-up times (the next of each list at every turn) and a made-up difference.
struct Made {
  std::vector<double> ours{3, 1, 2, 9, 9};
  std::vector<std::vector<double>> vendor{{4, 4, 4, 4, 4}};  // of each of its ways
  double staged = 1000, warpgroups = 0;                      // of our other fills, in each turn; 0: there is none
  std::string difference;                                    // of `wrong`
  std::set<size_t> wrong{0};                                 // ways
  bool declines = false;
  std::string fails, wrong_by_warpgroups;
  int runs_of_ours = 0, runs_of_vendor = 0;
  ProviderChoice decide() {
    size_t turn_of_ours = 0, last = 0;
    std::vector<size_t> turns(vendor.size());
    std::function<double()> time;
    int fresh = 0;
    bool by_warpgroups = false;
    ProviderContest c;
    c.ours = [&](ProductFill fill) {
      ++runs_of_ours;
      time = [&, fill] { return fill == ProductFill::staged ? staged : ours.at(turn_of_ours++); };
    };
    c.candidates = vendor.size();
    c.fresh = [&] { ++fresh; };
    c.vendor = [&](size_t way) {
      ++runs_of_vendor;
      last = way;
      time = [&, way] { return vendor[way].at(turns[way]++); };
      if (!fails.empty()) fail_machine(fails);
      return !declines;
    };
    if (warpgroups > 0) c.ours_by_warpgroups = [&] { by_warpgroups = true, time = [&] { return warpgroups; }; };
    c.difference = [&] {
      if (by_warpgroups) {
        EXPECT_EQ(fresh, static_cast<int>(vendor.size()) + 1);
        return wrong_by_warpgroups;
      }
      EXPECT_EQ(fresh, static_cast<int>(last) + 1) << "none is compared where another one has added";
      return wrong.count(last) ? difference : "";
    };
    c.microseconds = [&](const std::function<void()>& run) {
      run();
      return time();
    };
    return panvae::decide(c);
  }
};

TEST(ProviderChoice, TheFasterMedianWins) {
  Made even;
  const ProviderChoice ours = even.decide();
  EXPECT_EQ(ours.provider, Provider::ours);
  EXPECT_EQ(ours.ours_us, 3);
  EXPECT_EQ(ours.vendor_us, 4);
  EXPECT_EQ(ours.reason, "");
  Made slow;
  slow.vendor = {{9, 1, 1, 9, 1}};
  EXPECT_EQ(slow.decide().provider, Provider::vendor);
  Made tie;
  tie.ours = tie.vendor[0];
  EXPECT_EQ(tie.decide().provider, Provider::vendor) << "the default, where there is nothing to gain";
}

TEST(ProviderChoice, TheFasterFillIsOurs) {
  EXPECT_EQ(Made{}.decide().fill, ProductFill::pipelined);
  Made staged;
  staged.ours = {9, 9, 9, 9, 9}, staged.staged = 3.5;
  const ProviderChoice c = staged.decide();
  EXPECT_EQ(c.fill, ProductFill::staged);
  EXPECT_EQ(c.ours_us, 3.5);
  EXPECT_EQ(c.provider, Provider::ours);
  staged.declines = true;
  EXPECT_EQ(staged.decide().fill, ProductFill::staged) << "also where the vendor has lost already";
}

TEST(ProviderChoice, OursByWarpgroupsIfTheyAreRight) {
  Made fast;
  fast.warpgroups = 2.5;
  EXPECT_EQ(fast.decide().fill, ProductFill::warpgroups);
  EXPECT_EQ(fast.decide().ours_us, 2.5);
  fast.vendor = {{1, 1, 1, 1, 1}};
  EXPECT_EQ(fast.decide().provider, Provider::vendor);
  fast.warpgroups = 3;
  EXPECT_EQ(fast.decide().fill, ProductFill::pipelined) << "whose bits stay the same, where there is nothing to gain";
  fast.warpgroups = 0.5;
  fast.wrong_by_warpgroups = "element 3 is 1, and 2 by ours";
  std::vector<std::string> lines;
  const log::Sink before = log::set_sink([&](log::Level, std::string_view line) { lines.emplace_back(line); });
  const ProviderChoice c = fast.decide();
  log::set_sink(before);
  EXPECT_EQ(c.fill, ProductFill::pipelined);
  EXPECT_EQ(c.provider, Provider::vendor);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_CONTAINS(lines[0], "the result of our product by warpgroups is another: element 3");
}

TEST(ProviderChoice, AResultThatDiffersLosesHoweverFast) {
  Made wrong;
  wrong.vendor = {{0.1, 0.1, 0.1, 0.1, 0.1}};
  wrong.difference = "element 3 is 1, and 2 by ours";
  const ProviderChoice c = wrong.decide();
  EXPECT_EQ(c.provider, Provider::ours);
  EXPECT_CONTAINS(c.reason, "element 3 is 1");
  EXPECT_EQ(wrong.runs_of_vendor, 1) << "what is wrong is not timed";
}

TEST(ProviderChoice, TheVendorsFastestRightWayIsItsOwn) {
  Made many;
  many.vendor = {{4, 4, 4, 4, 4}, {1, 1, 1, 1, 1}, {2, 9, 2, 9, 2}, {2, 2, 2, 2, 2}};
  many.difference = "element 3 is 1, and 2 by ours";
  many.wrong = {1};
  const ProviderChoice c = many.decide();
  EXPECT_EQ(c.provider, Provider::vendor);
  EXPECT_EQ(c.candidates, 4u);
  EXPECT_EQ(c.candidate, 2u) << "not the wrong one; of two that are as fast the one that the library prefers";
  EXPECT_EQ(c.vendor_us, 2);
  EXPECT_EQ(c.reason, "");
  EXPECT_EQ(many.runs_of_vendor, 4 + 3 * 5);
  many.wrong = {0, 1, 2, 3};
  EXPECT_CONTAINS(many.decide().reason, "element 3 is 1");
  many.wrong = {};
  many.ours = {0.5, 0.5, 0.5, 0.5, 0.5};
  EXPECT_EQ(many.decide().provider, Provider::ours);
}

TEST(ProviderChoice, ALibraryThatDeclinesOrFailsLoses) {
  Made declines;
  declines.declines = true;
  EXPECT_EQ(declines.decide().provider, Provider::ours);
  Made fails;
  fails.fails = "no kernel image";
  const ProviderChoice c = fails.decide();
  EXPECT_EQ(c.provider, Provider::ours);
  EXPECT_CONTAINS(c.reason, "no kernel image");
}

TEST(ProviderTable, WithoutAMeasurementItIsTheVendor) {
  ProviderTable table;
  int measured = 0;
  auto measure = [&] { return ++measured, ProviderChoice{Provider::ours, 1, 2, ""}; };
  EXPECT_EQ(table.choose(Provider::automatic, kHere, product(1, 2, 3), measure), Provider::vendor);
  EXPECT_EQ(measured, 0) << "nothing is measured unless asked for";
  EXPECT_EQ(table.choose(Provider::ours, kHere, product(1, 2, 3), measure), Provider::ours) << "the stream's word";
  table.configure({Provider::ours, "", false});
  EXPECT_EQ(table.choose(Provider::automatic, kHere, product(1, 2, 3), measure), Provider::ours) << "the environment's word";
  EXPECT_EQ(table.choose(Provider::vendor, kHere, product(1, 2, 3), measure), Provider::vendor) << "the stream's word goes first";
}

TEST(ProviderTable, MeasuresACallOnceAndKeepsItForTheNextProcess) {
  const Folder folder;
  const std::string file = folder.file("choices.json");
  int measured = 0;
  auto measure = [&] { return ++measured, ProviderChoice{Provider::ours, 1.5, 2.5, ""}; };
  auto vendor_wins = [&] { return ++measured, ProviderChoice{Provider::vendor, 5, 2.5, ""}; };
  {
    ProviderTable table({Provider::automatic, file, true});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(table.choose(Provider::automatic, kHere, product(1, 2, 3), measure), Provider::ours);
    EXPECT_EQ(measured, 1);
    EXPECT_EQ(table.choose(Provider::automatic, kHere, product(1, 2, 4), nullptr), Provider::vendor) << "no time to measure now";
    EXPECT_EQ(table.choose(Provider::automatic, kHere, product(1, 2, 4), vendor_wins), Provider::vendor) << "but later";
    EXPECT_EQ(measured, 2);
  }
  ProviderTable next({Provider::automatic, file, true});
  EXPECT_EQ(next.choose(Provider::automatic, kHere, product(1, 2, 3), measure), Provider::ours);
  EXPECT_EQ(next.choose(Provider::automatic, kHere, product(1, 2, 4), measure), Provider::vendor);
  EXPECT_EQ(measured, 2) << "both are known from the file";
  // Other devices, libraries and calls are other questions.
  EXPECT_EQ(next.choose(Provider::automatic, {"another card", kHere.library}, product(1, 2, 4), measure), Provider::ours);
  EXPECT_EQ(next.choose(Provider::automatic, {kHere.device, "cuBLASLt 1.2.4"}, product(1, 2, 4), measure), Provider::ours);
  EXPECT_EQ(next.choose(Provider::automatic, kHere, product(1, 2, 4, ProviderCall::bias), measure), Provider::ours);
  EXPECT_EQ(measured, 5);
  // The file alone, without measuring: what it knows holds, the rest is the default.
  ProviderTable reader({Provider::automatic, file, false});
  EXPECT_EQ(reader.choose(Provider::automatic, kHere, product(1, 2, 3), measure), Provider::ours);
  EXPECT_EQ(reader.choose(Provider::automatic, kHere, product(7, 7, 7), measure), Provider::vendor);
  EXPECT_EQ(measured, 5);
}

TEST(ProviderTable, GoesThroughJsonWhole) {
  ProviderTable table({Provider::automatic, "", true});
  table.choose(Provider::automatic, kHere, product(1, 2, 3), [] { return ProviderChoice{Provider::ours, 1.5, 0, "the library does not compute this"}; });
  table.choose(Provider::automatic, {"another card", "cuDNN 9.9.9"}, {ProviderOp::conv1d, 4, MathMode::ieee, 0, {1, 2, 3, 4, 5, 6, 1, 0, 1}}, [] {
    return ProviderChoice{Provider::vendor, 1.5, 1.25, ""};
  });
  const Json json = table.json();
  EXPECT_EQ(json["format"], 2);
  EXPECT_EQ(json["places"][0]["device"], "a card");
  EXPECT_EQ(json["places"][0]["library"], "cuBLASLt 1.2.3");
  EXPECT_EQ(json["places"][0]["choices"]["matmul/f32/tf32/M1xN2xK3/nn"]["provider"], "ours");
  ProviderTable other;
  EXPECT_EQ(other.take(json), "");
  EXPECT_EQ(other.json().dump(), json.dump());
}

TEST(ProviderTable, KeepsTheFill) {
  ProviderChoice staged;
  staged.provider = Provider::ours;
  staged.fill = ProductFill::staged;
  auto fill_of = [&](ProviderTable& table) {
    ProviderMeans means;
    EXPECT_EQ(table.choose(
                  Provider::automatic, kHere, product(1, 2, 3), [&] { return staged; }, &means),
              Provider::ours);
    return means.fill;
  };
  ProviderTable table({Provider::automatic, "", true}), other;
  EXPECT_EQ(fill_of(table), ProductFill::staged) << "as measured";
  EXPECT_EQ(fill_of(table), ProductFill::staged) << "as known";
  EXPECT_EQ(table.json()["places"][0]["choices"]["matmul/f32/tf32/M1xN2xK3/nn"]["fill"], "staged");
  EXPECT_EQ(other.take(table.json()), "");
  EXPECT_EQ(fill_of(other), ProductFill::staged) << "as read";
  Json json = table.json();
  json["places"][0]["choices"]["matmul/f32/tf32/M1xN2xK3/nn"]["fill"] = "poured";
  EXPECT_CONTAINS(other.take(json), "'poured' is no fill");
}

TEST(ProviderTable, KeepsTheAlgorithm) {
  ProviderChoice fifth{Provider::vendor};
  fifth.algorithm.named = true;
  for (size_t i = 0; i < fifth.algorithm.bytes.size(); ++i) fifth.algorithm.bytes[i] = static_cast<unsigned char>(7 * i + 250);
  const std::string hex = fifth.algorithm.hex();
  EXPECT_EQ(hex.size(), 128u);
  EXPECT_EQ(hex.substr(0, 8), "fa01080f");
  EXPECT_EQ(ProviderAlgorithm::from_hex(hex), fifth.algorithm);
  EXPECT_EQ(ProviderAlgorithm().hex(), "");
  const Folder folder;
  const std::string file = folder.file("choices.json");
  auto algorithm_of = [&](ProviderTable& table, const ProviderCall& call, Provider asked = Provider::automatic) {
    ProviderMeans means;
    EXPECT_EQ(table.choose(
                  asked, kHere, call, [&] { return fifth; }, &means),
              Provider::vendor);
    return means.algorithm;
  };
  ProviderTable table({Provider::automatic, file, true}), next({Provider::automatic, file, false});
  EXPECT_EQ(algorithm_of(table, product(1, 2, 3)), fifth.algorithm) << "as measured";
  EXPECT_EQ(algorithm_of(table, product(1, 2, 3)), fifth.algorithm) << "as known";
  EXPECT_EQ(algorithm_of(next, product(1, 2, 3)), fifth.algorithm) << "as read";
  EXPECT_FALSE(algorithm_of(next, product(1, 2, 4)).named) << "of what was not measured it is the library's first";
  EXPECT_FALSE(algorithm_of(next, product(1, 2, 3), Provider::vendor).named) << "and where nobody looks at the file";
  for (const std::string& wrong : {hex + "00", hex.substr(2), "g" + hex.substr(1), "+1" + hex.substr(2), std::string("fast")}) {
    Json json = table.json();
    json["places"][0]["choices"]["matmul/f32/tf32/M1xN2xK3/nn"]["algorithm"] = wrong;
    EXPECT_CONTAINS(next.take(json), "is no algorithm");
  }
}

// Files of programs that knew one algorithm a call: what they say holds.
TEST(ProviderTable, ReadsFilesOfTheFirstFormat) {
  const Folder folder;
  const std::string file = folder.file("choices.json");
  write_file(file, R"({"format": 1, "places": [{"device": "a card", "library": "cuBLASLt 1.2.3", "choices": {
    "matmul/f32/tf32/M1xN2xK3/nn": {"provider": "vendor", "ours_us": 2, "vendor_us": 1},
    "matmul/f32/tf32/M1xN2xK4/nn": {"provider": "ours", "ours_us": 2, "vendor_us": 3, "fill": "staged"}}}]})");
  std::vector<std::string> lines;
  struct Restore {
    log::Sink before;
    ~Restore() { log::set_sink(before); }
  } restore{log::set_sink([&](log::Level, std::string_view line) { lines.emplace_back(line); })};
  ProviderTable table({Provider::automatic, file, true});
  ProviderMeans means;
  const auto measure = [] { return ProviderChoice{Provider::vendor, 2, 1}; };
  EXPECT_EQ(table.choose(Provider::automatic, kHere, product(1, 2, 3), measure, &means), Provider::vendor);
  EXPECT_FALSE(means.algorithm.named);
  EXPECT_EQ(table.choose(Provider::automatic, kHere, product(1, 2, 4), measure, &means), Provider::ours);
  EXPECT_EQ(means.fill, ProductFill::staged);
  ASSERT_EQ(lines.size(), 1u) << "said once, and nothing was measured";
  EXPECT_CONTAINS(lines[0], "is of format 1, which knows no algorithms: its choices hold");
  table.choose(Provider::automatic, kHere, product(1, 2, 5), measure);
  const Json written = Json::parse(read_file(file));
  EXPECT_EQ(written["format"], 2);
  EXPECT_EQ(written["places"][0]["choices"].size(), 3u);
}

TEST(ProviderTable, WhatItCannotReadIsIgnoredWithAReasonAndLeftAlone) {
  ProviderTable table;
  EXPECT_CONTAINS(table.take(Json::parse(R"({"format": 3, "places": []})")), "its format is 3, and this program reads 1 to 2");
  EXPECT_CONTAINS(table.take(Json::parse(R"({"format": 0, "places": []})")), "its format is 0");
  EXPECT_CONTAINS(table.take(Json::parse(R"({"places": []})")), "format");
  EXPECT_CONTAINS(table.take(Json::parse(R"([])")), "");
  EXPECT_CONTAINS(table.take(Json::parse(R"({"format": 1, "places": [{"device": "d", "library": "l", "choices": {"x": {"provider": "nobody"}}}]})")),
                  "'nobody'");
  const Folder folder;
  const std::string file = folder.file("choices.json");
  for (const std::string content : {"{\"format\": 3}", "not JSON"}) {
    write_file(file, content);
    const Warnings warnings;
    ProviderTable tuned({Provider::automatic, file, true});
    EXPECT_EQ(tuned.choose(Provider::automatic, kHere, product(1, 2, 3), [] { return ProviderChoice{Provider::ours, 1, 2, ""}; }), Provider::ours);
    EXPECT_EQ(read_file(file), content);
    ASSERT_EQ(warnings.lines.size(), 1u);
    EXPECT_CONTAINS(warnings.lines[0], "is ignored, and not written to");
  }
}

TEST(ProviderTable, AFileThatIsNamedMustBeThere) {
  ProviderTable table({Provider::automatic, "/nowhere/choices.json", false});
  EXPECT_EQ(error_of([&] { table.choose(Provider::automatic, kHere, product(1, 2, 3), nullptr); }).code(), ErrorCode::input);
}

TEST(ProviderTable, AMeasurementThatFailsIsNotWrittenDown) {
  const Folder folder;
  const std::string file = folder.file("choices.json");
  const Warnings warnings;
  ProviderTable table({Provider::automatic, file, true});
  int tries = 0;
  auto measure = [&]() -> ProviderChoice { ++tries, fail_machine("out of memory"); };
  for (int i = 0; i < 2; ++i) EXPECT_EQ(table.choose(Provider::automatic, kHere, product(1, 2, 3), measure), Provider::vendor);
  EXPECT_EQ(tries, 1);
  EXPECT_FALSE(std::filesystem::exists(file));
  ASSERT_EQ(warnings.lines.size(), 1u);
  EXPECT_CONTAINS(warnings.lines[0], "out of memory");
}

// On the cpu device: our product against itself, against a wrong one, and against one that rounds its operands.
class Measuring : public testing::Test {
 protected:
  ProviderChoice measure(MathMode math, const std::function<void(std::vector<float>&)>& spoil) {
    const int64_t M = 33, N = 17, K = 129;
    Stream stream{Device{}};
    auto ours = [&](const std::vector<const float*>& in, float* out) { k::matmul<float>(stream, in[0], false, in[1], false, out, M, N, K, Epilogue<float>{}); };
    auto vendor = [&](const std::vector<const float*>& in, float* out, size_t) {
      std::vector<float> a(in[0], in[0] + M * K);
      spoil(a);
      k::matmul<float>(stream, a.data(), false, in[1], false, out, M, N, K, Epilogue<float>{});
      return true;
    };
    return measure_providers<float>(stream, {M * K, K * N}, M * N, provider_tolerance(math, 4, K), ours, vendor);
  }
};

TEST_F(Measuring, AcceptsWhatTheMathModeAllows) {
  const ProviderChoice same = measure(MathMode::ieee, [](auto&) {});
  EXPECT_EQ(same.reason, "");
  EXPECT_GT(same.ours_us, 0);
  EXPECT_GT(same.vendor_us, 0);
  auto cut = [](int bits) {
    return [=](std::vector<float>& a) {
      for (float& x : a) x = std::bit_cast<float>(std::bit_cast<uint32_t>(x) & ~((1u << bits) - 1));
    };
  };
  EXPECT_EQ(measure(MathMode::tf32, cut(13)).reason, "");
  EXPECT_EQ(measure(MathMode::bf16, cut(16)).reason, "");
  EXPECT_NE(measure(MathMode::ieee, cut(13)).reason, "") << "tf32 is no f32";
  EXPECT_NE(measure(MathMode::tf32, cut(19)).reason, "");
}

TEST_F(Measuring, NoticesAWrongElement) {
  const ProviderChoice c = measure(MathMode::bf16, [](std::vector<float>& a) { std::swap(a[5], a[6]); });
  EXPECT_EQ(c.provider, Provider::ours);
  EXPECT_CONTAINS(c.reason, "the result of the library is another: element");
  EXPECT_EQ(measure(MathMode::bf16, [](std::vector<float>& a) { a[7] = NAN; }).provider, Provider::ours) << "NaN is a difference";
}

// On simt, which has them. All fills round operands alike, so the tolerance of ieee is enough.
TEST_F(Measuring, TriesOursByWarpgroups) {
  const int64_t M = 33, N = 17, K = 129;
  Stream stream({DeviceType::simt, 0});
  stream.math = MathMode::tf32;
  std::set<ProductFill> fills;
  auto ours = [&](const std::vector<const float*>& in, float* out) {
    fills.insert(stream.fill);
    k::matmul<float>(stream, in[0], false, in[1], false, out, M, N, K, Epilogue<float>{});
  };
  auto vendor = [&](const std::vector<const float*>&, float*, size_t) { return false; };
  const auto measure = [&](bool by_warpgroups) {
    return measure_providers<float>(stream, {M * K, K * N}, M * N, provider_tolerance(MathMode::ieee, 4, K), ours, vendor, {}, by_warpgroups);
  };
  EXPECT_GT(measure(false).ours_us, 0);
  EXPECT_EQ(fills, (std::set<ProductFill>{ProductFill::staged, ProductFill::pipelined}));
  std::vector<std::string> lines;
  const log::Sink before = log::set_sink([&](log::Level, std::string_view line) { lines.emplace_back(line); });
  EXPECT_GT(measure(true).ours_us, 0);
  log::set_sink(before);
  EXPECT_TRUE(fills.count(ProductFill::warpgroups));
  EXPECT_TRUE(lines.empty()) << lines[0];
}

// Each way is compared with what ours gave at first: wrong ones before and behind a right one, which adds to what was there.
TEST_F(Measuring, ComparesEveryWayWithTheSameResult) {
  const int64_t n = 1000;
  Stream stream{Device{}};
  int by_ours = 0;
  const auto add = [](const std::vector<const float*>& in, float* out, float factor) {
    for (int64_t i = 0; i < n; ++i) out[i] += factor * in[0][i];
  };
  auto ours = [&](const std::vector<const float*>& in, float* out) { add(in, out, 1), ++by_ours; };
  std::vector<size_t> ways;
  auto vendor = [&](const std::vector<const float*>& in, float* out, size_t way) {
    if (by_ours == 1) ways.push_back(way);  // before the timing
    add(in, out, way == 2 || way == 4 ? 1.0f : 1.001f);
    return way != 3;
  };
  const ProviderChoice c = measure_providers<float>(stream, {n}, n, 1e-6, ours, vendor, [](const std::vector<const float*>&, float*) { return size_t{6}; });
  EXPECT_EQ(ways, (std::vector<size_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(c.reason, "");
  EXPECT_TRUE(c.candidate == 2 || c.candidate == 4) << c.candidate;
}

TEST(DynamicLibrary, SaysWhyItIsAbsent) {
  DynamicLibrary none(std::array<std::string, 2>{"libpanvae_no_such.so.1", "libpanvae_no_such.so.2"});
  EXPECT_FALSE(none.loaded());
  EXPECT_CONTAINS(none.why_absent(), "libpanvae_no_such.so.1");
  EXPECT_CONTAINS(none.why_absent(), "libpanvae_no_such.so.2");
  double (*function)(double) = nullptr;
  EXPECT_FALSE(none.bind("cos", function));
  DynamicLibrary maths(std::array<std::string, 2>{"libpanvae_no_such.so.1", "libm.so.6"});
  ASSERT_TRUE(maths.loaded()) << maths.why_absent();
  EXPECT_EQ(maths.name(), "libm.so.6");
  EXPECT_EQ(maths.why_absent(), "");
  ASSERT_TRUE(maths.bind("cos", function));
  EXPECT_EQ(function(0), 1);
  EXPECT_FALSE(maths.bind("panvae_no_such_function", function));
  EXPECT_FALSE(maths.loaded());
  EXPECT_CONTAINS(maths.why_absent(), "libm.so.6 lacks the function panvae_no_such_function");
}

// Loads what this machine has. Every function that we call must be there; a library that is not is told, and no failure.
TEST(VendorLibraries, LoadWhereTheyAre) {
  for (const VendorLibrary& l : vendor_libraries()) {
    std::printf("%s: %s\n", l.name, l.why_absent.empty() ? l.version.c_str() : l.why_absent.c_str());
    EXPECT_NE(l.version.empty(), l.why_absent.empty());
    EXPECT_EQ(l.why_absent.find("lacks the function"), std::string::npos) << l.why_absent;
  }
  EXPECT_EQ(why_no_vendor(ProviderOp::matmul), vendor_libraries()[0].why_absent);
  EXPECT_EQ(why_no_vendor(ProviderOp::conv1d_grad_weight), vendor_libraries()[1].why_absent);
}

}  // namespace
}  // namespace panvae::test
