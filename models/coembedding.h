// RNA and ATAC in one space (SPEC M8): two variational autoencoders with latents of one size, trained together so that the
// posterior means of both can be compared. Either may be any Vae: for ATAC the hierarchical one on block means (the block
// VAE stays as it is) or a dense one over a feature matrix.
//
// Both networks stay in evaluation mode: batch normalisation keeps the running statistics of the warm start. So what is
// aligned is what is used afterwards, and an encoder is one function, whether it reads samples or what the other modality's
// cycle decoded; statistics of a batch would hide the very shift between modalities that is to go.
#pragma once
#include "engine/ops/vae.h"
#include "models/coembed_losses.h"

namespace panvae {

enum class Modality { rna, atac };

class CoEmbedding : public Module {
 public:
  // References must live as long as this. In a ModuleState the parameters are named "rna. ..." and "atac. ...".
  CoEmbedding(Vae& rna, Vae& atac);
  Vae& vae(Modality m) { return m == Modality::rna ? rna_ : atac_; }
  int64_t latent() const { return rna_.latent(); }
  // ATAC imputed from RNA: [B, RNA features] -> [B, ATAC features]
  Tensor forward(const Tensor& x) override { return atac_.decode(rna_.encode(x).mean); }

 private:
  Vae &rna_, &atac_;
};

// Copies weights and running statistics of a single-modality model to its half of the co-embedding, and back again. A module's
// tensors are those of the state that was made last, but a state keeps its own: so the joint state may be made of the very
// modules of the single models, and these be written to files after take_out.
void warm_start(ModuleState& joint, Modality m, const ModuleState& single);
void take_out(const ModuleState& joint, Modality m, ModuleState& single);

enum class CoembedMode { adversarial, contrastive };

struct ReconstructionOptions {
  double huber_delta = 1, kl_weight = 1;  // those of the single-modality run
};

// The total is
//   sum over modalities of (Huber + kl_weight KL) / features     sums over features and latents, means over the batch
//   + cycle (cycle_loss of RNA + cycle_loss of ATAC) + pair pair_loss
//   + adversarial generator_loss, or contrastive triplet
// Division by the number of features leaves the objective of a single-modality run as it was but for a factor, and makes
// it a number of the order of the others. A term of weight 0 is not computed.
struct CoembedLossOptions {
  CoembedMode mode = CoembedMode::adversarial;
  double adversarial = 1, cycle = 1, contrastive = 1, pair = 1, margin = 1;
  GeneratorLoss generator = GeneratorLoss::flipped;
  CycleFreeze cycle_freeze = CycleFreeze::encoders;
  ReconstructionOptions rna, atac;
};

// One modality's samples of a step.
struct JointSide {
  Tensor x;         // [n, features]
  int64_t own = 0;  // the first so many rows take part in every term; those behind serve pairs and triplets
  Tensor paired;    // [P] of i64: the rows of matched pairs
};
struct JointBatch {
  JointSide rna, atac;
  Tensor pair_weights;  // [P]; undefined without pairs
  // Contrastive mode: the modality of this step, and rows of its x, [T] of i64; undefined without triplets.
  Modality contrasted = Modality::rna;
  Tensor anchors, positives, negatives;
};

struct JointLoss {
  Tensor loss;                             // [1], differentiable
  ops::VaeLoss rna, atac;                  // sums over features, before the division
  Tensor cycle, pair, triplet, generator;  // [1], before their weights; undefined where not computed
  Tensor rna_mean, atac_mean;              // [own, latent], without a place in the graph
};

// Within a Step. Noise for z is drawn from the context's generator. `discriminator` is that of the adversarial mode, else null.
JointLoss joint_loss(Context& context, CoEmbedding& model, Discriminator* discriminator, const JointBatch& batch, const CoembedLossOptions& options);

}  // namespace panvae
