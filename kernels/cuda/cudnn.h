// Convolutions by cuDNN, opened on first use. https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-cnn-library.html
// Where cuDNN's headers were missing when this was compiled, kernels/cuda/cudnn_absent.cpp is linked instead.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "kernels/kernels.h"

namespace panvae::cudnn {

struct Functions;  // of the library; known to cudnn.cpp
struct Api {
  std::shared_ptr<const Functions> functions;
  std::string version_text;  // "9.19.0"
  std::string why_absent;    // empty where all functions are there
};
// Opens the first of `names` that is found.
Api open(std::span<const std::string> names);
// The library of this process.
const Api& api();

// The convolutions of one stream: a handle, and for each kind of call the algorithm that the library's heuristic answered.
// Only algorithms that are said to be deterministic are taken, and none by Fourier or Winograd transforms, whose errors
// are of the size of the largest sum, not of each.
class Convolutions {
 public:
  // ErrorCode::machine if the library gives no handle. The stream's device must be the current one, here and below.
  Convolutions(const Api& api, Stream& stream);
  ~Convolutions();
  Convolutions(const Convolutions&) = delete;
  Convolutions& operator=(const Convolutions&) = delete;

  // As the kernels of these names. False, and nothing was done, if the library declines.
  template <class T>
  bool conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, const Conv1dShape& shape, const Epilogue<T>& epilogue);
  template <class T>
  bool conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, const Conv1dShape& shape, const Epilogue<T>& epilogue);
  template <class T>
  bool conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, const Conv1dShape& shape, bool accumulate);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace panvae::cudnn
