#!/bin/sh
# cmake/run_tsan.sh PROGRAM ARGUMENTS...: runs a program of a thread sanitizer build with addresses that are not drawn at
# random. GCC 12's thread sanitizer does not know the address layouts of newer Linux kernels and ends on some draws with
# "unexpected memory mapping". Where the system refuses, the program runs as it is.
folder=$(cd "$(dirname "$0")" && pwd)
export TSAN_OPTIONS="suppressions='$folder/tsan_suppressions.txt' ${TSAN_OPTIONS-}"
if setarch -R true 2>/dev/null; then
  exec setarch -R "$@"
fi
"$@"
status=$?
if [ $status -ne 0 ]; then
  {
    echo "cmake/run_tsan.sh: this program ended with status $status, and 'setarch -R' is refused here (by a container? docker run"
    echo "--security-opt seccomp=unconfined permits it) or missing. If the thread sanitizer says 'unexpected memory mapping', that is why."
  } >&2
fi
exit $status
