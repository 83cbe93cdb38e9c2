// Every command of the program, in the order of `panvae --help`.
#pragma once
#include "tools/cli.h"

namespace panvae::tools {

void add_info(CLI::App& root, Session& session);
void add_simulate(CLI::App& root, Session& session);
void add_convert(CLI::App& root, Session& session);
void add_preprocess(CLI::App& root, Session& session);
void add_pca(CLI::App& root, Session& session);
void add_train(CLI::App& root, Session& session);
void add_train_rna(CLI::App& train, Session& session);
void add_train_atac(CLI::App& train, Session& session);
void add_train_coembed(CLI::App& train, Session& session);
void add_embed(CLI::App& root, Session& session);
void add_reconstruct(CLI::App& root, Session& session);
void add_match(CLI::App& root, Session& session);
void add_cca(CLI::App& root, Session& session);
void add_evaluate_cohort(CLI::App& evaluate, Session& session);
void add_evaluate_alignment(CLI::App& evaluate, Session& session);
void add_evaluate_survival(CLI::App& evaluate, Session& session);
void add_evaluate_expression(CLI::App& evaluate, Session& session);
void add_evaluate_pairs(CLI::App& evaluate, Session& session);
void add_evaluate_all(CLI::App& evaluate, Session& session);
void add_report(CLI::App& root, Session& session);
void add_demo(CLI::App& root, Session& session);

}  // namespace panvae::tools
