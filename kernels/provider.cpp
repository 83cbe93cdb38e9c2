#include "kernels/provider.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/read_json.h"
#include "kernels/kernels.h"

namespace panvae {

namespace {

constexpr int kFormat = 2, kOldestFormat = 1;
constexpr const char* kOps[] = {"matmul", "conv1d", "conv1d_grad_input", "conv1d_grad_weight"};
constexpr const char* kMathModes[] = {"ieee", "tf32", "bf16"};
constexpr const char* kFills[] = {"", "staged", "pipelined", "warpgroups"};

const char* word_of(Provider p) {
  return p == Provider::ours ? "ours" : p == Provider::vendor ? "vendor" : "auto";
}

}  // namespace

// ---- calls
std::string ProviderCall::str() const {
  const auto& s = sizes;
  std::string shape, ends = op == ProviderOp::matmul ? std::string(flags & transpose_a ? "t" : "n") + (flags & transpose_b ? "t" : "n") : "plain";
  if (op == ProviderOp::matmul) shape = fmt::format("M{}xN{}xK{}{}", s[0], s[1], s[2], s[3] > 0 ? fmt::format("s{}", s[3]) : "");
  else shape = fmt::format("B{}xCi{}xLi{}xCo{}xLo{}xK{}xs{}xp{}xd{}", s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8]);
  for (const auto& [flag, word] : {std::pair{bias, "+bias"}, {accumulate, "+accumulate"}, {relu, "+relu"}, {leaky_relu, "+leaky_relu"}})
    if (flags & flag) ends += word;
  return fmt::format("{}/{}/{}/{}/{}", kOps[static_cast<int>(op)], item == 8 ? "f64" : "f32", kMathModes[static_cast<int>(math)], shape, ends);
}

size_t ProviderCallHash::operator()(const ProviderCall& c) const {
  uint64_t h = static_cast<uint64_t>(c.op) | static_cast<uint64_t>(c.item) << 8 | static_cast<uint64_t>(c.math) << 16 | static_cast<uint64_t>(c.flags) << 24;
  for (const int64_t size : c.sizes) h = (h ^ static_cast<uint64_t>(size)) * 0x9E3779B97F4A7C15ull, h ^= h >> 29;
  return static_cast<size_t>(h);
}

// ---- algorithms
std::string ProviderAlgorithm::hex() const {
  return named ? fmt::format("{:02x}", fmt::join(bytes, "")) : "";
}

std::optional<ProviderAlgorithm> ProviderAlgorithm::from_hex(const std::string& hex) {
  ProviderAlgorithm a;
  if (hex.size() != 2 * a.bytes.size()) return {};
  for (size_t i = 0; i < a.bytes.size(); ++i) {
    const char* at = hex.data() + 2 * i;
    if (const auto [end, error] = std::from_chars(at, at + 2, a.bytes[i], 16); error != std::errc() || end != at + 2) return {};
  }
  a.named = true;
  return a;
}

// ---- settings
ProviderSettings ProviderSettings::from_words(const std::string& provider, const std::string& tune, const std::string& provider_from,
                                              const std::string& tune_from) {
  ProviderSettings s;
  if (provider == "ours") s.provider = Provider::ours;
  else if (provider == "vendor") s.provider = Provider::vendor;
  else if (provider.size() > 5 && provider.ends_with(".json")) s.file = provider;
  else if (!provider.empty() && provider != "auto")
    fail_usage(fmt::format("{}: no provider {}", provider_from, quoted(provider)), "", "use auto, ours, vendor, or a file of choices that ends in .json");
  if (tune.empty()) return s;
  if (s.provider != Provider::automatic || !s.file.empty())
    fail_usage(fmt::format("{} asks for measurements, but {} has decided already", tune_from, provider_from), provider, "set one of the two");
  s.file = tune;
  s.measure = true;
  return s;
}

ProviderSettings ProviderSettings::from_environment(const std::function<const char*(const char*)>& get) {
  auto word = [&](const char* name) {
    const char* value = get(name);
    return std::string(value ? value : "");
  };
  return from_words(word("PANVAE_PROVIDER"), word("PANVAE_TUNE"), "PANVAE_PROVIDER", "PANVAE_TUNE");
}

// ---- choices
const ProviderChoice* ProviderChoices::find(const ProviderCall& call) {
  const auto known = by_call_.find(call);
  if (known != by_call_.end()) return known->second;
  if (by_name_.empty()) return nullptr;
  const auto named = by_name_.find(call.str());
  const ProviderChoice* choice = named == by_name_.end() ? nullptr : &named->second;
  by_call_.emplace(call, choice);
  return choice;
}

const ProviderChoice& ProviderChoices::set(const ProviderCall& call, ProviderChoice choice) {
  ProviderChoice& kept = by_name_[call.str()] = std::move(choice);
  by_call_[call] = &kept;
  return kept;
}

ProviderTable& ProviderTable::of_process() {
  static ProviderTable table(ProviderSettings::from_environment([](const char* name) { return std::getenv(name); }));
  return table;
}

ProviderSettings ProviderTable::settings() {
  const std::lock_guard lock(mutex_);
  return settings_;
}

void ProviderTable::configure(ProviderSettings settings) {
  const std::lock_guard lock(mutex_);
  settings_ = std::move(settings);
  measures_ = settings_.measure;
  places_.clear();
  file_is_read_ = false;
  file_is_ours_ = true;
}

ProviderChoices& ProviderTable::at(const ProviderPlace& place) {
  for (const auto& p : places_)
    if (p->place() == place) return *p;
  places_.push_back(std::make_unique<ProviderChoices>(place));
  return *places_.back();
}

Provider ProviderTable::choose(Provider asked, const ProviderPlace& place, const ProviderCall& call, const std::function<ProviderChoice()>& measure,
                               ProviderMeans* means) {
  if (asked != Provider::automatic) return asked;
  const std::lock_guard lock(mutex_);
  if (settings_.provider != Provider::automatic) return settings_.provider;
  read_file_once();
  ProviderChoices& choices = at(place);
  auto take = [&](const ProviderChoice& choice) {
    if (means) *means = {choice.fill, choice.algorithm};
    return choice.provider;
  };
  if (const ProviderChoice* known = choices.find(call)) return take(*known);
  if (!settings_.measure || !measure) return Provider::vendor;
  ProviderChoice made;
  try {
    made = measure();
    const std::string which = made.candidates > 1 ? fmt::format(", algorithm {} of {}", made.candidate + 1, made.candidates) : "";
    log::info("{} on {}: {} ({:.1f} us ours, {}; {:.1f} us {}{}){}", call.str(), place.device, word_of(made.provider), made.ours_us,
              kFills[static_cast<int>(made.fill)], made.vendor_us, place.library, which, made.reason.empty() ? "" : ": " + made.reason);
  } catch (const Error& e) {
    log::warning("{} could not be measured, so the vendor's library computes it: {}", call.str(), e.what());
    made = {.reason = e.what(), .measured = false};
  }
  const ProviderChoice& choice = choices.set(call, std::move(made));
  if (choice.measured && file_is_ours_ && !settings_.file.empty()) write_file(settings_.file, json_unlocked().dump(2) + "\n");
  return take(choice);
}

// ---- the file
void ProviderTable::read_file_once() {
  if (file_is_read_) return;
  file_is_read_ = true;
  if (settings_.file.empty() || (settings_.measure && !std::filesystem::exists(settings_.file))) return;
  const Json json = parse_json(read_file(settings_.file));
  const std::string why = json.is_discarded() ? "it is no JSON" : take_unlocked(json);
  if (why.empty()) {
    if (json["format"] != kFormat)
      log::info("{} is of format {}, which knows no algorithms: its choices hold, and where the vendor's library computes it takes its own first",
                settings_.file, json["format"].get<int>());
    return;
  }
  file_is_ours_ = false;
  log::warning("{} is ignored{}: {}", settings_.file, settings_.measure ? ", and not written to" : "", why);
}

std::string ProviderTable::take(const Json& json) {
  const std::lock_guard lock(mutex_);
  return take_unlocked(json);
}

std::string ProviderTable::take_unlocked(const Json& json) try {
  const int format = json.at("format").get<int>();
  if (format < kOldestFormat || format > kFormat) return fmt::format("its format is {}, and this program reads {} to {}", format, kOldestFormat, kFormat);
  std::vector<std::unique_ptr<ProviderChoices>> places;
  for (const Json& p : json.at("places")) {
    auto choices = std::make_unique<ProviderChoices>(ProviderPlace{p.at("device").get<std::string>(), p.at("library").get<std::string>()});
    for (const auto& [name, c] : p.at("choices").items()) {
      const std::string word = c.at("provider").get<std::string>();
      if (word != "ours" && word != "vendor") return fmt::format("{} is no provider", quoted(word));
      const std::string fill = c.value("fill", "");
      const auto* known = std::find(std::begin(kFills), std::end(kFills), fill);
      if (known == std::end(kFills)) return fmt::format("{} is no fill", quoted(fill));
      ProviderAlgorithm algorithm;
      if (const std::string hex = c.value("algorithm", ""); !hex.empty()) {
        const std::optional<ProviderAlgorithm> named = ProviderAlgorithm::from_hex(hex);
        if (!named) return fmt::format("{} is no algorithm", quoted(hex));
        algorithm = *named;
      }
      choices->by_name_[name] = {.provider = word == "ours" ? Provider::ours : Provider::vendor,
                                 .ours_us = c.value("ours_us", 0.0),
                                 .vendor_us = c.value("vendor_us", 0.0),
                                 .reason = c.value("reason", ""),
                                 .fill = static_cast<ProductFill>(known - std::begin(kFills)),
                                 .algorithm = algorithm};
    }
    places.push_back(std::move(choices));
  }
  places_ = std::move(places);
  return "";
} catch (const Json::exception& e) {
  return e.what();
}

Json ProviderTable::json() {
  const std::lock_guard lock(mutex_);
  return json_unlocked();
}

Json ProviderTable::json_unlocked() const {
  Json places = Json::array();
  for (const auto& p : places_) {
    Json choices = Json::object();
    for (const auto& [name, c] : p->by_name_) {
      if (!c.measured) continue;
      choices[name] = {{"provider", word_of(c.provider)}, {"ours_us", c.ours_us}, {"vendor_us", c.vendor_us}};
      if (!c.reason.empty()) choices[name]["reason"] = c.reason;
      if (c.fill != ProductFill::automatic) choices[name]["fill"] = kFills[static_cast<int>(c.fill)];
      if (c.algorithm.named) choices[name]["algorithm"] = c.algorithm.hex();
    }
    places.push_back({{"device", p->place_.device}, {"library", p->place_.library}, {"choices", choices}});
  }
  return {{"format", kFormat}, {"places", places}};
}

// ---- measuring
ProviderChoice decide(const ProviderContest& contest) {
  ProviderChoice choice;
  choice.candidates = contest.candidates;
  contest.ours(ProductFill::pipelined);
  // "" where `compute`, which returns false where it does not, gives what ours gave.
  auto why_wrong = [&](const char* who, const std::function<bool()>& compute) -> std::string {
    try {
      contest.fresh();
      if (!compute()) return fmt::format("{} does not compute this", who);
      const std::string difference = contest.difference();
      return difference.empty() ? "" : fmt::format("the result of {} is another: {}", who, difference);
    } catch (const Error& e) {
      return e.what();
    }
  };
  std::vector<size_t> right;
  for (size_t i = 0; i < contest.candidates; ++i) {
    const std::string why = why_wrong("the library", [&] { return contest.vendor(i); });
    if (why.empty()) right.push_back(i);
    else if (choice.reason.empty()) choice.reason = why;
  }
  // Our ways, of equals the first.
  std::vector<std::pair<ProductFill, std::function<void()>>> ways;
  for (const ProductFill fill : {ProductFill::pipelined, ProductFill::staged}) ways.emplace_back(fill, [&contest, fill] { contest.ours(fill); });
  if (contest.ours_by_warpgroups) {
    const std::string why = why_wrong("our product by warpgroups", [&] { return contest.ours_by_warpgroups(), true; });
    if (why.empty()) ways.emplace_back(ProductFill::warpgroups, contest.ours_by_warpgroups);
    else log::warning("{}, so it is not taken", why);
  }
  constexpr size_t turns = 5;
  using Times = std::array<double, turns>;
  std::vector<Times> ours(ways.size()), vendor(right.size());
  for (size_t turn = 0; turn < turns; ++turn) {
    for (size_t i = 0; i < ways.size(); ++i) ours[i][turn] = contest.microseconds(ways[i].second);
    for (size_t i = 0; i < right.size(); ++i) vendor[i][turn] = contest.microseconds([&] { contest.vendor(right[i]); });
  }
  // The place of the smallest median, of equals the first, and the median.
  auto fastest = [](const std::vector<Times>& times) {
    std::pair<size_t, double> best{0, 0};
    for (size_t i = 0; i < times.size(); ++i) {
      Times t = times[i];
      std::sort(t.begin(), t.end());
      if (i == 0 || t[turns / 2] < best.second) best = {i, t[turns / 2]};
    }
    return best;
  };
  const auto [way, ours_us] = fastest(ours);
  choice.fill = ways[way].first;
  choice.ours_us = ours_us;
  choice.provider = Provider::ours;
  if (right.empty()) return choice;
  choice.reason.clear();
  const auto [algorithm, vendor_us] = fastest(vendor);
  choice.candidate = right[algorithm];
  choice.vendor_us = vendor_us;
  if (choice.vendor_us <= choice.ours_us) choice.provider = Provider::vendor;
  return choice;
}

double provider_tolerance(MathMode math, int item, int64_t terms) {
  // A sum of n products of numbers in [-1, 1] is about sqrt(n) / 3. Adding them one after the other rounds n times what is
  // by then about as large, in random directions.
  const double n = static_cast<double>(terms), size = 1 + std::sqrt(n) / 3, unit = item == 8 ? 0x1p-53 : 0x1p-24;
  const double operands = item == 8 || math == MathMode::ieee ? 0 : math == MathMode::tf32 ? 0x1p-10 : 0x1p-7;  // where a library cuts bits off
  return size * (unit * (16 + 4 * std::sqrt(n)) + 8 * operands);
}

namespace {

// Memory of one measurement, freed at its end.
class Memory {
 public:
  explicit Memory(Stream& stream) : stream_(stream) {}
  ~Memory() {
    for (void* p : blocks_) stream_.backend().free(stream_.device().index, p);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  template <class T>
  T* random(int64_t n, uint32_t op) {
    const size_t bytes = static_cast<size_t>(n) * sizeof(T);
    void* p = stream_.backend().alloc(stream_.device().index, std::max<size_t>(bytes, 1));
    if (!p) fail_machine(fmt::format("out of memory: {} bytes to measure providers with", bytes), to_string(stream_.device()));
    blocks_.push_back(p);
    fill(static_cast<T*>(p), n, op);
    return static_cast<T*>(p);
  }
  template <class T>
  void fill(T* p, int64_t n, uint32_t op) {
    k::random_uniform<T>(stream_, p, n, T(-1), T(1), PhiloxKey{7, op, 0});
  }

 private:
  Stream& stream_;
  std::vector<void*> blocks_;
};

struct Events {
  explicit Events(Stream& s) : stream(s), begin(s.backend().event_create(s.device().index)), end(s.backend().event_create(s.device().index)) {}
  ~Events() {
    stream.backend().event_destroy(begin);
    stream.backend().event_destroy(end);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  double microseconds(const std::function<void()>& run, int times) {
    stream.backend().event_record(begin, stream.handle());
    for (int i = 0; i < times; ++i) run();
    stream.backend().event_record(end, stream.handle());
    return 1e3 * static_cast<double>(stream.backend().event_milliseconds(begin, end)) / times;
  }
  Stream& stream;
  void *begin, *end;
};

}  // namespace

template <class T>
ProviderChoice measure_providers(Stream& stream, const std::vector<int64_t>& inputs, int64_t output, double tolerance,
                                 const std::function<void(const std::vector<const T*>&, T*)>& ours,
                                 const std::function<bool(const std::vector<const T*>&, T*, size_t)>& vendor,
                                 const std::function<size_t(const std::vector<const T*>&, T*)>& candidates, bool by_warpgroups) {
  Memory memory(stream);
  std::vector<const T*> operands;
  for (const int64_t n : inputs) operands.push_back(memory.random<T>(n, static_cast<uint32_t>(operands.size())));
  constexpr uint32_t kOutput = 99;  // the same numbers, which may be added to
  T *of_ours = memory.random<T>(output, kOutput), *of_vendor = memory.random<T>(output, kOutput);
  Events events(stream);
  ProviderContest contest;
  auto by_fill = [&](ProductFill fill, T* out) {
    struct Restore {
      Stream& stream;
      ProductFill before;
      ~Restore() { stream.fill = before; }
    } restore{stream, std::exchange(stream.fill, fill)};
    ours(operands, out);
  };
  contest.ours = [&](ProductFill fill) { by_fill(fill, of_ours); };
  if (by_warpgroups) contest.ours_by_warpgroups = [&] { by_fill(ProductFill::warpgroups, of_vendor); };
  if (candidates) contest.candidates = candidates(operands, of_vendor);
  if (contest.candidates == 0) contest.candidates = 1;  // it will decline
  contest.vendor = [&](size_t candidate) { return vendor(operands, of_vendor, candidate); };
  contest.fresh = [&] { memory.fill(of_vendor, output, kOutput); };
  // Results on the host: of ours once, which is the same for all candidates.
  std::vector<T> a, b(static_cast<size_t>(output));
  contest.difference = [&]() -> std::string {
    const auto fetch = [&](std::vector<T>& to, const T* from) {
      stream.backend().copy(stream.device().index, to.data(), from, to.size() * sizeof(T), CopyKind::device_to_host, stream.handle());
    };
    if (a.empty()) a.resize(b.size()), fetch(a, of_ours);
    fetch(b, of_vendor);
    for (size_t i = 0; i < a.size(); ++i)
      if (!(std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])) <= tolerance))
        return fmt::format("element {} is {}, and {} by ours, where {:.2g} would pass", i, b[i], a[i], tolerance);
    return "";
  };
  contest.microseconds = [&](const std::function<void()>& run) {
    const double once = events.microseconds(run, 1);  // wakes clocks and caches, too
    return events.microseconds(run, static_cast<int>(std::clamp(2000 / std::max(once, 1.0), 1.0, 1000.0)));
  };
  return decide(contest);
}
template decltype(measure_providers<float>) measure_providers<float>;
template decltype(measure_providers<double>) measure_providers<double>;

std::string why_no_vendor(ProviderOp op) {
  return vendor_libraries().at(op == ProviderOp::matmul ? 0 : 1).why_absent;
}

}  // namespace panvae
