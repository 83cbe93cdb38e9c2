#!/bin/sh
# Installs what building and testing panvae needs, where it is missing (Debian 12 and 13, Ubuntu 24.04). README.md says what each
# package is for. `--list` prints the names and installs nothing: for a Dockerfile, or to find them elsewhere. `--tests` adds
# what only tests need (tools/test.sh).
set -eu

required='cmake ninja-build g++ git
libopenblas-openmp-dev liblapacke-dev libeigen3-dev libhdf5-dev zlib1g-dev libfmt-dev nlohmann-json3-dev
libcli11-dev libtomlplusplus-dev libspdlog-dev libxgboost-dev libjs-vega libgtest-dev libbenchmark-dev'
tests='chromium'        # opens the page of `panvae report`; Ubuntu has it as a snap only, and leaves that test out
optional='ccache mold'  # make rebuilds faster; never a reason to fail

if [ "${1-}" = --list ]; then
  echo $required $tests $optional
  exit 0
elif [ "${1-}" = --tests ]; then
  optional="$tests $optional"
elif [ $# -gt 0 ]; then
  echo "usage: tools/install_packages.sh [--list|--tests]" >&2
  exit 2
fi

# Elsewhere the libraries may be there under other names, so this is no failure: CMake names what it does not find.
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  {
    echo "tools/install_packages.sh: there is no apt here, so nothing is installed. The build needs what these packages of"
    echo "Debian 12 hold:" $required
  } >&2
  exit 0
fi

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# A version that apt could install under this very name; before the first `apt-get update` it knows none.
known() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [0-9]'; }

missing=
for package in $required; do
  installed "$package" || missing="$missing $package"
done
for package in $optional; do
  installed "$package" || missing_optional="${missing_optional-} $package"
done
# What makes rebuilds faster comes along where something is installed anyway; a test is worth asking for.
case "$missing ${missing_optional-}" in
  *chromium*) [ -n "$missing" ] || known chromium || exit 0 ;;
  *) [ -n "$missing" ] || exit 0 ;;
esac

if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo >/dev/null; then
  as_root=sudo
elif [ -z "$missing" ]; then
  exit 0
else
  {
    echo "tools/install_packages.sh: packages are missing, and there is neither root nor sudo to install them. As root, run:"
    echo "  apt-get update && apt-get install --no-install-recommends$missing"
  } >&2
  exit 4
fi

apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"; }

echo "Installing:$missing${missing_optional-}" >&2
apt update >&2 || echo "tools/install_packages.sh: the package lists could not be renewed; going on with those at hand" >&2
unknown=
for package in $missing; do
  known "$package" || unknown="$unknown $package"
done
if [ -n "$unknown" ]; then
  echo "tools/install_packages.sh: apt knows no package$unknown: this needs Debian 12 or 13, or Ubuntu 24.04 (there with 'universe')" >&2
  exit 4
fi
[ -z "$missing" ] || apt install --yes --no-install-recommends $missing >&2
# For a name it does not know, apt takes a package that stands in for it: for chromium, on Ubuntu, one that installs a snap.
for package in ${missing_optional-}; do
  if ! known "$package" || ! apt install --yes --no-install-recommends "$package" >&2; then
    echo "tools/install_packages.sh: going on without $package" >&2
  fi
done
