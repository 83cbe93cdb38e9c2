// Where everything stands in the picture of a network. Units are pixels of a picture that the page scales as a whole.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "eval/report/network.h"

namespace panvae::eval {

namespace {

constexpr double kBroad = 1000, kMargin = 48, kPitch = 104;  // of a picture; beside the outermost bars; between bars, at most
constexpr double kHalf = 54;                                 // of the highest bar
constexpr double kBar = 9, kSpace = 33;                      // width of a bar; half that of the space of the latents

std::string short_count(int64_t n) {
  const double x = static_cast<double>(n);
  return n < 10000 ? grouped(n) : n < 999500 ? decimals(x / 1e3, 0) + " k" : decimals(x / 1e6, x < 9.95e7 ? 1 : 0) + " M";
}

// A layer that changes the width, with what follows it and does not.
struct Link {
  enum class Kind { layer, gather } kind = Kind::layer;  // gather: the pieces' embeddings become one row, or go back
  std::string words;
  int64_t parameters = 0;
};
struct Node {
  double units = 1;
  std::string label;
  double x = 0;
};
// From the features to the latents, or back: links[i] stands between nodes[i] and nodes[i + 1].
struct Chain {
  std::vector<Node> nodes;
  std::vector<Link> links;
};

std::string words_of(const NetworkLayer& l) {
  std::string out = l.kind;
  if (l.window > 0) out += fmt::format(" (window {})", l.window);
  if (!l.activation.empty()) out += ", " + l.activation;
  return out;
}

// Layers that keep the width belong to the one before them.
bool follows(const NetworkLayer& l) {
  return l.in == l.out && l.kind != "Linear" && !l.is_conv();
}

// Places of the sequence that convolutions run over, 0 where there are none.
int64_t positions_of(const NetworkPart& p) {
  const NetworkLayer& first = p.encoder.front();
  return first.is_conv() && p.inputs % first.in == 0 ? p.inputs / first.in : 0;
}

Node node(int64_t width, int64_t positions) {
  if (positions == 0) return {static_cast<double>(width), grouped(width)};
  return {static_cast<double>(width * positions), fmt::format("{} × {}", grouped(width), grouped(positions))};
}

void add_layers(Chain& chain, const std::vector<NetworkLayer>& layers, int64_t positions) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const NetworkLayer& l = layers[i];
    if (follows(l) && !chain.links.empty() && chain.links.back().kind == Link::Kind::layer) {
      chain.links.back().words += ", " + words_of(l);
      chain.links.back().parameters += l.parameters;
      continue;
    }
    // What comes out is a sequence where this layer or the next that counts makes or takes one.
    size_t next = i + 1;
    while (next < layers.size() && follows(layers[next])) ++next;
    const bool sequence = l.is_conv() || (next < layers.size() && layers[next].is_conv());
    chain.links.push_back({Link::Kind::layer, words_of(l), l.parameters});
    chain.nodes.push_back(l.is_conv() || !sequence ? node(l.out, sequence ? positions : 0) : node(layers[next].in, positions));
  }
}

struct Range {
  size_t part, first, last;  // nodes
};

Chain encoder_of(const std::vector<const NetworkPart*>& parts, std::vector<Range>& ranges) {
  Chain c;
  for (size_t i = 0; i < parts.size(); ++i) {
    const NetworkPart& p = *parts[i];
    const int64_t positions = positions_of(p);
    if (i > 0) c.links.push_back({Link::Kind::gather, "the embeddings of all pieces, one after the other", 0});
    const size_t first = c.nodes.size();
    c.nodes.push_back(node(p.encoder.front().in, positions));
    add_layers(c, p.encoder, positions);
    Link heads{Link::Kind::layer, "mean and log-variance: " + words_of(p.heads.front()), 0};
    for (const NetworkLayer& l : p.heads) heads.parameters += l.parameters;
    c.links.push_back(std::move(heads));
    c.nodes.push_back(node(p.heads.front().out, 0));
    ranges.push_back({i, first, c.nodes.size() - 1});
  }
  --ranges.back().last;  // the last latents stand for themselves
  return c;
}

// Without the latents it begins with.
Chain decoder_of(const std::vector<const NetworkPart*>& parts, std::vector<Range>& ranges) {
  Chain c;
  for (size_t i = parts.size(); i-- > 0;) {
    const NetworkPart& p = *parts[i];
    const size_t first = c.nodes.size();
    if (i + 1 < parts.size()) {
      c.links.push_back({Link::Kind::gather, "cut into the embeddings of the pieces", 0});
      c.nodes.push_back(node(p.decoder.front().in, 0));
    }
    add_layers(c, p.decoder, positions_of(p));
    ranges.push_back({i, first, c.nodes.size() - 1});
  }
  return c;
}

class Drawing {
 public:
  Drawing(Page& page, const NetworkPicture& picture) : page_(page), picture_(picture) {
    shapes_.id = picture.id + "-shapes";
    shapes_.columns = {{"path"}, {"fill"}, {"stroke"}, {"width"}, {"dashes"}, {"opacity"}, {"says"}};
    texts_.id = picture.id + "-texts";
    texts_.columns = {{"text"}, {"x"}, {"y"}, {"align"}, {"size"}, {"weight"}, {"tone"}};
    for (const NetworkPart& p : picture.network.parts) {
      if (std::find(modalities_.begin(), modalities_.end(), p.modality) == modalities_.end()) modalities_.push_back(p.modality);
    }
  }

  NetworkFigure draw() {
    std::vector<std::vector<const NetworkPart*>> rows;
    size_t most = 1;
    for (const std::string& m : modalities_) {
      rows.emplace_back();
      std::vector<Range> ignored;
      for (const NetworkPart& p : picture_.network.parts)
        if (p.modality == m) rows.back().push_back(&p);
      const Chain encoder = encoder_of(rows.back(), ignored), decoder = decoder_of(rows.back(), ignored);
      most = std::max({most, encoder.nodes.size() - 1, decoder.nodes.size()});
      for (const Chain* c : {&encoder, &decoder})
        for (const Node& n : c->nodes) most_units_ = std::max(most_units_, n.units);
    }
    const bool several = rows.size() > 1;
    width_ = several ? kBroad : std::clamp(2 * (kMargin + static_cast<double>(most) * kPitch), 440.0, kBroad);
    double y = several ? 12 : 16;
    std::vector<double> centres;
    const bool between = !picture_.network.discriminator.empty() || picture_.contrastive;
    const double head = 76, foot = 34, gap = between ? 176 : 50;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (several && i == 0 && picture_.network.cycle) y += 26;
      centres.push_back(y + head + kHalf);
      y += head + 2 * kHalf + foot + (i + 1 < rows.size() ? gap : 0);
    }
    if (several) draw_space(centres.front(), centres.back());
    for (size_t i = 0; i < rows.size(); ++i) draw_row(rows[i], centres[i], several);
    if (several && picture_.network.cycle) {
      draw_cycle(centres.front(), centres.front() - kHalf - head - 12, modalities_.back(), modalities_.front());
      draw_cycle(centres.back(), y + 14, modalities_.front(), modalities_.back());
      y += 30;
    }
    if (several) draw_between((centres.front() + kHalf + 24 + centres.back() - kHalf - 86) / 2 + 6);
    draw_key(y + 18);
    return finish();
  }

 private:
  void shape(std::string path, const char* fill, const char* stroke, double line, bool dashed, double opacity, std::string says = {}) {
    shapes_.row({std::move(path), fill, stroke, line, dashed ? "yes" : "no", opacity, std::move(says)});
  }
  void shape(std::string path, const std::string& fill, double opacity, std::string says) {
    shape(std::move(path), fill.c_str(), "none", 0, false, opacity, std::move(says));
  }
  void text(const std::string& t, double x, double y, const char* align = "center", double size = 11, bool bold = false, const char* tone = "ink") {
    texts_.row({t, rounded(x), rounded(y), align, size, bold ? 600 : 400, tone});
  }
  static double rounded(double x) { return std::round(x * 10) / 10; }

  static std::string rectangle(double x, double y, double w, double h, double r) {
    return fmt::format(
        "M{:.1f},{:.1f}h{:.1f}a{r:.1f},{r:.1f} 0 0 1 {r:.1f},{r:.1f}v{:.1f}a{r:.1f},{r:.1f} 0 0 1 -{r:.1f},{r:.1f}h{:.1f}a{r:.1f},{r:.1f} 0 0 1 "
        "-{r:.1f},-{r:.1f}v{:.1f}a{r:.1f},{r:.1f} 0 0 1 {r:.1f},-{r:.1f}z",
        x + r, y, w - 2 * r, h - 2 * r, -(w - 2 * r), -(h - 2 * r), fmt::arg("r", r));
  }
  static std::string trapezoid(double x1, double h1, double x2, double h2, double y) {
    return fmt::format("M{:.1f},{:.1f}L{:.1f},{:.1f}L{:.1f},{:.1f}L{:.1f},{:.1f}z", x1, y - h1 / 2, x2, y - h2 / 2, x2, y + h2 / 2, x1, y + h1 / 2);
  }
  // A triangle whose tip is at x, y and that points by dx, dy.
  void arrow_head(double x, double y, double dx, double dy, const char* tone) {
    const double nx = -dy, ny = dx;
    shape(fmt::format("M{:.1f},{:.1f}L{:.1f},{:.1f}L{:.1f},{:.1f}z", x, y, x - 8 * dx + 4 * nx, y - 8 * dy + 4 * ny, x - 8 * dx - 4 * nx, y - 8 * dy - 4 * ny),
          tone, "none", 0, false, 1);
  }

  // Of a bar of so many units. The widest of the picture is as high as there is room; the square tells a bottleneck at a glance.
  double height(double units) const {
    const double part = most_units_ > 1 ? std::log10(std::max(1.0, units)) / std::log10(most_units_) : 1;
    return 2 * kHalf * std::min(1.0, 0.12 + 0.88 * part * part);
  }

  // One colour for all layers of one kind, in the order in which they come.
  std::string tone_of(const std::string& words) {
    const size_t at = static_cast<size_t>(std::find(kinds_.begin(), kinds_.end(), words) - kinds_.begin());
    if (at == kinds_.size()) kinds_.push_back(words);
    return fmt::format("kind{}", std::min<size_t>(7, at));
  }

  void draw_link(const Link& link, const Node& a, const Node& b, double y) {
    const double x1 = a.x + kBar / 2, x2 = b.x - kBar / 2;
    if (link.kind == Link::Kind::gather) {
      for (int i = -2; i <= 2; ++i)
        shape(fmt::format("M{:.1f},{:.1f}L{:.1f},{:.1f}", x1, y + i * height(a.units) / 4.4, x2, y + i * height(b.units) / 4.4), "none", "line", 1, true, 0.9,
              link.words);
      return;
    }
    shape(trapezoid(x1 + 1.5, height(a.units), x2 - 1.5, height(b.units), y), tone_of(link.words), 0.45,
          fmt::format("{}: {} to {}, {} parameters", link.words, a.label, b.label, grouped(link.parameters)));
    text(short_count(link.parameters), (a.x + b.x) / 2, y + kHalf + 15, "center", 10, false, "muted");
  }
  void draw_node(const Node& n, double y) {
    const double h = height(n.units);
    shape(rectangle(n.x - kBar / 2, y - h / 2, kBar, h, 2), "bar", 1, n.label);
    text(n.label, n.x, y - h / 2 - 7, "center", 10.5);
  }

  void draw_group(const NetworkPart& p, const char* what, const std::vector<NetworkLayer>& layers, const std::vector<NetworkLayer>& more, double from,
                  double to, double y) {
    int64_t parameters = 0;
    for (const auto* list : {&layers, &more})
      for (const NetworkLayer& l : *list) parameters += l.parameters;
    const double top = y - kHalf - 70;
    shape(rectangle(from, top, to - from, 2 * kHalf + 70 + 24, 7), "area", "none", 0, false, 0.8);
    std::string name = p.name;
    if (name.size() >= 3 && name.compare(name.size() - 3, 3, "VAE") == 0) name.resize(name.size() - 3);
    name += what;
    const double centre = (from + to) / 2;
    text(name, centre, top + 16, "center", 11.5, true);
    text(short_count(parameters) + " parameters" + (p.frozen ? ", frozen" : ""), centre, top + 30, "center", 10, false, "muted");
    if (p.times > 1) text(fmt::format("one for all {} blocks", grouped(p.times)), centre, top + 43, "center", 10, false, "muted");
  }

  void draw_row(const std::vector<const NetworkPart*>& parts, double y, bool several) {
    std::vector<Range> in, out;
    Chain encoder = encoder_of(parts, in), decoder = decoder_of(parts, out);
    const double middle = width_ / 2, steps = static_cast<double>(std::max(encoder.nodes.size() - 1, decoder.nodes.size()));
    const double pitch = std::min(kPitch, (middle - kMargin) / steps);
    for (size_t i = 0; i < encoder.nodes.size(); ++i) encoder.nodes[i].x = middle - pitch * static_cast<double>(encoder.nodes.size() - 1 - i);
    for (size_t i = 0; i < decoder.nodes.size(); ++i) decoder.nodes[i].x = middle + pitch * static_cast<double>(i + 1);
    const auto left = [&](const Chain& c, const Range& r) { return c.nodes[r.first].x; };
    const double beside = std::min(22.0, pitch / 2 - 2);
    for (const Range& r : in)
      draw_group(*parts[r.part], "encoder", parts[r.part]->encoder, parts[r.part]->heads, left(encoder, r) - beside,
                 std::min(encoder.nodes[r.last].x + beside, middle - kSpace - 4), y);
    for (const Range& r : out)
      draw_group(*parts[r.part], "decoder", parts[r.part]->decoder, {}, std::max(left(decoder, r) - beside, middle + kSpace + 4),
                 decoder.nodes[r.last].x + beside, y);
    const Node& z = encoder.nodes.back();
    for (size_t i = 0; i + 1 < encoder.nodes.size(); ++i) draw_link(encoder.links[i], encoder.nodes[i], encoder.nodes[i + 1], y);
    for (size_t i = 0; i < decoder.nodes.size(); ++i) draw_link(decoder.links[i], i == 0 ? z : decoder.nodes[i - 1], decoder.nodes[i], y);
    for (size_t i = 0; i + 1 < encoder.nodes.size(); ++i) draw_node(encoder.nodes[i], y);
    for (const Node& n : decoder.nodes) draw_node(n, y);
    const double h = height(z.units) + 6;
    shape(rectangle(z.x - 7, y - h / 2, 14, h, 4), "latent", 1,
          fmt::format("the embedding of {}: {} dimensions", modality_words(parts.front()->modality), z.label));
    text(several ? "z of " + modality_words(parts.front()->modality) : "z", z.x, y - h / 2 - 20, "center", 11.5, true, "latent");
    text(z.label, z.x, y - h / 2 - 7, "center", 10.5);
    const std::string what =
        fmt::format("{}, {} {}", modality_words(parts.front()->modality), grouped(parts.front()->inputs), parts.front()->times > 1 ? "peaks" : "features");
    // Beside the arrow of the cycle.
    const bool arrow = several && picture_.network.cycle && ends_.empty();
    ends_.push_back({encoder.nodes.front().x, decoder.nodes.back().x});
    text(what, encoder.nodes.front().x + (arrow ? 12 : -beside), y - kHalf - 76, "left", 11.5, true);
  }

  void draw_space(double top, double bottom) {
    const double x = width_ / 2, from = top - kHalf - 62, to = bottom + kHalf + 24;
    shape(rectangle(x - kSpace, from, 2 * kSpace, to - from, 12), "latent", "latent", 1.2, false, 0.12);
    text("one space", x, from + 16, "center", 11.5, true, "latent");
    if (!picture_.network.pair) return;
    const double a = top + kHalf + 12, b = bottom - kHalf - 46;
    shape(fmt::format("M{:.1f},{:.1f}V{:.1f}", x, a + 6, b - 6), "none", "latent", 1.6, false, 1, "pair term: samples of a donor are drawn together");
    text("pair", x + 5, (a + b) / 2 + 4, "left", 10.5, false, "latent");
    arrow_head(x, a, 0, -1, "latent");
    arrow_head(x, b, 0, 1, "latent");
  }

  // From the end of a decoder round to the beginning of its encoder.
  void draw_cycle(double y, double turn, const std::string& from, const std::string& to) {
    const auto [begin, end] = ends_[y < turn ? ends_.size() - 1 : 0];
    const double side = y < turn ? y + kHalf + 24 : y - kHalf - 82, r = 10, sign = y < turn ? -1 : 1;
    shape(fmt::format("M{:.1f},{:.1f}V{:.1f}Q{:.1f},{:.1f} {:.1f},{:.1f}H{:.1f}Q{:.1f},{:.1f} {:.1f},{:.1f}V{:.1f}", end, side, turn + sign * r, end, turn,
                      end - r, turn, begin + r, begin, turn, begin, turn + sign * r, side),
          "none", "cycle", 1.6, true, 1, "cycle term");
    arrow_head(begin, side, 0, sign, "cycle");
    const std::string a = modality_words(from), b = modality_words(to);
    const double x = width_ / 2;
    text(fmt::format("cycle: z of {}, decoded to {} and encoded again, comes back", a, b), x, turn + (sign > 0 ? -7 : 15), "center", 11, false, "cycle");
  }

  // The adversary to the right of the space, triplets to its left.
  void draw_between(double y) {
    const double x = width_ / 2;
    if (const auto& layers = picture_.network.discriminator; !layers.empty()) {
      Chain c;
      c.nodes.push_back(node(layers.front().in, 0));
      add_layers(c, layers, 0);
      int64_t parameters = 0;
      for (const NetworkLayer& l : layers) parameters += l.parameters;
      constexpr double kLow = 52;  // of the bars between the rows
      const double first = x + 112, pitch = std::min(72.0, (width_ - kMargin - 130 - first) / static_cast<double>(std::max<size_t>(1, c.links.size())));
      for (size_t i = 0; i < c.nodes.size(); ++i) c.nodes[i].x = first + pitch * static_cast<double>(i);
      const double last = c.nodes.back().x, right = std::max(last + 108, first + 330);
      shape(rectangle(first - 24, y - 64, right - first + 24, 116, 7), "area", "none", 0, false, 0.8);
      const bool only_some = picture_.contrastive || picture_.plain;
      text(only_some ? "discriminator of the adversarial mode" : "discriminator", first - 14, y - 48, "left", 11.5, true);
      text(short_count(parameters) + " parameters", last + 14, y + 42, "left", 10, false, "muted");
      shape(fmt::format("M{:.1f},{:.1f}H{:.1f}", x + 36, y + 4, first - 16), "none", "line", 1.4, false, 1);
      arrow_head(first - 10, y + 4, 1, 0, "line");
      for (size_t i = 0; i + 1 < c.nodes.size(); ++i) {
        const Node &a = c.nodes[i], &b = c.nodes[i + 1];
        shape(trapezoid(a.x + kBar / 2 + 1.5, std::min(kLow, height(a.units)), b.x - kBar / 2 - 1.5, std::min(kLow, height(b.units)), y + 4),
              tone_of(c.links[i].words), 0.45, fmt::format("{}: {} to {}, {} parameters", c.links[i].words, a.label, b.label, grouped(c.links[i].parameters)));
        text(short_count(c.links[i].parameters), (a.x + b.x) / 2, y + 42, "center", 10, false, "muted");
      }
      for (const Node& n : c.nodes) {
        const double h = std::min(kLow, height(n.units));
        shape(rectangle(n.x - kBar / 2, y + 4 - h / 2, kBar, h, 2), "bar", 1, n.label);
        text(n.label, n.x, y + 4 - h / 2 - 6, "center", 10.5);
      }
      text("RNA or ATAC?", last + 14, y + 8, "left", 11.5);
    }
    if (!picture_.contrastive) return;
    const double right = x - 88, left = right - 250, ty = y + 4;
    shape(rectangle(left, y - 64, right - left, 116, 7), "area", "none", 0, false, 0.8);
    text(picture_.adversarial || picture_.plain ? "triplets of the contrastive mode" : "triplets", left + 10, y - 48, "left", 11.5, true);
    struct Point {
      double x, y;
      const char *words, *align;
    } anchor{left + 92, ty - 4, "anchor", "right"}, positive{left + 132, ty - 26, "same cohort", "left"},
        negative{left + 138, ty + 30, "another cohort", "left"};
    shape(fmt::format("M{:.1f},{:.1f}L{:.1f},{:.1f}", anchor.x, anchor.y, positive.x, positive.y), "none", "latent", 1.6, false, 1);
    shape(fmt::format("M{:.1f},{:.1f}L{:.1f},{:.1f}", anchor.x, anchor.y, negative.x, negative.y), "none", "cycle", 1.6, true, 1);
    for (const Point& p : {anchor, positive, negative}) {
      const double r = 5;
      shape(rectangle(p.x - r, p.y - r, 2 * r, 2 * r, r), "bar", 1, p.words);
      text(p.words, p.x + (p.align[0] == 'l' ? 10 : -10), p.y + 4, p.align, 11);
    }
    shape(fmt::format("M{:.1f},{:.1f}H{:.1f}", x - 36, ty, right + 8), "none", "line", 1.4, false, 1);
    arrow_head(right + 2, ty, -1, 0, "line");
  }

  // What the colours mean, as many in a line as there is room for.
  void draw_key(double y) {
    double x = 14;
    for (size_t i = 0; i < kinds_.size(); ++i) {
      const double wide = 26 + 5.9 * static_cast<double>(kinds_[i].size()) + 16;
      if (x > 14 && x + wide > width_) x = 14, y += 18;
      shape(rectangle(x, y - 9, 18, 11, 2), fmt::format("kind{}", std::min<size_t>(7, i)), 0.6, kinds_[i]);
      text(kinds_[i], x + 24, y, "left", 11, false, "muted");
      x += wide;
    }
    height_ = y + 10;
  }

  NetworkFigure finish() {
    PageTable table;
    table.id = picture_.id + "-layers";
    table.columns = {{"network"}, {"part"}, {"layer"}, {"kind"}, {"activation"}, {"in"}, {"out"}, {"window"}, {"parameters"}};
    int64_t parameters = 0;
    const auto add = [&](const std::string& network, const std::string& part, const std::vector<NetworkLayer>& layers) {
      for (const NetworkLayer& l : layers) {
        table.row(
            {network, part, l.name, l.kind, l.activation.empty() ? Json() : Json(l.activation), l.in, l.out, l.window ? Json(l.window) : Json(), l.parameters});
        parameters += l.parameters;
      }
    };
    for (const NetworkPart& p : picture_.network.parts) {
      const std::string name = modality_words(p.modality) + " " + p.name;
      add(name, "encoder", p.encoder), add(name, "latent", p.heads), add(name, "decoder", p.decoder);
    }
    if (!picture_.network.discriminator.empty()) add("discriminator", "", picture_.network.discriminator);
    NetworkFigure out;
    out.width = width_;
    Figure& f = out.figure;
    f.id = picture_.id;
    f.chart = "network";
    f.table = table.id;
    f.signals = {{"width", width_}, {"height", height_}};
    std::string joined;
    for (const std::string& m : modalities_) joined += (joined.empty() ? "" : " and ") + modality_words(m);
    f.title = modalities_.size() == 1 && picture_.models.size() == 1 ? picture_.models.front() : modalities_.size() == 1 ? joined : joined + " in one space";
    f.alternative = fmt::format("The network of {}: encoders, latents and decoders of {}, {} layers with {} parameters.", picture_.models.front(), joined,
                                table.rows(), grouped(parameters));
    f.data = {
        {"shapes",
         shapes_.id,
         {{"path", "path"}, {"fill", "fill"}, {"stroke", "stroke"}, {"width", "width"}, {"dashes", "dashes"}, {"opacity", "opacity"}, {"says", "says"}},
         {}},
        {"texts", texts_.id, {{"text", "text"}, {"x", "x"}, {"y", "y"}, {"align", "align"}, {"size", "size"}, {"weight", "weight"}, {"tone", "tone"}}, {}}};
    page_.add(std::move(table));
    page_.add(std::move(shapes_));
    page_.add(std::move(texts_));
    return out;
  }

  Page& page_;
  const NetworkPicture& picture_;
  PageTable shapes_, texts_;
  std::vector<std::string> modalities_, kinds_;
  std::vector<std::pair<double, double>> ends_;  // of each row: its first and last bar
  double width_ = 0, height_ = 0, most_units_ = 1;
};

}  // namespace

NetworkFigure draw_network(Page& page, const NetworkPicture& picture) {
  return Drawing(page, picture).draw();
}

}  // namespace panvae::eval
