#include "models/coembedding.h"

#include <map>
#include <string>

#include "engine/ops/arithmetic.h"
#include "engine/ops/layout.h"
#include "engine/ops/losses.h"
#include "engine/padding.h"
#include "models/reconstruction_loss.h"

namespace panvae {

namespace {

// The first rows of [n, columns].
Tensor first_rows(const Tensor& x, int64_t rows) {
  return rows == x.size(0) ? x : ops::slice(x, 0, 0, rows);
}

struct Half {
  Posterior all, own;
  ops::VaeLoss reconstruction;
};

Half half_of(Context& context, Vae& vae, const JointSide& side, const ReconstructionOptions& options) {
  PV_CHECK(side.own > 0 && side.own <= side.x.size(0), "co-embedding: {} of {} rows", side.own, side.x.size(0));
  Half h;
  h.all = vae.encode(side.x);
  h.own = {first_rows(h.all.mean, side.own), first_rows(h.all.logvar, side.own)};
  const Tensor z = ops::reparameterize(h.own.mean, h.own.logvar, context.generator.next());
  const Tensor target = side.x.part(0, {side.own, side.x.size(1)});
  h.reconstruction = reconstruction_loss(vae, z, target, h.own, options.huber_delta, options.kl_weight);
  return h;
}

// Between a single model and its half of the joint one. By the host: they may live in two contexts, whose devices pad rows differently.
void copy_half(const ModuleState& joint, Modality m, const ModuleState& single, bool into_joint) {
  const std::string prefix = m == Modality::rna ? "rna." : "atac.";
  auto copy = [&](const std::vector<ModuleState::Entry>& whole, const std::vector<ModuleState::Entry>& part) {
    std::map<std::string, ModuleState::Entry> half;
    for (const auto& e : whole)
      if (e.name.rfind(prefix, 0) == 0) half.emplace(e.name.substr(prefix.size()), e);
    PV_CHECK(half.size() == part.size(), "co-embedding: a model of {} tensors for the {} of \"{}\"", part.size(), half.size(), prefix);
    for (const auto& e : part) {
      const auto at = half.find(e.name);
      PV_CHECK(at != half.end() && at->second.used == e.used && at->second.tensor.dtype() == e.tensor.dtype(), "co-embedding: {} {} is not in \"{}\"", e.name,
               e.used.str(), prefix);
      const auto &from = into_joint ? e : at->second, &to = into_joint ? at->second : e;
      Tensor target = to.tensor;
      dispatch(target.dtype(), "co-embedding", [&]<class T>(T) { set_used_values(target, to.used, used_values<T>(from.tensor, from.used).data()); });
    }
  };
  copy(joint.entries(), single.entries());
  copy(joint.buffer_entries(), single.buffer_entries());
}

}  // namespace

CoEmbedding::CoEmbedding(Vae& rna, Vae& atac) : rna_(rna), atac_(atac) {
  PV_CHECK(rna.latent() == atac.latent(), "co-embedding: {} latents of RNA and {} of ATAC are not one space", rna.latent(), atac.latent());
  declare_module("rna", rna);
  declare_module("atac", atac);
}

void warm_start(ModuleState& joint, Modality m, const ModuleState& single) {
  copy_half(joint, m, single, true);
}

void take_out(const ModuleState& joint, Modality m, ModuleState& single) {
  copy_half(joint, m, single, false);
}

JointLoss joint_loss(Context& context, CoEmbedding& model, Discriminator* discriminator, const JointBatch& batch, const CoembedLossOptions& options) {
  Vae &rna_vae = model.vae(Modality::rna), &atac_vae = model.vae(Modality::atac);
  const Half rna = half_of(context, rna_vae, batch.rna, options.rna), atac = half_of(context, atac_vae, batch.atac, options.atac);
  JointLoss out;
  out.rna = rna.reconstruction;
  out.atac = atac.reconstruction;
  out.rna_mean = rna.own.mean.detach();
  out.atac_mean = atac.own.mean.detach();
  out.loss = ops::add(ops::scale(rna.reconstruction.loss, 1.0 / static_cast<double>(rna_vae.features())),
                      ops::scale(atac.reconstruction.loss, 1.0 / static_cast<double>(atac_vae.features())));
  auto add = [&](const Tensor& term, double weight) { out.loss = ops::add(out.loss, ops::scale(term, weight)); };
  if (options.cycle > 0) {
    out.cycle = ops::add(cycle_loss(atac_vae, rna.own.mean, options.cycle_freeze), cycle_loss(rna_vae, atac.own.mean, options.cycle_freeze));
    add(out.cycle, options.cycle);
  }
  if (options.pair > 0 && batch.pair_weights.defined()) {
    out.pair = pair_loss(ops::gather_rows(rna.all.mean, batch.rna.paired), ops::gather_rows(atac.all.mean, batch.atac.paired), batch.pair_weights);
    add(out.pair, options.pair);
  }
  if (options.mode == CoembedMode::adversarial && options.adversarial > 0) {
    PV_CHECK(discriminator, "co-embedding: the adversarial mode needs a discriminator");
    out.generator = generator_loss(*discriminator, rna.own.mean, atac.own.mean, options.generator);
    add(out.generator, options.adversarial);
  }
  if (options.mode == CoembedMode::contrastive && options.contrastive > 0 && batch.anchors.defined()) {
    const Tensor& z = (batch.contrasted == Modality::rna ? rna : atac).all.mean;
    out.triplet = ops::triplet(z, z, batch.anchors, batch.positives, batch.negatives, options.margin);
    add(out.triplet, options.contrastive);
  }
  return out;
}

}  // namespace panvae
