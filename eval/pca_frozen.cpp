// A PCA model as named arrays, and back.
#include "base/error.h"
#include "eval/pca.h"

namespace panvae::eval {

namespace {

data::NamedArray array(std::vector<int64_t> shape, const double* values, int64_t size) {
  return {std::move(shape), {values, values + size}};
}

const data::NamedArray& find(const data::Frozen& f, const char* name) {
  const auto at = f.arrays.find(name);
  if (at == f.arrays.end())
    fail_input(fmt::format("there is no array {}: the components were not stored", panvae::quoted(name)), "uns/panvae",
               "write them with panvae pca --store-components");
  int64_t size = 1;
  for (int64_t s : at->second.shape) size *= s;
  if (size != static_cast<int64_t>(at->second.values.size()))
    fail_input(fmt::format("the array {} does not fill its shape", panvae::quoted(name)), "uns/panvae", "was the file cut?");
  return at->second;
}

}  // namespace

data::Frozen freeze(const PcaModel& m, const std::vector<std::string>& features) {
  PV_CHECK(static_cast<int64_t>(features.size()) == m.mean.size(), "freeze: {} names for {} features", features.size(), m.mean.size());
  const int64_t k = m.count(), p = m.mean.size();
  data::Frozen f;
  f.settings["pca"] = {{"components", k}, {"fitted_on", m.fitted_on}, {"method", m.method}, {"total_variance", m.total_variance}};
  f.arrays["pca_mean"] = array({p}, m.mean.data(), p);
  if (m.components.size() > 0) f.arrays["pca_components"] = array({k, p}, m.components.data(), k * p);
  f.arrays["pca_singular"] = array({k}, m.singular.data(), k);
  f.features = features;
  return f;
}

PcaModel thaw_pca(const data::Frozen& f) {
  const data::NamedArray &mean = find(f, "pca_mean"), &components = find(f, "pca_components"), &singular = find(f, "pca_singular");
  const auto pca = f.settings.find("pca");
  if (pca == f.settings.end() || !pca->is_object()) fail_input("there is no setting pca", "uns/panvae", "write it with panvae pca --store-components");
  if (mean.shape.size() != 1 || singular.shape.size() != 1 || components.shape != std::vector<int64_t>{singular.shape[0], mean.shape[0]})
    fail_input("mean, components and singular values do not fit together", "uns/panvae", "write them with panvae pca --store-components");
  PcaModel m;
  m.mean = Eigen::Map<const Eigen::VectorXd>(mean.values.data(), mean.shape[0]);
  m.singular = Eigen::Map<const Eigen::VectorXd>(singular.values.data(), singular.shape[0]);
  m.components = Eigen::Map<const data::RowMatrix<double>>(components.values.data(), components.shape[0], components.shape[1]);
  m.fitted_on = pca->value("fitted_on", int64_t{0});
  m.method = pca->value("method", std::string());
  m.total_variance = pca->value("total_variance", 0.0);
  return m;
}

}  // namespace panvae::eval
