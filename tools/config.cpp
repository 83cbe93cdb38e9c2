#include "tools/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "models/atac_preset.h"

namespace panvae::tools {

namespace {

using Complaint = std::optional<std::string>;

template <class T>
Complaint parse_number(const std::string& text, T& to, double least, double most) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(static_cast<double>(value)))
    return fmt::format("{} is no {}", quoted(text), std::is_integral_v<T> ? "whole number" : "number");
  if (static_cast<double>(value) < least || static_cast<double>(value) > most)
    return fmt::format("{} is outside [{}, {}]", text, shortest(least), shortest(most));
  to = value;
  return {};
}

Complaint parse_word(const std::string& text, std::string& to, const std::vector<std::string>& words) {
  if (std::find(words.begin(), words.end(), text) == words.end()) return fmt::format("{} is none of {}", quoted(text), fmt::join(words, ", "));
  to = text;
  return {};
}

template <class T>
RunConfig::Key number(std::string name, T& value, double least, double most, std::string help) {
  return {std::move(name), std::move(help), [&value, least, most](const std::string& t) { return parse_number(t, value, least, most); },
          [&value] {
            if constexpr (std::is_integral_v<T>) {
              return std::to_string(value);
            } else {
              std::string s = shortest(value);
              return s.find_first_of(".e") == std::string::npos ? s + ".0" : s;  // TOML tells floats from integers
            }
          }};
}

RunConfig::Key word(std::string name, std::string& value, std::vector<std::string> words, std::string help) {
  help += fmt::format(" ({})", fmt::join(words, ", "));
  return {std::move(name), std::move(help), [&value, words](const std::string& t) { return parse_word(t, value, words); },
          [&value] { return "\"" + value + "\""; }};
}

// A value that may be "auto".
template <class T>
RunConfig::Key automatic(std::string name, Auto<T>& value, double least, double most, std::string help) {
  return {std::move(name), std::move(help),
          [&value, least, most](const std::string& t) -> Complaint {
            if (t == "auto") {
              value.reset();
              return {};
            }
            T number{};
            Complaint wrong = parse_number(t, number, least, most);
            if (!wrong) value = number;
            return wrong;
          },
          [&value] {
            if (!value) return std::string("\"auto\"");
            T v = *value;
            return number("", v, 0, 0, "").get();
          }};
}

// A list of whole numbers, "2048,1024,512"; or "auto".
RunConfig::Key widths(std::string name, Auto<std::vector<int64_t>>& value, std::string help) {
  return {std::move(name), std::move(help),
          [&value](const std::string& t) -> Complaint {
            if (t == "auto") {
              value.reset();
              return {};
            }
            std::vector<int64_t> list;
            for (size_t begin = 0; begin <= t.size();) {
              const size_t end = std::min(t.find(',', begin), t.size());
              int64_t width = 0;
              if (Complaint wrong = parse_number(t.substr(begin, end - begin), width, 1, 1e6)) return fmt::format("{}; give widths as 2048,1024,512", *wrong);
              list.push_back(width);
              begin = end + 1;
            }
            value = list;
            return {};
          },
          [&value] { return value ? fmt::format("[{}]", fmt::join(*value, ", ")) : std::string("\"auto\""); }};
}

constexpr double kMany = 1e9;
// Reconstructed features for each unit of the KL weight: docs/rna-vae.md, docs/atac-vae.md.
constexpr double kFeaturesOfKlWeight = 4000, kBlockPeaksOfKlWeight = 100000, kBlockMeansOfKlWeight = 500, kPeaksOfKlWeight = 20000;

}  // namespace

// How the defaults were found: docs/rna-vae.md, docs/atac-vae.md.
RunConfig::RunConfig(const std::string& of) : modality(of) {
  PV_CHECK(of == "rna" || of == "atac" || of == "coembed", "no configuration of modality '{}'", of);
  if (of == "coembed") {
    train = CoembedTrainOptions();
    return;
  }
  train.batch_size = 32;
  train.learning_rate = of == "rna" ? 1e-4 : 1e-3;
  train.weight_decay = 1e-4;
  train.min_epochs = 0;
  train.max_epochs = of == "rna" ? 40 : 100;
  train.patience = of == "rna" ? 10 : 2;
  train.epoch_steps = of == "rna" ? 1 : 50;
  loss.kl_warmup_epochs = of == "rna" ? 10 : 5;
}

std::vector<RunConfig::Key> RunConfig::keys() {
  std::vector<Key> all;
  auto add = [&](Key k) { all.push_back(std::move(k)); };
  if (modality == "coembed") {
    add_coembed_keys(all);
    return all;
  }
  const bool is_atac = modality == "atac";
  auto only = [&](const char* network, Key k) {
    if (is_atac) k.network = network;
    add(std::move(k));
  };
  if (is_atac) {
    add(word("model.network", atac.network, {"hierarchical", "dense"}, "blocks of peaks and a network on top, or one network over all features"));
    only("hierarchical", word("model.preset", atac.preset, {"auto", "paper", "medium", "small"}, "sizes that are auto below; auto: by the number of peaks"));
  }
  only("dense", number("model.hidden", dense.hidden, 1, 1e6, "units of the hidden layers"));
  only("dense", number("model.latent", dense.latent, 1, 1e6, "latent dimensions, the size of the embedding"));
  only("dense", word("model.activation", dense.activation, {"relu", "leaky_relu", "linear"}, "between the two layers of encoder and decoder"));
  add(word("model.scale", scale, {"z", "none"}, "features as z-scores of the training samples, clipped at 10, or as they are"));
  if (is_atac) {
    const char* h = "hierarchical";
    only(h, automatic("block.size", atac.block_size, 1, 1e7, "peaks of a block"));
    only(h, automatic("block.slide", atac.block_slide, 1, 1e7, "peaks by which blocks move from one epoch to the next"));
    only(h, widths("block.widths", atac.block_widths, "units of the block VAE's modules, from the peaks inwards"));
    only(h, automatic("block.latent", atac.block_latent, 1, 1e6, "latent dimensions of a block"));
    only(h, number("block.batch_size", atac.block_batch, 1, kMany, "blocks of samples in a step of the block VAE"));
    only(h, automatic("block.kl_weight", atac.block_kl_weight, 0, kMany, "weight of the KL divergence of the block VAE; auto: peaks of a block / 100000"));
    only(h, automatic("hierarchical.channels", atac.channels, 1, 1e6, "channels of the convolution over blocks"));
    only(h, widths("hierarchical.widths", atac.widths, "units of the hierarchical VAE's modules, from the blocks inwards"));
    only(h, automatic("hierarchical.latent", atac.latent, 1, 1e6, "latent dimensions of a sample, the size of the embedding"));
    only(h, word("hierarchical.loss", atac.loss, {"block_means", "peaks"}, "what it reconstructs: peaks trains it end to end through the block decoder"));
  }
  add(number("loss.huber_delta", loss.huber_delta, 1e-6, kMany, "Huber threshold, in units of the scaled features"));
  add(automatic("loss.kl_weight", kl_weight, 0, kMany,
                is_atac ? "of the hierarchical VAE; auto: block means of a sample / 500, or its peaks / 20000; of a dense one: features / 4000"
                        : "weight of the KL divergence; auto: features / 4000"));
  add(number("loss.kl_warmup_epochs", loss.kl_warmup_epochs, 0, kMany, "epochs in which the KL weight rises to its value"));
  add(number("train.batch_size", train.batch_size, 1, kMany, is_atac ? "samples of a step of the hierarchical VAE" : "samples of a step"));
  add(number("train.learning_rate", train.learning_rate, 0, 1e3, "of Adam"));
  add(number("train.weight_decay", train.weight_decay, 0, 1e3, "L2 penalty, as PyTorch's Adam applies it"));
  add(number("train.clip_norm", train.clip_norm, 0, kMany, "global gradient norm to clip to; 0: off"));
  add(number("train.max_epochs", train.max_epochs, 1, kMany, is_atac ? "epochs at most, of each stage" : "epochs at most"));
  add(number("train.epoch_steps", train.epoch_steps, 1, kMany, "steps of an epoch at least: small sets are passed several times in one"));
  add(number("train.min_epochs", train.min_epochs, 0, kMany, "epochs before patience counts"));
  add(number("train.patience", train.patience, 0, kMany, "epochs without a better validation loss, counted after the KL warm-up"));
  add(number("train.checkpoint_seconds", train.checkpoint_seconds, 0, kMany, "seconds between checkpoints"));
  return all;
}

void RunConfig::add_coembed_keys(std::vector<Key>& all) {
  auto add = [&](Key k) { all.push_back(std::move(k)); };
  add(word("coembed.mode", coembed.mode, {"adversarial", "contrastive"}, "what draws the modalities together; --mode says it too"));
  add(word("coembed.atac_model", coembed.atac_model, {"auto", "hierarchical", "dense"}, "the network of the ATAC run; auto: whichever it is"));
  add(word("coembed.cycle_freeze", coembed.cycle_freeze, {"encoders", "target", "none"},
           "what the cycle does not train: the encoders, the encoding it aims at, nothing"));
  add(number("loss.adversarial", coembed.adversarial, 0, kMany, "weight of the generator's loss, in adversarial mode"));
  add(word("loss.generator", coembed.generator, {"flipped", "negative"}, "generator's loss: cross-entropy with the labels exchanged, or times -1"));
  add(number("loss.cycle", coembed.cycle, 0, kMany, "weight of the cycle consistency"));
  add(number("loss.contrastive", coembed.contrastive, 0, kMany, "weight of the triplet loss, in contrastive mode"));
  add(number("loss.margin", coembed.margin, 0, kMany, "margin of the triplet loss"));
  add(number("loss.pair", coembed.pair, 0, kMany, "weight of the distance of matched pairs; 0: the paper to the letter"));
  add(number("train.batch_size", train.batch_size, 1, kMany, "samples of each modality, and pairs, in a step"));
  add(number("train.learning_rate", train.learning_rate, 0, 1e3, "of Adam"));
  add(automatic("train.discriminator_learning_rate", coembed.discriminator_learning_rate, 0, 1e3, "of the discriminator's Adam; auto: train.learning_rate"));
  add(number("train.weight_decay", train.weight_decay, 0, 1e3, "L2 penalty, as PyTorch's Adam applies it"));
  add(number("train.clip_norm", train.clip_norm, 0, kMany, "global gradient norm to clip to; 0: off"));
  add(number("train.max_epochs", train.max_epochs, 1, kMany, "epochs at most"));
  add(number("train.epoch_steps", train.epoch_steps, 1, kMany, "steps of an epoch at least: small sets are passed several times in one"));
  add(number("train.min_epochs", train.min_epochs, 0, kMany, "the first epoch that may be the best; patience counts after it"));
  add(number("train.patience", train.patience, 0, kMany, "epochs without a better validation criterion"));
  add(number("train.checkpoint_seconds", train.checkpoint_seconds, 0, kMany, "seconds between checkpoints"));
}

void RunConfig::assign(const std::string& key, const std::string& value, const std::string& where) {
  std::vector<std::string> names;
  for (const Key& k : keys()) {
    if (k.name == key) {
      if (const Complaint wrong = k.set(value))
        fail_usage(fmt::format("{}: {}", key, *wrong), where, fmt::format("see 'panvae train {} --help' for the keys", modality));
      assigned_[key] = where;
      return;
    }
    names.push_back(k.name);
  }
  const std::string near = nearest_name(key, names);
  fail_usage("unknown configuration key " + quoted(key), where,
             near.empty() ? fmt::format("see 'panvae train {} --help' for the keys", modality) : "did you mean " + near + "?");
}

void RunConfig::check() const {
  RunConfig copy = *this;
  for (const Key& k : copy.keys())
    if (const auto at = assigned_.find(k.name); at != assigned_.end() && !applies(k))
      fail_usage(fmt::format("{} is of {} networks", k.name, k.network), at->second, fmt::format("leave it out, or set model.network={}", k.network));
}

void RunConfig::set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) fail_usage("--set takes key=value, not " + quoted(assignment), "", "for instance --set train.max_epochs=20");
  assign(assignment.substr(0, equals), assignment.substr(equals + 1), "--set " + quoted(assignment));
}

void RunConfig::begin_with(const std::string& path) {
  read_toml(path);
  assigned_.clear();
}

void RunConfig::choose_anew(const RunConfig& begun) {
  const auto anew = [&](const char* key, auto& value) {
    if (!assigned_.count(key)) value.reset();
  };
  if (atac.loss != begun.atac.loss) anew("loss.kl_weight", kl_weight);
  // Blocks stay: their VAE is trained.
  if (atac.preset != begun.atac.preset)
    anew("hierarchical.channels", atac.channels), anew("hierarchical.widths", atac.widths), anew("hierarchical.latent", atac.latent);
}

void RunConfig::read_toml(const std::string& path) {
  read_toml_text(read_file(path), path);
}

void RunConfig::read_toml_text(const std::string& content, const std::string& path) {
  toml::table root;
  try {
    root = toml::parse(content, path);
  } catch (const toml::parse_error& e) {
    fail_usage(std::string("not valid TOML: ") + std::string(e.description()), fmt::format("{}, line {}", quoted(path, 400), e.source().begin.line),
               "see RUN/config.toml of any run for an example");
  }
  for (const auto& [section, node] : root) {
    const std::string prefix(section.str());
    auto where = [&](const toml::node& n) { return fmt::format("{}, line {}", quoted(path, 400), n.source().begin.line); };
    const toml::table* table = node.as_table();
    if (!table) fail_usage("unknown configuration key " + quoted(prefix), where(node), "keys stand in tables: [model], [loss], [train]");
    for (const auto& [name, value] : *table) {
      std::string text;
      if (const auto* s = value.as_string()) text = s->get();
      else if (const auto* i = value.as_integer()) text = std::to_string(i->get());
      else if (const auto* d = value.as_floating_point()) text = shortest(d->get());
      else if (const auto* list = value.as_array(); list && list->is_homogeneous<int64_t>())
        for (const auto& one : *list) text += fmt::format("{}{}", text.empty() ? "" : ",", one.value_or(int64_t{0}));
      else fail_usage(fmt::format("{}.{} is neither number nor text", prefix, std::string(name.str())), where(value));
      assign(prefix + "." + std::string(name.str()), text, where(value));
    }
  }
}

void RunConfig::resolve(int64_t features) {
  const double count = static_cast<double>(features);
  if (is_dense()) {
    if (!kl_weight) kl_weight = count / kFeaturesOfKlWeight;
  } else {
    const AtacPreset p = atac.preset == "auto" ? atac_preset(features) : atac_preset(atac.preset);
    atac.preset = p.name;
    auto choose = [](auto& value, const auto& chosen) {
      if (!value) value = chosen;
    };
    choose(atac.block_size, p.block.block);
    *atac.block_size = std::min(*atac.block_size, features);
    choose(atac.block_slide, p.slide);
    *atac.block_slide = std::min(*atac.block_slide, *atac.block_size);
    choose(atac.block_widths, p.block.widths);
    choose(atac.block_latent, p.block.latent);
    choose(atac.channels, p.channels);
    choose(atac.widths, p.widths);
    choose(atac.latent, p.latent);
    choose(atac.block_kl_weight, static_cast<double>(*atac.block_size) / kBlockPeaksOfKlWeight);
    const double blocks = std::ceil(count / static_cast<double>(*atac.block_size));
    choose(kl_weight, atac.loss == "peaks" ? count / kPeaksOfKlWeight : blocks * static_cast<double>(*atac.block_latent) / kBlockMeansOfKlWeight);
  }
  loss.kl_weight = *kl_weight;
}

RnaVaeShape RunConfig::dense_shape(int64_t features) const {
  const Fusable activation = dense.activation == "relu"         ? Fusable{Activation::relu, 0}
                             : dense.activation == "leaky_relu" ? Fusable{Activation::leaky_relu, 0.01}
                                                                : Fusable{};
  return {features, dense.hidden, dense.latent, activation};
}

AtacShape RunConfig::atac_shape(int64_t peaks) const {
  return {peaks, {*atac.block_size, *atac.block_widths, *atac.block_latent}, *atac.block_slide, *atac.channels, *atac.widths, *atac.latent};
}

LossOptions RunConfig::block_loss() const {
  LossOptions l = loss;
  l.kl_weight = *atac.block_kl_weight;
  return l;
}

TrainOptions RunConfig::block_train() const {
  TrainOptions t = train;
  t.batch_size = atac.block_batch;
  return t;
}

CoembedLossOptions RunConfig::coembed_loss() const {
  CoembedLossOptions l;
  l.mode = coembed.mode == "contrastive" ? CoembedMode::contrastive : CoembedMode::adversarial;
  l.adversarial = coembed.adversarial;
  l.cycle = coembed.cycle;
  l.contrastive = coembed.contrastive;
  l.pair = coembed.pair;
  l.margin = coembed.margin;
  l.generator = coembed.generator == "negative" ? GeneratorLoss::negative : GeneratorLoss::flipped;
  l.cycle_freeze = coembed.cycle_freeze == "target" ? CycleFreeze::target : coembed.cycle_freeze == "none" ? CycleFreeze::none : CycleFreeze::encoders;
  return l;
}

CoembedTrainOptions RunConfig::coembed_train() const {
  CoembedTrainOptions t;
  static_cast<TrainOptions&>(t) = train;
  t.discriminator_learning_rate = coembed.discriminator_learning_rate.value_or(train.learning_rate);
  return t;
}

std::string RunConfig::toml() const {
  RunConfig copy = *this;
  std::string out, section;
  for (const Key& k : copy.keys()) {
    if (!applies(k)) continue;
    const size_t dot = k.name.find('.');
    if (k.name.substr(0, dot) != section) {
      section = k.name.substr(0, dot);
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
    }
    out += fmt::format("{} = {}\n", k.name.substr(dot + 1), k.get());
  }
  return out;
}

std::string config_help(const std::string& modality) {
  RunConfig defaults(modality);
  std::string out = "Configuration keys (--set KEY=VALUE, or tables of a TOML file):\n";
  for (const RunConfig::Key& k : defaults.keys())
    out += fmt::format("  {:<34} {:<14} {}{}\n", k.name, k.get(), k.network.empty() ? "" : k.network + ": ", k.help);
  return out;
}

}  // namespace panvae::tools
