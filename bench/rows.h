// What there is to time: every case x its sizes x types x providers.
#pragma once
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/providers.h"
#include "tests/cases/op_case.h"

namespace panvae::bench {

struct Row {
  const cases::OpCase* op;
  const Contender* contender;
  cases::Sizes sizes;
  DType dtype;

  std::string name() const;  // "huber_kl/f32/B256xG19421xZ512/ours"
  double flops() const { return op->flops(sizes); }
  double bytes() const { return (contender->unfused ? op->unfused_bytes : op->bytes)(sizes, static_cast<double>(item_bytes(dtype))); }
  // Bytes that the kernels it stands for would move; 0 where there are none.
  double unfused_bytes() const { return op->unfused_bytes ? op->unfused_bytes(sizes, static_cast<double>(item_bytes(dtype))) : 0; }
};

// The rows that the options ask for, in the order of the cases; rows of one case and size by different providers stand
// together. Fails (usage) where --shape or --provider names what there is not.
std::vector<Row> make_rows(const Options& options, Device device);

// Those whose name matches an extended regular expression, or, behind a '-', does not, as Google Benchmark has it.
std::vector<Row> filtered(std::vector<Row> rows, const std::string& filter);

}  // namespace panvae::bench
