// Figure 1: the networks, drawn from what the modules of the models say of themselves.
#include "eval/report/network.h"

#include <algorithm>
#include <map>

#include "base/error.h"

namespace panvae::eval {

namespace {

class NetworkReader {
 public:
  explicit NetworkReader(const ResultsModel& model) : model_(model) {}

  Network read() const {
    Network out;
    const Json& j = model_.network;
    for (const Json& p : list(j, "parts")) out.parts.push_back(part(p));
    if (out.parts.empty()) fail("no parts");
    if (j.contains("discriminator")) out.discriminator = layers(j, "discriminator");
    out.mode = text(j, "mode", false);
    out.cycle = flag(j, "cycle");
    out.pair = flag(j, "pair");
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    fail_input("the network has " + what, fmt::format("results.json, model {}", quoted(model_.id)), "evaluate again; docs/report.md describes the format");
  }
  const Json& list(const Json& j, const char* key) const {
    if (!j.contains(key) || !j[key].is_array()) fail(fmt::format("no list {}", quoted(key)));
    for (const Json& item : j[key])
      if (!item.is_object()) fail(fmt::format("something else than objects in {}", quoted(key)));
    return j[key];
  }
  std::string text(const Json& j, const char* key, bool needed = true) const {
    if (!needed && !j.contains(key)) return {};
    if (!j.contains(key) || !j[key].is_string()) fail(fmt::format("no text {}", quoted(key)));
    return j[key].get<std::string>();
  }
  bool flag(const Json& j, const char* key) const {
    if (!j.contains(key)) return false;
    if (!j[key].is_boolean()) fail(fmt::format("something else than true or false in {}", quoted(key)));
    return j[key].get<bool>();
  }
  // Sizes of networks; what is larger is no size.
  int64_t count(const Json& j, const char* key, int64_t least, int64_t otherwise = -1) const {
    if (otherwise >= 0 && !j.contains(key)) return otherwise;
    if (!j.contains(key) || !j[key].is_number_integer() || j[key].get<double>() < static_cast<double>(least) || j[key].get<double>() > 1e15)
      fail(fmt::format("no whole number of {} or more in {}", least, quoted(key)));
    return j[key].get<int64_t>();
  }
  std::vector<NetworkLayer> layers(const Json& j, const char* key) const {
    std::vector<NetworkLayer> out;
    for (const Json& l : list(j, key))
      out.push_back({text(l, "name"), text(l, "kind"), text(l, "activation", false), count(l, "in", 1), count(l, "out", 1), count(l, "window", 1, 0),
                     count(l, "parameters", 0)});
    if (out.empty()) fail(fmt::format("an empty list {}", quoted(key)));
    return out;
  }
  NetworkPart part(const Json& j) const {
    return {text(j, "name"),   text(j, "modality"),  count(j, "inputs", 1), count(j, "times", 1, 1),
            flag(j, "frozen"), layers(j, "encoder"), layers(j, "heads"),    layers(j, "decoder")};
  }

  const ResultsModel& model_;
};

// What tells the networks of one modality from others: all but whether they were trained with the rest.
std::map<std::string, std::string> signatures(const Json& network) {
  std::map<std::string, std::string> out;
  for (Json part : network["parts"]) {
    part.erase("frozen");
    out[part["modality"].get<std::string>()] += part.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return out;
}

std::string names(const std::vector<std::string>& models) {
  std::string out;
  for (size_t i = 0; i < models.size(); ++i) out += (i == 0 ? "" : "; ") + models[i];
  return out;
}

}  // namespace

Network parse_network(const ResultsModel& model) {
  return NetworkReader(model).read();
}

void add_networks(Page& page, ReportContent& content) {
  const Results& r = content.results;
  std::vector<NetworkPicture> pictures;
  std::vector<std::map<std::string, std::string>> drawn;  // signatures of each picture
  // Those of both modalities first: what they show of one modality needs no picture of its own.
  for (const bool both : {true, false})
    for (const ResultsModel& m : r.models) {
      if (m.network.is_null()) continue;
      Network network = parse_network(m);
      const auto signature = signatures(m.network);
      if ((signature.size() > 1) != both) continue;
      const auto shows = [&](const std::map<std::string, std::string>& other) {
        return std::all_of(signature.begin(), signature.end(), [&](const auto& s) { return other.count(s.first) && other.at(s.first) == s.second; });
      };
      size_t at = static_cast<size_t>(std::find_if(drawn.begin(), drawn.end(), shows) - drawn.begin());
      if (at == drawn.size()) {
        drawn.push_back(signature);
        pictures.push_back({"network-" + m.id, {}, network});
      }
      NetworkPicture& picture = pictures[at];
      picture.models.push_back(m.label);
      if (!both) continue;
      (network.mode == "adversarial" ? picture.adversarial : network.mode == "contrastive" ? picture.contrastive : picture.plain) = true;
      picture.network.cycle |= network.cycle;
      picture.network.pair |= network.pair;
      if (picture.network.discriminator.empty()) picture.network.discriminator = network.discriminator;
    }
  if (pictures.empty()) {
    content.missing.push_back("networks");
    return;
  }
  page.section("networks", "Networks");
  page.paragraph(
      "Bars are widths of layers, on a logarithmic scale; the layers stand between them, with their numbers of parameters beneath. The embedding is the mean "
      "of z.");
  std::vector<NetworkFigure> figures;
  for (const NetworkPicture& picture : pictures) {
    figures.push_back(draw_network(page, picture));
    figures.back().figure.caption = "Drawn from the modules of: " + names(picture.models) + ".";
  }
  // Broad ones have the whole width.
  constexpr double kNarrow = 620;
  for (const bool broad : {true, false}) {
    if (std::none_of(figures.begin(), figures.end(), [&](const NetworkFigure& f) { return (f.width > kNarrow) == broad; })) continue;
    page.begin_figures(broad ? 0 : 460);
    for (const NetworkFigure& f : figures)
      if ((f.width > kNarrow) == broad) page.figure(f.figure);
    page.end_figures();
  }
}

}  // namespace panvae::eval
