// A matrix of samples x features with its tables: what every command reads and writes.
#pragma once
#include <Eigen/Core>
#include <map>
#include <string>

#include "base/json.h"
#include "data/table.h"

namespace panvae::data {

template <class T>
using RowMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Arrays that travel with a dataset or a model (frozen fits of preprocessing): name -> doubles with a shape.
struct NamedArray {
  std::vector<int64_t> shape;
  std::vector<double> values;  // row-major
};
// What a step of preprocessing fitted: scalars and texts in `settings`, vectors and matrices in `arrays`, feature names
// apart. Stored in uns/panvae of an h5ad and in the metadata and tensors of a model file.
struct Frozen {
  Json settings = Json::object();
  std::map<std::string, NamedArray> arrays;
  std::vector<std::string> features;
  bool empty() const { return settings.empty() && arrays.empty(); }
};

// Matrix: RowMatrix in memory, LargeMatrix (data/large_dataset.h) on disk.
template <class T, class Matrix = RowMatrix<T>>
struct Dataset {
  Matrix x;          // [samples, features]
  Table obs, var;    // keys: sample and feature names, unique
  Frozen frozen;     // uns/panvae, empty if the file has none
  std::string kind;  // counts, log, z, embedding, or "" if unknown
  std::string path;  // where it was read from, for messages

  int64_t samples() const { return x.rows(); }
  int64_t features() const { return x.cols(); }
};

}  // namespace panvae::data
