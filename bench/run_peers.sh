#!/usr/bin/env bash
# panvae beside what people would use instead, on this machine, threads and math: tables as JSON and Markdown.
#   bench/run_peers.sh steps      training steps: ours, PyTorch eager, PyTorch compiled, in turns        (about 6 minutes)
#   bench/run_peers.sh pipeline   from raw counts to accuracy: panvae against pandas, NumPy, PyTorch, scikit-learn, XGBoost
#   bench/run_peers.sh all        both
#   bench/run_peers.sh prepare    everything that needs no quiet machine: builds, installs PyTorch, compiles its kernels once
# Options behind the word go to bench/peers/interleave.py or pipeline.py: bench/run_peers.sh steps --rows rna:256 --rounds 5
# Environment:
#   PEERS_PYTHON  a Python with torch, numpy, pandas, scikit-learn, xgboost, h5py; without it BUILD/peers-venv is made from PyPI
#   BUILD         folder of the build (build); its programs are brought up to date unless PEERS_BUILD=no
#   OUT           folder of the results (BUILD/peers): steps.json, steps.md, pipeline.json, pipeline.md
#   DATA          folder with rna_counts_full_6cohorts ; without it pipeline has the simulated set alone
# Exit status: 0; 1 if a program failed or computed something else; 2 for wrong usage; 4 if something is missing here.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
part=${1:-}
case $part in
  -h | --help)
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
  steps | pipeline | all | prepare) shift ;;
  *)
    echo "usage: bench/run_peers.sh steps|pipeline|all|prepare [options]" >&2
    exit 2
    ;;
esac
for word; do
  case $part:$word in
    steps:-h | steps:--help | prepare:-h | prepare:--help) exec python3 "$root/bench/peers/interleave.py" --help ;;
    pipeline:-h | pipeline:--help) exec python3 "$root/bench/peers/pipeline.py" --help ;;
  esac
done
if [ "$part" = all ] && [ $# -gt 0 ]; then
  echo "run_peers.sh: options go to one part: steps or pipeline" >&2
  exit 2
fi
build=${BUILD:-$root/build}
out=${OUT:-$build/peers}
data=${DATA:-}
mkdir -p "$out"
out=$(cd "$out" && pwd)
# Kernels that PyTorch's compiler has made once are found again.
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$out/inductor}

bring_up_to_date() {  # TARGETS...
  [ "${PEERS_BUILD:-yes}" = no ] && return
  [ -e "$build/CMakeCache.txt" ] || cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release >&2
  cmake --build "$build" --target "$@" >&2
}

find_python() {
  if [ -n "${PEERS_PYTHON:-}" ]; then
    python=$PEERS_PYTHON
  else
    python=$build/peers-venv/bin/python
    if [ ! -e "$build/peers-venv/complete" ]; then
      echo "run_peers.sh: making $build/peers-venv (PyTorch is large: some minutes, some gigabytes)" >&2
      python3 -m venv "$build/peers-venv"
      "$python" -m pip install --quiet --upgrade torch numpy pandas scikit-learn xgboost h5py >&2
      touch "$build/peers-venv/complete"
    fi
  fi
  "$python" -c 'import torch' || {
    echo "run_peers.sh: $python has no PyTorch" >&2
    exit 4
  }
}

steps() {
  bring_up_to_date bench_train_step
  "$python" "$root/bench/peers/interleave.py" --program "$build/bench/bench_train_step" --python "$python" --out "$out" "$@"
}

pipeline() {
  bring_up_to_date panvae
  "$python" "$root/bench/peers/pipeline.py" --panvae "$build/panvae" --data "$data" --out "$out" "$@"
}

find_python
case $part in
  steps) steps "$@" ;;
  pipeline) pipeline "$@" ;;
  all)
    # Each in a shell of its own: in a function before || this one would go on after a build that failed, and time the program of before.
    status=0
    bash "$0" steps || status=$?
    bash "$0" pipeline || status=$?
    exit $status
    ;;
  prepare)
    bring_up_to_date bench_train_step panvae
    PEERS_BUILD=no
    out=$out/prepare
    steps --rounds 1 --count 1 "$@" >/dev/null
    rm -r "$out"
    ;;
esac
