#include "engine/batch_source.h"

#include "engine/context.h"
#include "kernels/kernels.h"

namespace panvae {

MatrixSource::MatrixSource(Context& context, const float* values, int64_t samples, int64_t features) {
  if (context.device().type != DeviceType::cuda) {
    matrix_ = Tensor::wrap(context, const_cast<float*>(values), {samples, features}, DType::f32);
  } else {
    matrix_ = Tensor::empty(context, {samples, features}, DType::f32, "training matrix");
    matrix_.upload(values, samples * features);
  }
}

void MatrixSource::fill(const std::vector<int64_t>& rows, Tensor& x) {
  const int64_t n = static_cast<int64_t>(rows.size());
  PV_CHECK(x.shape() == Shape({n, features()}), "batch: a tensor of shape {} for {} samples of {} features", x.shape().str(), n, features());
  for (int64_t r : rows) PV_CHECK(r >= 0 && r < samples(), "batch: row {} of {} samples", r, samples());
  Context& c = x.context();
  Tensor indices = Tensor::empty(c, {n}, DType::i64, "batch");
  indices.upload(rows.data(), n);
  k::gather_rows<float>(c.stream(), matrix_.data<float>(), indices.data<int64_t>(), x.data<float>(), matrix_.size(0), n, features());
}

}  // namespace panvae
