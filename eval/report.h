// panvae report: one HTML file that shows results folders to people. It holds everything it needs (charts drawn by Vega, which
// is part of the file), loads nothing and opens in any browser without a network.
#pragma once
#include <string>
#include <vector>

#include "eval/results.h"

namespace panvae::eval {

struct ReportInput {
  std::string folder;  // as given; its last part tells models of one name apart
  Results results;
};

struct ReportOptions {
  std::string title = "Embeddings judged";
  std::string generator = "panvae";  // program and version, for the foot of the page
  bool literature = false;           // published numbers beside ours
};

// The page as UTF-8 text. Models of several inputs stand side by side, in the order given. Sections without results are left out,
// and the page says so. Equal inputs give equal bytes. ErrorCode::input: a score that is not a number.
std::string report_html(const std::vector<ReportInput>& inputs, const ReportOptions& options = {});

}  // namespace panvae::eval
