#!/bin/sh
# Do the tests notice faults? Takes ten of the small faults in tests/mutations, puts each alone into a copy of the sources,
# builds and runs the tests that should notice it, and prints which of them failed. All ten must be noticed.
#
#   tools/mutation_test.sh [--seed N] [--count N]   which ten, and their order, follow from the seed (default 1)
#   tools/mutation_test.sh --all | NAME...          all, or those named
#   tools/mutation_test.sh --list | --check         names them; sees whether each still fits its file, without building
#   tools/mutation_test.sh --room ROOM ...          any of these for the faults of kernels, models, data or eval alone
#
# tests/mutations/ROOM.txt has those that test_ROOM must notice, of kernels test_cases:
#   == NAME FILE FILTER   FILTER is one of Google Test
#   -TEXT                 what is replaced, from any place in a line on; it stands in FILE exactly once
#   +TEXT                 what it becomes, nothing where there is none; both may have several lines
#
# Exit status: 0 all noticed, 1 one was not (a test is missing) or does not compile, 2 wrong usage or a fault that no longer
# fits its file, 4 the unchanged copy does not build or fails. Works in build/mutation; the sources here are not touched.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
lists=$root/tests/mutations
work=$root/build/mutation

usage() { sed -n '5,8s/^# *//p' "$0" >&2; exit 2; }
number() { case $1 in '' | *[!0-9]*) usage ;; esac; }

seed=1 count=10 mode=seeded names="" only=""
while [ $# -gt 0 ]; do
  case $1 in
    --seed) number "${2-}"; seed=$2; shift ;;
    --count) number "${2-}"; count=$2; shift ;;
    --room) only=${2-}; [ -f "$lists/$only.txt" ] || usage; shift ;;
    --all | --list | --check) mode=${1#--} ;;
    -*) usage ;;
    *) mode=named names="$names $1" ;;
  esac
  shift
done

# A line for each fault: 1 its name, 2 the file, 3 the filter, 4 the room.
faults=$(cd "$lists" && awk -v only="$only" '
  FNR == 1 { room = FILENAME; gsub(/\.\/|\.txt$/, "", room) }
  $1 == "==" && (only == "" || room == only) { print $2, $3, $4, room }' ./*.txt)
all_names() { printf '%s\n' "$faults" | cut -d ' ' -f 1; }
field() { printf '%s\n' "$faults" | awk -v name="$1" -v n="$2" '$1 == name { print $n; exit }'; }

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
    }' "$lists/$(field "$1" 4).txt" "$2"
}

check() {
  stale=0
  for name in "$@"; do
    file=$(field "$name" 2)
    if [ ! -f "$root/$file" ] || ! apply "$name" "$root/$file" /dev/null; then
      echo "tools/mutation_test.sh: $name: its text does not stand exactly once in '$file'; mend tests/mutations/$(field "$name" 4).txt" >&2
      stale=1
    fi
  done
  [ $stale = 0 ] || exit 2
}

case $mode in
  list) all_names; exit ;;
  check)
    # shellcheck disable=SC2046
    check $(all_names)
    [ "$(all_names | sort | uniq -d)" = "" ] || { echo "tools/mutation_test.sh: two mutations have one name" >&2; exit 2; }
    echo "$(all_names | wc -l) mutations fit their files"
    exit ;;
  all) names=$(all_names) ;;
  named)
    for name in $names; do
      [ -n "$(field "$name" 2)" ] || { echo "tools/mutation_test.sh: there is no mutation '$name' (--list names them)" >&2; exit 2; }
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
# shellcheck disable=SC2086
check $names

# A copy of what git knows or would add; a build of its own, without anything that the tests do not need.
rm -rf "$work"
mkdir -p "$work/tree"
cd "$root"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - --ignore-failed-read 2>/dev/null | tar -xf - -C "$work/tree"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
program() { if [ "$1" = kernels ]; then echo test_cases; else echo "test_$1"; fi; }
# build LOG ROOM...: the programs of the rooms.
build() {
  log=$1
  shift
  # shellcheck disable=SC2046
  cmake --build "$work/build" --target $(for room in "$@"; do program "$room"; done) > "$work/$log.build" 2>&1
}
# run LOG ROOM FILTER. In test_cases each mode on its own device is one test; without a GPU there is no mode cuda.
run() { timeout 900 "$work/build/$(program "$2")" --gtest_filter="$3:-*.cuda" > "$work/$1.log" 2>&1; }

rooms=$(for name in $names; do field "$name" 4; done | sort -u)
case $rooms in *data* | *eval*) omics=ON ;; *) omics=OFF ;; esac
echo "Building the unchanged copy in $work"
# shellcheck disable=SC2086
if ! cmake -G Ninja -S "$work/tree" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DPANVAE_CUDA=OFF -DPANVAE_OMICS=$omics -DPANVAE_BENCH=OFF \
  -DPANVAE_WERROR=OFF > "$work/unchanged.build" 2>&1 || ! build unchanged $rooms; then
  tail -n 30 "$work/unchanged.build"
  exit 4
fi
for room in $rooms; do
  filter=$(for name in $names; do [ "$(field "$name" 4)" != "$room" ] || field "$name" 3; done | sort -u | paste -sd : -)
  run unchanged "$room" "$filter" || { tail -n 30 "$work/unchanged.log"; echo "The unchanged copy fails: $work/unchanged.log" >&2; exit 4; }
done

noticed=0 total=0
printf '%-48s %-28s %s\n' mutation file 'noticed by'
for name in $names; do
  file=$(field "$name" 2) room=$(field "$name" 4) total=$((total + 1))
  apply "$name" "$root/$file" "$work/tree/$file"
  if ! build "$name" "$room"; then
    by="INVALID: does not compile ($work/$name.build)"
  else
    status=0
    run "$name" "$room" "$(field "$name" 3)" || status=$?
    by=$(sed -n 's/^\[  FAILED  \] \([^ ,]*\).* ([0-9]* ms)$/\1/p' "$work/$name.log" | paste -sd ' ' -)
    # A crash or an endless loop ends the program within a test.
    last=$(sed -n 's/^\[ RUN      \] //p' "$work/$name.log" | tail -n 1)
    if [ $status = 124 ]; then by="${by:+$by }$last (no end)"
    elif [ $status -gt 1 ]; then by="${by:+$by }$last (status $status)"
    fi
    if [ $status = 0 ]; then by="NOTHING: a test is missing"; else noticed=$((noticed + 1)); fi
  fi
  printf '%-48s %-28s %s\n' "$name" "$file" "$by"
  cp "$root/$file" "$work/tree/$file"
done
echo "$noticed of $total mutations noticed"
[ $noticed = $total ]
