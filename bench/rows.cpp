#include "bench/rows.h"

#include <regex.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace panvae::bench {

namespace {

bool has(const cases::OpCase& c, DType t) {
  return t == DType::f32 ? static_cast<bool>(c.f32) : static_cast<bool>(c.f64);
}

std::vector<DType> types_of(const cases::OpCase& c, const Options& o) {
  std::vector<DType> types;
  for (DType t : o.dtypes)
    if (has(c, t)) types.push_back(t);
  if (o.dtypes.empty()) types.push_back(has(c, DType::f32) ? DType::f32 : DType::f64);
  return types;
}

bool knows(Device device, MathMode m) {
  return device.type != DeviceType::cpu || m == MathMode::ieee;
}

template <class V>
bool asked_for(const std::vector<V>& list, const V& value) {
  return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
}

// The sizes of a case that are to be run, each once: layers of one shape occur in several networks.
std::vector<cases::Sizes> sizes_of(const cases::OpCase& c, const Options& o) {
  std::vector<cases::Sizes> sizes;
  const auto add = [&](const cases::Sizes& s) {
    if (std::find(sizes.begin(), sizes.end(), s) == sizes.end()) sizes.push_back(s);
  };
  if (o.shapes.empty()) std::for_each(c.bench.begin(), c.bench.end(), add);
  for (const auto& [name, s] : o.shapes)
    if (name == c.name) add(s);
  return sizes;
}

void check(const Options& o, Device device) {
  std::vector<std::string> names, providers;
  for (const cases::OpCase& c : cases::all_cases()) names.push_back(c.name);
  for (const Contender& p : all_contenders())
    if (p.device == device.type && std::find(providers.begin(), providers.end(), p.name) == providers.end()) providers.push_back(p.name);
  for (const auto& [name, sizes] : o.shapes) {
    const auto at = std::find(names.begin(), names.end(), name);
    if (at == names.end()) {
      const std::string near = nearest_name(name, names);
      fail_usage("--shape: no case " + quoted(name), "", near.empty() ? "--benchmark_list_tests lists them" : "did you mean " + near + "?");
    }
    const cases::OpCase& c = cases::all_cases()[static_cast<size_t>(at - names.begin())];
    const size_t count = c.sizes.front().size();
    if (sizes.size() != count) {
      const std::string dims = c.dims.empty() ? "" : fmt::format(", first {}", fmt::join(c.dims, ", "));
      fail_usage(fmt::format("--shape: {} takes {} sizes{}; {} are given", name, count, dims, sizes.size()), "",
                 fmt::format("one of its rows is --shape {}={}", name, fmt::join(c.bench.empty() ? c.sizes.back() : c.bench.front(), ",")));
    }
    // What the tests of a case never try means nothing to it: no elements of a kind, and other values of sizes without a name, which are
    // its switches.
    for (size_t i = 0; i < count; ++i) {
      int64_t least = c.sizes.front()[i], most = 0;
      for (const auto* list : {&c.sizes, &c.simt_sizes, &c.bench})
        for (const cases::Sizes& known : *list) least = std::min(least, known[i]), most = std::max(most, known[i]);
      const bool named = i < c.dims.size();
      if (named ? sizes[i] == 0 && least > 0 : sizes[i] < least || sizes[i] > most)
        fail_usage(
            fmt::format("--shape: size {} of {} is {}; the case knows {}", i + 1, name, sizes[i], named ? "1 and more" : fmt::format("{} to {}", least, most)));
    }
    if (const std::string why = c.misfit ? c.misfit(sizes) : ""; !why.empty())
      fail_usage(fmt::format("--shape: sizes of {} do not go together: {}", name, why));
  }
  for (MathMode m : o.modes)
    if (!knows(device, m)) fail_usage(fmt::format("--precision: there is no {} on {}", math_name(m), to_string(device)), "", "use ieee");
  for (const std::string& p : o.providers) {
    if (std::find(providers.begin(), providers.end(), p) == providers.end())
      fail_usage("--provider: there is no " + quoted(p) + " on " + to_string(device), "", fmt::format("use {}", fmt::join(providers, ", ")));
    if (const std::string why = contender(p, device.type)->why_absent(); !why.empty()) fail_machine("--provider: " + p + " is not here", why);
  }
}

}  // namespace

std::string Row::name() const {
  return fmt::format("{}/{}/{}/{}", op->name, type_name(dtype), cases::label_of(*op, sizes), contender->name);
}

std::vector<Row> make_rows(const Options& o, Device device) {
  check(o, device);
  std::vector<Row> rows;
  for (const cases::OpCase& c : cases::all_cases()) {
    if (!asked_for(o.modes, c.math) || !knows(device, c.math)) continue;
    for (const cases::Sizes& s : sizes_of(c, o))
      for (DType t : types_of(c, o))
        for (const Contender& p : all_contenders())
          if (p.device == device.type && p.covers(c) && asked_for(o.providers, p.name) && p.why_absent().empty()) rows.push_back({&c, &p, s, t});
  }
  return rows;
}

std::vector<Row> filtered(std::vector<Row> rows, const std::string& filter) {
  const bool negative = !filter.empty() && filter[0] == '-';
  const std::string pattern = negative ? filter.substr(1) : filter == "all" ? "" : filter;
  regex_t expression;
  if (const int failed = ::regcomp(&expression, pattern.empty() ? "." : pattern.c_str(), REG_EXTENDED | REG_NOSUB)) {
    char why[200];
    ::regerror(failed, &expression, why, sizeof why);
    fail_usage("--benchmark_filter: " + quoted(pattern) + " is no regular expression", why);
  }
  rows.erase(std::remove_if(rows.begin(), rows.end(), [&](const Row& r) { return (::regexec(&expression, r.name().c_str(), 0, nullptr, 0) == 0) == negative; }),
             rows.end());
  ::regfree(&expression);
  return rows;
}

}  // namespace panvae::bench
