#!/bin/sh
# From a fresh checkout to results: installs missing packages, builds build/panvae, runs `panvae demo`.
# Arguments go to that command: tools/demo.sh --quick -o results
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/tools/install_packages.sh"
(cd "$root" && cmake --preset release && cmake --build --preset release --target panvae) >&2
exec "$root/build/panvae" demo "$@"
