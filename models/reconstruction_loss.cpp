#include "models/reconstruction_loss.h"

#include "engine/context.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/fused.h"

namespace panvae {

ops::VaeLoss reconstruction_loss(Vae& model, const Tensor& z, const Tensor& target, const Posterior& q, double huber_delta, double kl_weight) {
  if (Linear* last = model.last_layer(); last && z.context().fuses())
    return ops::linear_huber_kl(model.before_last_layer(z), last->weight, last->bias, target, q.mean, q.logvar, huber_delta, kl_weight);
  const Tensor decoded = model.decode(z);
  PV_CHECK(decoded.shape() == target.shape(), "loss: a reconstruction{} against target{}", decoded.shape().str(), target.shape().str());
  const int64_t batch = q.mean.size(0);
  if (decoded.size(0) == batch || batch == 0) return ops::huber_kl(decoded, target, q.mean, q.logvar, huber_delta, kl_weight);
  const Shape by_sample{batch, decoded.count() / batch};
  return ops::huber_kl(ops::reshape(decoded, by_sample), target.view(by_sample), q.mean, q.logvar, huber_delta, kl_weight);
}

}  // namespace panvae
