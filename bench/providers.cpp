#include "bench/providers.h"

#include "base/blas.h"
#include "bench/im2col.h"

namespace panvae::bench {

namespace {

using cases::Run, cases::Sizes;

// The product of a matmul case (sizes M, N, K, transposes) by one BLAS call: no bias, no activation, c overwritten.
template <class T>
void blas_product(Run<T>& r, const Sizes& s) {
  const int64_t M = s[0], N = s[1], K = s[2];
  const bool ta = s[3] & 1, tb = s[3] & 2;
  const auto a = r.in(M * K), b = r.in(K * N), c = r.out(M * N);
  r.call([=](Stream&) { gemm(ta, tb, M, N, K, a.data, ta ? M : K, b.data, tb ? K : N, T(0), c.data, N); });
  const auto sum_over_k = [&](int64_t at, bool magnitude) {
    const int64_t i = at / N, j = at % N;
    double t = 0;
    for (int64_t k = 0; k < K; ++k) {
      const double p = a[ta ? k * M + i : i * K + k] * b[tb ? j * K + k : k * N + j];
      t += magnitude ? std::abs(p) : p;
    }
    return t;
  };
  r.expect(
      c, 4 + 4 * std::sqrt(static_cast<double>(K)), [&](int64_t i) { return sum_over_k(i, false); }, [&](int64_t i) { return sum_over_k(i, true); });
}

std::function<bool(const cases::OpCase&)> kernel_is(const char* name) {
  return [name](const cases::OpCase& c) { return c.kernel_name() == name; };
}

std::vector<Contender> make_contenders() {
  std::vector<Contender> list;
  const auto add = [&](const char* name, DeviceType device, std::function<bool(const cases::OpCase&)> covers) -> Contender& {
    return list.emplace_back(Contender{name, device, std::move(covers), {}, {}, false, {}});
  };
  for (DeviceType device : {DeviceType::cpu, DeviceType::simt, DeviceType::cuda}) add("ours", device, [](const auto&) { return true; });
  Contender& blas = add("blas", DeviceType::cpu, is_product);
  blas.f32 = blas_product<float>;
  blas.f64 = blas_product<double>;
  const auto im2col = [&](const char* kernel, auto f32, auto f64) {
    Contender& c = add("im2col+blas", DeviceType::cpu, kernel_is(kernel));
    c.f32 = f32;
    c.f64 = f64;
  };
  im2col("conv1d", im2col_conv1d<float>, im2col_conv1d<double>);
  im2col("conv1d_grad_input", im2col_conv1d_grad_input<float>, im2col_conv1d_grad_input<double>);
  im2col("conv1d_grad_weight", im2col_conv1d_grad_weight<float>, im2col_conv1d_grad_weight<double>);
  const auto vendor = [&](const char* name, ProviderOp op, std::function<bool(const cases::OpCase&)> covers) {
    add(name, DeviceType::cuda, std::move(covers)).library = op;
  };
  vendor("cublaslt", ProviderOp::matmul, [](const cases::OpCase& c) { return is_product(c) || kernel_is("matmul_rows")(c); });
  vendor("cudnn", ProviderOp::conv1d, [](const cases::OpCase& c) { return c.kernel_name().rfind("conv1d", 0) == 0; });
  for (DeviceType device : {DeviceType::cpu, DeviceType::simt, DeviceType::cuda})
    add("unfused", device, [](const auto& c) { return static_cast<bool>(c.unfused_f32); }).unfused = true;
  return list;
}

}  // namespace

const std::vector<Contender>& all_contenders() {
  static const std::vector<Contender> list = make_contenders();
  return list;
}

const Contender* contender(const std::string& name, DeviceType device) {
  for (const Contender& c : all_contenders())
    if (c.name == name && c.device == device) return &c;
  return nullptr;
}

bool is_product(const cases::OpCase& c) {
  return kernel_is("matmul")(c);
}

}  // namespace panvae::bench
