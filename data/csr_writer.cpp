#include "data/csr_writer.h"

#include <algorithm>

#include "base/error.h"

namespace panvae::data {

namespace {
constexpr size_t piece = 8 * hdf5::Writer::growing_chunk;  // entries written at a time, in whole chunks of the file
}

CsrWriter::CsrWriter(hdf5::Writer& writer, std::string inner, int64_t columns) : writer_(writer), inner_(std::move(inner)), columns_(columns) {
  PV_CHECK(columns >= 0 && columns < (int64_t{1} << 31), "CsrWriter: {} columns", columns);
  writer_.group(inner_);
  writer_.attribute(inner_, "encoding-type", std::string("csr_matrix"));
  writer_.attribute(inner_, "encoding-version", std::string("0.1.0"));
  writer_.create_growing<int32_t>(inner_ + "/indices");
  writer_.create_growing<float>(inner_ + "/data");
}

void CsrWriter::row(const std::vector<int32_t>& columns, const std::vector<float>& values) {
  PV_ASSERT(columns.size() == values.size());
  indices_.insert(indices_.end(), columns.begin(), columns.end());
  data_.insert(data_.end(), values.begin(), values.end());
  indptr_.push_back(indptr_.back() + static_cast<int64_t>(columns.size()));
  flush(false);
}

void CsrWriter::flush(bool all) {
  size_t done = 0;
  while (indices_.size() - done >= piece || (all && done < indices_.size())) {
    const size_t n = std::min(piece, indices_.size() - done);
    writer_.append(inner_ + "/indices", static_cast<int64_t>(n), indices_.data() + done);
    writer_.append(inner_ + "/data", static_cast<int64_t>(n), data_.data() + done);
    done += n;
  }
  indices_.erase(indices_.begin(), indices_.begin() + static_cast<std::ptrdiff_t>(done));
  data_.erase(data_.begin(), data_.begin() + static_cast<std::ptrdiff_t>(done));
}

void CsrWriter::finish() {
  flush(true);
  writer_.numbers(inner_ + "/indptr", {static_cast<int64_t>(indptr_.size())}, indptr_.data());
  writer_.attribute(inner_, "shape", std::vector<int64_t>{static_cast<int64_t>(indptr_.size()) - 1, columns_});
}

}  // namespace panvae::data
