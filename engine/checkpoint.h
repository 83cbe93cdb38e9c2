// Weights in safetensors files.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "engine/module.h"

namespace panvae {

// Tensors on their way to a file: kept alive until it is written, and copied to the host where they are on a GPU or were made within
// a Step. Do not change the others before write().
class TensorWriter {
 public:
  SafetensorsWriter file;
  void add(const std::string& name, const Tensor& t);
  // Parameters and buffers under their names, behind `prefix`.
  void add(const ModuleState& state, const std::string& prefix = "");
  // A flat tensor of `state`'s parameters (moments, best weights), without padding.
  void add_flat(const std::string& name, const ModuleState& state, const Tensor& flat);

 private:
  template <class T>
  void add_values(const std::string& name, const Shape& shape, const std::vector<T>& values);
  std::vector<Tensor> kept_;
  std::vector<std::vector<char>> copies_;
};

// Fills `t` from the file; a wrong shape or dtype is an error that names both sides.
void read_tensor(const SafetensorsReader& file, const std::string& name, Tensor& t);
// As TensorWriter::add_flat wrote it.
void read_flat(const SafetensorsReader& file, const std::string& name, const ModuleState& state, Tensor& flat);

// Fills all parameters and buffers. Every tensor of the file whose name begins with `prefix` (and with none of `ignored`)
// must be one of the module's, and the other way round: all missing and extra names and all wrong shapes and types are
// listed in one error, and nothing is changed.
void read_state(const SafetensorsReader& file, ModuleState& state, const std::string& prefix = "", const std::vector<std::string>& ignored = {});

}  // namespace panvae
