#!/bin/sh
# Installs missing packages, builds everything into build/, runs all tests; ends with CTest's summary and exit status.
# Arguments go to CTest: tools/test.sh -R '^eval[.]' runs the tests of one room, tools/test.sh -N lists all.
# The core is built two more times, under the address and the thread sanitizer, and tested on small shapes there (tests
# asan.* and tsan.*); PANVAE_SANITIZER_TESTS=OFF in the environment leaves that out.
set -eu
cd "$(dirname "$0")/.."
tools/install_packages.sh --tests
cmake --preset release -DPANVAE_SANITIZER_TESTS="${PANVAE_SANITIZER_TESTS:-ON}"
cmake --build --preset release
# Tests run side by side, so each gets one thread unless told otherwise (those about threads ask for their number
# themselves), and threads that wait sleep instead of spinning on a core that another test could use.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
jobs=$((cores / ${OMP_NUM_THREADS%%,*}))
exec ctest --test-dir build --output-on-failure --no-tests=error --parallel $((jobs > 0 ? jobs : 1)) "$@"
