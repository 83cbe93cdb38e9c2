#!/bin/bash
# tools/fuzz.sh [SECONDS [NAME ...]]: each fuzzer of tests/fuzz (or those named) for so many seconds (60), one after the other. What they have
# found to be new is kept in build-fuzz/corpus and goes on from there the next time; an input that fails lies in build-fuzz/failed, and
# build-fuzz/fuzz_NAME FILE repeats it. Needs clang with libFuzzer and OpenMP (Debian: clang-16 libclang-rt-16-dev libomp-16-dev; CLANG=N
# in the environment for another version).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
clang=${CLANG:-16}
cmake -G Ninja -S . -B build-fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER="clang++-$clang" -DCMAKE_C_COMPILER="clang-$clang" \
  -DPANVAE_FUZZ=ON -DPANVAE_CUDA=OFF -DPANVAE_TESTS=OFF -DPANVAE_BENCH=OFF --log-level=NOTICE
cmake --build build-fuzz --target fuzzers
if [ $# -eq 0 ]; then
  for source in tests/fuzz/*.cpp; do set -- "$@" "$(basename "$source" .cpp)"; done
fi
# A fuzzer that fails leaves its files behind.
export TMPDIR=$PWD/build-fuzz/tmp
mkdir -p "$TMPDIR"
trap 'rm -rf "$TMPDIR"' EXIT
failed=()
for name in "$@"; do
  mkdir -p "build-fuzz/corpus/$name" build-fuzz/failed
  echo "== $name"
  # The HDF5 library keeps what it has made until the end of a process, so leaks are looked for there alone.
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=2 \
    "build-fuzz/fuzz_$name" "build-fuzz/corpus/$name" -dict=tests/fuzz/words.dict -max_total_time="$seconds" -max_len=2048 -timeout=60 -rss_limit_mb=2048 \
    -artifact_prefix="build-fuzz/failed/$name-" -verbosity=0 -print_funcs=0 -print_final_stats=1 || failed+=("$name")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}; the inputs are in build-fuzz/failed" >&2
  exit 1
fi
