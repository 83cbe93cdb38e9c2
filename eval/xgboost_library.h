// XGBoost through its C API, opened on first use: a program that never trains trees never loads the library.
// https://xgboost.readthedocs.io/en/release_1.7.0/c.html
#pragma once
#include <xgboost/c_api.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace panvae::eval::xgboost {

// The functions of the C API that we call, with the types of its header.
struct Api {
  decltype(&::XGBoostVersion) version = nullptr;
  decltype(&::XGBGetLastError) last_error = nullptr;
  decltype(&::XGDMatrixCreateFromMat_omp) matrix_create = nullptr;
  decltype(&::XGDMatrixSetFloatInfo) matrix_set_float = nullptr;
  decltype(&::XGDMatrixFree) matrix_free = nullptr;
  decltype(&::XGBoosterCreate) booster_create = nullptr;
  decltype(&::XGBoosterFree) booster_free = nullptr;
  decltype(&::XGBoosterSetParam) booster_set = nullptr;
  decltype(&::XGBoosterUpdateOneIter) booster_update = nullptr;
  decltype(&::XGBoosterPredictFromDMatrix) booster_predict = nullptr;
};

// Opens the first of `names` that the system's loader finds. ErrorCode::machine, naming the package to install, if none
// is found or a function is missing.
Api open_library(std::span<const std::string> names);
// The library of this process: libxgboost.so.0 or libxgboost.so, opened by the first call (from any thread).
const Api& api();
// "1.7.4"
std::string version();

// Rows to train on or to predict: a copy in XGBoost's own layout. NaN stands for a missing value.
class Matrix {
 public:
  // values [rows, columns], row-major. `threads` are those of the copy and of everything computed from it.
  Matrix(std::span<const float> values, int64_t rows, int64_t columns, int threads);
  ~Matrix();
  Matrix(Matrix&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), rows_(other.rows_) {}
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;
  // [rows]: class codes 0 to C-1 as floats, as XGBoost takes them.
  void set_label(std::span<const float> label);
  int64_t rows() const { return rows_; }

 private:
  friend class Booster;
  DMatrixHandle handle_ = nullptr;
  int64_t rows_ = 0;
};

// Trees. Used from one thread at a time; different boosters may be trained at the same time.
class Booster {
 public:
  Booster(const Matrix& train, const std::vector<std::pair<std::string, std::string>>& parameters);
  ~Booster();
  Booster(const Booster&) = delete;
  Booster& operator=(const Booster&) = delete;
  // One boosting round (for multi:softprob: one tree per class). Rounds are numbered from 0.
  void update(int round, const Matrix& train);
  // The objective's output for every row: [rows * classes] probabilities for multi:softprob, row-major.
  std::vector<float> predict(const Matrix& x) const;

 private:
  BoosterHandle handle_ = nullptr;
};

}  // namespace panvae::eval::xgboost
