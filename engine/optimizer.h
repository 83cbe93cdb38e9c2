// Adam and AdamW over the flat buffers of a ModuleState, clipping, and learning-rate schedules.
#pragma once
#include "engine/module.h"
#include "kernels/kernels.h"

namespace panvae {

// Adam (Kingma and Ba 2015) or, with `decoupled`, AdamW (Loshchilov and Hutter 2019), as PyTorch defines them. A step
// whose gradient norm, or loss where it is given, is not finite changes nothing and is counted in skipped(). All of that is
// decided on the device: a step may be captured as a graph. Gradients that are kept as products (ModuleState::keep_products) are
// computed together with the update, and are gone afterwards; their step is taken only where they are sure to be finite: where
// the norms of both factors together are below a quarter of what the type holds.
class Adam {
 public:
  // Takes gradients and two moments of the size of the parameters from the state's context.
  explicit Adam(ModuleState& state, AdamOptions options = {});

  double learning_rate = 1e-3;
  double max_norm = 0;                      // global gradient norm is clipped to this; 0: no clipping
  int64_t panel_bytes = int64_t{16} << 20;  // of a kept gradient that a library computes, see update_by_panels

  void zero_grad() { state_.forget_gradients(); }
  // `losses`: any number of values of the parameters' type, on the device.
  void step(const Tensor& losses = {});
  // Brings learning_rate and max_norm to the device where they have changed. step() does it; where steps are captured, call it
  // before each launch.
  void upload_settings();
  // These read the device and wait for it.
  int64_t steps() const;  // taken, skipped ones not counted
  int64_t skipped() const;
  double gradient_norm() const;  // of the last step, before clipping

  // For checkpoints: the moments (flat, as the parameters) and the scalars (AdamSlot). What is read into the scalars may be another
  // learning rate: this object's own goes to the device again before the next step.
  const Tensor& first_moment() const { return m_; }
  const Tensor& second_moment() const { return v_; }
  const Tensor& slots() const { return slots_; }
  Tensor& first_moment() { return m_; }
  Tensor& second_moment() { return v_; }
  Tensor& slots() {
    uploaded_[0] = uploaded_[1] = -1;
    return slots_;
  }

 private:
  struct Range {
    int64_t first, count;
  };
  void update_ranges(const std::vector<Range>& ranges, const std::vector<const ModuleState::Entry*>& products, const Tensor& losses);
  // Of products that are kept although MatrixProduct::best_kept() says no: no pass over the gradients for their norm, a panel is still in
  // the cache, and while a step is captured the next one is computed beside.
  template <class T>
  void update_by_panels(const std::vector<const ModuleState::Entry*>& products);

  ModuleState& state_;
  AdamOptions options_;
  Tensor m_, v_, slots_;
  Tensor sum_squares_;             // of all gradients; behind it, of each range
  double uploaded_[2] = {-1, -1};  // learning rate and max_norm that the device holds
};

// Scales the gradients of the state in place so that their global norm is at most max_norm; returns the norm before
// (torch.nn.utils.clip_grad_norm_).
double clip_grad_norm(ModuleState& state, double max_norm);

// Learning rate as a function of the step, counted from 0.
struct Schedule {
  enum class Kind { constant, warmup, cosine } kind = Kind::constant;
  double base = 1e-3;
  int64_t warmup_steps = 0;  // warmup, cosine: linear from base / warmup_steps up to base
  int64_t total_steps = 0;   // cosine: half a cosine from base down to `floor` at this step
  double floor = 0;
  double at(int64_t step) const;
};

}  // namespace panvae
