#include "eval/report/page.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"
#include "eval/report/assets.h"

namespace panvae::eval {

namespace {

// Text as JSON that may stand within <script>: < cannot open or close anything, and U+2028 is a line end for old browsers.
std::string script_json(const Json& j) {
  const std::string raw = j.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  out.reserve(raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '<') out += "\\u003c";
    else if (raw.compare(i, 3, "\xE2\x80\xA8") == 0) out += "\\u2028", i += 2;
    else if (raw.compare(i, 3, "\xE2\x80\xA9") == 0) out += "\\u2029", i += 2;
    else out += raw[i];
  }
  return out;
}

// A column of few different texts is a list of them and a number per row.
Json json_of(const PageColumn& c) {
  Json j;
  j["name"] = c.name;
  if (c.digits >= 0) j["digits"] = c.digits;
  std::unordered_map<std::string, size_t> code_of;
  Json levels = Json::array(), codes = Json::array();
  bool texts = !c.values.empty();
  for (const Json& v : c.values) {
    if (!(texts = v.is_string() || v.is_null())) break;
    if (v.is_null()) {
      codes.push_back(-1);
      continue;
    }
    const auto [at, fresh] = code_of.emplace(v.get<std::string>(), levels.size());
    if (fresh) levels.push_back(v);
    codes.push_back(at->second);
  }
  if (texts && levels.size() * 2 < c.values.size()) {
    j["levels"] = std::move(levels);
    j["codes"] = std::move(codes);
  } else {
    j["values"] = c.values;
  }
  return j;
}

std::string cell_text(const Json& v, int digits) {
  if (v.is_null()) return "–";
  if (v.is_string()) return v.get<std::string>();
  if (v.is_number() && digits >= 0) return decimals(v.get<double>(), digits);
  return v.is_number_float() ? shortest(v.get<double>()) : v.dump();
}

// The template with {{key}} replaced, once: what is put in is not looked at again.
std::string fill(std::string_view form, const std::vector<std::pair<std::string_view, std::string_view>>& values) {
  std::string out;
  size_t at = 0;
  for (size_t open; (open = form.find("{{", at)) != std::string_view::npos;) {
    const size_t close = form.find("}}", open);
    PV_ASSERT(close != std::string_view::npos);
    out += form.substr(at, open - at);
    const std::string_view key = form.substr(open + 2, close - open - 2);
    bool known = false;
    for (const auto& [name, value] : values)
      if (name == key) out += value, known = true;
    PV_ASSERT(known);
    at = close + 2;
  }
  out += form.substr(at);
  return out;
}

}  // namespace

std::string_view report_asset(std::string_view name) {
  for (const ReportAsset& a : report_assets())
    if (a.name == name) return a.text;
  PV_ASSERT(!"a part of the page");
  return {};
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Json significant(double x, int digits) {
  if (!std::isfinite(x)) return {};
  return std::strtod(fmt::format("{:.{}g}", x, digits).c_str(), nullptr);
}

std::string decimals(double x, int digits) {
  if (!std::isfinite(x)) return "–";
  std::string out = fmt::format("{:.{}f}", x, digits);
  if (out[0] == '-') out.replace(0, 1, "−");
  return out;
}

std::string grouped(int64_t n) {
  std::string out = std::to_string(n);
  for (int64_t at = static_cast<int64_t>(out.size()) - 3; at > (n < 0); at -= 3) out.insert(static_cast<size_t>(at), 1, ',');
  return out;
}

std::string with_error(double x, double se, int digits) {
  return std::isfinite(x) && std::isfinite(se) ? decimals(x, digits) + "\u00a0±\u00a0" + decimals(se, digits) : decimals(x, digits);
}

std::string shortest_number(double x) {
  return std::isfinite(x) ? shortest(significant(x).get<double>()) : "–";
}

void PageTable::row(std::vector<Json> cells) {
  PV_ASSERT(cells.size() == columns.size());
  for (size_t i = 0; i < cells.size(); ++i) columns[i].values.push_back(std::move(cells[i]));
}

void Page::section(std::string id, std::string title) {
  if (open_) body_ += "</section>\n";
  open_ = true;
  body_ += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n", escape_html(id), escape_html(title));
  contents_.emplace_back(std::move(id), std::move(title));
}

void Page::subtitle(std::string_view text) {
  body_ += fmt::format("<h3>{}</h3>\n", escape_html(text));
}

void Page::paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", escape_html(text));
}

void Page::note(std::string_view text) {
  body_ += fmt::format("<p class=\"note\">{}</p>\n", escape_html(text));
}

void Page::list(std::span<const std::string> items) {
  body_ += "<ul>\n";
  for (const std::string& item : items) body_ += fmt::format("<li>{}</li>\n", escape_html(item));
  body_ += "</ul>\n";
}

void Page::warnings(std::span<const std::string> items) {
  const auto add = [&](std::span<const std::string> part) {
    body_ += "<ul class=\"warning\">\n";
    for (const std::string& item : part) body_ += fmt::format("<li>{}</li>\n", escape_html(item));
    body_ += "</ul>\n";
  };
  // Many would push the results off the page.
  constexpr size_t kOpen = 4;
  if (items.size() <= kOpen + 2) {
    add(items);
    return;
  }
  add(items.first(kOpen));
  body_ += fmt::format("<details><summary>{} more</summary>\n", items.size() - kOpen);
  add(items.subspan(kOpen));
  body_ += "</details>\n";
}

void Page::table(const PageTable& t, std::span<const std::pair<size_t, size_t>> strong, std::span<const size_t> muted) {
  const auto numeric = [&](size_t c) {
    for (const Json& v : t.columns[c].values)
      if (!v.is_null() && !v.is_number() &&
          !(v.is_string() && !v.get_ref<const std::string&>().empty() && std::isdigit(static_cast<unsigned char>(v.get_ref<const std::string&>()[0]))))
        return false;
    return c > 0;
  };
  body_ += fmt::format("<div class=\"wide\"><table id=\"{}\">\n<thead><tr>", escape_html(t.id));
  std::vector<const char*> kind;
  for (size_t c = 0; c < t.columns.size(); ++c) {
    kind.push_back(numeric(c) ? " class=\"number\"" : "");
    body_ += fmt::format("<th scope=\"col\"{}>{}</th>", kind[c], escape_html(t.columns[c].name));
  }
  body_ += "</tr></thead>\n<tbody>\n";
  for (size_t r = 0; r < t.rows(); ++r) {
    body_ += std::find(muted.begin(), muted.end(), r) != muted.end() ? "<tr class=\"muted\">" : "<tr>";
    for (size_t c = 0; c < t.columns.size(); ++c) {
      std::string text = escape_html(cell_text(t.columns[c].values[r], t.columns[c].digits));
      if (std::find(strong.begin(), strong.end(), std::pair(r, c)) != strong.end()) text = "<strong>" + text + "</strong>";
      body_ += c == 0 ? fmt::format("<th scope=\"row\">{}</th>", text) : fmt::format("<td{}>{}</td>", kind[c], text);
    }
    body_ += "</tr>\n";
  }
  body_ += fmt::format("</tbody></table></div>\n<p class=\"tools\"><button type=\"button\" data-copy=\"{}\">Copy as TSV</button></p>\n", escape_html(t.id));
}

void Page::add(PageTable table) {
  Json j = Json::array();
  for (const PageColumn& c : table.columns) j.push_back(json_of(c));
  PV_ASSERT(!tables_.contains(table.id));
  tables_[table.id] = std::move(j);
}

void Page::begin_figures(int width) {
  // Broad ones stand alone on paper.
  body_ +=
      width > 0 ? fmt::format("<div class=\"figures{}\" style=\"--least:{}px\">\n", width >= 460 ? " broad" : "", width) : "<div class=\"figures whole\">\n";
}

void Page::end_figures() {
  body_ += "</div>\n";
}

void Page::figure(const Figure& f) {
  Json spec = Json::parse(report_asset("charts/" + f.chart + ".json"));
  for (const auto& [name, value] : f.signals.items()) {
    bool known = false;
    for (Json& s : spec["signals"])
      if (s["name"] == name) s["value"] = value, known = true;
    PV_ASSERT(known);
  }
  spec["description"] = f.alternative;
  Json chart;
  chart["id"] = f.id;
  chart["spec"] = std::move(spec);
  chart["link"] = f.link;
  chart["data"] = Json::array();
  for (const ChartData& d : f.data) {
    PV_ASSERT(tables_.contains(d.table));
    Json fields = Json::object();
    for (const auto& [field, column] : d.fields) fields[field] = column;
    chart["data"].push_back({{"name", d.name}, {"table", d.table}, {"fields", std::move(fields)}, {"needs", d.needs}});
  }
  charts_.push_back(std::move(chart));
  const std::string table = f.table.empty() ? f.data.at(0).table : f.table, id = escape_html(f.id);
  PV_ASSERT(tables_.contains(table));
  body_ += fmt::format("<figure id=\"{}\">\n", id);
  if (!f.title.empty()) body_ += fmt::format("<h4>{}</h4>\n", escape_html(f.title));
  body_ += fmt::format("<div class=\"chart\" data-chart=\"{}\" role=\"img\" aria-label=\"{}\"></div>\n", id, escape_html(f.alternative));
  if (!f.caption.empty()) body_ += fmt::format("<figcaption>{}</figcaption>\n", escape_html(f.caption));
  body_ += fmt::format(
      "<div class=\"behind\"><p class=\"tools\"><button type=\"button\" data-copy=\"{0}\" title=\"Copy the table as TSV\">TSV</button> "
      "<button type=\"button\" data-save=\"{1}\" title=\"Save the picture as SVG\">SVG</button></p>\n"
      "<details data-table=\"{0}\"><summary>Table</summary><div class=\"scroll\"></div></details></div>\n</figure>\n",
      escape_html(table), id);
}

void Page::prepend(const Page& other) {
  PV_ASSERT(other.charts_.empty() && other.tables_.empty());
  body_ = other.body_ + (other.open_ ? "</section>\n" : "") + body_;
  contents_.insert(contents_.begin(), other.contents_.begin(), other.contents_.end());
  open_ = open_ || other.open_;
}

std::string Page::html(std::string_view title, std::string_view lead, std::string_view generator) const {
  std::string contents;
  for (const auto& [id, name] : contents_) contents += fmt::format("<a href=\"#{}\">{}</a> ", escape_html(id), escape_html(name));
  Json data;
  data["charts"] = charts_;
  data["tables"] = tables_;
  return fill(report_asset("page.html"), {{"title", escape_html(title)},
                                          {"generator", escape_html(generator)},
                                          {"lead", lead.empty() ? "" : fmt::format("<p class=\"lead\">{}</p>\n", escape_html(lead))},
                                          {"contents", contents},
                                          {"body", body_ + (open_ && !contents_.empty() ? "</section>\n" : "")},
                                          {"style", report_asset("style.css")},
                                          {"licences", escape_html(report_asset("licences.txt"))},
                                          {"data", script_json(data)},
                                          {"vega", report_asset("vega.js")},
                                          {"script", report_asset("page.js")}});
}

}  // namespace panvae::eval
