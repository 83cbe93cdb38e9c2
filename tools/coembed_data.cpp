#include "tools/coembed_data.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/log.h"
#include "data/matching.h"
#include "data/pairs.h"
#include "data/read.h"
#include "tools/training.h"

namespace panvae::tools {

namespace {

std::vector<int64_t> numbers(const std::vector<std::string>& names) {
  std::map<std::string, int64_t> known;
  std::vector<int64_t> out;
  for (const std::string& n : names) out.push_back(n.empty() ? -1 : known.emplace(n, static_cast<int64_t>(known.size())).first->second);
  return out;
}

std::vector<std::string> cohorts_of(const data::Table& obs) {
  std::vector<std::string> out(static_cast<size_t>(obs.rows()));
  if (const data::Column* c = obs.find("cohort"))
    for (int64_t r = 0; r < obs.rows(); ++r) out[static_cast<size_t>(r)] = c->text(r);
  return out;
}

std::string people(const std::string& modality) {
  return modality == "rna" ? "RNA" : "ATAC";
}

// Up to three names, for messages.
std::string some_of(const std::vector<std::string>& names) {
  std::string s;
  for (size_t i = 0; i < std::min<size_t>(3, names.size()); ++i) s += (i == 0 ? "" : ", ") + quoted(names[i]);
  return names.size() > 3 ? s + ", ..." : s;
}

void check_seen(const CoembedHalf& half, const std::set<std::string>& held) {
  const Json& provenance = half.run.provenance;
  const std::string kind = people(half.run.config.modality) + " run";
  const auto is_text = [](const Json& donor) { return donor.is_string(); };
  if (!provenance.contains("donors_seen") || !provenance["donors_seen"].is_array() ||
      !std::all_of(provenance["donors_seen"].begin(), provenance["donors_seen"].end(), is_text))
    fail_input(fmt::format("the {} does not say which donors it has seen", kind), quoted(half.folder, 400), "train it again");
  std::set<std::string> seen;
  for (const Json& d : provenance["donors_seen"]) seen.insert(d.get<std::string>());
  std::vector<std::string> forbidden;
  std::set_intersection(seen.begin(), seen.end(), held.begin(), held.end(), std::back_inserter(forbidden));
  if (!forbidden.empty())
    fail_input(fmt::format("the {} has seen {} donors that are held out here: {}", kind, forbidden.size(), some_of(forbidden)), quoted(half.folder, 400),
               "give both modalities one split (panvae preprocess --split-from) and train the run again");
}

void take_rows(CoembedHalf& half, const std::vector<data::Side>& sides) {
  const data::Column& before = half.obs.at("split");
  int64_t moved = 0;
  for (int64_t r = 0; r < half.obs.rows(); ++r) {
    const data::Side side = sides[static_cast<size_t>(r)];
    moved += before.text(r) != data::side_name(side);
    (side == data::Side::holdout ? half.holdout : side == data::Side::validation ? half.validation : half.train).push_back(r);
  }
  const std::string name = people(half.run.config.modality);
  if (moved > 0) log::info("{} {} samples change sides, since their donor has another sample or the other modality there", moved, name);
  if (half.train.size() < 2)
    fail_input(fmt::format("{} training samples of {}", half.train.size(), name), quoted(half.file, 400),
               "at least two samples must have split = train in both modalities");
}

}  // namespace

CoembedHalf::CoembedHalf(Context& context, const std::string& modality, const std::string& of, const std::string& path, const data::ReadOptions& options,
                         uint64_t seed)
    : folder(of), file(path) {
  if (is_coembedding(folder))
    fail_usage("it is a co-embedding already", fmt::format("--{} {}", modality, quoted(folder, 400)), fmt::format("name a run of 'panvae train {}'", modality));
  run = load_run(context, folder, modality, "--" + modality);
  const RunSamples samples(run, file, options, "");
  obs = samples.obs();
  donors = data::donors_of(obs);
  split_where_missing(obs, seed);
  inputs.reserve(static_cast<size_t>(samples.samples() * run.model->latent_vae().features()));
  samples.for_chunks(data::all_rows(samples.samples()), [&](int64_t, const data::RowMatrix<float>& x) {
    const std::vector<float> part = run.model->latent_inputs(context, x.data(), x.rows());
    inputs.insert(inputs.end(), part.begin(), part.end());
  });
}

std::vector<int64_t> CoembedHalf::cohort_numbers() const {
  return numbers(cohorts_of(obs));
}

std::vector<int64_t> CoembedHalf::donor_numbers() const {
  return numbers(donors);
}

std::string CoembedHalf::fingerprint() const {
  const auto hash = [](const auto& values, uint64_t h) {
    return stable_hash(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]), h);
  };
  uint64_t h = hash(inputs, 0);
  const ModuleState& state = run.model->latent_state();
  h = hash(state.unpadded<float>(state.flat_parameters()), h);
  if (const Tensor& buffers = state.flat_buffers(); buffers.defined() && buffers.count() > 0) h = hash(buffers.host<float>(), h);
  for (const auto* rows : {&train, &validation}) h = hash(*rows, h);
  for (const auto& list : {cohort_numbers(), donor_numbers()}) h = hash(list, h);
  return fmt::format("{} {:016x}", run.config.modality, h);
}

void one_split(CoembedHalf& rna, CoembedHalf& atac) {
  const data::Sides sides = data::sides_of(rna.obs, atac.obs);
  std::set<std::string> held;
  for (const auto& [half, of] : {std::pair{&rna, &sides.rna}, std::pair{&atac, &sides.atac}})
    for (size_t r = 0; r < of->size(); ++r)
      if ((*of)[r] == data::Side::holdout) held.insert(half->donors[r]);
  for (const auto& [half, of] : {std::pair{&rna, &sides.rna}, std::pair{&atac, &sides.atac}}) {
    check_seen(*half, held);
    take_rows(*half, *of);
  }
}

CoembedPairs coembed_pairs(const CoembedHalf& rna, const CoembedHalf& atac, const std::string& path) {
  CoembedPairs out;
  const data::Sides sides = data::sides_of(rna.obs, atac.obs);
  const auto add = [&](int64_t r, int64_t a, int tier) {
    const data::Side side = sides.rna[static_cast<size_t>(r)];
    if (side == data::Side::holdout || side != sides.atac[static_cast<size_t>(a)]) ++out.left_out;
    else (side == data::Side::train ? out.train : out.validation).push_back({r, a, pair_weight(tier)});
  };
  if (path.empty()) {
    std::map<std::string, std::vector<int64_t>> rows_of;
    for (int64_t r = 0; r < rna.obs.rows(); ++r) rows_of[rna.donors[static_cast<size_t>(r)]].push_back(r);
    for (int64_t a = 0; a < atac.obs.rows(); ++a)
      if (const auto at = rows_of.find(atac.donors[static_cast<size_t>(a)]); at != rows_of.end())
        for (int64_t r : at->second) add(r, a, data::same_donor);
    return out;
  }
  const auto rna_row = rna.obs.row_of(), atac_row = atac.obs.row_of();
  const std::vector<data::SamplePair> table = data::read_pairs(path);
  for (const data::SamplePair& p : table) {
    const auto r = rna_row.find(p.rna), a = atac_row.find(p.atac);
    if (r == rna_row.end() || a == atac_row.end()) ++out.left_out;
    else add(r->second, a->second, p.tier);
  }
  if (out.train.empty() && out.validation.empty())
    fail_input(fmt::format("none of its {} pairs is of two samples that train, or validate, here", table.size()), quoted(path, 400),
               "give the table that 'panvae match' wrote for these two matrices");
  return out;
}

}  // namespace panvae::tools
