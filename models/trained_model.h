// A model of one modality as its users see it: samples in, posterior means and reconstructions out, whatever networks it
// is made of.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/checkpoint.h"
#include "models/architecture.h"
#include "models/atac_block_vae.h"
#include "models/atac_hierarchical_vae.h"
#include "models/atac_inference.h"
#include "models/blocks.h"
#include "models/inference.h"
#include "models/rna_vae.h"

namespace panvae {

class TrainedModel {
 public:
  virtual ~TrainedModel() = default;
  virtual std::string kind() const = 0;     // of files: "rna vae", "atac vae", "atac dense vae"
  virtual std::string network() const = 0;  // for people: "19421 - 1024 - 512"
  // Its stages, each as architecture() of architecture.h gives it, in the order in which a sample passes their encoders.
  virtual Json stages(const std::string& modality) = 0;
  virtual int64_t features() const = 0;
  virtual int64_t latent() const = 0;
  virtual int64_t parameter_count() const = 0;

  // In evaluation mode: x [samples, features] in host memory, scaled as in training; a sample's numbers are the same alone or among
  // others.
  virtual Posteriors posteriors(Context& context, const float* x, int64_t samples, bool with_logvar = false) = 0;
  // use(sample, values [features]): decoded from latents z [samples, latent] in host memory.
  virtual void decode(Context& context, const float* z, int64_t samples, const SampleUse& use) = 0;
  // Likewise, from the posterior means of samples x.
  void reconstruct(Context& context, const float* x, int64_t samples, const SampleUse& use);
  // The metric that the decoder pulls back to the latent space, [latent, latent], averaged over latents z [n, latent]: what
  // RnaVae::decoder_metric is. |(z - z') G^(1/2)| is the distance of reconstructions to first order.
  virtual std::vector<float> decoder_metric(Context& context, const std::vector<float>& z) = 0;

  // The network that has the latents, and its weights: of ATAC in two stages the hierarchical VAE.
  virtual Vae& latent_vae() = 0;
  virtual ModuleState& latent_state() = 0;
  // What that network takes, [samples, latent_vae().features()]: the samples themselves, or their block means.
  virtual std::vector<float> latent_inputs(Context& context, const float* x, int64_t samples) = 0;

  // `prefix` stands before the names of tensors.
  virtual void add_to(TensorWriter& file, const std::string& prefix = "") const = 0;
  // The weights of a file that add_to made; errors as read_state.
  virtual void read_from(const SafetensorsReader& file, const std::string& prefix = "") = 0;
};

// One network over all features: of RNA, or of any matrix of ATAC features. Tensors "model.*".
class DenseModel : public TrainedModel {
 public:
  DenseModel(Context& context, const RnaVaeShape& shape, uint64_t seed, std::string kind);
  std::string kind() const override { return kind_; }
  std::string network() const override;
  Json stages(const std::string& modality) override;
  int64_t features() const override { return vae.features(); }
  int64_t latent() const override { return vae.latent(); }
  int64_t parameter_count() const override { return state.parameter_count(); }
  Posteriors posteriors(Context& context, const float* x, int64_t samples, bool with_logvar = false) override;
  void decode(Context& context, const float* z, int64_t samples, const SampleUse& use) override;
  std::vector<float> decoder_metric(Context& context, const std::vector<float>& z) override;
  Vae& latent_vae() override { return vae; }
  ModuleState& latent_state() override { return state; }
  std::vector<float> latent_inputs(Context& context, const float* x, int64_t samples) override;
  void add_to(TensorWriter& file, const std::string& prefix = "") const override;
  void read_from(const SafetensorsReader& file, const std::string& prefix = "") override;

  RnaVae vae;
  ModuleState state;

 private:
  std::string kind_;
};

struct AtacShape {
  int64_t peaks = 0;
  AtacBlockVaeShape block;  // block.block: at most `peaks`
  int64_t slide = 1000;
  int64_t channels = 64;  // of the hierarchical VAE, as the two below
  std::vector<int64_t> widths{2048, 1024};
  int64_t latent = 512;
};

// Both stages. Tensors "block.*" and "hierarchical.*".
class AtacNetworks : public TrainedModel {
 public:
  AtacNetworks(Context& context, const AtacShape& shape, uint64_t seed);
  std::string kind() const override { return "atac vae"; }
  std::string network() const override;
  Json stages(const std::string& modality) override;
  int64_t features() const override { return schedule.peaks(); }
  int64_t latent() const override { return whole.latent(); }
  int64_t parameter_count() const override { return block_state.parameter_count() + whole_state.parameter_count(); }
  Posteriors posteriors(Context& context, const float* x, int64_t samples, bool with_logvar = false) override;
  void decode(Context& context, const float* z, int64_t samples, const SampleUse& use) override;
  // By central differences of half a unit of the prior around a few of the latents, decoded to some of the tiles, evenly
  // spaced: so that it costs seconds at full width.
  std::vector<float> decoder_metric(Context& context, const std::vector<float>& z) override;
  Vae& latent_vae() override { return whole; }
  ModuleState& latent_state() override { return whole_state; }
  std::vector<float> latent_inputs(Context& context, const float* x, int64_t samples) override;
  void add_to(TensorWriter& file, const std::string& prefix = "") const override;
  void read_from(const SafetensorsReader& file, const std::string& prefix = "") override;

  // The networks as the functions of atac_inference.h take them.
  AtacModel both() { return {blocks, whole, schedule}; }

  BlockSchedule schedule;
  AtacBlockVae blocks;
  AtacHierarchicalVae whole;
  ModuleState block_state, whole_state;
};

}  // namespace panvae
