// What memory gives the CPU at most: a pass over arrays far larger than the cache.
#pragma once
#include <cstdint>

namespace panvae {

// In place over three arrays with a fourth read, 28 bytes an element of f32: Adam's traffic without its arithmetic. A plain copy
// would understate what Adam reaches.
class Triad {
 public:
  explicit Triad(int64_t n);  // elements of each array
  ~Triad();
  Triad(const Triad&) = delete;
  Triad& operator=(const Triad&) = delete;
  void pass();
  double bytes() const { return 28.0 * static_cast<double>(n_); }  // of a pass
  // Reads the four arrays, and gives their sum. A core reads more slowly than it reads and writes, as bytes are counted: what only
  // reads is held against this.
  double read();
  double read_bytes() const { return 16.0 * static_cast<double>(n_); }

 private:
  int64_t n_;
  float *block_, *arrays_[4];
};

}  // namespace panvae
