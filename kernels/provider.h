// Who computes a product or a convolution on cuda: the kernels of this room, or a library of the vendor (cuBLASLt, cuDNN).
//
// Named by Stream::provider, else by PANVAE_PROVIDER (auto, ours, vendor, or a .json file of choices), else chosen: as
// measured, where a measurement of this call on this device with these libraries is known, and else the vendor. Nothing
// is measured unless asked for, with PANVAE_TUNE=FILE or ProviderSettings: a choice that measured itself anew in every
// run could change the last bits of results from run to run. What was chosen is written to the file and holds from then on.
// Where a library is missing, or declines a call, our kernels compute it. docs/kernels.md, "Providers".
#pragma once
#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json.h"
#include "kernels/device.h"

namespace panvae {

enum class ProviderOp : int { matmul, conv1d, conv1d_grad_input, conv1d_grad_weight };

// Whether matmul_adam of such factors, in f32 and from addresses that are multiples of 16, multiplies by warpgroups
// (kernels/matmul_adam_warpgroups.h) in the stream's math mode and on its device, which is a GPU.
bool updates_by_warpgroups(const Stream& stream, bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K);

// Whether products of f32 matrices can be multiplied by warpgroups (kernels/tile_warpgroups.h) in the stream's math mode and on its device,
// which is a GPU.
bool multiplies_by_warpgroups(const Stream& stream);

// What a choice depends on: everything about a call but the numbers in it. Addresses do not count: a provider that cannot
// work with them declines.
struct ProviderCall {
  enum Flag : int { transpose_a = 1, transpose_b = 2, bias = 4, accumulate = 8, relu = 16, leaky_relu = 32 };
  ProviderOp op = ProviderOp::matmul;
  int item = 4;  // bytes of T
  MathMode math = MathMode::ieee;
  int flags = 0;
  std::array<int64_t, 9> sizes{};  // M, N, K and the distance of a's rows where that is not their length, else 0; or the members of Conv1dShape in their order

  bool operator==(const ProviderCall&) const = default;
  std::string str() const;  // "matmul/f32/tf32/M256xN1024xK19421/nt+bias+relu"
};
struct ProviderCallHash {
  size_t operator()(const ProviderCall& c) const;
};

// Where a measurement holds: "NVIDIA H100 80GB HBM3", "cuBLASLt 13.1.0".
struct ProviderPlace {
  std::string device, library;
  bool operator==(const ProviderPlace&) const = default;
};

// One of the ways in which a library computes a call: bytes that it gave and understands again, if it is of the same version.
struct ProviderAlgorithm {
  std::array<unsigned char, 64> bytes{};
  bool named = false;  // false: whichever the library would take first

  bool operator==(const ProviderAlgorithm&) const = default;
  std::string hex() const;  // empty where none is named
  static std::optional<ProviderAlgorithm> from_hex(const std::string& hex);
};

struct ProviderChoice {
  Provider provider = Provider::vendor;
  double ours_us = 0, vendor_us = 0;          // 0: not timed. Ours by the faster fill
  std::string reason = {};                    // why the vendor's result did not count; empty where it did
  bool measured = true;                       // false: the measurement failed, so this is the default, and is not written down
  ProductFill fill = ProductFill::automatic;  // of ours
  ProviderAlgorithm algorithm = {};           // the vendor's fastest, where one was right. Another may be another last bit
  size_t candidate = 0, candidates = 1;       // the vendor's fastest of so many, where one was right; of the measurement, in no file
};
// How the chosen one computes.
struct ProviderMeans {
  ProductFill fill = ProductFill::automatic;
  ProviderAlgorithm algorithm;
};

struct ProviderSettings {
  Provider provider = Provider::automatic;
  std::string file;      // of choices, read at first use; empty: none
  bool measure = false;  // calls that `file` does not know are measured at their first use, and written to it

  // From a word (auto, ours, vendor, or a file that ends in .json; empty: auto) and the file of measurements to make (empty:
  // none), which cannot be asked for together. ErrorCode::usage, which names the words by where they came from.
  static ProviderSettings from_words(const std::string& provider, const std::string& tune, const std::string& provider_from, const std::string& tune_from);
  // PANVAE_PROVIDER and PANVAE_TUNE; `get` is std::getenv, or a test's.
  static ProviderSettings from_environment(const std::function<const char*(const char*)>& get);
};

// The choices of one place; found quickly by call, and kept by name, as the file has them.
class ProviderChoices {
 public:
  explicit ProviderChoices(ProviderPlace place) : place_(std::move(place)) {}
  const ProviderPlace& place() const { return place_; }
  const ProviderChoice* find(const ProviderCall& call);
  const ProviderChoice& set(const ProviderCall& call, ProviderChoice choice);

 private:
  friend class ProviderTable;
  ProviderPlace place_;
  std::map<std::string, ProviderChoice> by_name_;
  std::unordered_map<ProviderCall, const ProviderChoice*, ProviderCallHash> by_call_;
};

// All choices of a process, and the file they are kept in. May be used from any thread.
class ProviderTable {
 public:
  explicit ProviderTable(ProviderSettings settings = {}) : settings_(std::move(settings)), measures_(settings_.measure) {}
  // The table that kernels ask. Its settings are those of the environment, read at the first call.
  static ProviderTable& of_process();

  ProviderSettings settings();
  bool measures() const { return measures_; }  // calls that are not known
  void configure(ProviderSettings settings);   // forgets what was known

  // Ours or the vendor. `measure` is called, and the file written, where this call is to be measured; it is null where
  // that cannot be done now (a graph is being captured). `asked` is what the stream wants. `means` gets how, where it is known.
  Provider choose(Provider asked, const ProviderPlace& place, const ProviderCall& call, const std::function<ProviderChoice()>& measure,
                  ProviderMeans* means = nullptr);

  // The file: {"format": 2, "places": [{"device", "library", "choices": {"matmul/...": {"provider", ...}}}]}. In files of format 1
  // no choice has an algorithm.
  Json json();
  // Takes the choices of `json`. "" or why it was ignored: an unknown format, a word that is no provider.
  std::string take(const Json& json);

 private:
  void read_file_once();
  std::string take_unlocked(const Json& json);
  Json json_unlocked() const;
  ProviderChoices& at(const ProviderPlace& place);

  std::mutex mutex_;
  ProviderSettings settings_;
  std::atomic<bool> measures_;
  bool file_is_read_ = false, file_is_ours_ = true;  // a file that was not understood is not written over
  std::vector<std::unique_ptr<ProviderChoices>> places_;
};

// One call computed by both, the vendor in one of several ways, its own first choice first. `vendor` returns false where the library
// declines; `difference`, called after both, is "" or says how their results differ; `fresh`, called before a way that is to be
// compared, makes its output what ours began with; `microseconds` times one run.
struct ProviderContest {
  std::function<void(ProductFill)> ours;
  std::function<void()> ours_by_warpgroups;  // whose bits are others, so it is compared, too; null where there is none
  size_t candidates = 1;
  std::function<bool(size_t candidate)> vendor;
  std::function<void()> fresh;
  std::function<std::string()> difference;
  std::function<double(const std::function<void()>&)> microseconds;
};
// The faster one of those that are right; medians of five turns, our fills and the vendor's ways in turn.
ProviderChoice decide(const ProviderContest& contest);

// How far apart right results may lie, of sums of `terms` products of numbers in [-1, 1]: the rounding of the operands in
// this math mode and of the additions, each several times over.
double provider_tolerance(MathMode math, int item, int64_t terms);

// decide() on the device of `stream`, with random operands in [-1, 1] of memory of their own: `inputs` counts their
// elements, `output` those of the result, whose memory holds random numbers before. `candidates`, called once and before `vendor`,
// says how many ways the vendor has; where there is none it is one. `by_warpgroups`: ours are tried with that fill, too.
template <class T>
ProviderChoice measure_providers(Stream& stream, const std::vector<int64_t>& inputs, int64_t output, double tolerance,
                                 const std::function<void(const std::vector<const T*>& inputs, T* out)>& ours,
                                 const std::function<bool(const std::vector<const T*>& inputs, T* out, size_t candidate)>& vendor,
                                 const std::function<size_t(const std::vector<const T*>& inputs, T* out)>& candidates = {}, bool by_warpgroups = false);
// Our kernels within a measurement.
template <class F>
void by_ours(Stream& stream, F f) {
  struct Restore {
    Stream& stream;
    Provider before;
    ~Restore() { stream.provider = before; }
  } restore{stream, std::exchange(stream.provider, Provider::ours)};
  f();
}

// A library that may compute in our stead. It is loaded by the first call that would use it, or by this function.
struct VendorLibrary {
  const char* name;        // "cuBLASLt", "cuDNN"
  std::string version;     // "13.1.0", empty where absent
  std::string why_absent;  // empty where it can be used
};
std::vector<VendorLibrary> vendor_libraries();
// Empty where the vendor can compute this; else why not.
std::string why_no_vendor(ProviderOp op);

}  // namespace panvae
