// The configuration of a training run: defaults, a TOML file (--config), single keys (--set), and RUN/config.toml.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/trainer.h"

namespace panvae::tools {

struct RunConfig {
  int64_t hidden = 1024, latent = 512;
  std::string activation = "relu";  // relu, leaky_relu, linear
  std::string scale = "z";          // z, none
  LossOptions loss;
  TrainOptions train;
  bool automatic_kl_weight = true;  // loss.kl_weight = "auto"

  RunConfig();

  // What a model of `features` features gets where the configuration says "auto".
  void resolve(int64_t features);
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

// "  loss.kl_weight   ...": every key with its default and meaning, for --help.
std::string config_help();

}  // namespace panvae::tools
