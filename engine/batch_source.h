// Where a trainer's batches come from. The engine knows no file format: whoever has data implements this.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/tensor.h"

namespace panvae {

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual int64_t samples() const = 0;
  virtual int64_t features() const = 0;
  // Of the rows that are made: zeros lie behind the features where it is more.
  virtual int64_t width() const { return features(); }
  // x[i, :] = sample rows[i]; x is f32 [rows.size(), width()] on its context's device.
  virtual void fill(const std::vector<int64_t>& rows, Tensor& x) = 0;
  // Whether fill() leaves its work to the device and waits for nothing: then a trainer calls it while the device is at the step before.
  virtual bool queues() const { return false; }
};

// All samples as one f32 matrix in the memory of the context's device; batches are gathered there.
class MatrixSource : public BatchSource {
 public:
  // Copies `values` (row-major [samples, features], host memory) to the device; on cpu the memory is used as it is, unless rows
  // are to be wider, and must outlive the source.
  MatrixSource(Context& context, const float* values, int64_t samples, int64_t features);
  MatrixSource(Context& context, const float* values, int64_t samples, int64_t features, int64_t width);
  int64_t samples() const override { return matrix_.size(0); }
  int64_t features() const override { return features_; }
  int64_t width() const override { return matrix_.size(1); }
  void fill(const std::vector<int64_t>& rows, Tensor& x) override;
  bool queues() const override { return true; }

 private:
  int64_t features_;
  Tensor matrix_;
};

// A block of contiguous features of one sample, from feature `first` on.
struct BlockRef {
  int64_t sample = 0, first = 0;
  bool operator==(const BlockRef&) const = default;
};

// Batches of blocks of one width.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  virtual int64_t samples() const = 0;
  virtual int64_t features() const = 0;
  // x[i, :] = the features of block i; x is f32 [blocks.size(), width] on its context's device.
  virtual void fill(const std::vector<BlockRef>& blocks, Tensor& x) = 0;
  // Whether fill() leaves its work to the device and waits for nothing: then a trainer calls it while the device is at the step before.
  virtual bool queues() const { return false; }
  // These blocks are asked for soon, after those announced before: a source that reads on a thread begins. Call it outside of
  // a Step.
  virtual void prefetch(const std::vector<BlockRef>&, int64_t /*width*/) {}
};

// All samples as one f32 or f16 matrix in the memory of the context's device; blocks are gathered, and widened, there.
class MatrixBlockSource : public BlockSource {
 public:
  // As MatrixSource: copied to the device; on cpu used as it is.
  MatrixBlockSource(Context& context, const float* values, int64_t samples, int64_t features);
  MatrixBlockSource(Context& context, const f16* values, int64_t samples, int64_t features);
  int64_t samples() const override { return matrix_.size(0); }
  int64_t features() const override { return matrix_.size(1); }
  void fill(const std::vector<BlockRef>& blocks, Tensor& x) override;
  bool queues() const override { return true; }

 private:
  Tensor matrix_;
};

// Whether a matrix of so many bytes may stay on the context's device beside a model and its training: on cuda if it takes no
// more than half of the memory, else always.
bool stays_on_device(const Context& context, int64_t bytes);
// A MatrixBlockSource if the matrix stays on the device, else a StagedBlockSource (staged_source.h) on the same memory, which
// must outlive the source in either case.
std::unique_ptr<BlockSource> block_source(Context& context, const float* values, int64_t samples, int64_t features);
std::unique_ptr<BlockSource> block_source(Context& context, const f16* values, int64_t samples, int64_t features);

// Of fill: an Error unless x is [blocks.size(), width] and every block lies within.
void check_blocks(const BlockSource& source, const std::vector<BlockRef>& blocks, const Tensor& x);

}  // namespace panvae
