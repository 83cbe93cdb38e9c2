// The configuration of a training run: defaults, a TOML file (--config), single keys (--set), and RUN/config.toml.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/coembed_trainer.h"
#include "models/rna_vae.h"
#include "models/trained_model.h"
#include "models/trainer.h"

namespace panvae::tools {

// A setting that is chosen by the data where the configuration says "auto".
template <class T>
using Auto = std::optional<T>;

// One network over all features: of RNA, and of ATAC where it is asked for.
struct DenseConfig {
  int64_t hidden = 1024, latent = 512;
  std::string activation = "relu";  // relu, leaky_relu, linear
};
// What only runs of one kind have.
struct AtacConfig {
  std::string network = "hierarchical";  // hierarchical, dense
  std::string preset = "auto";           // auto, paper, medium, small: where the sizes below are auto
  Auto<int64_t> block_size, block_slide, block_latent, channels, latent;
  Auto<std::vector<int64_t>> block_widths, widths;
  int64_t block_batch = 256;         // pairs of a sample and a block in a step of the first stage
  Auto<double> block_kl_weight;      // of the first stage; loss.kl_weight is the second's
  std::string loss = "block_means";  // what the hierarchical VAE reconstructs: block_means, peaks
};

struct CoembedConfig {
  std::string mode;                 // adversarial, contrastive
  std::string atac_model = "auto";  // auto (that of the ATAC run), hierarchical, dense
  std::string cycle_freeze = "encoders", generator = "flipped";
  double adversarial = 1, cycle = 1, contrastive = 1, pair = 1, margin = 1;
  Auto<double> discriminator_learning_rate;
};

struct RunConfig {
  std::string modality;  // rna, atac, coembed
  DenseConfig dense;
  AtacConfig atac;
  CoembedConfig coembed;
  std::string scale = "z";  // z, none
  LossOptions loss;
  TrainOptions train;
  Auto<double> kl_weight;  // of `loss`, which has it once resolve() was called

  explicit RunConfig(const std::string& modality);

  bool is_dense() const { return modality == "rna" || (modality == "atac" && atac.network == "dense"); }
  // Everything that says "auto" gets what a model of `features` features gets. Of single modalities.
  void resolve(int64_t features);
  // Of a resolved configuration.
  RnaVaeShape dense_shape(int64_t features) const;
  AtacShape atac_shape(int64_t peaks) const;
  LossOptions block_loss() const;    // of the first stage of ATAC
  TrainOptions block_train() const;  // likewise
  // Of a co-embedding; the reconstruction terms are those of the runs that it begins with.
  CoembedLossOptions coembed_loss() const;
  CoembedTrainOptions coembed_train() const;
  // Later settings win. ErrorCode::usage for an unknown key (with the nearest one), a value of the wrong type or out of
  // range, naming file and line or the option.
  void read_toml(const std::string& path);
  void read_toml_text(const std::string& text, const std::string& name);
  void set(const std::string& assignment);  // "train.max_epochs=20"
  // Begins with the settings of a run, config.toml, which names what was chosen where it said "auto".
  void begin_with(const std::string& path);
  // Once all are set over those of `begun`: what that run chose by a key that is another now is chosen anew, unless it was set as well.
  void choose_anew(const RunConfig& begun);
  // ErrorCode::usage where a key was set that the network does not have. Once all are set.
  void check() const;
  std::string toml() const;  // without such keys

  struct Key {
    std::string name, help;
    std::function<std::optional<std::string>(const std::string&)> set;  // the complaint, or nothing
    std::function<std::string()> get;                                   // as TOML
    std::string network = {};                                           // "" or the only model.network that has it
  };
  std::vector<Key> keys();

 private:
  void add_coembed_keys(std::vector<Key>& all);
  bool applies(const Key& key) const { return key.network.empty() || key.network == atac.network; }
  void assign(const std::string& key, const std::string& value, const std::string& where);

  std::map<std::string, std::string> assigned_;  // key, and where
};

// "  loss.kl_weight   ...": every key of a modality with its default and meaning, for --help.
std::string config_help(const std::string& modality);

}  // namespace panvae::tools
