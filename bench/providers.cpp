#include "bench/providers.h"

#include <cblas.h>

namespace panvae::bench {

namespace {

using cases::Run, cases::Sizes;

void gemm(bool ta, bool tb, int m, int n, int k, const float* a, const float* b, float beta, float* c) {
  cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k, 1.0f, a, ta ? m : k, b, tb ? k : n, beta, c, n);
}
void gemm(bool ta, bool tb, int m, int n, int k, const double* a, const double* b, double beta, double* c) {
  cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k, 1.0, a, ta ? m : k, b, tb ? k : n, beta, c, n);
}

// The product of a matmul case (sizes M, N, K, transposes) by one BLAS call: no bias, no activation, c overwritten.
template <class T>
void blas_product(Run<T>& r, const Sizes& s) {
  const int64_t M = s[0], N = s[1], K = s[2];
  const bool ta = s[3] & 1, tb = s[3] & 2;
  const auto a = r.in(M * K), b = r.in(K * N), c = r.out(M * N);
  r.call([=](Stream&) { gemm(ta, tb, static_cast<int>(M), static_cast<int>(N), static_cast<int>(K), a.data, b.data, T(0), c.data); });
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

std::vector<Provider> make_providers() {
  std::vector<Provider> list;
  for (DeviceType device : {DeviceType::cpu, DeviceType::simt, DeviceType::cuda}) list.push_back({"ours", device, [](const auto&) { return true; }, {}, {}});
  list.push_back({"blas", DeviceType::cpu, is_product, blas_product<float>, blas_product<double>});
  return list;
}

}  // namespace

const std::vector<Provider>& all_providers() {
  static const std::vector<Provider> list = make_providers();
  return list;
}

const Provider* provider(const std::string& name, DeviceType device) {
  for (const Provider& p : all_providers())
    if (p.name == name && p.device == device) return &p;
  return nullptr;
}

bool is_product(const cases::OpCase& c) {
  return c.kernel_name() == "matmul";
}

}  // namespace panvae::bench
