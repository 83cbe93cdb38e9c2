// The configuration of a training run: defaults, a TOML file (--config), single keys (--set), and RUN/config.toml.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/rna_vae.h"
#include "models/trained_model.h"
#include "models/trainer.h"

namespace panvae::tools {

// A setting that is chosen by the data where the configuration says "auto".
template <class T>
using Auto = std::optional<T>;

// What only runs of one modality have.
struct RnaConfig {
  int64_t hidden = 1024, latent = 512;
  std::string activation = "relu";  // relu, leaky_relu, linear
};
struct AtacConfig {
  std::string preset = "auto";  // auto, paper, medium, small: where the sizes below are auto
  Auto<int64_t> block_size, block_slide, block_latent, channels, latent;
  Auto<std::vector<int64_t>> block_widths, widths;
  int64_t block_batch = 256;         // pairs of a sample and a block in a step of the first stage
  Auto<double> block_kl_weight;      // of the first stage; loss.kl_weight is the second's
  std::string loss = "block_means";  // what the hierarchical VAE reconstructs: block_means, peaks
};

struct RunConfig {
  std::string modality;  // rna, atac
  RnaConfig rna;
  AtacConfig atac;
  std::string scale = "z";  // z, none
  LossOptions loss;
  TrainOptions train;
  Auto<double> kl_weight;  // of `loss`, which has it once resolve() was called

  explicit RunConfig(const std::string& modality);

  // Everything that says "auto" gets what a model of `features` features gets.
  void resolve(int64_t features);
  // Of a resolved configuration.
  RnaVaeShape rna_shape(int64_t genes) const;
  AtacShape atac_shape(int64_t peaks) const;
  LossOptions block_loss() const;    // of the first stage of ATAC
  TrainOptions block_train() const;  // likewise
  // Later settings win. ErrorCode::usage for an unknown key (with the nearest one), a value of the wrong type or out of
  // range, naming file and line or the option.
  void read_toml(const std::string& path);
  void read_toml_text(const std::string& text, const std::string& name);
  void set(const std::string& assignment);  // "train.max_epochs=20"
  std::string toml() const;

  struct Key {
    std::string name, help;
    std::function<std::optional<std::string>(const std::string&)> set;  // the complaint, or nothing
    std::function<std::string()> get;                                   // as TOML
  };
  std::vector<Key> keys();

 private:
  void assign(const std::string& key, const std::string& value, const std::string& where);
};

// "  loss.kl_weight   ...": every key of a modality with its default and meaning, for --help.
std::string config_help(const std::string& modality);

}  // namespace panvae::tools
