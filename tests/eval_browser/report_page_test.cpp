// The page of `panvae report` in a browser: headless Chromium opens it as a reader would.
#include <filesystem>
#include <map>

#include "base/file.h"
#include "eval/report.h"
#include "tests/base/helpers.h"
#include "tests/eval/helpers.h"
#include "tests/eval/results_fixture.h"
#include "tests/tools/helpers.h"

namespace panvae::eval {
namespace {

using panvae::test::contains;
using panvae::test::Folder;
using panvae::test::Outcome;

std::string between(const std::string& text, const std::string& open, const std::string& close) {
  const size_t begin = text.find(open);
  if (begin == std::string::npos) return {};
  const size_t end = text.find(close, begin + open.size());
  return end == std::string::npos ? "" : text.substr(begin + open.size(), end - begin - open.size());
}

// Chromium on page.html of the folder. What the page reports to the console goes to stderr as lines that say CONSOLE.
Outcome chromium(const Folder& folder, const std::string& options, const std::string& hash = {}) {
  return panvae::test::shell(
      fmt::format("HOME='{0}' '{1}' --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir='{0}/profile' --no-first-run "
                  "--disable-background-networking --disable-component-update --enable-logging=stderr --v=0 --window-size=1280,900 "
                  "--virtual-time-budget=30000 {2} 'file://{0}/page.html{3}'",
                  folder.path().string(), PANVAE_CHROMIUM, options, hash),
      folder.path().string());
}

// What stands on a dumped page before its scripts.
std::string body_of(const std::string& dom) {
  return dom.substr(0, dom.find("<script"));
}

// The charts of a page by their id: the attributes of their element.
std::map<std::string, std::string> charts_of(const std::string& page) {
  const std::string dom = body_of(page);
  std::map<std::string, std::string> out;
  for (size_t at = 0; (at = dom.find("data-chart=\"", at)) != std::string::npos; ++at) {
    const size_t begin = dom.rfind('<', at), end = dom.find('>', at);
    out[between(dom.substr(at), "data-chart=\"", "\"")] = dom.substr(begin, end - begin);
  }
  return out;
}

int items_of(const std::string& chart) {
  const std::string n = between(chart, "data-items=\"", "\"");
  return n.empty() ? 0 : std::stoi(n);
}

std::string page_of(const Results& r) {
  ReportOptions options;
  options.literature = true;
  return report_html({{"results", r}}, options);
}

// The page with a script of ours at its end.
void write_page(const Folder& folder, std::string html, const std::string& script = {}) {
  if (!script.empty()) html.insert(html.rfind("</body>"), "<script>\"use strict\";\n" + script + "</script>\n");
  write_file(folder.file("page.html"), html);
}

void expect_quiet(const Outcome& o) {
  EXPECT_EQ(o.code, 0) << o.err;
  EXPECT_FALSE(contains(o.err, "CONSOLE")) << o.err;
}

TEST(ReportPage, DrawsEveryChartInLightAndDark) {
  test::FakeStudy study;
  study.atac = study.both = true;
  Folder folder;
  write_page(folder, page_of(test::fake_results(study)));
  for (const char* theme : {"light", "dark"}) {
    SCOPED_TRACE(theme);
    const Outcome o = chromium(folder, "--dump-dom", std::string("#") + theme);
    expect_quiet(o);
    EXPECT_CONTAINS(o.out.substr(0, 2000), "data-state=\"done\"");
    const auto charts = charts_of(o.out);
    EXPECT_GT(charts.size(), 45u);
    for (const auto& [id, attributes] : charts) {
      EXPECT_CONTAINS(attributes, "data-state=\"drawn\"");
      EXPECT_CONTAINS(attributes, fmt::format("data-theme=\"{}\"", theme));
      EXPECT_CONTAINS(attributes, "data-renderer=\"svg\"");
      // Marks with their axes; a point per sample and the names of cohorts, twice, in the pictures of embeddings.
      EXPECT_GE(items_of(attributes), id.rfind("points-", 0) == 0 ? 310 : 10) << id;
    }
    size_t pictures = 0;
    const std::string body = body_of(o.out);
    for (size_t at = 0; (at = body.find("<svg", at)) != std::string::npos; ++at) ++pictures;
    EXPECT_EQ(pictures, charts.size());
    for (const char* bad : {"NaN", "Infinity"}) EXPECT_FALSE(contains(body_of(o.out), bad));
  }
}

TEST(ReportPage, ThousandsOfPointsAreDrawnOnACanvas) {
  Folder folder;
  write_page(folder, page_of(test::fake_results({.samples = 2000, .cohorts = 33})));
  const Outcome o = chromium(folder, "--dump-dom");
  expect_quiet(o);
  const auto charts = charts_of(o.out);
  EXPECT_CONTAINS(charts.at("points-rna_vae"), "data-renderer=\"canvas\"");
  EXPECT_GE(items_of(charts.at("points-rna_vae")), 2000 + 2 * 33);
  EXPECT_CONTAINS(charts.at("figure-0"), "data-renderer=\"svg\"");
}

// Paper: white, as SVG however many points there are, and afterwards as before.
TEST(ReportPage, IsPrinted) {
  Folder folder;
  write_page(folder, page_of(test::fake_results({.samples = 1600})), R"(
    const states = () => JSON.stringify([...document.querySelectorAll("[data-chart]")].map((c) => [c.dataset.renderer, c.dataset.theme, c.clientWidth > 200]));
    dispatchEvent(new Event("beforeprint"));
    const printed = states();
    dispatchEvent(new Event("afterprint"));
    document.documentElement.dataset.printed = printed;
    document.documentElement.dataset.after = states();
  )");
  const Outcome o = chromium(folder, "--dump-dom", "#dark");
  expect_quiet(o);
  const std::string printed = between(o.out, "data-printed=\"", "\""), after = between(o.out, "data-after=\"", "\"");
  EXPECT_CONTAINS(printed, "svg");
  for (const char* other : {"canvas", "dark", "false"}) EXPECT_FALSE(contains(printed, other)) << printed;
  for (const char* other : {"svg", "canvas", "dark"}) EXPECT_CONTAINS(after, other);
  EXPECT_FALSE(contains(after, "light"));
  const Outcome pdf = chromium(folder, "--no-pdf-header-footer --print-to-pdf='" + folder.file("page.pdf") + "'");
  expect_quiet(pdf);
  const std::string bytes = read_file(folder.file("page.pdf"));
  EXPECT_EQ(bytes.substr(0, 5), "%PDF-");
  EXPECT_GT(bytes.size(), 200'000u);
  EXPECT_LT(bytes.size(), 6'000'000u);
}

// What a reader does: looks at a point, at a cohort of the legend, opens tables, copies, turns the lights off.
TEST(ReportPage, AnswersItsReader) {
  Results r = test::fake_results({.samples = 40, .features = 150});
  const std::string name = "<img src=x onerror=\"document.title='broken'\">";
  for (ResultsTable& t : r.tables)
    if (t.kind == "points") t.table.keys[0] = name;
  Folder folder;
  write_page(folder, page_of(r), R"(
    const facts = {}, root = document.documentElement;
    // As a browser does: of a pointer first, to which newer versions of Vega listen, then of a mouse.
    const mouse = (e, what) => {
      const box = e.getBoundingClientRect(), at = {bubbles: true, clientX: box.x + 1, clientY: box.y + 1};
      e.dispatchEvent(new PointerEvent("pointer" + what, at));
      e.dispatchEvent(new MouseEvent("mouse" + what, at));
    };
    const settle = () => new Promise((done) => setTimeout(done, 300));
    (async () => {
      const points = [...document.querySelectorAll('[data-chart="points-rna_vae"] .mark-symbol path')].filter((p) => p.getAttribute("fill-opacity"));
      facts.points = points.length;
      mouse(points[0], "move");
      await settle();
      const tooltip = document.getElementById("tooltip");
      facts.tooltip = tooltip.hidden ? "" : tooltip.textContent;
      facts.images = document.images.length;
      const label = [...document.querySelectorAll('[data-chart="cohorts-legend"] text')].find((t) => t.textContent === "BRCA");
      mouse(label, "over");
      await settle();
      const dim = () => [...document.querySelectorAll('[data-chart="points-pca_512"] .mark-symbol path')].filter((p) => p.getAttribute("fill-opacity") === "0.06").length;
      facts.dim = dim();
      mouse(label, "out");
      await settle();
      facts.dimAfter = dim();
      for (const d of document.querySelectorAll("details")) d.open = true;
      await settle();
      facts.tables = document.querySelectorAll("details[data-table] table").length;
      facts.details = document.querySelectorAll("details[data-table]").length;
      let copied;
      Object.defineProperty(navigator, "clipboard", {value: {writeText: async (text) => (copied = text)}});
      const copy = async (id) => {
        document.querySelector(`[data-copy="${id}"]`).click();
        await settle();
        return copied;
      };
      facts.headline = await copy("headline");
      facts.scores = await copy("scores-0");
      facts.pointsTable = (await copy("points")).split("\n").slice(0, 2);
      // What is saved is taken from the constructor: asking the blob is a question to another process, and the browser's virtual
      // clock may run out before the answer.
      let saved;
      window.Blob = class extends Blob {
        constructor(parts, options) {
          super(parts, options);
          saved = parts.join("");
        }
      };
      URL.createObjectURL = () => "#";
      HTMLAnchorElement.prototype.click = function () { facts.file = this.download; };
      document.querySelector('[data-save="figure-0"]').click();
      await settle();
      facts.svg = saved;
      const theme = document.getElementById("theme");
      facts.themes = [];
      for (let i = 0; i < 3; ++i) {
        theme.click();
        facts.themes.push([root.dataset.theme || "auto", document.querySelector('[data-chart="figure-0"]').dataset.theme]);
      }
      const out = document.createElement("pre");
      out.id = "facts";
      out.textContent = JSON.stringify(facts);
      document.body.append(out);
    })();
  )");
  const Outcome o = chromium(folder, "--dump-dom", "#light");
  expect_quiet(o);
  std::string text = between(o.out, "<pre id=\"facts\">", "</pre>");
  for (const auto& [from, to] : {std::pair("&lt;", "<"), std::pair("&gt;", ">"), std::pair("&amp;", "&")})
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; ++at) text.replace(at, std::string(from).size(), to);
  ASSERT_FALSE(text.empty()) << o.err;
  const Json facts = Json::parse(text);
  EXPECT_EQ(facts["points"], 40);
  EXPECT_CONTAINS(facts["tooltip"].get<std::string>(), name);
  EXPECT_EQ(facts["images"], 0);
  EXPECT_FALSE(contains(o.out, "<title>broken"));
  EXPECT_GT(facts["dim"], 10);
  EXPECT_LT(facts["dim"], 40);
  EXPECT_EQ(facts["dimAfter"], 0);
  EXPECT_EQ(facts["tables"], facts["details"]);
  EXPECT_GT(facts["details"], 20);
  EXPECT_EQ(facts["headline"].get<std::string>().substr(0, 15), "model\taccuracy\t");
  EXPECT_CONTAINS(facts["headline"].get<std::string>(), "\nRNA VAE\t0.");
  EXPECT_CONTAINS(facts["headline"].get<std::string>(), " ± ");
  EXPECT_EQ(facts["scores"].get<std::string>().substr(0, 39), "model\taccuracy\tstandard error\tby chance");
  EXPECT_EQ(facts["pointsTable"][1].get<std::string>().rfind(name + "\t", 0), 0u);
  EXPECT_EQ(facts["file"], "figure-0.svg");
  EXPECT_EQ(facts["svg"].get<std::string>().rfind("<svg", 0), 0u);
  EXPECT_CONTAINS(facts["svg"].get<std::string>(), "RNA VAE");
  EXPECT_EQ(facts["themes"][0], Json({"dark", "dark"}));
  EXPECT_EQ(facts["themes"][1][0], "auto");
  EXPECT_EQ(facts["themes"][2], Json({"light", "light"}));
}

TEST(ReportPage, EmptyAndPartialResultsHaveNoErrors) {
  Folder folder;
  write_page(folder, report_html({{"results", Results()}}));
  expect_quiet(chromium(folder, "--dump-dom"));
  Results r = test::fake_results({.samples = 12, .features = 3, .cohorts = 2});
  // One constant embedding, undefined scores, one epoch, one group.
  for (ResultsTable& t : r.tables) {
    if (t.kind == "points" && t.model == "rna_vae")
      test::set_number(t.table, "pc1", std::vector<double>(12, 1)), test::set_number(t.table, "pc2", std::vector<double>(12, 0));
    if (t.kind == "curves" && t.model == "rna_vae") t.table = t.table.select({0});
    if (t.kind == "risk" && t.model == "rna_vae") test::set_factor(t.table, "group", std::vector<std::string>(12, "low"));
    if (t.kind == "de" && t.model == "rna_vae")
      test::set_number(t.table, "p", {0, 1, 1}), test::set_number(t.table, "fdr", {0, 1, 1}), test::set_number(t.table, "log2fc", {5, 0, 0});
  }
  for (ResultsScore& s : r.cohort) s.values["accuracy_mean"] = nullptr;
  r.survival[0].values = Json::object();
  write_page(folder, page_of(r));
  const Outcome o = chromium(folder, "--dump-dom");
  expect_quiet(o);
  for (const auto& [id, attributes] : charts_of(o.out)) EXPECT_CONTAINS(attributes, "data-state=\"drawn\"") << id;
  EXPECT_FALSE(contains(body_of(o.out), "NaN"));
}

}  // namespace
}  // namespace panvae::eval
