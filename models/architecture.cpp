#include "models/architecture.h"

#include "engine/layers.h"

namespace panvae {

namespace {

std::string words(const Fusable& after) {
  switch (after.activation) {
    case Activation::none:
      return "";
    case Activation::relu:
      return "ReLU";
    case Activation::leaky_relu:
      return "leaky ReLU";
  }
  return "";
}

// What a layer is by its class; `width` is that of what comes to it, 0 at the beginning.
Json layer(Module& m, const std::string& name, int64_t& width) {
  Json j = {{"name", name}, {"kind", "other"}};
  int64_t in = width, out = width, window = 0;
  if (auto* linear = dynamic_cast<Linear*>(&m)) j["kind"] = "Linear", in = linear->inputs(), out = linear->outputs();
  else if (auto* conv = dynamic_cast<Conv1d*>(&m)) j["kind"] = "Conv1d", in = conv->weight.size(1), out = conv->weight.size(0), window = conv->weight.size(2);
  else if (auto* back = dynamic_cast<ConvTranspose1d*>(&m))
    j["kind"] = "ConvTranspose1d", in = back->weight.size(0), out = back->weight.size(1), window = back->weight.size(2);
  else if (auto* norm = dynamic_cast<BatchNorm1d*>(&m)) j["kind"] = "BatchNorm1d", in = out = norm->weight.size(0);
  else if (auto* each = dynamic_cast<LayerNorm*>(&m)) j["kind"] = "LayerNorm", in = out = each->weight.size(0);
  else if (dynamic_cast<ReLU*>(&m)) j["kind"] = "ReLU";
  else if (dynamic_cast<LeakyReLU*>(&m)) j["kind"] = "leaky ReLU";
  else if (dynamic_cast<GELU*>(&m)) j["kind"] = "GELU";
  else if (dynamic_cast<Dropout*>(&m)) j["kind"] = "Dropout";
  else if (dynamic_cast<Softmax*>(&m)) j["kind"] = "Softmax";
  if (auto* fusing = dynamic_cast<FusingLayer*>(&m); fusing && fusing->has_activation()) j["activation"] = words(fusing->after());
  j["in"] = in;
  j["out"] = out;
  if (window > 0) j["window"] = window;
  int64_t parameters = 0;
  for (const NamedTensor& p : m.parameters()) parameters += p.used.count();
  j["parameters"] = parameters;
  width = out;
  return j;
}

void collect(Module& m, const std::string& name, int64_t& width, Json& out) {
  if (m.children().empty()) out.push_back(layer(m, name, width));
  for (const auto& [child, module] : m.children()) collect(*module, name.empty() ? child : name + "." + child, width, out);
}

// The child of a network by its name.
Module& part_of(Vae& vae, const std::string& wanted) {
  for (const auto& [name, child] : vae.children())
    if (name == wanted) return *child;
  PV_CHECK(false, "architecture: the network has no module '{}'", wanted);
  return vae;
}

}  // namespace

Json layers_of(Module& module, const std::string& prefix) {
  for (const NamedTensor& p : module.parameters()) PV_CHECK(p.tensor->defined(), "architecture: {} has no memory yet", p.name);
  Json out = Json::array();
  int64_t width = 0;
  collect(module, prefix, width, out);
  return out;
}

Json architecture(Vae& vae, const std::string& name, const std::string& modality, int64_t inputs, int64_t times) {
  Json j = {{"name", name}, {"modality", modality}, {"inputs", inputs}, {"times", times}, {"encoder", Json::array()}, {"heads", Json::array()}};
  for (Json& l : layers_of(part_of(vae, "encoder"), "encoder")) {
    const bool head = l["name"] == "encoder.mean" || l["name"] == "encoder.logvar";
    j[head ? "heads" : "encoder"].push_back(std::move(l));
  }
  j["decoder"] = layers_of(part_of(vae, "decoder"), "decoder");
  return j;
}

}  // namespace panvae
