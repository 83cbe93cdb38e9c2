// What networks are built of, layer by layer, for pictures and tables. It is read from the tree of modules, so that it cannot
// differ from what runs.
#pragma once
#include <string>

#include "base/json.h"
#include "models/vae.h"

namespace panvae {

// The modules without modules of their own, depth first in the order of declaration, which is that of the data:
//   {"name": "encoder.hidden", "kind": "Linear", "activation": "ReLU", "in": 19421, "out": 1024, "window": ..., "parameters": ...}
// kind is the name of the class. activation is what the layer computes in the same kernel, missing if nothing; window is that of a
// convolution. The module must have its memory (ModuleState).
Json layers_of(Module& module, const std::string& prefix = "");

// A variational autoencoder of a modality, or a stage of several that nest:
//   {"name": ..., "modality": ..., "inputs": ..., "times": ..., "encoder": [layers], "heads": [mean, logvar], "decoder": [layers]}
// inputs: features of a whole sample; times: how many pieces of it the network reads, each by itself.
Json architecture(Vae& vae, const std::string& name, const std::string& modality, int64_t inputs, int64_t times = 1);

}  // namespace panvae
