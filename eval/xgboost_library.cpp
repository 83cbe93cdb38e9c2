#include "eval/xgboost_library.h"

#include <array>
#include <limits>

#include "base/dynamic_library.h"
#include "base/error.h"

namespace panvae::eval::xgboost {

namespace {

// A failed call, told as the library tells it. Its messages carry a stack trace after the first lines.
void check(int status, const char* what) {
  if (status == 0) return;
  std::string message = api().last_error();
  if (message.find("bad_alloc") != std::string::npos)
    fail_machine("out of memory in XGBoost", what, "use fewer samples or dimensions, or a machine with more memory");
  if (const size_t trace = message.find("Stack trace"); trace != std::string::npos) message.resize(trace);
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.pop_back();
  throw Error(ErrorCode::internal, fmt::format("XGBoost failed: {}", panvae::quoted(message, 300)), what, "please report it");
}

template <class F>
void bind(DynamicLibrary& library, const char* name, F*& function) {
  if (!library.bind(name, function))
    fail_machine(fmt::format("the XGBoost library lacks the function {}", name), "libxgboost",
                 "install version 1.7 or newer (Debian: apt install libxgboost0)");
}

}  // namespace

Api open_library(std::span<const std::string> names) {
  DynamicLibrary library(names);
  if (!library.loaded())
    fail_machine("cannot load the XGBoost library", panvae::quoted(library.why_absent(), 300),
                 "install it (Debian: apt install libxgboost0) or add its folder to LD_LIBRARY_PATH");
  Api a;
  bind(library, "XGBoostVersion", a.version);
  bind(library, "XGBGetLastError", a.last_error);
  bind(library, "XGDMatrixCreateFromMat_omp", a.matrix_create);
  bind(library, "XGDMatrixSetFloatInfo", a.matrix_set_float);
  bind(library, "XGDMatrixFree", a.matrix_free);
  bind(library, "XGBoosterCreate", a.booster_create);
  bind(library, "XGBoosterFree", a.booster_free);
  bind(library, "XGBoosterSetParam", a.booster_set);
  bind(library, "XGBoosterUpdateOneIter", a.booster_update);
  bind(library, "XGBoosterPredictFromDMatrix", a.booster_predict);
  return a;
}

const Api& api() {
  static const Api the_api = open_library(std::array<std::string, 2>{"libxgboost.so.0", "libxgboost.so"});
  return the_api;
}

std::string version() {
  int major = 0, minor = 0, patch = 0;
  api().version(&major, &minor, &patch);
  return fmt::format("{}.{}.{}", major, minor, patch);
}

Matrix::Matrix(std::span<const float> values, int64_t rows, int64_t columns, int threads) : rows_(rows) {
  PV_CHECK(rows > 0 && columns > 0 && static_cast<int64_t>(values.size()) == rows * columns, "xgboost matrix: {} values for [{}, {}]", values.size(), rows,
           columns);
  check(api().matrix_create(values.data(), static_cast<bst_ulong>(rows), static_cast<bst_ulong>(columns), std::numeric_limits<float>::quiet_NaN(), &handle_,
                            threads),
        "XGDMatrixCreateFromMat_omp");
}

Matrix::~Matrix() {
  if (handle_) api().matrix_free(handle_);
}

void Matrix::set_label(std::span<const float> label) {
  PV_CHECK(static_cast<int64_t>(label.size()) == rows_, "xgboost matrix: {} labels for {} rows", label.size(), rows_);
  check(api().matrix_set_float(handle_, "label", label.data(), static_cast<bst_ulong>(label.size())), "XGDMatrixSetFloatInfo");
}

Booster::Booster(const Matrix& train, const std::vector<std::pair<std::string, std::string>>& parameters) {
  check(api().booster_create(&train.handle_, 1, &handle_), "XGBoosterCreate");
  try {
    for (const auto& [name, value] : parameters) check(api().booster_set(handle_, name.c_str(), value.c_str()), "XGBoosterSetParam");
  } catch (...) {
    api().booster_free(handle_);
    throw;
  }
}

Booster::~Booster() {
  api().booster_free(handle_);
}

void Booster::update(int round, const Matrix& train) {
  check(api().booster_update(handle_, round, train.handle_), "XGBoosterUpdateOneIter");
}

std::vector<float> Booster::predict(const Matrix& x) const {
  const bst_ulong* shape = nullptr;
  bst_ulong dimensions = 0;
  const float* result = nullptr;
  check(api().booster_predict(handle_, x.handle_, R"({"type":0,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":true})", &shape,
                              &dimensions, &result),
        "XGBoosterPredictFromDMatrix");
  bst_ulong size = 1;
  for (bst_ulong d = 0; d < dimensions; ++d) size *= shape[d];
  return {result, result + size};  // the buffer belongs to the booster
}

}  // namespace panvae::eval::xgboost
