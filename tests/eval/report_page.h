// A report's page as its tests read it: text between marks, and the data of its charts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "eval/report.h"

namespace panvae::eval::test {

// The page of one folder of results.
std::string page_of(const Results& r, bool literature = false);

// The part between the first `open` and the next `close`; "" where there is none.
std::string between(const std::string& text, const std::string& open, const std::string& close);
// The parts between each `open` and the next `close`.
std::vector<std::string> all_between(const std::string& text, const std::string& open, const std::string& close);
int64_t count(const std::string& text, const std::string& part);

Json data_of(const std::string& page);
// Cells of a column, however it is stored. What is not there is a failed expectation, here and below.
std::vector<Json> column(const Json& data, const std::string& table, const std::string& name);
Json chart(const Json& data, const std::string& id);
Json signal(const Json& chart, const std::string& name);

}  // namespace panvae::eval::test
