// Frozen preprocessing: unpacked from what files hold, and stored in safetensors.
#include <sys/stat.h>

#include <algorithm>

#include "base/error.h"
#include "base/read_json.h"
#include "data/h5ad.h"
#include "data/preprocess.h"

namespace panvae::data {

namespace {
constexpr const char* prefix = "preprocess.";

[[noreturn]] void damaged(const std::string& what) {
  fail_input("the stored preprocessing cannot be used: " + what, {}, "preprocess the data again");
}

const NamedArray& array_of(const Frozen& frozen, const std::string& name, size_t size) {
  const auto at = frozen.arrays.find(name);
  if (at == frozen.arrays.end()) damaged(fmt::format("array {} is missing", quoted(name)));
  if (at->second.values.size() != size) damaged(fmt::format("array {} has {} values, not {}", quoted(name), at->second.values.size(), size));
  return at->second;
}
}  // namespace

bool holds_preprocessing(const Frozen& frozen) {
  return frozen.settings.contains("format");
}

bool same_fit(const Frozen& a, const Frozen& b) {
  if (a.features != b.features || a.arrays.size() != b.arrays.size()) return false;
  return std::equal(a.arrays.begin(), a.arrays.end(), b.arrays.begin(),
                    [](const auto& x, const auto& y) { return x.first == y.first && x.second.values == y.second.values; });
}

Preprocessor Preprocessor::from(Frozen frozen) {
  Preprocessor p;
  p.frozen_ = std::move(frozen);
  if (p.frozen_.empty()) damaged("the file holds none");
  try {
    p.unpack();
  } catch (const Json::exception& e) {
    damaged(quoted(e.what()));
  }
  return p;
}

void Preprocessor::unpack() {
  const Json& s = frozen_.settings;
  const size_t g = frozen_.features.size();
  if (g == 0) damaged("it names no features");
  for (const char* text : {"input", "unknown_batch"})  // asked for later, with a default
    if (s.contains(text)) (void)s.at(text).get<std::string>();
  if (s.at("format").get<int>() != 1) damaged(fmt::format("its format {} is newer than this program", s.at("format").get<int>()));
  array_of(frozen_, "feature_mean", g);
  array_of(frozen_, "quantile_mean", g);
  if (s.at("input").get<std::string>() == "counts") {
    const size_t all = g + s.at("other_features").get<std::vector<std::string>>().size();
    log_cpm_.prior_count = s.at("prior_count").get<double>();
    log_cpm_.mean_library = s.at("mean_library").get<double>();
    array_of(frozen_, "library_share", all);
    if (s.at("tmm").get<bool>()) {
      tmm_on_ = true;
      tmm_.reference = array_of(frozen_, "tmm_reference", all).values;
      tmm_.reference_library = s.at("tmm_reference_library").get<double>();
      tmm_.scale = s.at("tmm_scale").get<double>();
    }
  }
  if (s.at("quantile").get<bool>()) reference_ = QuantileReference(array_of(frozen_, "quantile_reference", g).values);
  if (s.contains("batch")) {
    int64_t columns = 0;
    for (const Json& term : s.at("batch").at("terms")) {
      const bool numeric = term.at("numeric").get<bool>();
      if (!numeric && term.at("levels").size() < 2) damaged("a batch effect of less than two levels");  // it would take -1 columns from the others
      columns += numeric ? 1 : static_cast<int64_t>(term.at("levels").size()) - 1;
    }
    NamedArray b = array_of(frozen_, "batch_coefficients", static_cast<size_t>(columns) * g);
    if (b.shape != std::vector<int64_t>{columns, static_cast<int64_t>(g)}) damaged("the batch coefficients do not fit their terms");
    effects_ = BatchEffects::from(s.at("batch"), b);
  }
}

bool Preprocessor::input_is_log() const {
  return frozen_.settings.value("input", "counts") == "log";
}
UnknownBatch Preprocessor::unknown_batch() const {
  return frozen_.settings.value("unknown_batch", "error") == "zero" ? UnknownBatch::zero : UnknownBatch::error;
}

void save_frozen(SafetensorsWriter& writer, const Frozen& frozen, const std::string& before) {
  const std::string names = before + prefix;
  writer.metadata(names + "settings", frozen.settings.dump(-1, ' ', false, Json::error_handler_t::replace));
  writer.metadata(names + "features", Json(frozen.features).dump(-1, ' ', false, Json::error_handler_t::replace));
  for (const auto& [name, array] : frozen.arrays) writer.add(names + name, "F64", array.shape, array.values.data());
}

Frozen load_frozen(const SafetensorsReader& reader, const std::string& before) {
  const std::string names = before + prefix;
  Frozen frozen;
  const auto settings = reader.metadata().find(names + "settings"), features = reader.metadata().find(names + "features");
  if (settings == reader.metadata().end() || features == reader.metadata().end()) return frozen;
  const auto unreadable = [&](const std::string& what) {
    fail_input("the stored preprocessing cannot be read: " + what, quoted(reader.path(), 400), "the file is damaged: train again");
  };
  frozen.settings = parse_json(settings->second);
  if (!frozen.settings.is_object()) unreadable("its settings are no JSON object");
  try {
    frozen.features = parse_json(features->second).get<std::vector<std::string>>();
  } catch (const Json::exception& e) {
    unreadable("its features: " + quoted(e.what()));
  }
  for (const auto& [name, info] : reader.tensors())
    if (name.rfind(names, 0) == 0) frozen.arrays[name.substr(names.size())] = {info.shape, reader.doubles(name)};
  return frozen;
}

Frozen read_frozen(const std::string& run_or_h5ad, const std::string& modality) {
  struct stat info {};
  Frozen frozen;
  if (::stat(run_or_h5ad.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    const SafetensorsReader model(run_or_h5ad + "/model.safetensors");
    frozen = load_frozen(model);
    if (frozen.empty() && !modality.empty()) frozen = load_frozen(model, modality + ".");
  } else {
    std::string kind;
    const hdf5::File file(run_or_h5ad);
    frozen = read_frozen(file, kind);
  }
  if (!holds_preprocessing(frozen))
    fail_input("no preprocessing is stored there", quoted(run_or_h5ad, 400),
               "name a RUN folder (of a co-embedding with --modality), or an .h5ad that 'panvae preprocess' wrote");
  return frozen;
}

}  // namespace panvae::data
