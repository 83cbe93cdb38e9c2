// The parts of a report page that are files of their own (eval/report) or come from Vega; the build puts them into the library.
#pragma once
#include <span>
#include <string_view>

namespace panvae::eval {

struct ReportAsset {
  std::string_view name, text;  // "style.css", "charts/volcano.json", "vega.js"
};

std::span<const ReportAsset> report_assets();
std::string_view report_asset(std::string_view name);  // it must exist

}  // namespace panvae::eval
