#include "bench/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/error.h"

namespace panvae::bench {

const char* const kUsage =
    R"(panvae_bench: every kernel at the sizes of the paper, verified, timed, and held against the ceiling of the machine.

  panvae_bench --benchmark_filter='^adam'                    rows whose name matches
  panvae_bench --shape huber_kl=64,5000,512                  any size of any case; may be repeated
  panvae_bench --benchmark_out=cpu.json                      for bench/compare.py

  --device auto|cpu|simt|cuda|cuda:N    default auto; on simt, times say nothing
  --dtype f32|f64[,...]                 default f32
  --precision ieee|tf32|bf16[,...]      products in these math modes only; default all that the device has
  --provider NAME[,...]                 ours, blas, cublaslt, ...; default all
  --shape CASE=N,N,...                  only the cases named, at these sizes
  --seconds S                           longest time of a row, default 1
  --interval P                          half-width of the median's 95 % interval, in %, at which a row ends; default 1
  --quick                               --seconds 0.1 --interval 3
  --hot                                 the same buffers at every call, not rotated beyond the last-level cache
  --memory GIB                          most for the rotated copies of a row's buffers, default 4
  --threads N                           default OMP_NUM_THREADS, or all cores
  --benchmark_list_tests                names only
  --benchmark_...                       what else Google Benchmark offers: repetitions, formats, files
Exit status: 0; 1 where a row was wrong, or above 105 % of its ceiling; 2 for bad arguments; 4 where a device, a library or memory is missing,
or a file cannot be written.
)";

namespace {

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

template <class N>
N number(const std::string& text, const std::string& option, N least) {
  N value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least) || std::isinf(static_cast<double>(value)))
    fail_usage(fmt::format("{}: {} is no number of {} or more", option, quoted(text), least));
  return value;
}

template <class V>
V one_of(const std::string& text, const std::string& option, const std::vector<std::pair<std::string, V>>& words) {
  std::string all;
  for (const auto& [word, value] : words) {
    if (word == text) return value;
    all += (all.empty() ? "" : ", ") + word;
  }
  fail_usage(fmt::format("{}: {}", option, quoted(text)), "", "use " + all);
}

std::pair<std::string, cases::Sizes> shape(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) fail_usage("--shape: " + quoted(text) + " has no sizes", "", "write --shape adam=1000");
  cases::Sizes sizes;
  for (const std::string& part : split(std::string_view(text).substr(equals + 1))) sizes.push_back(number<int64_t>(part, "--shape", 0));
  return {text.substr(0, equals), sizes};
}

}  // namespace

const char* math_name(MathMode m) {
  return m == MathMode::ieee ? "ieee" : m == MathMode::tf32 ? "tf32" : "bf16";
}

const char* type_name(DType t) {
  return t == DType::f32 ? "f32" : "f64";
}

Options parse_options(int& argc, char** argv) {
  Options o;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i], value;
    if (name.rfind("--benchmark_", 0) == 0 || name.rfind("--v=", 0) == 0) {
      argv[kept++] = argv[i];
      continue;
    }
    const size_t equals = name.find('=');
    bool has_value = equals != std::string::npos;
    if (has_value) value = name.substr(equals + 1), name.resize(equals);
    const auto take = [&] {
      if (!has_value && i + 1 >= argc) fail_usage(name + " needs a value");
      return has_value ? value : std::string(argv[++i]);
    };
    const auto take_list = [&](auto& list, auto&& convert) {
      for (const std::string& part : split(take())) list.push_back(convert(part));
    };
    if (name == "--help" || name == "-h") o.help = true;
    else if (name == "--device") o.device = take();
    else if (name == "--dtype") take_list(o.dtypes, [&](const std::string& s) { return one_of<DType>(s, name, {{"f32", DType::f32}, {"f64", DType::f64}}); });
    else if (name == "--precision")
      take_list(o.modes, [&](const std::string& s) {
        return one_of<MathMode>(s, name, {{"ieee", MathMode::ieee}, {"tf32", MathMode::tf32}, {"bf16", MathMode::bf16}});
      });
    else if (name == "--provider") take_list(o.providers, [](const std::string& s) { return s; });
    else if (name == "--shape") o.shapes.push_back(shape(take()));
    else if (name == "--seconds") o.limits.seconds = number<double>(take(), name, 0);
    else if (name == "--interval") o.limits.precision = number<double>(take(), name, 0) / 100;
    else if (name == "--quick") o.limits = {0.1, 0.03};
    else if (name == "--hot") o.hot = true;
    else if (name == "--memory") o.memory = static_cast<int64_t>(number<double>(take(), name, 0) * 0x1p30);
    else if (name == "--threads") o.threads = number<int>(take(), name, 1);
    else fail_usage("unknown option " + quoted(argv[i]), "", "see panvae_bench --help");
  }
  argc = kept;
  argv[argc] = nullptr;
  return o;
}

}  // namespace panvae::bench
