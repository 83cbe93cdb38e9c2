#include "tools/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

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

constexpr double kMany = 1e9;

}  // namespace

// How the defaults were found: docs/rna-vae.md.
RunConfig::RunConfig() {
  train.batch_size = 32;
  train.learning_rate = 1e-4;
  train.weight_decay = 1e-4;
  train.max_epochs = 40;
  train.min_epochs = 0;
  train.patience = 10;
  loss.kl_warmup_epochs = 10;
}

std::vector<RunConfig::Key> RunConfig::keys() {
  return {
      number("model.hidden", hidden, 1, 1e6, "units of the hidden layers"),
      number("model.latent", latent, 1, 1e6, "latent dimensions, the size of the embedding"),
      word("model.activation", activation, {"relu", "leaky_relu", "linear"}, "between the two layers of encoder and decoder"),
      word("model.scale", scale, {"z", "none"}, "features as z-scores of the training samples, clipped at 10, or as they are"),
      number("loss.huber_delta", loss.huber_delta, 1e-6, kMany, "Huber threshold, in units of the scaled features"),
      {"loss.kl_weight", "weight of the KL divergence; auto: features / 4000",
       [this](const std::string& t) -> Complaint {
         automatic_kl_weight = t == "auto";
         return automatic_kl_weight ? Complaint{} : parse_number(t, loss.kl_weight, 0, kMany);
       },
       [this] { return automatic_kl_weight ? std::string("\"auto\"") : number("", loss.kl_weight, 0, kMany, "").get(); }},
      number("loss.kl_warmup_epochs", loss.kl_warmup_epochs, 0, kMany, "epochs in which the KL weight rises to its value"),
      number("train.batch_size", train.batch_size, 1, kMany, "samples of a step"),
      number("train.learning_rate", train.learning_rate, 0, 1e3, "of Adam"),
      number("train.weight_decay", train.weight_decay, 0, 1e3, "L2 penalty, as PyTorch's Adam applies it"),
      number("train.clip_norm", train.clip_norm, 0, kMany, "global gradient norm to clip to; 0: off"),
      number("train.max_epochs", train.max_epochs, 1, kMany, "epochs at most"),
      number("train.min_epochs", train.min_epochs, 0, kMany, "epochs before patience counts"),
      number("train.patience", train.patience, 0, kMany, "epochs without a better validation loss, counted after the KL warm-up"),
      number("train.checkpoint_seconds", train.checkpoint_seconds, 0, kMany, "seconds between checkpoints"),
  };
}

void RunConfig::assign(const std::string& key, const std::string& value, const std::string& where) {
  std::vector<std::string> names;
  for (const Key& k : keys()) {
    if (k.name == key) {
      if (const Complaint wrong = k.set(value)) fail_usage(fmt::format("{}: {}", key, *wrong), where, "see 'panvae train rna --help' for the keys");
      return;
    }
    names.push_back(k.name);
  }
  const std::string near = nearest_name(key, names);
  fail_usage("unknown configuration key " + quoted(key), where, near.empty() ? "see 'panvae train rna --help' for the keys" : "did you mean " + near + "?");
}

void RunConfig::set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) fail_usage("--set takes key=value, not " + quoted(assignment), "", "for instance --set train.max_epochs=20");
  assign(assignment.substr(0, equals), assignment.substr(equals + 1), "--set " + quoted(assignment));
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
      else fail_usage(fmt::format("{}.{} is neither number nor text", prefix, std::string(name.str())), where(value));
      assign(prefix + "." + std::string(name.str()), text, where(value));
    }
  }
}

void RunConfig::resolve(int64_t features) {
  if (automatic_kl_weight) loss.kl_weight = static_cast<double>(features) / 4000.0;
  automatic_kl_weight = false;
}

std::string RunConfig::toml() const {
  RunConfig copy = *this;
  std::string out, section;
  for (const Key& k : copy.keys()) {
    const size_t dot = k.name.find('.');
    if (k.name.substr(0, dot) != section) {
      section = k.name.substr(0, dot);
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
    }
    out += fmt::format("{} = {}\n", k.name.substr(dot + 1), k.get());
  }
  return out;
}

std::string config_help() {
  RunConfig defaults;
  std::string out = "Configuration keys (--set KEY=VALUE, or tables of a TOML file):\n";
  for (const RunConfig::Key& k : defaults.keys()) out += fmt::format("  {:<26} {:<8} {}\n", k.name, k.get(), k.help);
  return out;
}

}  // namespace panvae::tools
