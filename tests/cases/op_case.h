// One OpCase a kernel of the table: about ten lines bring its tests ref, simt_forward, simt_reverse, simt_random, grad,
// graph and, where a GPU is, cuda, and its rows of the bench. What each mode compares stands at its function in modes.cpp.
//
// A case has two halves. `body` calls the kernel on raw pointers and states, element by element, what must come out: a
// formula in f64, written without looking at the kernel. `op` is the same kernel at work within the engine: an op whose
// backward or forward runs it, or, for kernels that have no gradient, the kernel as the maker of a constant factor.
#pragma once
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/philox.h"
#include "engine/context.h"
#include "engine/tape.h"
#include "kernels/kernels.h"

namespace panvae::cases {

// The parameters of one call: sizes, and switches where a case has some. What they mean is the case's own business.
using Sizes = std::vector<int64_t>;

// Value of element i of an input.
using Fill = std::function<double(PhiloxSequence&, int64_t i)>;
Fill uniform(double low, double high);
Fill away_from_zero();  // +-[0.1, 2]: no kink within reach of a central difference
Fill specials();        // ordinary numbers, and here and there infinities, zeros of both signs, denormals, NaN, the largest
Fill indices(int64_t below);

// A buffer of device memory. Cheap to copy, so that the closure of a kernel call may hold it by value.
template <class V>
struct Buf {
  V* data;
  size_t id;
  std::shared_ptr<const std::vector<double>> before;  // values before the call, as stored
  operator V*() const { return data; }
  double operator[](int64_t i) const { return (*before)[static_cast<size_t>(i)]; }
  const std::vector<double>& values() const { return *before; }
};

// Unit roundoff: results are judged in multiples of it.
template <class V>
constexpr double roundoff() {
  if constexpr (std::is_same_v<V, float>) return 0x1p-24;
  else if constexpr (std::is_same_v<V, double>) return 0x1p-53;
  else if constexpr (std::is_same_v<V, bf16>) return 0x1p-9;
  else return 0;
}

// A result that is right: NaN where NaN is expected, the expected number as its type rounds it, or within the bound of it.
bool near(double got, double expected, double expected_rounded, double bound);

// What came out of one call: compared bit by bit between orders of threads, by value between devices.
struct Outcome {
  std::vector<char> bits;
  std::vector<double> values, bounds;
  std::vector<std::string> failures;  // empty: all is as it must be
};

// Memory of one call of a kernel on one device. Every buffer lies between sentinels; outputs are full of NaN before the
// call; inputs must be the same afterwards. The tests make a call and check it; the bench makes it, checks it, and then
// repeats it.
class Calls {
 public:
  // How pointers are shifted from 256-byte alignment by one element.
  enum class Shift { none, all, first };
  // `sample`: of each output about so many elements are compared, spread evenly (0 = all): large sizes have slow formulas.
  // `like`: the same call in other memory. It has the values of `like`, which still holds them, and is not to be checked.
  Calls(Stream& stream, uint64_t seed, Shift shift, int variant, int64_t sample = 0, const Calls* like = nullptr);
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  Stream& stream;
  const int variant;  // in [0, OpCase::variants)
  // Calls the kernel now, and keeps the call for repeat(): capture by value, and use the stream that is handed in.
  void call(std::function<void(Stream&)> kernel) {
    kernel(stream);
    kernel_ = std::move(kernel);
  }
  // Reads everything back and checks it.
  Outcome finish();

  // For the bench, after finish().
  void repeat() { kernel_(stream); }
  void restore();      // buffers that are read and written hold their first values again
  void drop_checks();  // frees host memory that only finish() needs
  int64_t device_bytes() const;

 protected:
  struct Buffer {
    DType dtype;
    int64_t count;
    char *block, *data;         // device memory: sentinel, data, sentinel
    size_t bytes, head;         // of the block; of the sentinel before the data
    std::vector<char> initial;  // the whole block
    bool has_values, output;
    std::shared_ptr<std::vector<double>> before;
    bool expects = false;
    int64_t stride = 1;  // of the elements that are compared: 0, stride, 2 stride, ...
    std::vector<double> expected, bounds;
    std::string name;
  };
  size_t add(DType dtype, int64_t count, std::shared_ptr<std::vector<double>> values, bool output);
  // Values of the buffer that is added next.
  std::shared_ptr<std::vector<double>> draw(DType dtype, int64_t count, const Fill& fill);
  int64_t stride_of(int64_t count) const { return sample_ > 0 && count > sample_ ? count / sample_ | 1 : 1; }
  std::vector<Buffer> buffers_;
  std::function<void(Stream&)> kernel_;
  uint64_t seed_;
  Shift shift_;
  int64_t sample_;
  const Calls* like_;
};

template <class T>
class Run : public Calls {
 public:
  using Calls::Calls;
  template <class V = T>
  Buf<V> in(int64_t n, const Fill& fill = uniform(-1, 1)) {
    return make<V>(n, &fill, false);
  }
  template <class V = T>
  Buf<V> out(int64_t n) {
    return make<V>(n, nullptr, true);
  }
  template <class V = T>
  Buf<V> inout(int64_t n, const Fill& fill = uniform(-1, 1)) {
    return make<V>(n, &fill, true);
  }
  // The output written over an input, where the table says it may be.
  template <class V>
  Buf<V> over(const Buf<V>& input) {
    buffers_[input.id].output = true;
    return input;
  }

  // Element i must be value(i) to within units * roundoff * magnitude(i). By default the magnitude is the value itself.
  template <class V, class Value, class Magnitude>
  void expect(const Buf<V>& y, double units, Value value, Magnitude magnitude) {
    if (like_) return;
    Buffer& b = buffers_[y.id];
    b.expects = true;
    b.stride = stride_of(b.count);
    b.expected.clear(), b.bounds.clear();
    for (int64_t i = 0; i < b.count; i += b.stride) {
      b.expected.push_back(value(i));
      b.bounds.push_back(units == 0 ? 0 : units * roundoff<V>() * std::abs(magnitude(i)) + tiny<V>());
    }
  }
  template <class V, class Value>
  void expect(const Buf<V>& y, double units, Value value) {
    expect(y, units, value, value);
  }
  template <class V, class Value>
  void exactly(const Buf<V>& y, Value value) {
    expect(y, 0, value, value);
  }

 private:
  template <class V>
  static double tiny() {
    if constexpr (std::is_floating_point_v<V>) return 2.0 * static_cast<double>(std::numeric_limits<V>::denorm_min());
    else return 0;
  }
  template <class V>
  Buf<V> make(int64_t n, const Fill* fill, bool output) {
    auto values = fill ? draw(dtype_of<V>(), n, *fill) : nullptr;
    const size_t id = add(dtype_of<V>(), n, values, output);
    return {reinterpret_cast<V*>(buffers_[id].data), id, values};
  }
};

struct OpInput {
  Shape shape;
  Fill fill = uniform(-1, 1);
  bool differentiable = true;
  bool is_index = false;  // stored as i64
};

struct OpCase {
  std::string name;          // first part of the names of its tests
  std::string kernel;        // of the table; empty: as `name`
  std::vector<Sizes> sizes;  // ref, cuda and, unless named, simt
  std::vector<Sizes> simt_sizes;
  std::vector<Sizes> card_sizes;      // beside `sizes` on cuda: ways through a kernel and numbers of blocks that only large or many sizes reach
  int variants = 1;                   // the body is run with Calls::variant 0 to variants - 1
  bool cpu_rounds_otherwise = false;  // math modes that the cpu device does not have: simt is held against the formula alone
  bool long_indices = false;          // the kernel divides indices, of 32 bits or 64 (Stream::short_index): simt and cuda go both ways
  std::function<void(Run<float>&, const Sizes&)> f32;
  std::function<void(Run<double>&, const Sizes&)> f64;

  std::vector<Sizes> op_sizes;
  std::function<std::vector<OpInput>(const Sizes&)> op_inputs;
  std::function<Tensor(const std::vector<Tensor>&, const Sizes&)> op;
  double grad_tolerance = 1e-5;  // f32 gradients against f64 ones, of the largest

  // For the bench. Work of one call: floating-point operations, and the fewest bytes that must move at `item` bytes an
  // element. Rows are the sizes of the paper; `dims` names the sizes, "B" and "G" make B256xG19421 of a row, and `label`
  // serves where that does not say all.
  std::function<double(const Sizes&)> flops;
  std::function<double(const Sizes&, double item)> bytes;
  std::vector<std::string> dims;
  std::vector<Sizes> bench;
  std::function<std::string(const Sizes&)> label;
  std::function<std::string(const Sizes&)> misfit;  // why sizes do not go together; empty where they do
  MathMode math = MathMode::ieee;                   // of its products
  bool reads_only = false;                          // next to nothing is written: the bandwidth of reading is its ceiling
  // Where one kernel does the work of several: the body with these one after the other, and the bytes that they move.
  std::function<void(Run<float>&, const Sizes&)> unfused_f32;
  std::function<void(Run<double>&, const Sizes&)> unfused_f64;
  std::function<double(const Sizes&, double item)> unfused_bytes;

  // The body for both computing types: [](auto& r, const Sizes& s) { ... } or []<class T>(Run<T>& r, const Sizes& s) { ... }.
  template <class F>
  OpCase& body(F f) {
    f32 = f;
    f64 = f;
    return *this;
  }
  template <class F>
  OpCase& unfused(F f) {
    unfused_f32 = f;
    unfused_f64 = f;
    return *this;
  }
  const std::string& kernel_name() const { return kernel.empty() ? name : kernel; }
};

std::vector<OpCase>& all_cases();
uint64_t seed_of(const OpCase& c);
std::string label_of(const OpCase& c, const Sizes& s);  // "B256xG19421", without sizes that have no name
// Puts a case into the list at the start of the program: static const Case x = [](OpCase& c) { ... };
struct Case {
  Case(const char* name, const std::function<void(OpCase&)>& describe);
};

enum class Mode { ref, simt_forward, simt_reverse, simt_random, grad, graph, cuda };
const char* mode_name(Mode m);
void run_case(const OpCase& c, Mode m);

// ---- what several cases share
// 1, odd, not of a warp, more than a block, more than a stretch (16384); 0.
std::vector<Sizes> elementwise_sizes();
std::vector<Sizes> small_op_sizes();  // {1}, {37}
// Elements of the paper's tensors: hidden units and genes of a batch of 256.
std::vector<Sizes> elementwise_bench();
// One input x [n] with gradient.
std::vector<OpInput> one_input(const Sizes& s, Fill fill = uniform(-1, 1));
// What a math mode makes of inputs: 11 significant bits, ties away from zero (tf32), or 8, ties to even (bf16).
std::vector<double> rounded(std::vector<double> values, MathMode mode);
// How the operands of a product are rounded on this stream. Not at all on cpu, as the mode says by our kernels. A vendor's
// library may round them otherwise, cut them off or keep them whole: `units` more of the terms' magnitude allow for that.
struct OperandRounding {
  MathMode mode;
  double units;
};
OperandRounding operand_rounding(const Stream& stream, MathMode mode);
// x * constant, where a kernel makes the constant: how kernels without a gradient stand in a graph.
// `make(constants, y)` fills y, of the shape of x.
Tensor times_constant(const Tensor& x, const std::function<void(Tensor& y)>& make);

}  // namespace panvae::cases
