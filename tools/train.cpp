// panvae train: one command for each kind of model.
#include "tools/commands.h"

namespace panvae::tools {

void add_train(CLI::App& root, Session& session) {
  CLI::App* train = root.add_subcommand("train", "Train a model");
  train->require_subcommand(1);
  add_train_rna(*train, session);
  add_train_atac(*train, session);
  add_train_coembed(*train, session);
}

}  // namespace panvae::tools
