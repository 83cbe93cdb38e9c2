// What warp operations compute, once all lanes have come.
#include "kernels/simt_executor.h"

namespace panvae::simt::detail {

namespace {

using Ops = WarpOp* const (&)[kWarp];
constexpr uint64_t kUndefined = ~uint64_t{0};  // NaN as a float or a double, -1 as an integer

template <class F>
void each_lane(uint32_t mask, F&& f) {
  for (uint32_t m = mask; m != 0; m &= m - 1) f(std::countr_zero(m));
}

// The lane whose value `lane` receives; its own where the source lies outside its segment.
int source_lane(const WarpOp& op, int lane) {
  const int begin = lane & ~(op.width - 1), end = begin + op.width;
  int from = lane;
  switch (op.kind) {
    case WarpKind::shfl:
      return begin + (op.lane & (op.width - 1));
    case WarpKind::shfl_up:
      from = lane - op.lane;
      return from < begin ? lane : from;
    case WarpKind::shfl_down:
      from = lane + op.lane;
      return from >= end ? lane : from;
    default:
      from = lane ^ op.lane;
      return from >= end || from < 0 ? lane : from;  // xor: earlier segments may be read
  }
}

void shuffle_values(Ops ops, uint32_t mask) {
  each_lane(mask, [&](int l) {
    const int from = source_lane(*ops[l], l);
    ops[l]->result = mask >> from & 1 ? ops[from]->value : kUndefined;
  });
}

// The products are exact in double; one rounding to float per element. A GPU rounds more often, in an order of its own.
template <int K, class ElementA, class ElementB>
void multiply(Ops ops, ElementA&& a_of, ElementB&& b_of) {
  double a[16][K], b[K][8];
  for (int l = 0; l < kWarp; ++l) {
    for (int i = 0; i < 16 * K / kWarp; ++i) {
      const auto [place, x] = a_of(ops[l], l, i);
      a[place.row][place.col] = static_cast<double>(x);
    }
    for (int i = 0; i < 8 * K / kWarp; ++i) {
      const auto [place, x] = b_of(ops[l], l, i);
      b[place.row][place.col] = static_cast<double>(x);
    }
  }
  for (int l = 0; l < kWarp; ++l) {
    for (int i = 0; ops[l] && i < 4; ++i) {
      const fragment::Place p = fragment::d(l, i);
      double sum = static_cast<double>(ops[l]->d[i]);
      for (int k = 0; k < K; ++k) sum += a[p.row][k] * b[k][p.col];
      ops[l]->d[i] = static_cast<float>(sum);
    }
  }
}

struct Element {
  fragment::Place place;
  float value;
};
constexpr uint32_t kNan = 0xFFFFFFFFu;  // what a lane holds that does not exist

void multiply_tf32(Ops ops) {
  auto value = [](uint32_t bits) { return std::bit_cast<float>(bits & 0xFFFFE000u); };
  multiply<8>(
      ops,
      [&](const WarpOp* op, int l, int i) {
        return Element{fragment::tf32_a(l, i), value(op ? op->a[i] : kNan)};
      },
      [&](const WarpOp* op, int l, int i) {
        return Element{fragment::tf32_b(l, i), value(op ? op->b[i] : kNan)};
      });
}

void multiply_bf16(Ops ops) {
  auto value = [](uint32_t pair, int half) { return std::bit_cast<float>(half ? pair & 0xFFFF0000u : pair << 16); };
  multiply<16>(
      ops,
      [&](const WarpOp* op, int l, int i) {
        return Element{fragment::bf16_a(l, i), value(op ? op->a[i / 2] : kNan, i % 2)};
      },
      [&](const WarpOp* op, int l, int i) {
        return Element{fragment::bf16_b(l, i), value(op ? op->b[i / 2] : kNan, i % 2)};
      });
}

}  // namespace

void evaluate(Ops ops, uint32_t mask) {
  uint64_t result = 0;
  switch (ops[std::countr_zero(mask)]->kind) {
    case WarpKind::sync:
      return;
    case WarpKind::shfl:
    case WarpKind::shfl_up:
    case WarpKind::shfl_down:
    case WarpKind::shfl_xor:
      return shuffle_values(ops, mask);
    case WarpKind::mma_tf32:
      return multiply_tf32(ops);
    case WarpKind::mma_bf16:
      return multiply_bf16(ops);
    case WarpKind::ballot:
      each_lane(mask, [&](int l) { result |= ops[l]->value << l; });
      break;
    case WarpKind::any:
      each_lane(mask, [&](int l) { result |= ops[l]->value; });
      break;
    case WarpKind::all:
      result = 1;
      each_lane(mask, [&](int l) { result &= ops[l]->value; });
      break;
    case WarpKind::reduce_add:
      each_lane(mask, [&](int l) { result += ops[l]->value; });
      break;
  }
  each_lane(mask, [&](int l) { ops[l]->result = result; });
}

const char* name_of(WarpKind kind) {
  switch (kind) {
    case WarpKind::sync:
      return "__syncwarp";
    case WarpKind::shfl:
      return "__shfl_sync";
    case WarpKind::shfl_up:
      return "__shfl_up_sync";
    case WarpKind::shfl_down:
      return "__shfl_down_sync";
    case WarpKind::shfl_xor:
      return "__shfl_xor_sync";
    case WarpKind::ballot:
      return "__ballot_sync";
    case WarpKind::any:
      return "__any_sync";
    case WarpKind::all:
      return "__all_sync";
    case WarpKind::reduce_add:
      return "__reduce_add_sync";
    case WarpKind::mma_tf32:
      return "mma_tf32";
    case WarpKind::mma_bf16:
      return "mma_bf16";
  }
  return "";
}

}  // namespace panvae::simt::detail

namespace panvae::simt {
uint32_t to_tf32(float x) {
  return tf32_bits(x);
}
}  // namespace panvae::simt
