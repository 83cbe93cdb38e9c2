// What is trained on ATAC: the block VAE on (sample, block) pairs, and the hierarchical VAE end to end with the peak loss.
// (The hierarchical VAE on block means is a RowTask: training_task.h.)
#pragma once
#include "models/atac_block_vae.h"
#include "models/atac_hierarchical_vae.h"
#include "models/blocks.h"
#include "models/training_task.h"

namespace panvae {

// Stage 1. An item is a pair of a training sample and a block of the schedule's pass, so each sees every peak of every
// sample; the trainer shuffles samples and blocks together. Validation takes the tiling.
class BlockTask : public TrainingTask {
 public:
  // `train_rows` and `validation_rows` are samples of `source`, which has the schedule's peaks; blocks are the model's.
  BlockTask(AtacBlockVae& model, BlockSource& source, const BlockSchedule& schedule, std::vector<int64_t> train_rows, std::vector<int64_t> validation_rows);
  Module& module() override { return model_; }
  int64_t latent() const override { return model_.latent(); }
  int64_t smallest_batch() const override { return model_.smallest_batch(); }
  int64_t train_items(int64_t pass) const override;
  int64_t validation_items() const override;
  void prefetch(const ItemBatch& batch) override;
  void load(Context& context, const ItemBatch& batch) override;
  bool queues() const override { return source_.queues(); }
  ItemLoss loss(Context& context, bool training, double huber_delta, double kl_weight) override;

 private:
  std::vector<BlockRef> blocks_of(const ItemBatch& batch) const;

  AtacBlockVae& model_;
  BlockSource& source_;
  BlockSchedule schedule_;
  std::vector<int64_t> train_rows_, validation_rows_;
};

// Stage 2, end to end: the hierarchical VAE from block means to block means, these through the decoder of the block VAE to
// peaks, and the Huber loss there; gradients pass through the block decoder, which itself stays as it is (evaluation mode).
// Peaks on which the last two tiles overlap count in both. An item is a sample.
//
// Memory beside parameters, for each sample of a batch, in bytes: 4 tiles (3 block + 3 sum of the block decoder's widths +
// 2 block latents) and more of the same order for gradients on the way; at full width about 20 MB a sample.
class PeakTask : public TrainingTask {
 public:
  // `means` has the block means of the samples of `peaks` (atac_inference.h), in the same order. The parameters of `blocks`
  // must not ask for gradients (ModuleState::release_gradients).
  PeakTask(AtacHierarchicalVae& model, AtacBlockVae& blocks, BatchSource& means, BlockSource& peaks, const BlockSchedule& schedule,
           std::vector<int64_t> train_rows, std::vector<int64_t> validation_rows);
  Module& module() override { return model_; }
  int64_t latent() const override { return model_.latent(); }
  int64_t smallest_batch() const override { return model_.smallest_batch(); }
  int64_t train_items(int64_t) const override { return static_cast<int64_t>(train_rows_.size()); }
  int64_t validation_items() const override { return static_cast<int64_t>(validation_rows_.size()); }
  void prefetch(const ItemBatch& batch) override;
  void load(Context& context, const ItemBatch& batch) override;
  bool queues() const override { return means_.queues() && peaks_.queues(); }
  ItemLoss loss(Context& context, bool training, double huber_delta, double kl_weight) override;

 private:
  std::vector<int64_t> rows_of(const ItemBatch& batch) const;
  std::vector<BlockRef> tiles_of(const std::vector<int64_t>& rows) const;

  AtacHierarchicalVae& model_;
  AtacBlockVae& blocks_;
  BatchSource& means_;
  BlockSource& peaks_;
  BlockSchedule schedule_;
  std::vector<int64_t> train_rows_, validation_rows_;
};

}  // namespace panvae
