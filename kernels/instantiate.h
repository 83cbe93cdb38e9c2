// Which twins a compiler makes of a kernel file: g++ cpu:: and simt::, nvcc cuda::.
#pragma once
// clang-format off

#ifdef __CUDACC__
#define PV_INSTANTIATE_FOR(name, T) \
  namespace cuda { template decltype(name<T>) name<T>; }
#else
#define PV_INSTANTIATE_FOR(name, T)                      \
  namespace cpu { template decltype(name<T>) name<T>; }  \
  namespace simt { template decltype(name<T>) name<T>; }
#endif
#define PV_INSTANTIATE(name) PV_INSTANTIATE_FOR(name, float) PV_INSTANTIATE_FOR(name, double)
