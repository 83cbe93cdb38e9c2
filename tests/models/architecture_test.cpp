// What networks say of themselves.
#include "models/architecture.h"

#include <gtest/gtest.h>

#include "models/discriminator.h"
#include "models/trained_model.h"
#include "tests/base/helpers.h"

namespace panvae::test {
namespace {

int64_t parameters_of(const Json& part) {
  int64_t n = 0;
  for (const char* list : {"encoder", "heads", "decoder"})
    for (const Json& l : part[list]) n += l["parameters"].get<int64_t>();
  return n;
}

TEST(architecture, of_the_rna_vae) {
  Context c;
  DenseModel model(c, {.genes = 9, .hidden = 7, .latent = 3}, 1, "rna vae");
  const Json stages = model.stages("rna");
  EXPECT_EQ(stages.dump(), R"([{"name":"VAE","modality":"rna","inputs":9,"times":1,)"
                           R"("encoder":[{"name":"encoder.hidden","kind":"Linear","activation":"ReLU","in":9,"out":7,"parameters":70}],)"
                           R"("heads":[{"name":"encoder.mean","kind":"Linear","in":7,"out":3,"parameters":24},)"
                           R"({"name":"encoder.logvar","kind":"Linear","in":7,"out":3,"parameters":24}],)"
                           R"("decoder":[{"name":"decoder.hidden","kind":"Linear","activation":"ReLU","in":3,"out":7,"parameters":28},)"
                           R"({"name":"decoder.output","kind":"Linear","in":7,"out":9,"parameters":72}]}])");
  // Rows that are padded for a device hold no parameters.
  RnaVae padded({.genes = 9, .hidden = 7, .latent = 3, .row_multiple = 8});
  ModuleState state(c, padded, 1);
  EXPECT_EQ(parameters_of(architecture(padded, "VAE", "rna", 9)), 70 + 2 * 24 + 28 + 72);
  // A changed network is a changed description.
  DenseModel linear(c, {.genes = 9, .hidden = 7, .latent = 3, .activation = {}}, 1, "rna vae");
  EXPECT_FALSE(linear.stages("rna")[0]["encoder"][0].contains("activation"));
  DenseModel leaky(c, {.genes = 9, .hidden = 8, .latent = 3, .activation = {Activation::leaky_relu, 0.1}}, 1, "rna vae");
  EXPECT_EQ(leaky.stages("atac")[0]["modality"], "atac");
  EXPECT_EQ(leaky.stages("rna")[0]["encoder"][0]["activation"], "leaky ReLU");
  EXPECT_EQ(leaky.stages("rna")[0]["encoder"][0]["out"], 8);
}

TEST(architecture, of_both_stages_of_atac) {
  Context c;
  AtacShape shape;
  shape.peaks = 23, shape.block.block = 10, shape.block.widths = {8, 6}, shape.block.latent = 4, shape.slide = 5, shape.channels = 2, shape.widths = {7, 5},
  shape.latent = 3;
  AtacNetworks model(c, shape, 1);
  const Json stages = model.stages("atac");
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0]["inputs"], 23);
  EXPECT_EQ(stages[0]["times"], 3);
  EXPECT_EQ(stages[1]["inputs"], 12);
  EXPECT_EQ(parameters_of(stages[0]) + parameters_of(stages[1]), model.parameter_count());
  std::vector<std::string> kinds;
  for (const Json& l : stages[1]["encoder"]) kinds.push_back(l["kind"]);
  EXPECT_EQ(kinds, (std::vector<std::string>{"Conv1d", "BatchNorm1d", "Linear", "BatchNorm1d", "Linear", "BatchNorm1d"}));
  const Json& conv = stages[1]["encoder"][0];
  EXPECT_EQ(conv["in"], 4);
  EXPECT_EQ(conv["out"], 2);
  EXPECT_EQ(conv["window"], 3);
  EXPECT_EQ(conv["activation"], "leaky ReLU");
  EXPECT_EQ(conv["parameters"], 4 * 2 * 3 + 2);
  EXPECT_EQ(stages[1]["encoder"][2]["in"], 6) << "two channels of three blocks";
  const Json& back = stages[1]["decoder"].back();
  EXPECT_EQ(back["kind"], "ConvTranspose1d");
  EXPECT_EQ(back["in"], 2);
  EXPECT_EQ(back["out"], 4);
  EXPECT_EQ(back.value("window", 0), 3);
  EXPECT_EQ(stages[1]["decoder"][0]["name"], "decoder.modules.0.linear");
}

TEST(architecture, layers_without_weights_keep_the_width) {
  Context c;
  Sequential net(std::make_unique<Linear>(4, 6), std::make_unique<ReLU>(), std::make_unique<Dropout>(0.2), std::make_unique<LayerNorm>(6),
                 std::make_unique<Linear>(6, 1, false));
  EXPECT_THROW(layers_of(net), Error) << "no memory yet";
  ModuleState state(c, net, 1);
  const Json layers = layers_of(net, "net");
  ASSERT_EQ(layers.size(), 5u);
  const char* kinds[] = {"Linear", "ReLU", "Dropout", "LayerNorm", "Linear"};
  const int64_t out[] = {6, 6, 6, 6, 1}, parameters[] = {30, 0, 0, 12, 6};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(layers[i]["kind"], kinds[i]);
    EXPECT_EQ(layers[i]["name"], "net." + std::to_string(i));
    EXPECT_EQ(layers[i]["out"], out[i]);
    EXPECT_EQ(layers[i]["parameters"], parameters[i]);
  }
  Discriminator d({.latent = 5, .widths = {4, 2}});
  ModuleState of_d(c, d, 1);
  EXPECT_EQ(layers_of(d)[1].dump(), R"({"name":"1","kind":"Linear","activation":"leaky ReLU","in":4,"out":2,"parameters":10})");
}

}  // namespace
}  // namespace panvae::test
