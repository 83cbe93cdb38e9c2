#include "models/atac_tasks.h"

#include <utility>

#include "engine/context.h"
#include "engine/ops/arithmetic.h"
#include "models/reconstruction_loss.h"

namespace panvae {

namespace {

void check_fits(const AtacBlockVae& model, const BlockSource& source, const BlockSchedule& schedule) {
  PV_CHECK(source.features() == schedule.peaks(), "train: {} peaks for blocks of {}", source.features(), schedule.peaks());
  PV_CHECK(model.features() == schedule.size(), "train: blocks of {} peaks for a model of {}", schedule.size(), model.features());
}

}  // namespace

BlockTask::BlockTask(AtacBlockVae& model, BlockSource& source, const BlockSchedule& schedule, std::vector<int64_t> train_rows,
                     std::vector<int64_t> validation_rows)
    : model_(model), source_(source), schedule_(schedule), train_rows_(std::move(train_rows)), validation_rows_(std::move(validation_rows)) {
  PV_CHECK(!train_rows_.empty(), "train: no training samples");
  check_fits(model, source, schedule);
}

int64_t BlockTask::train_items(int64_t pass) const {
  return static_cast<int64_t>(train_rows_.size()) * schedule_.blocks_of(pass - 1);
}

int64_t BlockTask::validation_items() const {
  return static_cast<int64_t>(validation_rows_.size()) * schedule_.tiles();
}

std::vector<BlockRef> BlockTask::blocks_of(const ItemBatch& batch) const {
  const bool training = batch.pass > 0;
  const std::vector<int64_t>& rows = training ? train_rows_ : validation_rows_;
  const std::vector<int64_t> starts = training ? schedule_.starts(batch.pass - 1) : schedule_.tiling();
  const int64_t blocks = static_cast<int64_t>(starts.size());
  std::vector<BlockRef> out;
  out.reserve(batch.items.size());
  for (int64_t i : batch.items) out.push_back({rows[static_cast<size_t>(i / blocks)], starts[static_cast<size_t>(i % blocks)]});
  return out;
}

void BlockTask::prefetch(const ItemBatch& batch) {
  source_.prefetch(blocks_of(batch), model_.features());
}

void BlockTask::load(Context& context, const ItemBatch& batch) {
  Tensor& x = input(context, 0, static_cast<int64_t>(batch.items.size()), model_.features());
  const LoadingTime loading(seconds_loading);
  source_.fill(blocks_of(batch), x);
}

ItemLoss BlockTask::loss(Context& context, bool training, double huber_delta, double kl_weight) {
  return vae_loss(context, model_, inputs().at(0), training, huber_delta, kl_weight);
}

PeakTask::PeakTask(AtacHierarchicalVae& model, AtacBlockVae& blocks, BatchSource& means, BlockSource& peaks, const BlockSchedule& schedule,
                   std::vector<int64_t> train_rows, std::vector<int64_t> validation_rows)
    : model_(model),
      blocks_(blocks),
      means_(means),
      peaks_(peaks),
      schedule_(schedule),
      train_rows_(std::move(train_rows)),
      validation_rows_(std::move(validation_rows)) {
  PV_CHECK(!train_rows_.empty(), "train: no training samples");
  check_fits(blocks, peaks, schedule);
  PV_CHECK(model.shape().blocks == schedule.tiles() && model.shape().block_latent == blocks.latent(), "train: {} blocks of {} latents for a model of {} of {}",
           schedule.tiles(), blocks.latent(), model.shape().blocks, model.shape().block_latent);
  PV_CHECK(means.features() == model.features() && means.samples() == peaks.samples(), "train: block means [{}, {}] for {} samples of {}", means.samples(),
           means.features(), peaks.samples(), model.features());
  for (const NamedTensor& p : blocks.parameters()) PV_CHECK(!p.tensor->needs_gradient(), "train: the block VAE's {} asks for a gradient; release them", p.name);
}

std::vector<int64_t> PeakTask::rows_of(const ItemBatch& batch) const {
  const std::vector<int64_t>& all = batch.pass > 0 ? train_rows_ : validation_rows_;
  std::vector<int64_t> rows;
  for (int64_t i : batch.items) rows.push_back(all[static_cast<size_t>(i)]);
  return rows;
}

std::vector<BlockRef> PeakTask::tiles_of(const std::vector<int64_t>& rows) const {
  std::vector<BlockRef> tiles;
  for (int64_t r : rows)
    for (int64_t first : schedule_.tiling()) tiles.push_back({r, first});
  return tiles;
}

void PeakTask::prefetch(const ItemBatch& batch) {
  peaks_.prefetch(tiles_of(rows_of(batch)), schedule_.size());
}

void PeakTask::load(Context& context, const ItemBatch& batch) {
  const std::vector<int64_t> rows = rows_of(batch);
  const int64_t n = static_cast<int64_t>(rows.size());
  input(context, 0, n, model_.features());
  input(context, 1, n * schedule_.tiles(), schedule_.size());
  Tensor x = inputs()[0], peaks = inputs()[1];
  const LoadingTime loading(seconds_loading);
  means_.fill(rows, x);
  peaks_.fill(tiles_of(rows), peaks);
}

ItemLoss PeakTask::loss(Context& context, bool training, double huber_delta, double kl_weight) {
  const Tensor &x = inputs().at(0), &peaks = inputs().at(1);
  const int64_t n = x.size(0), tiles = schedule_.tiles();
  const Evaluation frozen(blocks_);
  const Posterior q = model_.encode(x);
  const Tensor z = training ? ops::reparameterize(q.mean, q.logvar, context.generator.next()) : q.mean;
  const Tensor means = ops::reshape(model_.decode(z), {n * tiles, blocks_.latent()});
  return {reconstruction_loss(blocks_, means, peaks, q, huber_delta, kl_weight), q};
}

}  // namespace panvae
