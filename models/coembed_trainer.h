// How a co-embedding is trained, on the loop of training_loop.h. A step takes a batch of RNA samples, one of ATAC samples and
// one of matched pairs; in adversarial mode the discriminator learns once in every step, from the posterior means that the
// autoencoders' half of it began with.
//
// Every draw is a function of the seed and the number of the step, so a resumed run needs no other state. Steps run kernel by
// kernel, never as a graph: how many rows a step reads depends on which samples of its pairs and triplets are in its batch already.
#pragma once
#include <functional>
#include <limits>
#include <memory>
#include <optional>

#include "base/json.h"
#include "engine/batch_source.h"
#include "models/coembedding.h"
#include "models/matched_pairs.h"
#include "models/sample_stream.h"
#include "models/training_loop.h"
#include "models/triplets.h"

namespace panvae {

struct CoembedSamples {
  BatchSource& source;
  std::vector<int64_t> train, validation;  // rows of the source
  // Of all rows of the source, -1 where unknown; each modality may count its own way. Empty where nothing is contrasted.
  std::vector<int64_t> cohort, donor;
};

struct CoembedData {
  CoembedSamples rna, atac;
  // Both samples of a training pair are training samples, both of a validation pair validate.
  std::vector<MatchedPair> train_pairs, validation_pairs;
};

// An epoch is a pass over the modality with fewer training samples, or several (epoch_steps); the other goes on where it stopped.
// Adam's betas are 0.5 and 0.999 in adversarial mode, for both, else 0.9 and 0.999.
struct CoembedTrainOptions : TrainOptions {
  CoembedTrainOptions() {
    batch_size = 64;  // samples of each modality, and pairs, in a step; never more than there are
    max_epochs = 300;
    min_epochs = 20;  // earlier epochs are no candidates for the best: a warm start reconstructs well and aligns nothing
    patience = 20;
    epoch_steps = 20;
  }
  double discriminator_learning_rate = 1e-4;
  std::vector<int64_t> discriminator_widths{256, 128};
};

// Means over the steps of an epoch, or over the validation samples. NaN: not computed.
struct CoembedTerms {
  static constexpr double none = std::numeric_limits<double>::quiet_NaN();
  double rna_huber = none, rna_kl = none, atac_huber = none, atac_kl = none;  // huber of a feature, kl of a sample
  double cycle = none, pair = none, triplet = none;                           // without their weights; cycle is the sum of both directions
  double generator = none, discriminator = none;                              // likewise
  double discriminator_accuracy = none;                                       // mean of both modalities' shares: 0.5 is chance
  void write(Json& to, const std::string& prefix) const;                      // NaN is left out
};
struct CoembedEpoch {
  int64_t epoch = 0;  // from 1; 0: of no epoch, but of evaluate()
  double train_loss = CoembedTerms::none;
  CoembedTerms train, validation;
  // Of the validation pairs (matched_pairs.h). NaN without any.
  double foscttm = CoembedTerms::none;
  // What the best epoch has least of: reconstruction of both modalities as in the training loss (posterior means for z) + foscttm.
  // Without validation pairs the cycle term stands for foscttm. NaN without validation samples on both sides.
  double validation_loss = CoembedTerms::none;
  bool best = false;
  double seconds = 0, loading_seconds = 0;  // of this call
  Json json() const;                        // the line of metrics.jsonl; without times
};

class CoembedTrainer : public TrainingLoop {
 public:
  // The state must be the model's; weights start as they are.
  CoembedTrainer(Context& context, CoEmbedding& model, ModuleState& state, CoembedData data, CoembedLossOptions loss, CoembedTrainOptions options);

  // Called after every epoch, before its checkpoint could be written.
  std::function<void(const CoembedEpoch&)> on_epoch;
  // The validation half of an epoch, of the weights as they are: before run(), of the warm start.
  CoembedEpoch evaluate();
  // Of the discriminator, on any samples: mean of both modalities' shares. NaN in contrastive mode and without samples of both.
  double discriminator_accuracy(const std::vector<int64_t>& rna_rows, const std::vector<int64_t>& atac_rows);
  // Null in contrastive mode.
  Discriminator* discriminator() { return discriminator_.get(); }
  ModuleState* discriminator_state() const { return discriminator_state_.get(); }

 private:
  struct Side {
    CoembedSamples samples;
    std::optional<TripletSampler> train_triplets, validation_triplets;
    SampleStream stream;
    int64_t per_step = 0;
  };
  // Rows of a step, each once behind those of the batch.
  class Rows;

  Side side_of(Modality m, CoembedSamples samples) const;
  void check_pairs();  // and scales the weights of training pairs
  JointBatch batch_of(int64_t step);
  JointSide fill(Side& side, const Rows& rows, const std::vector<int64_t>& paired);
  void validate(CoembedEpoch& m);
  struct SideValidation;
  SideValidation validate_side(Modality m, const std::vector<int64_t>& rows);
  double triplet_loss(const TripletSampler& sampler, const SideValidation& v, const std::vector<int64_t>& rows) const;

  int64_t steps_of(int64_t) const override { return steps_per_epoch_; }
  bool validates() const override { return !rna_.samples.validation.empty() && !atac_.samples.validation.empty(); }
  void set_training(bool) override { model_.set_training(false); }
  double seconds_loading() const override { return seconds_loading_; }
  std::vector<double> step(int64_t epoch, int64_t index) override;
  int64_t items_of_step(int64_t, int64_t) const override { return rna_.per_step + atac_.per_step; }
  Judgement judge(int64_t epoch, const std::vector<double>& sums) override;
  void report(bool best, double seconds, double loading_seconds) override;
  std::string progress_note(int64_t epoch, const std::vector<double>& sums) const override;

  CoEmbedding& model_;
  CoembedLossOptions loss_;
  CoembedTrainOptions train_;
  Side rna_, atac_;
  std::vector<MatchedPair> train_pairs_, validation_pairs_;  // weights of training pairs have mean 1
  SampleStream pair_stream_;
  int64_t steps_per_epoch_ = 0, pairs_per_step_ = 0;
  std::unique_ptr<Discriminator> discriminator_;
  std::unique_ptr<ModuleState> discriminator_state_;
  CoembedEpoch metrics_;
  double seconds_loading_ = 0;
};

}  // namespace panvae
