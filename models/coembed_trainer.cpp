#include "models/coembed_trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <unordered_map>
#include <utility>

#include "engine/ops/layout.h"
#include "engine/tape.h"
#include "models/reconstruction_loss.h"
#include "models/training_task.h"

namespace panvae {

namespace {

// Philox steps of their own, as kInitStep.
constexpr uint32_t kRnaStep = 0xFFFFFFFDu, kAtacStep = 0xFFFFFFFCu, kPairStep = 0xFFFFFFFBu, kTripletStep = 0xFFFFFFFAu, kValidationStep = 0xFFFFFFF9u;

enum Sum : size_t {
  loss_sum,
  rna_huber_sum,
  rna_kl_sum,
  atac_huber_sum,
  atac_kl_sum,
  cycle_sum,
  pair_sum,
  triplet_sum,
  triplet_steps,
  generator_sum,
  discriminator_sum,
  accuracy_sum,
  steps_sum,
  sums_count
};

double share(const std::vector<float>& logits, bool rna) {
  const auto right = std::count_if(logits.begin(), logits.end(), [=](float v) { return (v > 0) == rna; });
  return static_cast<double>(right) / static_cast<double>(std::max<size_t>(1, logits.size()));
}

Tensor rows_tensor(Context& context, const std::vector<int64_t>& rows) {
  return Tensor::from(context, {static_cast<int64_t>(rows.size())}, rows);
}

AdamOptions adam_options(const CoembedLossOptions& loss, const CoembedTrainOptions& train) {
  return {.beta1 = loss.mode == CoembedMode::adversarial ? 0.5 : 0.9, .beta2 = 0.999, .weight_decay = train.weight_decay};
}

void check_rows(const char* modality, const CoembedSamples& s) {
  for (const std::vector<int64_t>* rows : {&s.train, &s.validation})
    for (int64_t r : *rows) PV_CHECK(r >= 0 && r < s.source.samples(), "co-embedding: row {} of {} {} samples", r, s.source.samples(), modality);
}

void check_loss(const CoembedLossOptions& l) {
  for (double w : {l.adversarial, l.cycle, l.contrastive, l.pair, l.margin, l.rna.kl_weight, l.atac.kl_weight})
    PV_CHECK(std::isfinite(w) && w >= 0, "co-embedding: a weight or margin of {}", w);
}

}  // namespace

// The rows of one modality that a step reads.
class CoembedTrainer::Rows {
 public:
  explicit Rows(std::vector<int64_t> batch) : all(std::move(batch)), own(static_cast<int64_t>(all.size())) {
    for (size_t i = 0; i < all.size(); ++i) places_.emplace(all[i], static_cast<int64_t>(i));
  }
  // Where these stand, behind the others where they do not yet.
  std::vector<int64_t> places(const std::vector<int64_t>& rows) {
    std::vector<int64_t> out;
    for (int64_t r : rows) {
      const auto [at, is_new] = places_.emplace(r, static_cast<int64_t>(all.size()));
      if (is_new) all.push_back(r);
      out.push_back(at->second);
    }
    return out;
  }
  std::vector<int64_t> all;
  int64_t own;

 private:
  std::unordered_map<int64_t, int64_t> places_;
};

// Sums over the validation samples of a modality.
struct CoembedTrainer::SideValidation {
  double huber = 0, kl = 0, cycle = 0, discriminator = 0, right = 0;
  std::vector<float> means;                 // [validation samples, latent]
  std::unordered_map<int64_t, int64_t> at;  // row of the source to row of means
};

void CoembedTerms::write(Json& to, const std::string& prefix) const {
  const std::pair<const char*, double> all[] = {{"rna_huber", rna_huber},
                                                {"rna_kl", rna_kl},
                                                {"atac_huber", atac_huber},
                                                {"atac_kl", atac_kl},
                                                {"cycle", cycle},
                                                {"pair", pair},
                                                {"triplet", triplet},
                                                {"generator", generator},
                                                {"discriminator", discriminator},
                                                {"discriminator_accuracy", discriminator_accuracy}};
  for (const auto& [name, value] : all)
    if (std::isfinite(value)) to[prefix + name] = value;
}

Json CoembedEpoch::json() const {
  // Nothing here depends on the clock: the same run gives the same file.
  Json j = Json::object();
  if (epoch > 0) j["epoch"] = epoch;  // what evaluate() says is of no epoch
  if (std::isfinite(train_loss)) j["train_loss"] = train_loss;
  train.write(j, "train_");
  if (std::isfinite(validation_loss)) j["validation_loss"] = validation_loss;
  validation.write(j, "validation_");
  if (std::isfinite(foscttm)) j["validation_foscttm"] = foscttm;
  if (epoch > 0 && std::isfinite(validation_loss)) j["best"] = best;
  return j;
}

CoembedTrainer::CoembedTrainer(Context& context, CoEmbedding& model, ModuleState& state, CoembedData data, CoembedLossOptions loss, CoembedTrainOptions options)
    : TrainingLoop(context, options, sums_count),
      model_(model),
      loss_(loss),
      train_(options),
      rna_(side_of(Modality::rna, std::move(data.rna))),
      atac_(side_of(Modality::atac, std::move(data.atac))),
      train_pairs_(std::move(data.train_pairs)),
      validation_pairs_(std::move(data.validation_pairs)),
      pair_stream_(static_cast<int64_t>(train_pairs_.size()), options.seed, kPairStep) {
  check_loss(loss);
  check_pairs();
  // Whole passes over the modality with fewer samples.
  auto pass_of = [&](const Side& s) { return (s.stream.size() + options.batch_size - 1) / options.batch_size; };
  const int64_t pass = std::min(pass_of(rna_), pass_of(atac_));
  steps_per_epoch_ = (options.epoch_steps + pass - 1) / pass * pass;
  if (loss.pair > 0) pairs_per_step_ = std::min(options.batch_size, pair_stream_.size());
  const bool contrasts = loss.mode == CoembedMode::contrastive && loss.contrastive > 0;
  PV_CHECK(!contrasts || rna_.train_triplets->anchors() + atac_.train_triplets->anchors() > 0,
           "co-embedding: nothing to contrast: no cohort of training samples has two donors beside another cohort");
  model_.set_training(false);
  const AdamOptions adam = adam_options(loss, options);
  learners_.emplace_back(state, adam, options.learning_rate, options.clip_norm);
  if (loss.mode != CoembedMode::adversarial) return;
  discriminator_ = std::make_unique<Discriminator>(DiscriminatorShape{.latent = model.latent(), .widths = options.discriminator_widths});
  discriminator_state_ = std::make_unique<ModuleState>(context, *discriminator_, options.seed);
  learners_.emplace_back(*discriminator_state_, adam, options.discriminator_learning_rate, options.clip_norm, "discriminator.");
}

CoembedTrainer::Side CoembedTrainer::side_of(Modality m, CoembedSamples samples) const {
  const bool rna = m == Modality::rna;
  const char* name = rna ? "RNA" : "ATAC";
  const Vae& vae = model_.vae(m);
  const int64_t n = static_cast<int64_t>(samples.train.size());
  PV_CHECK(samples.source.features() == vae.features(), "co-embedding: {} {} features for a model of {}", samples.source.features(), name, vae.features());
  PV_CHECK(samples.source.width() == vae.width(), "co-embedding: {} rows of {} for a model that takes rows of {}", name, samples.source.width(), vae.width());
  PV_CHECK(n > 0, "co-embedding: no training samples of {}", name);
  check_rows(name, samples);
  Side side{std::move(samples), {}, {}, SampleStream(n, train_.seed, rna ? kRnaStep : kAtacStep), std::min(train_.batch_size, n)};
  const CoembedSamples& s = side.samples;
  if (loss_.mode == CoembedMode::contrastive && loss_.contrastive > 0) {
    PV_CHECK(static_cast<int64_t>(s.cohort.size()) == s.source.samples() && s.donor.size() == s.cohort.size(),
             "co-embedding: {} cohorts and {} donors for {} {} samples", s.cohort.size(), s.donor.size(), s.source.samples(), name);
    side.train_triplets.emplace(s.train, s.cohort, s.donor);
    side.validation_triplets.emplace(s.validation, s.cohort, s.donor);
  }
  return side;
}

void CoembedTrainer::check_pairs() {
  auto check = [](const char* what, const std::vector<MatchedPair>& pairs, const std::vector<int64_t>& rna, const std::vector<int64_t>& atac) {
    const std::set<int64_t> rna_rows(rna.begin(), rna.end()), atac_rows(atac.begin(), atac.end());
    for (const MatchedPair& p : pairs) {
      PV_CHECK(rna_rows.count(p.rna) && atac_rows.count(p.atac), "co-embedding: the {} pair of RNA row {} and ATAC row {} is not of {} samples on both sides",
               what, p.rna, p.atac, what);
      PV_CHECK(std::isfinite(p.weight) && p.weight >= 0, "co-embedding: the {} pair of RNA row {} and ATAC row {} has the weight {}", what, p.rna, p.atac,
               p.weight);
    }
  };
  check("training", train_pairs_, rna_.samples.train, atac_.samples.train);
  check("validation", validation_pairs_, rna_.samples.validation, atac_.samples.validation);
  double total = 0;
  for (const MatchedPair& p : train_pairs_) total += p.weight;
  PV_CHECK(train_pairs_.empty() || total > 0, "co-embedding: all training pairs have the weight 0");
  for (MatchedPair& p : train_pairs_) p.weight *= static_cast<double>(train_pairs_.size()) / total;
}

JointSide CoembedTrainer::fill(Side& side, const Rows& rows, const std::vector<int64_t>& paired) {
  JointSide out;
  out.x = Tensor::empty(context_, {static_cast<int64_t>(rows.all.size()), side.samples.source.width()}, DType::f32, "batch");
  {
    const LoadingTime loading(seconds_loading_);
    side.samples.source.fill(rows.all, out.x);
  }
  out.own = rows.own;
  if (!paired.empty()) out.paired = rows_tensor(context_, paired);
  return out;
}

JointBatch CoembedTrainer::batch_of(int64_t step) {
  auto own = [&](Side& side) {
    std::vector<int64_t> rows = side.stream.items(step * side.per_step, side.per_step);
    for (int64_t& r : rows) r = side.samples.train[static_cast<size_t>(r)];
    return Rows(std::move(rows));
  };
  Rows rna = own(rna_), atac = own(atac_);
  JointBatch batch;
  std::vector<int64_t> paired_rna, paired_atac;
  std::vector<float> weights;
  for (int64_t i : pair_stream_.items(step * pairs_per_step_, pairs_per_step_)) {
    const MatchedPair& p = train_pairs_[static_cast<size_t>(i)];
    paired_rna.push_back(p.rna);
    paired_atac.push_back(p.atac);
    weights.push_back(static_cast<float>(p.weight));
  }
  paired_rna = rna.places(paired_rna);
  paired_atac = atac.places(paired_atac);
  if (!weights.empty()) batch.pair_weights = Tensor::from(context_, {static_cast<int64_t>(weights.size())}, weights);
  if (rna_.train_triplets) {
    PhiloxSequence draw({train_.seed, static_cast<uint32_t>(step), kTripletStep});
    batch.contrasted = draw.uniform() <= 0.5 ? Modality::atac : Modality::rna;
    const bool of_rna = batch.contrasted == Modality::rna;
    Rows& rows = of_rna ? rna : atac;
    const Triplets t = (of_rna ? rna_ : atac_).train_triplets->draw({rows.all.begin(), rows.all.begin() + rows.own}, draw);
    if (!t.anchors.empty()) {
      batch.anchors = rows_tensor(context_, rows.places(t.anchors));
      batch.positives = rows_tensor(context_, rows.places(t.positives));
      batch.negatives = rows_tensor(context_, rows.places(t.negatives));
    }
  }
  batch.rna = fill(rna_, rna, paired_rna);
  batch.atac = fill(atac_, atac, paired_atac);
  return batch;
}

std::vector<double> CoembedTrainer::step(int64_t epoch, int64_t index) {
  const Step step(context_);
  const JointBatch batch = batch_of((epoch - 1) * steps_per_epoch_ + index);
  JointLoss joint;
  {
    Tape tape(context_);
    joint = joint_loss(context_, model_, discriminator_.get(), batch, loss_);
    learners_[0].adam.zero_grad();
    tape.backward(joint.loss);
  }
  DiscriminatorLoss against;
  if (discriminator_) {
    Tape tape(context_);
    against = discriminator_loss(*discriminator_, joint.rna_mean, joint.atac_mean);
    learners_[1].adam.zero_grad();
    tape.backward(against.loss);
  }
  // One transfer for all numbers; a term that was not computed is 0.
  const Tensor zero = Tensor::zeros(context_, {1});
  std::vector<Tensor> parts{joint.loss.detach(), joint.rna.parts, joint.atac.parts};
  for (const Tensor& t : {joint.cycle, joint.pair, joint.triplet, joint.generator, against.loss}) parts.push_back(t.defined() ? t.detach() : zero);
  const Tensor losses = ops::concat(parts, 0);
  update(losses);
  const std::vector<float> v = losses.host<float>();
  std::vector<double> sums(sums_count);
  sums[loss_sum] = v[0];
  sums[rna_huber_sum] = v[2] / static_cast<double>(rna_.samples.source.features());
  sums[rna_kl_sum] = v[3];
  sums[atac_huber_sum] = v[5] / static_cast<double>(atac_.samples.source.features());
  sums[atac_kl_sum] = v[6];
  sums[cycle_sum] = v[7];
  sums[pair_sum] = v[8];
  sums[triplet_sum] = v[9];
  sums[triplet_steps] = joint.triplet.defined() ? 1 : 0;
  sums[generator_sum] = v[10];
  sums[discriminator_sum] = v[11];
  if (discriminator_) sums[accuracy_sum] = 0.5 * (share(against.rna_logits.host<float>(), true) + share(against.atac_logits.host<float>(), false));
  sums[steps_sum] = 1;
  return sums;
}

CoembedTrainer::SideValidation CoembedTrainer::validate_side(Modality m, const std::vector<int64_t>& rows) {
  const Side& side = m == Modality::rna ? rna_ : atac_;
  const ReconstructionOptions& options = m == Modality::rna ? loss_.rna : loss_.atac;
  Vae &vae = model_.vae(m), &other = model_.vae(m == Modality::rna ? Modality::atac : Modality::rna);
  SideValidation out;
  for (size_t first = 0; first < rows.size(); first += static_cast<size_t>(train_.batch_size)) {
    const std::vector<int64_t> taken(rows.begin() + static_cast<int64_t>(first),
                                     rows.begin() + static_cast<int64_t>(std::min(rows.size(), first + static_cast<size_t>(train_.batch_size))));
    const double n = static_cast<double>(taken.size());
    const Step step(context_);
    Tensor x = Tensor::empty(context_, {static_cast<int64_t>(taken.size()), vae.width()}, DType::f32, "batch");
    {
      const LoadingTime loading(seconds_loading_);
      side.samples.source.fill(taken, x);
    }
    const Posterior q = vae.encode(x);
    const auto parts = reconstruction_loss(vae, q.mean, x, q, options.huber_delta, options.kl_weight).parts.host<float>();
    out.huber += parts[1] * n;
    out.kl += parts[2] * n;
    out.cycle += cycle_loss(other, q.mean, loss_.cycle_freeze).item() * n;
    if (discriminator_) {
      for (float logit : (*discriminator_)(q.mean).host<float>()) {
        const double against = m == Modality::rna ? -logit : logit;  // softplus of this is the cross-entropy
        out.discriminator += std::max(against, 0.0) + std::log1p(std::exp(-std::abs(against)));
        out.right += (logit > 0) == (m == Modality::rna);
      }
    }
    const std::vector<float> means = q.mean.host<float>();
    for (size_t i = 0; i < taken.size(); ++i) out.at.emplace(taken[i], static_cast<int64_t>(first + i));
    out.means.insert(out.means.end(), means.begin(), means.end());
  }
  return out;
}

double CoembedTrainer::triplet_loss(const TripletSampler& sampler, const SideValidation& v, const std::vector<int64_t>& rows) const {
  PhiloxSequence draw({train_.seed, 0, kValidationStep});  // the same triplets after every epoch
  const Triplets t = sampler.draw(rows, draw);
  const size_t width = static_cast<size_t>(model_.latent());
  auto distance = [&](int64_t a, int64_t b) {
    const float *u = v.means.data() + static_cast<size_t>(v.at.at(a)) * width, *w = v.means.data() + static_cast<size_t>(v.at.at(b)) * width;
    double d = 1e-12;
    for (size_t i = 0; i < width; ++i) d += (static_cast<double>(u[i]) - w[i]) * (static_cast<double>(u[i]) - w[i]);
    return std::sqrt(d);
  };
  double total = 0;
  for (size_t i = 0; i < t.anchors.size(); ++i)
    total += std::max(0.0, distance(t.anchors[i], t.positives[i]) - distance(t.anchors[i], t.negatives[i]) + loss_.margin);
  return t.anchors.empty() ? CoembedTerms::none : total / static_cast<double>(t.anchors.size());
}

void CoembedTrainer::validate(CoembedEpoch& m) {
  CoembedTerms& v = m.validation;
  if (!validates()) return;
  const SideValidation rna = validate_side(Modality::rna, rna_.samples.validation), atac = validate_side(Modality::atac, atac_.samples.validation);
  const double n_rna = static_cast<double>(rna_.samples.validation.size()), n_atac = static_cast<double>(atac_.samples.validation.size());
  const double g_rna = static_cast<double>(rna_.samples.source.features()), g_atac = static_cast<double>(atac_.samples.source.features());
  v.rna_huber = rna.huber / n_rna / g_rna;
  v.rna_kl = rna.kl / n_rna;
  v.atac_huber = atac.huber / n_atac / g_atac;
  v.atac_kl = atac.kl / n_atac;
  v.cycle = rna.cycle / n_rna + atac.cycle / n_atac;
  if (discriminator_) {
    v.discriminator = 0.5 * (rna.discriminator / n_rna + atac.discriminator / n_atac);
    v.discriminator_accuracy = 0.5 * (rna.right / n_rna + atac.right / n_atac);
  }
  if (rna_.validation_triplets) {
    const double of_rna = triplet_loss(*rna_.validation_triplets, rna, rna_.samples.validation),
                 of_atac = triplet_loss(*atac_.validation_triplets, atac, atac_.samples.validation);
    v.triplet = std::isnan(of_rna) ? of_atac : std::isnan(of_atac) ? of_rna : 0.5 * (of_rna + of_atac);
  }
  std::vector<MatchedPair> pairs;  // rows of means
  const size_t width = static_cast<size_t>(model_.latent());
  double squares = 0, weights = 0;
  for (const MatchedPair& p : validation_pairs_) {
    pairs.push_back({rna.at.at(p.rna), atac.at.at(p.atac), p.weight});
    double d = 0;
    for (size_t i = 0; i < width; ++i) {
      const double r = rna.means[static_cast<size_t>(pairs.back().rna) * width + i], a = atac.means[static_cast<size_t>(pairs.back().atac) * width + i];
      d += (r - a) * (r - a);
    }
    squares += p.weight * d / static_cast<double>(width);
    weights += p.weight;
  }
  if (weights > 0) v.pair = squares / weights;
  m.foscttm = foscttm(rna.means, atac.means, model_.latent(), pairs);
  m.validation_loss = v.rna_huber + loss_.rna.kl_weight * v.rna_kl / g_rna + v.atac_huber + loss_.atac.kl_weight * v.atac_kl / g_atac +
                      (std::isnan(m.foscttm) ? v.cycle : m.foscttm);
}

CoembedEpoch CoembedTrainer::evaluate() {
  CoembedEpoch m;
  validate(m);
  return m;
}

double CoembedTrainer::discriminator_accuracy(const std::vector<int64_t>& rna_rows, const std::vector<int64_t>& atac_rows) {
  if (!discriminator_ || rna_rows.empty() || atac_rows.empty()) return CoembedTerms::none;
  return 0.5 * (validate_side(Modality::rna, rna_rows).right / static_cast<double>(rna_rows.size()) +
                validate_side(Modality::atac, atac_rows).right / static_cast<double>(atac_rows.size()));
}

CoembedTrainer::Judgement CoembedTrainer::judge(int64_t epoch, const std::vector<double>& sums) {
  CoembedEpoch& m = metrics_ = {};
  m.epoch = epoch;
  auto mean = [&](Sum sum, bool computed = true, Sum over = steps_sum) { return computed && sums[over] > 0 ? sums[sum] / sums[over] : CoembedTerms::none; };
  const bool adversarial = loss_.mode == CoembedMode::adversarial;
  m.train_loss = mean(loss_sum);
  m.train.rna_huber = mean(rna_huber_sum);
  m.train.rna_kl = mean(rna_kl_sum);
  m.train.atac_huber = mean(atac_huber_sum);
  m.train.atac_kl = mean(atac_kl_sum);
  m.train.cycle = mean(cycle_sum, loss_.cycle > 0);
  m.train.pair = mean(pair_sum, pairs_per_step_ > 0);
  m.train.triplet = mean(triplet_sum, true, triplet_steps);
  m.train.generator = mean(generator_sum, adversarial && loss_.adversarial > 0);
  m.train.discriminator = mean(discriminator_sum, adversarial);
  m.train.discriminator_accuracy = mean(accuracy_sum, adversarial);
  validate(m);
  // A warm start reconstructs best before anything is aligned: epochs before min_epochs are no candidates.
  return {epoch >= std::min(options_.min_epochs, options_.max_epochs), m.train_loss, m.validation_loss};
}

void CoembedTrainer::report(bool best, double seconds, double loading_seconds) {
  metrics_.best = best;
  metrics_.seconds = seconds;
  metrics_.loading_seconds = loading_seconds;
  if (on_epoch) on_epoch(metrics_);
}

std::string CoembedTrainer::progress_note(int64_t epoch, const std::vector<double>& sums) const {
  return fmt::format("epoch {}, loss {:.3f}", epoch, sums[loss_sum] / sums[steps_sum]);
}

}  // namespace panvae
