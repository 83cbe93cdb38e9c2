// Where a trainer's batches come from. The engine knows no file format: whoever has data implements this.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace panvae {

class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual int64_t samples() const = 0;
  virtual int64_t features() const = 0;
  // x[i, :] = sample rows[i]; x is f32 [rows.size(), features()] on its context's device.
  virtual void fill(const std::vector<int64_t>& rows, Tensor& x) = 0;
};

// All samples as one f32 matrix in the memory of the context's device; batches are gathered there.
class MatrixSource : public BatchSource {
 public:
  // Copies `values` (row-major [samples, features], host memory) to the device; on cpu the memory is used as it is and
  // must outlive the source.
  MatrixSource(Context& context, const float* values, int64_t samples, int64_t features);
  int64_t samples() const override { return matrix_.size(0); }
  int64_t features() const override { return matrix_.size(1); }
  void fill(const std::vector<int64_t>& rows, Tensor& x) override;

 private:
  Tensor matrix_;
};

}  // namespace panvae
