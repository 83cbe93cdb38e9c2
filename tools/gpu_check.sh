#!/bin/sh
# Builds, tests and measures panvae on a Linux machine with an NVIDIA GPU and toolkit but no network, such as a cluster node.
set -eu
usage() {
  cat <<'USAGE'
usage:
  tools/gpu_check.sh --pack FILE.tar.gz     where there is apt: bundles what the build needs (about 30 MB)
  tools/gpu_check.sh --pack FILE.tar.xz --arch 90
                                            where there is nvcc, too: bundles the programs, compiled for that compute
                                            capability, so that no time with the GPU goes into compiling
  tools/gpu_check.sh [OPTION...] [PART...]  where the GPU is; without PART: all of them, in this order
parts:
  build      compiles the core (PANVAE_OMICS=OFF: base, kernels, engine, models) for this GPU, its tests and the bench;
             takes the programs of the bundle instead, if it has them
  test       every test; those on cuda first: kernels against formulas, three runs equal to the bit, by every provider; and
             training steps at the sizes of the paper as graphs and kernel by kernel: times, and losses equal to the bit
  sanitize   compute-sanitizer memcheck, racecheck, synccheck and initcheck over our kernels at small sizes
  bench      every row of panvae_bench, and a table with the providers side by side
  peers      whole training steps and the rows of bench by PyTorch, eager and compiled, where it is installed
options:
  --deps FILE      what --pack wrote; without it the machine must have the packages of tools/install_packages.sh
  --out DIR        at most eight files: summary.txt and the logs, JSON and tables of the parts (default gpu-check/)
  --build DIR      (default build-gpu/)
  --jobs N         compilers and tests at a time (default: all cores)
  --seconds S      longest time of a part, after which it is stopped and the next one begins (default 460)
  --rows REGEX     the rows of bench and, by PyTorch, of peers (default: all)
  --tools LIST     of compute-sanitizer, in quotes (default: memcheck racecheck synccheck initcheck)
A part whose predecessor has not run in the same build folder runs it first.
exit status: 0 all passed; 1 a part failed; 2 wrong usage; 4 something is not there (no GPU, no toolkit, no compute-sanitizer):
what can be done without it is done.
USAGE
}

root=$(cd "$(dirname "$0")/.." && pwd)
pack= arch= deps= out=$root/gpu-check build=$root/build-gpu seconds=460 jobs=$(nproc) rows=. tools='memcheck racecheck synccheck initcheck' one_part= parts=
wrong() {
  echo "tools/gpu_check.sh: $1" >&2
  usage >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
    --pack | --arch | --deps | --out | --build | --jobs | --seconds | --rows | --tools | --one-part)
      [ $# -gt 1 ] || wrong "$1 needs a value"
      name=$(echo "$1" | sed 's/^--//; s/-/_/')
      eval "$name=\$2"
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    build | test | sanitize | bench | peers) parts="$parts $1" ;;
    *) wrong "there is no $1" ;;
  esac
  shift
done
for number in "$jobs" "$seconds" "${arch:-1}"; do
  case $number in '' | *[!0-9]* | 0*) wrong "$number is no number of at least 1" ;; esac
done
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

say() { echo "gpu_check: $*"; }
fail() {
  say "$*"
  exit 1
}
lacking() {  # what is not there is not our failure
  say "$*"
  exit 4
}
# Of a bundle the programs are those of PyPI's wheels for x86-64, libraries and compiled programs those of the machine that packed.
expect_x86_64() {
  [ "$(uname -m)" = x86_64 ] || lacking "bundles are for x86_64, this machine is $(uname -m): install what tools/install_packages.sh names where the GPU is"
}

# ---- before: the bundle ------------------------------------------------------------------------------------------------
# Nothing compiled by one machine's C++ compiler is run on another: fmt, GoogleTest and Google Benchmark travel as sources,
# nlohmann-json is headers, OpenBLAS a static archive of C code, which binds to the C library of the machine that links it.
# CMake and Ninja are the wheels of PyPI, made for any Linux since 2014, and used only where the machine's are missing or
# old. The rest of panvae (PANVAE_OMICS) is left out: its libraries (HDF5, XGBoost, LAPACK) are many, bound to their
# distribution, and none of them meets the GPU.
make_pack() {
  expect_x86_64
  file=$(absolute "$1")
  for tool in apt-get dpkg-deb python3 tar; do command -v $tool >/dev/null || lacking "--pack needs $tool"; done
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  mkdir -p "$work/debs" "$work/unpacked" "$work/lists/partial" "$work/panvae-deps/include" "$work/panvae-deps/lib/cmake" "$work/panvae-deps/src" "$work/wheels"
  p=$work/panvae-deps

  say "packages"
  (cd "$work/debs" && apt-get -q download libopenblas-openmp-dev nlohmann-json3-dev) >"$work/log" 2>&1 ||
    { cat "$work/log"; fail "apt cannot download the packages; try apt-get update"; }
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/unpacked"; done
  cp -r "$work/unpacked/usr/include/nlohmann" "$p/include/"
  cp "$work"/unpacked/usr/include/*/openblas-openmp/*.h "$p/include/"
  cp -L "$work"/unpacked/usr/lib/*/openblas-openmp/libopenblas.a "$p/lib/"

  say "sources"
  # The sources of the same archives that packages come from, without touching the machine's own lists.
  apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort -u >"$work/sources.list"
  (cd "$work/debs" && for what in update 'source --download-only fmtlib googletest benchmark'; do
    apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists" \
      -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= $what
  done) >"$work/log" 2>&1 || { cat "$work/log"; fail "apt cannot download the source packages"; }
  for name in fmtlib googletest benchmark; do
    mkdir "$p/src/$name"
    tar -xf "$work/debs/$name"_*.orig.tar.* --strip-components=1 -C "$p/src/$name"
    rm -rf "$p/src/$name/test" "$p/src/$name/bindings" "$p/src/$name/doc"
  done

  say "CMake and Ninja"
  if python3 -m pip download -q --no-deps --only-binary=:all: --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --python-version 3.9 -d "$work/wheels" 'cmake<4' ninja >"$work/log" 2>&1; then
    for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/wheels"; done
    mkdir -p "$p/tools/bin" "$p/tools/share"
    cp "$work/wheels/cmake/data/bin/cmake" "$work/wheels/cmake/data/bin/ctest" "$p/tools/bin/"
    find "$work/wheels" -type f -name ninja -exec cp {} "$p/tools/bin/" ';'
    cp -r "$work"/wheels/cmake/data/share/cmake-* "$p/tools/share/"
    rm -rf "$p"/tools/share/cmake-*/Help
    chmod 755 "$p"/tools/bin/*
  else
    say "pip could not fetch them: the other machine needs its own CMake 3.25 or newer"
  fi

  # For find_package, by the name that the package of Debian gives it.
  mkdir -p "$p/lib/cmake/nlohmann_json"
  cat >"$p/lib/cmake/nlohmann_json/nlohmann_json-config.cmake" <<'CONFIG'
get_filename_component(prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET nlohmann_json::nlohmann_json)
  add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
  set_target_properties(nlohmann_json::nlohmann_json PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${prefix}/include")
endif()
CONFIG
  { ls "$work/debs" "$work/wheels" | grep -E '[.](deb|whl|dsc)$'; } >"$p/contents.txt"
  if [ -n "$arch" ]; then make_programs; fi
  mkdir -p "$(dirname "$file")"
  # Each program holds all kernels: a window wide enough for two of them, where xz packs, keeps one copy.
  XZ_OPT=${XZ_OPT:---lzma2=preset=6,dict=192MiB} tar -C "$work" -caf "$file" panvae-deps
  size=$(wc -c <"$file")
  say "$file: $((size / 1000000)) MB"
  [ "$size" -le 52428800 ] || fail "it is larger than 50 MiB"
}

# With --arch: programs instead of what they are made of. They carry the C++ library and the OpenMP runtime of this machine, and need a C
# library that is no older than its.
make_programs() {
  mkdir -p "$build/deps"
  cp -a "$p/." "$build/deps/"  # with its dates: what was compiled with the same headers is not compiled again
  touch "$build/deps/unpacked"
  say "programs for compute capability $arch, in $build"
  rm -f "$build/gpu_check.built"
  (part_build) >"$work/log" 2>&1 || { tail -n 40 "$work/log"; fail "the build failed"; }
  rm -rf "$p"
  mkdir -p "$p/programs/bench"
  for program in "$build"/test_cases "$build"/test_kernels "$build"/test_engine "$build"/test_models "$build"/bench/panvae_bench "$build"/bench/bench_train_step; do
    strip -o "$p/programs/${program#"$build"/}" "$program"
  done
  cp -L "$(c++ -print-file-name=libgomp.so.1)" "$p/programs/"
  { sources_hash && echo "compute capability $arch" && c++ --version | head -1 && nvcc --version | tail -1 && ldd --version | head -1; } >"$p/programs/built.txt"
}
# Programs that travelled are those of the tree they meet.
sources_hash() {
  (cd "$root" && find CMakeLists.txt base bench cmake engine kernels models tests -type f \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cmake' -o -name CMakeLists.txt \) \
    -exec sha256sum {} + | LC_ALL=C sort | sha256sum | cut -c 1-16)
}

# ---- there: the machine -------------------------------------------------------------------------------------------------
gpu_name() { nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader 2>/dev/null | head -1; }
have_gpu() { [ -n "$(gpu_name)" ]; }
usable_cmake() {
  echo 'cmake_minimum_required(VERSION 3.25)' >"$build/version.cmake"
  command -v cmake >/dev/null && cmake -P "$build/version.cmake" >/dev/null 2>&1
}

# Tools and libraries: of the machine, else of the bundle.
environment() {
  for folder in "${CUDA_HOME:-}/bin" /usr/local/cuda/bin; do
    if [ -d "$folder" ]; then PATH=$PATH:$folder; fi
  done
  if [ -n "$deps" ] && [ ! -e "$build/deps/unpacked" ]; then
    mkdir -p "$build/deps"
    tar -xf "$deps" --strip-components=1 -C "$build/deps" || fail "cannot unpack $deps"
    touch "$build/deps/unpacked"
  fi
  if ! usable_cmake && [ -x "$build/deps/tools/bin/cmake" ]; then PATH=$build/deps/tools/bin:$PATH; fi
  if ! command -v ninja >/dev/null && [ -x "$build/deps/tools/bin/ninja" ]; then PATH=$PATH:$build/deps/tools/bin; fi
  export PATH
}
packed_programs() { [ -d "$build/deps/programs" ]; }

# Compiles a library of the bundle once.
from_source() {  # NAME OPTIONS...
  name=$1
  shift
  [ -e "$build/deps/$name.built" ] && return
  cmake -G "$generator" -S "$build/deps/src/$name" -B "$build/deps/build-$name" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$build/deps" \
    -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_POSITION_INDEPENDENT_CODE=ON "$@"
  cmake --build "$build/deps/build-$name" --parallel "$jobs"
  cmake --install "$build/deps/build-$name" >/dev/null
  touch "$build/deps/$name.built"
}

part_build() {
  environment
  if packed_programs; then
    cat "$build/deps/programs/built.txt"
    [ "$(head -1 "$build/deps/programs/built.txt")" = "$(sources_hash)" ] || fail "the programs in $deps are not those of this tree: pack them anew"
    cp -r "$build/deps/programs/." "$build/"
    "$build/test_cases" --gtest_list_tests >/dev/null || fail "the programs in $deps do not start here"
    touch "$build/gpu_check.built"
    return
  fi
  usable_cmake || lacking "CMake 3.25 or newer is needed: bring it with --deps"
  command -v c++ >/dev/null || lacking "a C++ compiler is needed"
  generator=$(command -v ninja >/dev/null && echo Ninja || echo 'Unix Makefiles')
  command -v nvcc >/dev/null || lacking "no nvcc on the path, in CUDA_HOME or in /usr/local/cuda: the CUDA toolkit is needed"
  nvcc --version | tail -2
  c++ --version | head -1
  set -- -DCMAKE_BUILD_TYPE=Release -DPANVAE_CUDA=ON -DPANVAE_OMICS=OFF
  # For one card alone: half the time. PTX is kept, so that a toolkit older than the card still makes a program that runs.
  capability=$arch
  if [ -z "$arch" ] && have_gpu; then capability=$(gpu_name | sed 's/.*, *//; s/[.]//'); fi
  if [ -n "$capability" ] && nvcc --list-gpu-arch | grep -qx "compute_$capability"; then
    set -- "$@" -DCMAKE_CUDA_ARCHITECTURES="$capability"
  elif [ -n "$arch" ]; then
    lacking "this nvcc does not compile for compute capability $arch: it knows $(nvcc --list-gpu-arch | sed 's/compute_//' | tr '\n' ' ')"
  fi
  if [ -n "$arch" ]; then
    set -- "$@" -DPANVAE_NATIVE=OFF -DCMAKE_EXE_LINKER_FLAGS='-static-libstdc++ -static-libgcc' '-DCMAKE_BUILD_RPATH=$ORIGIN;$ORIGIN/..'
  fi
  # A source of products is compiled for minutes by one core; its kernels can be optimised by several.
  nvcc --help | grep -q -e '--split-compile ' && set -- "$@" -DCMAKE_CUDA_FLAGS=--split-compile=0
  if [ -e "$build/deps/unpacked" ]; then
    from_source fmtlib -DFMT_TEST=OFF -DFMT_DOC=OFF
    from_source googletest -DBUILD_GMOCK=OFF
    from_source benchmark -DBENCHMARK_ENABLE_TESTING=OFF -DBENCHMARK_ENABLE_WERROR=OFF
    set -- "$@" -DCMAKE_PREFIX_PATH="$build/deps" "-DBLAS_LIBRARIES=$build/deps/lib/libopenblas.a;gomp;pthread;m"
  fi
  cmake -G "$generator" -S "$root" -B "$build" "$@"
  cmake --build "$build" --parallel "$jobs"
  if command -v cuobjdump >/dev/null; then "$root/tools/kernel_resources.sh" "$build" "$build/kernels-resources.md"; fi
  touch "$build/gpu_check.built"
}

needs_build() {
  environment
  [ -e "$build/gpu_check.built" ] || part_build
}

# Thirty steps of each network as graphs, and thirty kernel by kernel: seconds, and losses that must be the same to the bit. Kept products
# go to the second stream in panels, which takes a graph and weights of this size.
training_steps() {
  for model in rna 'rna --kept-products' block hierarchical; do
    for how in '' --no-graph; do
      echo "steps 30" | timeout 60 "$build/bench/bench_train_step" --serve --model $model --device cuda --precision tf32 $how >"$build/steps$how.json" ||
        fail "training steps of $model ${how:-as graphs} failed"
      median=$(sed -n 's/.*"seconds":\[\([^]]*\)\].*/\1/p' "$build/steps$how.json" | tr ',' '\n' | sort -g | sed -n 15p)
      echo "$model ${how:-as graphs}: $median s a step, by the median"
    done
    losses=$(sed -n 's/.*"losses":"\([^"]*\)".*/\1/p' "$build/steps.json")
    [ -n "$losses" ] || fail "training steps of $model said no losses"
    [ "$losses" = "$(sed -n 's/.*"losses":"\([^"]*\)".*/\1/p' "$build/steps--no-graph.json")" ] || fail "training steps of $model are other ones as graphs"
    if grep -q '"replays":0' "$build/steps.json"; then fail "training steps of $model did not run as graphs"; fi
  done
}

# A part of the tests of a program in each of several processes at once, for to begin on a card takes each longer than most tests; the
# command stands before the program. What has passed stands in the log of the part at once, also where it is stopped.
shards() {  # NAME SHARDS SECONDS PROGRAM FILTER COMMAND...
  name=$1 count=$2 limit=$3 program=$4 filter=$5
  shift 5
  shard=0
  while [ $shard -lt "$count" ]; do
    {
      result=0
      GTEST_TOTAL_SHARDS=$count GTEST_SHARD_INDEX=$shard timeout "$limit" "$@" "$build/$program" --gtest_filter="$filter" 2>&1 || result=$?
      echo $result >"$logs/$name.$shard.status"
    } | tee "$logs/$name.$shard" | sed -un "s/^\[       OK \]/$name passed:/p; s/^\[  FAILED  \]/$name FAILED:/p" &
    shard=$((shard + 1))
  done
}
# After `wait`: 1 where a shard of these names failed, whose log is shown, or where all of a name passed nothing.
shards_result() {  # NAME...
  status=0
  for name in "$@"; do
    for log in "$logs/$name".*.status; do
      [ "$(cat "$log")" = 0 ] || { status=1 && echo "${log%.status}: exit status $(cat "$log")" && tail -c 20000 "${log%.status}"; }
    done
    grep -q '^\[       OK \]' "$logs/$name".* || { status=1 && echo "$name passed no test on cuda"; }
  done
  return $status
}
fresh_logs() {
  logs=$build/$1
  rm -rf "$logs"
  mkdir -p "$logs"
}

tests_on_cuda() {
  fresh_logs tests-on-cuda
  for program in test_cases test_kernels test_engine test_models; do
    shards $program "$([ $program = test_cases ] && echo "$jobs" || echo 1)" 300 $program '*.cuda*'
  done
  wait
  shards_result test_cases test_kernels test_engine test_models
}

# Those that need the card first: they are what this machine is for.
part_test() {
  needs_build
  export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
  status=0
  if have_gpu; then
    say "tests on cuda"
    tests_on_cuda || status=1
    say "training steps as graphs and kernel by kernel"
    (training_steps) || status=1
  fi
  if packed_programs; then
    say "all other tests need no GPU: they ran, or run, where the programs were compiled (tools/test.sh)"
  else
    say "all other tests"
    ctest --test-dir "$build" --output-on-failure --no-tests=error --timeout 300 --parallel "$jobs" -E '[.]cuda' || status=1
  fi
  [ $status = 0 ] || fail "tests failed"
  if ! have_gpu; then
    packed_programs && lacking "no GPU: nothing was run"
    lacking "no GPU: the tests on cuda were not run, all others passed"
  fi
}

# All tools at once, each in several processes; a tool makes a kernel ten to a hundred times slower.
part_sanitize() {
  needs_build
  have_gpu || lacking "no GPU: compute-sanitizer cannot run"
  command -v compute-sanitizer >/dev/null || lacking "compute-sanitizer is not on the path: it comes with the CUDA toolkit"
  export OMP_NUM_THREADS=1 PANVAE_PROVIDER=ours PANVAE_TEST_LARGEST=300
  fresh_logs sanitize
  for tool in $tools; do
    shards "$tool" $(((jobs + 3) / 4)) "$seconds" test_cases '*.cuda' compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 20
  done
  wait
  status=0
  shards_result $tools || status=1
  for tool in $tools; do
    echo "---- $tool"
    grep -hE 'tests ran|ERROR SUMMARY|RACECHECK SUMMARY' "$logs/$tool".* || true
  done
  [ $status = 0 ] || fail "compute-sanitizer found errors"
}

part_bench() {
  needs_build
  have_gpu || lacking "no GPU: there is nothing to measure on"
  status=0
  "$build/bench/panvae_bench" --device cuda --seconds 0.4 --benchmark_filter="$rows" --benchmark_out="$build/bench.json" --benchmark_out_format=json || status=$?
  cp "$build/bench.json" "$out/bench.json"
  if command -v python3 >/dev/null; then python3 "$root/bench/compare.py" --table "$build/bench.json"; fi
  [ $status = 0 ] || fail "panvae_bench ended with $status: a row was wrong, or above its ceiling"
}

# peers.json in --out: training steps and rows of kernels, null where there are none yet.
keep_peers() {
  {
    printf '{"training_steps": '
    cat "$build/peer-steps/steps.json" 2>/dev/null || echo null
    printf ', "kernels": '
    cat "$build/peers.json" 2>/dev/null || echo null
    echo '}'
  } >"$out/peers.json"
}

part_peers() {
  environment
  have_gpu || lacking "no GPU: there is nothing to measure on"
  python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null || lacking "python3 has no PyTorch that sees the GPU"
  # Steps first, for half of the time: what has been measured by then is written after each row.
  rm -f "$build/peer-steps/steps.json" "$build/peers.json"
  status=0
  timeout $((seconds / 2)) python3 "$root/bench/peers/interleave.py" --program "$build/bench/bench_train_step" --out "$build/peer-steps" --device cuda \
    --rows rna:256,block:64,hierarchical:64 --rounds 3 --count 20 --threads "$jobs" || status=$?
  keep_peers
  if [ -e "$build/peer-steps/steps.md" ]; then cat "$build/peer-steps/steps.md"; fi
  case $status in
    0) ;;
    124) say "training steps: some rows were not reached in time" ;;
    *) fail "training steps: a program failed, or its losses were wrong" ;;
  esac
  [ -e "$build/bench.json" ] || part_bench
  python3 "$root/bench/peers/torch_peer.py" "$build/bench.json" --out "$build/peers.json" --seconds $((seconds / 2 - 40))
  keep_peers
  python3 "$root/bench/compare.py" --table "$build/bench.json" "$build/peers.json"
}

# ---- ----------------------------------------------------------------------------------------------------------------------
if [ -n "$pack" ]; then
  [ -z "$parts$deps" ] || wrong "--pack takes neither parts nor --deps"
  build=$(absolute "$build")
  make_pack "$pack"
  exit 0
fi
[ -z "$arch" ] || wrong "--arch goes with --pack"
out=$(absolute "$out") build=$(absolute "$build")
if [ -n "$deps" ]; then
  deps=$(absolute "$deps")
  [ -r "$deps" ] || lacking "there is no $deps"
  expect_x86_64
fi
mkdir -p "$out" "$build"
if [ -n "$one_part" ]; then  # a part, in a process of its own that can be stopped
  part_"$one_part"
  exit 0
fi

summary=$out/summary.txt
{
  echo "panvae $(git -C "$root" describe --always --dirty 2>/dev/null || echo 'without git'), $(date -u '+%Y-%m-%d %H:%M UTC')"
  echo "$(uname -sm), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p; s/^CPU part[^:]*: /CPU part /p' /proc/cpuinfo | head -1)"
  gpu=$(gpu_name)
  echo "GPU: ${gpu:-none}"
} | tee "$summary"
worst=0 built=
for part in ${parts:-build test sanitize bench peers}; do
  case $part in build | test | sanitize) log=$out/$part.log ;; *) log=$out/$part.txt ;; esac
  if [ "$built" = no ]; then
    printf '%-9s    -    not run: the build failed\n' "$part" | tee -a "$summary"
    continue
  fi
  say "$part"
  start=$(date +%s)
  status=0
  # -k: what does not end when asked is killed, with all that it started.
  timeout -k 10 "$seconds" "$0" --one-part "$part" --deps "$deps" --out "$out" --build "$build" --jobs "$jobs" --seconds "$seconds" --rows "$rows" --tools "$tools" >"$log.whole" 2>&1 || status=$?
  tail -c 2000000 "$log.whole" >"$log"
  rm -f "$log.whole"
  time=$(($(date +%s) - start))
  case $status in
    0) word=passed ;;
    4) word="incomplete: $(sed -n 's/^gpu_check: //p' "$log" | tail -1)" ;;
    124 | 137) word="stopped after $seconds s" ;;
    *) word="failed ($status): $(tail -n 1 "$log" | sed 's/^gpu_check: //')" ;;
  esac
  printf '%-9s %4d s  %s\n' "$part" "$time" "$word" | tee -a "$summary"
  case $status in
    0) ;;
    4) [ $worst = 0 ] && worst=4 ;;
    *)
      worst=1
      [ "$part" != build ] || built=no
      tail -n 15 "$log"
      ;;
  esac
done
exit $worst
