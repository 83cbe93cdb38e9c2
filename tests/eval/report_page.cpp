#include "tests/eval/report_page.h"

#include <gtest/gtest.h>

namespace panvae::eval::test {

std::string page_of(const Results& r, bool literature) {
  ReportOptions options;
  options.literature = literature;
  return report_html({{"runs/results", r}}, options);
}

std::string between(const std::string& text, const std::string& open, const std::string& close) {
  const size_t begin = text.find(open);
  if (begin == std::string::npos) return {};
  const size_t end = text.find(close, begin + open.size());
  return end == std::string::npos ? "" : text.substr(begin + open.size(), end - begin - open.size());
}

std::vector<std::string> all_between(const std::string& text, const std::string& open, const std::string& close) {
  std::vector<std::string> out;
  for (size_t at = 0; (at = text.find(open, at)) != std::string::npos;) {
    at += open.size();
    const size_t end = text.find(close, at);
    if (end == std::string::npos) break;
    out.push_back(text.substr(at, end - at));
  }
  return out;
}

int64_t count(const std::string& text, const std::string& part) {
  int64_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

Json data_of(const std::string& page) {
  return Json::parse(between(page, "<script type=\"application/json\" id=\"report\">", "</script>"));
}

std::vector<Json> column(const Json& data, const std::string& table, const std::string& name) {
  for (const Json& c : data["tables"].at(table)) {
    if (c["name"] != name) continue;
    if (c.contains("values")) return c["values"].get<std::vector<Json>>();
    std::vector<Json> out;
    for (const Json& code : c["codes"]) out.push_back(code == -1 ? Json() : c["levels"][code.get<size_t>()]);
    return out;
  }
  ADD_FAILURE() << table << " has no column " << name;
  return {};
}

Json chart(const Json& data, const std::string& id) {
  for (const Json& c : data["charts"])
    if (c["id"] == id) return c;
  ADD_FAILURE() << "no chart " << id;
  return {};
}

Json signal(const Json& chart, const std::string& name) {
  for (const Json& s : chart["spec"]["signals"])
    if (s["name"] == name) return s["value"];
  ADD_FAILURE() << "no signal " << name;
  return {};
}

}  // namespace panvae::eval::test
