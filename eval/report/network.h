// The networks of models, as results describe them, and their picture.
#pragma once
#include <string>
#include <vector>

#include "eval/report/sections.h"

namespace panvae::eval {

// A module without modules of its own.
struct NetworkLayer {
  std::string name, kind, activation;  // "encoder.hidden", "Linear", "leaky ReLU" (empty: none)
  int64_t in = 0, out = 0, window = 0, parameters = 0;
  bool is_conv() const { return kind.rfind("Conv", 0) == 0; }
};

// A variational autoencoder. Those of one modality nest: the encoder of each reads what the one before it has encoded, and the decoders
// go back.
struct NetworkPart {
  std::string name, modality;         // "block VAE", "rna"
  int64_t inputs = 0, times = 1;      // features of a whole sample; how many pieces of it are read, each by itself
  bool frozen = false;                // not trained with the rest
  std::vector<NetworkLayer> encoder;  // without the heads
  std::vector<NetworkLayer> heads;    // mean and log-variance
  std::vector<NetworkLayer> decoder;
};

struct Network {
  std::vector<NetworkPart> parts;
  std::vector<NetworkLayer> discriminator;  // empty: none
  std::string mode;                         // of a co-embedding: "adversarial", "contrastive"
  bool cycle = false, pair = false;         // terms of its loss
};

// ErrorCode::input naming the model and the key.
Network parse_network(const ResultsModel& model);

// What one picture shows: networks that are alike. The discriminator is there where some of the models have one.
struct NetworkPicture {
  std::string id;
  std::vector<std::string> models;  // labels
  Network network;
  bool adversarial = false, contrastive = false, plain = false;  // modes of the models; plain: some are neither
};

// The figure, whose tables are added to the page. Its width decides where it may stand.
struct NetworkFigure {
  Figure figure;
  double width = 0;
};
NetworkFigure draw_network(Page& page, const NetworkPicture& picture);

}  // namespace panvae::eval
