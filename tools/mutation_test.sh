#!/bin/sh
# Do the tests of the kernels notice faults? Takes ten of the small faults in tests/mutations.txt, puts each alone into a copy
# of the sources, builds and runs the cases of that kernel, and prints which of them failed. All ten must be noticed.
#
#   tools/mutation_test.sh [--seed N] [--count N]   which ten, and their order, follow from the seed (default 1)
#   tools/mutation_test.sh --all | NAME...          all, or those named
#   tools/mutation_test.sh --list | --check         names them; sees whether each still fits its file, without building
#
# Exit status: 0 all noticed, 1 one was not (a test is missing) or does not compile, 2 wrong usage or a fault that no longer
# fits its file, 4 the unchanged copy does not build or fails. Works in build/mutation; the sources here are not touched.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
list=$root/tests/mutations.txt
work=$root/build/mutation

usage() { sed -n '5,7s/^# *//p' "$0" >&2; exit 2; }
number() { case $1 in '' | *[!0-9]*) usage ;; esac; }

seed=1 count=10 mode=seeded names=
while [ $# -gt 0 ]; do
  case $1 in
    --seed) number "${2-}"; seed=$2; shift ;;
    --count) number "${2-}"; count=$2; shift ;;
    --all | --list | --check) mode=${1#--} ;;
    -*) usage ;;
    *) mode=named names="$names $1" ;;
  esac
  shift
done

all_names() { sed -n 's/^== \([^ ]*\) .*/\1/p' "$list"; }
field() { awk -v name="$1" -v n="$2" '$1 == "==" && $2 == name { print $n }' "$list"; }  # 3: the file, 4: the cases

# apply NAME FROM TO: writes the file FROM with the fault to TO; fails where the text does not stand in it exactly once.
apply() {
  awk -v name="$1" -v to="$3" '
    NR == FNR {
      if ($1 == "==") { wanted = $2 == name; next }
      if (wanted && /^-/) old = old (old_lines++ ? "\n" : "") substr($0, 2)
      if (wanted && /^\+/) new = new (new_lines++ ? "\n" : "") substr($0, 2)
      next
    }
    { text = text $0 "\n" }
    END {
      at = index(text, old)
      rest = substr(text, at + 1)
      if (old == "" || at == 0 || index(rest, old) > 0) exit 1
      printf "%s", substr(text, 1, at - 1) new substr(text, at + length(old)) > to
    }' "$list" "$2"
}

check() {
  stale=0
  for name in "$@"; do
    file=$(field "$name" 3)
    if [ ! -f "$root/$file" ] || ! apply "$name" "$root/$file" /dev/null; then
      echo "tools/mutation_test.sh: $name: its text does not stand exactly once in '$file'; mend tests/mutations.txt" >&2
      stale=1
    fi
  done
  [ $stale = 0 ] || exit 2
}

case $mode in
  list) all_names; exit ;;
  check)
    check $(all_names)
    [ "$(all_names | sort | uniq -d)" = "" ] || { echo "tools/mutation_test.sh: two mutations have one name" >&2; exit 2; }
    echo "$(all_names | wc -l) mutations fit their files"
    exit ;;
  all) names=$(all_names) ;;
  named)
    for name in $names; do
      [ -n "$(field "$name" 3)" ] || { echo "tools/mutation_test.sh: there is no mutation '$name' (--list names them)" >&2; exit 2; }
    done ;;
  seeded)
    # Drawn by the generator of Park and Miller, whose products a double holds exactly: the same in every awk.
    names=$(all_names | awk -v seed="$seed" -v count="$count" '
      function draw(below) { state = state * 16807 % 2147483647; return state % below }
      { name[NR] = $1 }
      END {
        state = seed % 2147483646 + 1
        for (i = 0; i < 10; ++i) draw(1)
        for (i = 1; i <= NR && i <= count; ++i) { j = i + draw(NR - i + 1); t = name[i]; name[i] = name[j]; name[j] = t; print name[i] }
      }') ;;
esac
check $names

# A copy of what git knows or would add; a build of its own, without anything that the cases do not need.
rm -rf "$work"
mkdir -p "$work/tree"
cd "$root"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - --ignore-failed-read 2>/dev/null | tar -xf - -C "$work/tree"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
build() { cmake --build "$work/build" --target test_cases > "$work/$1.build" 2>&1; }
# Each mode on its own device is one test; without a GPU there is no mode cuda.
run() { timeout 900 "$work/build/test_cases" --gtest_filter="$2:-*.cuda" > "$work/$1.log" 2>&1; }

filter=
for name in $names; do filter="$filter:$(field "$name" 4)"; done
echo "Building the unchanged copy in $work"
cmake -G Ninja -S "$work/tree" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DPANVAE_CUDA=OFF -DPANVAE_OMICS=OFF -DPANVAE_BENCH=OFF -DPANVAE_WERROR=OFF \
  > "$work/unchanged.build" 2>&1 && build unchanged || { tail -n 30 "$work/unchanged.build"; exit 4; }
run unchanged "${filter#:}" || { tail -n 30 "$work/unchanged.log"; echo "The unchanged copy fails: $work/unchanged.log" >&2; exit 4; }

noticed=0 total=0
printf '%-36s %-26s %s\n' mutation file 'noticed by'
for name in $names; do
  file=$(field "$name" 3) cases=$(field "$name" 4) total=$((total + 1))
  apply "$name" "$root/$file" "$work/tree/$file"
  if ! build "$name"; then
    by="INVALID: does not compile ($work/$name.build)"
  else
    status=0
    run "$name" "$cases" || status=$?
    by=$(sed -n 's/^\[  FAILED  \] \([^ ,]*\) (.*/\1/p' "$work/$name.log" | paste -sd ' ' -)
    # A crash or an endless loop ends the program within a test.
    last=$(sed -n 's/^\[ RUN      \] //p' "$work/$name.log" | tail -n 1)
    if [ $status = 124 ]; then by="${by:+$by }$last (no end)"
    elif [ $status -gt 1 ]; then by="${by:+$by }$last (status $status)"
    fi
    if [ $status = 0 ]; then by="NOTHING: a test is missing"; else noticed=$((noticed + 1)); fi
  fi
  printf '%-36s %-26s %s\n' "$name" "$file" "$by"
  cp "$root/$file" "$work/tree/$file"
done
echo "$noticed of $total mutations noticed"
[ $noticed = $total ]
