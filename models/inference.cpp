#include "models/inference.h"

#include <algorithm>
#include <numeric>

#include "base/interrupt.h"
#include "engine/context.h"

namespace panvae {

namespace {

// Calls use(x, n) with batches of all samples in order; x lives in a step's arena and its first n rows are samples. All
// batches have one shape (the last is filled up with zeros), so that BLAS treats every row alike: what comes out for a
// sample does not depend on how many others are in the file.
template <class F>
void each_batch(Context& context, BatchSource& source, int64_t batch_size, F&& use) {
  std::vector<int64_t> rows;
  for (int64_t first = 0; first < source.samples(); first += batch_size) {
    throw_if_interrupted();
    rows.resize(static_cast<size_t>(std::min(batch_size, source.samples() - first)));
    std::iota(rows.begin(), rows.end(), first);
    Step step(context);
    const int64_t n = static_cast<int64_t>(rows.size());
    Tensor x = Tensor::zeros(context, {batch_size, source.width()}, DType::f32, "batch");
    Tensor samples = x.part(0, {n, source.width()});
    source.fill(rows, samples);
    use(x, n);
  }
}

// The first `columns` of each of the first `rows`.
void append(std::vector<float>& to, const Tensor& t, int64_t rows, int64_t columns) {
  const int64_t stride = t.size(1);
  const std::vector<float> values = t.part(0, {rows, stride}).host<float>();
  for (int64_t r = 0; r < rows; ++r) to.insert(to.end(), values.begin() + r * stride, values.begin() + r * stride + columns);
}

}  // namespace

Posteriors posteriors(Context& context, Vae& model, BatchSource& source, bool with_logvar, int64_t batch_size) {
  Posteriors out;
  const Inference inference(model);
  out.mean.reserve(static_cast<size_t>(source.samples() * model.latent()));
  each_batch(context, source, batch_size, [&](const Tensor& x, int64_t n) {
    const Posterior q = model.encode(x);
    append(out.mean, q.mean, n, model.latent());
    if (with_logvar) append(out.logvar, q.logvar, n, model.latent());
  });
  return out;
}

std::vector<float> decodings(Context& context, Vae& model, const float* z, int64_t samples, int64_t batch_size) {
  std::vector<float> out;
  const Inference inference(model);
  out.reserve(static_cast<size_t>(samples * model.features()));
  MatrixSource latents(context, z, samples, model.latent());
  each_batch(context, latents, batch_size, [&](const Tensor& batch, int64_t n) { append(out, model.decode(batch), n, model.features()); });
  return out;
}

}  // namespace panvae
