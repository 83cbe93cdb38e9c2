// panvae train rna: a preprocessed matrix to a trained variational autoencoder in the folder RUN.
#include "tools/commands.h"
#include "tools/training.h"

namespace panvae::tools {

namespace {

void train(const TrainingOptions& o, const Session& session) {
  session.begin();
  TrainingRun(o, "rna", session).train_dense();
}

}  // namespace

void add_train_rna(CLI::App& train_app, Session& session) {
  CLI::App* cmd = add_command(train_app, "rna", "Train the variational autoencoder of RNA expression on a preprocessed matrix",
                              "panvae simulate -o sim --donors 120 --genes 500 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                              "panvae train rna -o sim/run sim/rna_pp.h5ad --set train.max_epochs=12\n\n" +
                                  config_help("rna"));
  auto o = std::make_shared<TrainingOptions>();
  declare_training(*cmd, *o, "rna", session);
  cmd->callback([o, &session] { train(*o, session); });
}

}  // namespace panvae::tools
