#!/bin/sh
# tools/gpu_check.sh with stand-ins of the tools it calls: which parts run, what they leave, and the exit status where one
# fails, hangs, or the GPU is not there.
#   gpu_check_test.sh SOURCE
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p source/tools source/bench bin out
cp "$1/tools/gpu_check.sh" source/tools/
script=$work/source/tools/gpu_check.sh
failed() {
  echo "FAILED: $1" >&2
  cat said out/* >&2 2>/dev/null || true
  exit 1
}
stand_in() {  # NAME: the script on stdin
  { echo '#!/bin/sh'; cat; } >"bin/$1"
  chmod +x "bin/$1"
}
expect() {  # STATUS ARGUMENTS...
  wanted=$1
  shift
  status=0
  "$script" --out out --build build "$@" >said 2>&1 || status=$?
  [ "$status" = "$wanted" ] || failed "gpu_check.sh $*: exit status $status instead of $wanted"
}
summary() { grep -qE "$1" out/summary.txt || failed "out/summary.txt lacks '$1'"; }

stand_in nvcc </dev/null
stand_in c++ </dev/null
stand_in ninja </dev/null
stand_in nvidia-smi <<'FAKE'
exit 9
FAKE
stand_in cuobjdump </dev/null
printf '#!/bin/sh\n' >source/tools/kernel_resources.sh
chmod +x source/tools/kernel_resources.sh
stand_in cmake <<'FAKE'
case $1 in
  --build)
    mkdir -p "$2/bench"
    printf '#!/bin/sh\nfor a; do case $a in --benchmark_out=*) echo "{}" >"${a#*=}" ;; esac; done\necho "rows $*"\n' >"$2/bench/panvae_bench"
    for program in test_cases test_kernels test_engine test_models; do
      cat >"$2/$program" <<'TESTS'
#!/bin/sh
echo "$(basename "$0") $GTEST_SHARD_INDEX of $GTEST_TOTAL_SHARDS: $*"
[ "$(basename "$0")" = "${NO_TESTS_IN:-}" ] || echo "[       OK ] $(basename "$0").cuda (1 ms)"
[ "$(basename "$0")" != "${BROKEN_PROGRAM:-}" ]
TESTS
      chmod +x "$2/$program"
    done
    cat >"$2/bench/bench_train_step" <<'STEPS'
#!/bin/sh
read command
losses=0x1p+3 replays=30
case "$*" in *'--model rna --kept-products '*) [ -z "${BROKEN_PANELS:-}" ] || exit 1 ;; esac
case "$*" in *--no-graph*) losses=${OTHER_LOSSES:-0x1p+3} replays=0 ;; esac
echo '{"model":"it"}'
echo "{\"losses\":\"$losses 0x1p+2\",\"replays\":${NO_REPLAYS:-$replays},\"seconds\":[0.25,$(seq -s, 0.5 0.5 15)]}"
STEPS
    chmod +x "$2/bench/panvae_bench" "$2/bench/bench_train_step"
    ;;
  -G) echo "configured: $*" ;;
esac
FAKE
stand_in ctest <<'FAKE'
echo "ctest $*"
[ -z "${BROKEN_TESTS:-}" ]
FAKE
stand_in compute-sanitizer <<'FAKE'
echo "$PANVAE_PROVIDER $PANVAE_TEST_LARGEST $*"
echo "[       OK ] sanitized.cuda (1 ms)"
echo "========= ERROR SUMMARY: 0 errors"
[ "$2" != "${BROKEN_TOOL:-}" ] || exit 9
FAKE
stand_in uname <<'FAKE'
echo "${MACHINE:-x86_64}"
FAKE
stand_in python3 <<'FAKE'
[ "$1" = -c ] && exit 1
echo "python3 $*"
FAKE
PATH=$work/bin:$PATH
export PATH
unset CUDA_HOME

expect 2 biuld
expect 2 --jobs many build
expect 2 --out
expect 2 --pack x.tar.gz build
expect 4 --deps nowhere.tar.gz build
grep -q 'there is no .*/nowhere.tar.gz' said || failed "which bundle is not there"

# What a bundle holds runs on one kind of processor.
touch arm.tar.gz
for arguments in '--pack x.tar.gz' '--deps arm.tar.gz build'; do
  MACHINE=aarch64 expect 4 $arguments
  grep -q '^gpu_check: bundles are for x86_64, this machine is aarch64' said || failed "$arguments on another processor"
done
[ ! -e x.tar.gz ] || failed "a bundle of another processor"
rm arm.tar.gz

# Without a GPU: what can be done is done, and the rest says why not.
expect 4
summary '^GPU: none'
summary '^build .* passed'
summary '^test .* incomplete: no GPU: the tests on cuda were not run, all others passed'
summary '^sanitize .* incomplete: no GPU'
summary '^bench .* incomplete: no GPU'
summary '^peers .* incomplete: no GPU'
grep -q 'PANVAE_CUDA=ON' out/build.log || failed "CUDA is not asked for"
grep -q 'CMAKE_CUDA_ARCHITECTURES' out/build.log && failed "an architecture without a GPU"

# With one.
stand_in nvidia-smi <<'FAKE'
echo "A card, 500.1, 9.0"
FAKE
stand_in nvcc <<'FAKE'
[ "$1" != --list-gpu-arch ] || printf 'compute_80\ncompute_90\n'
FAKE
rm -rf build out
mkdir out
expect 4
summary '^GPU: A card'
for part in build test sanitize bench; do summary "^$part .* passed"; done
summary '^peers .* incomplete: python3 has no PyTorch'
grep -q 'CMAKE_CUDA_ARCHITECTURES=90' out/build.log || failed "the architecture of the card"
for program in test_cases test_kernels test_engine test_models; do
  grep -q "^$program passed: $program.cuda" out/test.log || failed "the tests of $program on cuda"
done
grep -q 'ctest .*-E \[.\]cuda' out/test.log || failed "all other tests"
for how in 'as graphs' --no-graph; do
  for model in hierarchical 'rna --kept-products'; do grep -q "^$model $how: 7.0 s a step" out/test.log || failed "steps of $model $how"; done
done
for tool in memcheck racecheck synccheck initcheck; do
  grep -q -- "---- $tool" out/sanitize.log || failed "$tool"
  grep -q "^$tool passed: sanitized.cuda" out/sanitize.log || failed "what passed $tool"
done
[ -e out/bench.json ] || failed "no bench.json"
[ "$(ls out | wc -l)" -le 8 ] || failed "more than eight files"
expect 0 build test sanitize bench
expect 0 --rows '^adam/' bench
grep -q 'rows .*--benchmark_filter=^adam/' out/bench.txt || failed "the rows that were asked for"
BROKEN_PROGRAM=test_engine expect 1 test
grep -q 'test_engine.0: exit status 1' out/test.log || failed "the program that failed"
NO_TESTS_IN=test_models expect 1 test
grep -q 'test_models passed no test on cuda' out/test.log || failed "a program without tests"

# With PyTorch, too.
mv bin/python3 bin/python3.without
stand_in python3 <<'FAKE'
[ "$1" = -c ] && exit 0
echo "python3 $*"
for word; do
  [ "$last" != --out ] || out=$word
  last=$word
done
case $1 in
  *interleave.py) mkdir -p "$out" && echo '{"rows": []}' >"$out/steps.json" && echo 'a table of steps' >"$out/steps.md" && exit "${STEPS_STATUS:-0}" ;;
  *torch_peer.py) echo '{"rows": [1]}' >"$out" ;;
esac
FAKE
expect 0 peers
grep -q 'interleave.py .*--program .*/bench/bench_train_step .*--device cuda' out/peers.txt || failed "training steps on cuda"
grep -q 'a table of steps' out/peers.txt || failed "the table of steps"
[ "$(tr -d ' \n' <out/peers.json)" = '{"training_steps":{"rows":[]},"kernels":{"rows":[1]}}' ] || failed "peers.json: $(cat out/peers.json)"
[ "$(ls out | wc -l)" -le 8 ] || failed "more than eight files"
STEPS_STATUS=1 expect 1 peers
summary '^peers .* failed'
[ "$(tr -d ' \n' <out/peers.json)" = '{"training_steps":{"rows":[]},"kernels":null}' ] || failed "what was measured before the failure"
mv bin/python3.without bin/python3
rm -rf build
expect 0 test  # builds first

BROKEN_TESTS=1 expect 1 test bench
summary '^test .* failed'
summary '^bench .* passed'
OTHER_LOSSES=0x1.8p+3 expect 1 test
grep -q 'training steps of rna are other ones as graphs' out/test.log || failed "losses that differ"
BROKEN_PANELS=1 expect 1 test
grep -q 'training steps of rna --kept-products as graphs failed' out/test.log || failed "steps with kept products"
NO_REPLAYS=0 expect 1 test
grep -q 'training steps of rna did not run as graphs' out/test.log || failed "steps that were not replayed"
BROKEN_TOOL=racecheck expect 1 sanitize
grep -q 'racecheck.0: exit status 9' out/sanitize.log || failed "the tool that failed"
BROKEN_TOOL=racecheck expect 0 --tools 'memcheck synccheck' sanitize
grep -q 'ours 300 --tool synccheck ' build/sanitize/synccheck.0 || failed "a tool that was asked for"
[ ! -e build/sanitize/racecheck.0 ] || failed "a tool that was not asked for"

# Programs that were compiled elsewhere: nothing is compiled, and they must be those of this tree.
expect 2 --arch 90 build
echo 'int main() {}' >source/bench/main.cpp
mkdir -p panvae-deps/programs
cp -r build/test_* build/bench panvae-deps/programs/
for folder in base cmake engine kernels models tests; do mkdir -p source/$folder; done
touch source/CMakeLists.txt
hash=$(cd source && find CMakeLists.txt bench -type f \( -name '*.cpp' -o -name CMakeLists.txt \) -exec sha256sum {} + | LC_ALL=C sort | sha256sum | cut -c 1-16)
printf '%s\ncompute capability 90\n' "$hash" >panvae-deps/programs/built.txt
tar -cf programs.tar panvae-deps
rm -rf build
mv bin/cmake bin/cmake.right
stand_in cmake <<'FAKE'
exit 9
FAKE
expect 0 --deps programs.tar build test sanitize bench
grep -q 'compute capability 90' out/build.log || failed "what the programs were compiled for"
grep -q 'passed: test_models.cuda' out/test.log || failed "tests of packed programs"
grep -q 'all other tests need no GPU' out/test.log || failed "which tests were not run"
echo 'int main() { return 1; }' >source/bench/main.cpp
rm -rf build
expect 1 --deps programs.tar build test
summary '^build .* failed .*not those of this tree: pack them anew'
summary '^test .* not run: the build failed'
mv bin/cmake.right bin/cmake

# Nothing is tried without a build.
rm -rf build
mv bin/cmake bin/cmake.right
stand_in cmake <<'FAKE'
[ "$1" != --build ]
FAKE
expect 1
summary '^build .* failed'
for part in test sanitize bench peers; do summary "^$part .* not run: the build failed"; done
mv bin/cmake.right bin/cmake

# A part that hangs takes no more than its time, and the next one runs.
expect 0 build
printf '#!/bin/sh\necho "[       OK ] first.cuda (1 ms)"\nsleep 60\n' >build/test_cases
expect 1 --seconds 3 test bench
summary '^test .* stopped after 3 s'
summary '^bench .* passed'
grep -q '^test_cases passed: first.cuda' out/test.log || failed "the log of the part that was stopped"
