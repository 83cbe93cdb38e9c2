// What stands in for cuDNN where its headers were not there when this was compiled.
#include "base/error.h"
#include "kernels/cuda/cudnn.h"

namespace panvae::cudnn {

struct Convolutions::State {};

Api open(std::span<const std::string>) {
  return {nullptr, "", "cudnn.h was not found when this program was compiled"};
}
const Api& api() {
  static const Api the_api = open({});
  return the_api;
}

Convolutions::Convolutions(const Api& api, Stream&) {
  fail_machine("no cuDNN", api.why_absent);
}
Convolutions::~Convolutions() = default;

template <class T>
bool Convolutions::conv1d(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, const Epilogue<T>&) {
  return false;
}
template <class T>
bool Convolutions::conv1d_grad_input(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, const Epilogue<T>&) {
  return false;
}
template <class T>
bool Convolutions::conv1d_grad_weight(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, bool) {
  return false;
}
template bool Convolutions::conv1d<float>(Stream&, In<float>, In<float>, InOut<float>, const Conv1dShape&, const Epilogue<float>&);
template bool Convolutions::conv1d<double>(Stream&, In<double>, In<double>, InOut<double>, const Conv1dShape&, const Epilogue<double>&);
template bool Convolutions::conv1d_grad_input<float>(Stream&, In<float>, In<float>, InOut<float>, const Conv1dShape&, const Epilogue<float>&);
template bool Convolutions::conv1d_grad_input<double>(Stream&, In<double>, In<double>, InOut<double>, const Conv1dShape&, const Epilogue<double>&);
template bool Convolutions::conv1d_grad_weight<float>(Stream&, In<float>, In<float>, InOut<float>, const Conv1dShape&, bool);
template bool Convolutions::conv1d_grad_weight<double>(Stream&, In<double>, In<double>, InOut<double>, const Conv1dShape&, bool);

}  // namespace panvae::cudnn
