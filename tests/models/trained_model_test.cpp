// Trained models as programs that embed the engine call them (docs/coembedding.md, docs/atac-vae.md).
#include "models/trained_model.h"

#include <gtest/gtest.h>

#include "tests/base/helpers.h"

namespace panvae::test {
namespace {

// Of the networks themselves, not through TrainedModel: what it leaves out when it is called, they do, too.
template <class Model>
void embeds_writes_and_reads(Context& c, Model& model, Model& other) {
  const int64_t samples = 3;
  std::vector<float> x(static_cast<size_t>(samples * model.features()));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
  const Posteriors q = model.posteriors(c, x.data(), samples);
  EXPECT_EQ(q.mean.size(), static_cast<size_t>(samples * model.latent()));
  EXPECT_TRUE(q.logvar.empty());
  EXPECT_NE(other.posteriors(c, x.data(), samples).mean, q.mean);
  const Folder folder;
  const std::string path = folder.file("model.safetensors");
  TensorWriter w;
  model.add_to(w);
  w.file.write(path);
  other.read_from(SafetensorsReader(path));
  EXPECT_EQ(other.posteriors(c, x.data(), samples).mean, q.mean);
}

TEST(trained_model, dense_is_called_as_documented) {
  Context c;
  const RnaVaeShape shape{.genes = 9, .hidden = 7, .latent = 3};
  DenseModel model(c, shape, 1, "rna vae"), other(c, shape, 2, "rna vae");
  embeds_writes_and_reads(c, model, other);
}

TEST(trained_model, atac_is_called_as_documented) {
  Context c;
  AtacShape shape;
  shape.peaks = 23, shape.block.block = 10, shape.block.widths = {8, 6}, shape.block.latent = 4, shape.slide = 5, shape.channels = 2, shape.widths = {7, 5},
  shape.latent = 3;
  AtacNetworks model(c, shape, 1), other(c, shape, 2);
  embeds_writes_and_reads(c, model, other);
}

}  // namespace
}  // namespace panvae::test
