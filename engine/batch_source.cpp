#include "engine/batch_source.h"

#include <algorithm>
#include <limits>

#include "engine/context.h"
#include "engine/staged_source.h"
#include "kernels/kernels.h"

namespace panvae {

namespace {

// [samples, features] on the context's device: memory of the host where that is the device, else a copy.
template <class T>
Tensor on_device(Context& context, const T* values, int64_t samples, int64_t features) {
  if (context.device().type != DeviceType::cuda) return Tensor::wrap(context, const_cast<T*>(values), {samples, features}, dtype_of<T>());
  Tensor matrix = Tensor::empty(context, {samples, features}, dtype_of<T>(), "training matrix");
  matrix.upload(values, samples * features);
  return matrix;
}

// The same with zeros behind the features of a row. Rows are put together on the host some at a time.
Tensor on_device_padded(Context& context, const float* values, int64_t samples, int64_t features, int64_t width) {
  PV_CHECK(width >= features && features > 0, "batch: rows of {} for {} features", width, features);
  constexpr int64_t kNumbersAtATime = int64_t{1} << 24;
  Tensor matrix = Tensor::empty(context, {samples, width}, DType::f32, "training matrix");
  const int64_t most = std::max<int64_t>(1, kNumbersAtATime / width);
  std::vector<float> rows;
  for (int64_t first = 0; first < samples; first += most) {
    const int64_t n = std::min(most, samples - first);
    rows.assign(static_cast<size_t>(n * width), 0.0f);
    for (int64_t i = 0; i < n; ++i) std::copy_n(values + (first + i) * features, features, rows.begin() + i * width);
    matrix.part(first * width, {n, width}).upload(rows.data(), n * width);
  }
  return matrix;
}

template <class T>
std::unique_ptr<BlockSource> matching_source(Context& context, const T* values, int64_t samples, int64_t features) {
  if (stays_on_device(context, samples * features * static_cast<int64_t>(sizeof(T))))
    return std::make_unique<MatrixBlockSource>(context, values, samples, features);
  auto read = [=](int64_t sample, int64_t first, int64_t count, float* to) {
    const T* from = values + sample * features + first;
    if constexpr (std::is_same_v<T, f16>) std::transform(from, from + count, to, [](f16 v) { return to_float(v); });
    else std::copy_n(from, count, to);
  };
  return std::make_unique<StagedBlockSource>(context, read, samples, features);
}

}  // namespace

MatrixSource::MatrixSource(Context& context, const float* values, int64_t samples, int64_t features)
    : MatrixSource(context, values, samples, features, features) {}
MatrixSource::MatrixSource(Context& context, const float* values, int64_t samples, int64_t features, int64_t width)
    : features_(features),
      matrix_(width == features ? on_device(context, values, samples, features) : on_device_padded(context, values, samples, features, width)) {}

void MatrixSource::fill(const std::vector<int64_t>& rows, Tensor& x) {
  const int64_t n = static_cast<int64_t>(rows.size());
  PV_CHECK(x.shape() == Shape({n, width()}), "batch: a tensor of shape {} for {} samples of {} features", x.shape().str(), n, width());
  PV_CHECK(&x.context() == &matrix_.context(), "batch: a tensor of another context");
  for (int64_t r : rows) PV_CHECK(r >= 0 && r < samples(), "batch: row {} of {} samples", r, samples());
  Context& c = x.context();
  Tensor indices = Tensor::empty(c, {n}, DType::i64, "batch");
  indices.upload(rows.data(), n);
  k::gather_rows<float>(c.stream(), matrix_.data<float>(), indices.data<int64_t>(), x.data<float>(), matrix_.size(0), n, width(),
                        std::numeric_limits<float>::quiet_NaN());
  x.bump_version();
  c.claim_calls("batch", x.shape());
}

MatrixBlockSource::MatrixBlockSource(Context& context, const float* values, int64_t samples, int64_t features)
    : matrix_(on_device(context, values, samples, features)) {}
MatrixBlockSource::MatrixBlockSource(Context& context, const f16* values, int64_t samples, int64_t features)
    : matrix_(on_device(context, values, samples, features)) {}

void check_blocks(const BlockSource& source, const std::vector<BlockRef>& blocks, const Tensor& x) {
  PV_CHECK(x.rank() == 2 && x.size(0) == static_cast<int64_t>(blocks.size()) && x.dtype() == DType::f32, "blocks: a tensor of shape {} for {} blocks",
           x.shape().str(), blocks.size());
  for (const BlockRef& b : blocks)
    PV_CHECK(b.sample >= 0 && b.sample < source.samples() && b.first >= 0 && b.first <= source.features() - x.size(1),
             "blocks: features [{}, {}) of sample {}, where there are {} of {} samples", b.first, b.first + x.size(1), b.sample, source.features(),
             source.samples());
}

void MatrixBlockSource::fill(const std::vector<BlockRef>& blocks, Tensor& x) {
  check_blocks(*this, blocks, x);
  PV_CHECK(&x.context() == &matrix_.context(), "blocks: a tensor of another context");
  const int64_t n = x.size(0);
  std::vector<int64_t> places;  // samples, then first features: one transfer
  for (const BlockRef& b : blocks) places.push_back(b.sample);
  for (const BlockRef& b : blocks) places.push_back(b.first);
  Context& c = x.context();
  Tensor indices = Tensor::empty(c, {2 * n}, DType::i64, "batch");
  indices.upload(places.data(), 2 * n);
  const int64_t *samples_of = indices.data<int64_t>(), *firsts = samples_of + n;
  if (matrix_.dtype() == DType::f16)
    k::gather_blocks_f16<float>(c.stream(), matrix_.data<f16>(), samples_of, firsts, x.data<float>(), samples(), features(), n, x.size(1));
  else k::gather_blocks<float>(c.stream(), matrix_.data<float>(), samples_of, firsts, x.data<float>(), samples(), features(), n, x.size(1));
  x.bump_version();
  c.claim_calls("batch", x.shape());
}

bool stays_on_device(const Context& context, int64_t bytes) {
  const Device device = context.device();
  return device.type != DeviceType::cuda || bytes <= backend_of(device.type).properties(device.index).memory_bytes / 2;
}

std::unique_ptr<BlockSource> block_source(Context& context, const float* values, int64_t samples, int64_t features) {
  return matching_source(context, values, samples, features);
}
std::unique_ptr<BlockSource> block_source(Context& context, const f16* values, int64_t samples, int64_t features) {
  return matching_source(context, values, samples, features);
}

}  // namespace panvae
