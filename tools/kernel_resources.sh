#!/bin/sh
# Registers, shared memory, stack and spills of every CUDA kernel, from the objects of a build folder (default: build-cuda)
# into FILE (default: docs/kernels-resources.md). Needs no GPU, but cuobjdump of the CUDA toolkit (CUOBJDUMP=FILE names
# another one), c++filt and nvcc. Exit status: 0; 1 if a kernel spills registers; 4 if a tool or the objects are missing.
set -eu
case ${1-} in
  -*) set -- too many words ;;
esac
if [ $# -gt 2 ]; then
  echo "usage: tools/kernel_resources.sh [BUILD [FILE]]" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$root/build-cuda}" 2>/dev/null && pwd) || build=
objects=${build:+$build/kernels/cuda/CMakeFiles/panvae_kernels_cuda.dir}
missing() {
  echo "tools/kernel_resources.sh: $1" >&2
  exit 4
}
[ -n "$objects" ] && [ -d "$objects" ] || missing "no CUDA objects in ${1:-build-cuda}: build the preset 'cuda' first"
PATH=$PATH:/usr/local/cuda/bin
cuobjdump=${CUOBJDUMP:-$(command -v cuobjdump || true)}
[ -n "$cuobjdump" ] || missing "no cuobjdump: it comes with the CUDA toolkit (package cuda-cuobjdump, or nvidia-cuda-cuobjdump of PyPI); CUOBJDUMP=FILE names one"
command -v c++filt >/dev/null || missing "no c++filt: it comes with binutils"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Lines "symbol file arch registers stack shared". Nothing is spilled without a stack, but a stack may also hold an array:
# for files with such kernels ptxas is asked what it spilled, lines "symbol arch bytes".
: >"$work/used"
: >"$work/spilled"
for object in "$objects"/__/*.cu.o "$objects"/*.cu.o; do
  [ -e "$object" ] || continue
  file=$(basename "$object" .o)
  "$cuobjdump" --dump-resource-usage "$object" >"$work/dump" || missing "$cuobjdump cannot read $object"
  awk -v file="$file" '
    /^arch = / { arch = $3 }
    $1 == "Function" { symbol = $2; sub(/:$/, "", symbol) }
    $1 ~ /^REG:/ {
      for (i = 1; i <= NF; ++i) { split($i, part, ":"); value[part[1]] = part[2] }
      print symbol, file, arch, value["REG"], value["STACK"], value["SHARED"]
    }' "$work/dump" >"$work/of_file"
  cat "$work/of_file" >>"$work/used"
  awk '$5 > 0 { found = 1 } END { exit !found }' "$work/of_file" || continue
  # The command that made the object, as compile_commands.json has it.
  command=$(awk -v file="/$file\"" '
    /"command":/ { command = $0 }
    /"file":/ && index($0, file) && command ~ /nvcc/ { print command; exit }' "$build/compile_commands.json" |
    sed 's/^ *"command": "//; s/",$//; s/\\"/"/g; s/^[^ ]*ccache //; s/ -o [^ ]*//; s/ -MD -MT [^ ]* -MF [^ ]*//')
  [ -n "$command" ] || missing "compile_commands.json has no nvcc command for $file"
  (cd "$work" && eval "$command -Xptxas=-v -o $work/again.o") >"$work/said" 2>&1 || { cat "$work/said" >&2; missing "cannot compile $file again"; }
  awk '
    /Compiling entry function/ { split($0, word, "\x27"); symbol = word[2]; arch = word[4] }
    /bytes spill stores/ { for (i = 1; i < NF; ++i) if ($(i + 2) ~ /^spill/ && $(i + 3) ~ /^stores/) print symbol, arch, $i }' "$work/said" >>"$work/spilled"
done
[ -s "$work/used" ] || missing "cuobjdump found no kernel in $objects"

# Names for people: no types of parameters, no namespaces.
cut -d ' ' -f 1 "$work/used" | c++filt | sed 's/^void //; s/(anonymous namespace):://g; s/(panvae::MathMode)0/ieee/g; s/(panvae::MathMode)1/tf32/g; s/(panvae::MathMode)2/bf16/g; s/panvae:://g; s/cuda:://g; s/(.*//; s/> >/>>/g; s/> >/>>/g' >"$work/names"
paste -d '\t' "$work/names" "$work/used" | awk -F '\t' '{ split($2, w, " "); print $1 "\t" w[1] "\t" w[2] "\t" w[3] "\t" w[4] "\t" w[5] "\t" w[6] }' >"$work/table"

toolkit=$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
awk -F '\t' -v spilled="$work/spilled" -v toolkit="$toolkit" '
  BEGIN {
    while ((getline line < spilled) > 0) { split(line, w, " "); spill[w[1], w[2]] = w[3] }
  }
  {
    key = $3 "\t" $1
    if (!(key in seen)) { seen[key] = 1; keys[++n] = key }
    if (!($4 in arch_seen)) { arch_seen[$4] = 1; archs[++m] = $4 }
    registers[key, $4] = $5; shared[key, $4] = $7
    if ($6 > stack[key]) stack[key] = $6
    bytes = spill[$2, $4] + 0
    if (bytes > spills[key]) spills[key] = bytes
    if (bytes > 0) ++spilling
    if ($6 > 0 && bytes == 0) ++arrays
  }
  END {
    for (i = 2; i <= n; ++i) { k = keys[i]; for (j = i - 1; j > 0 && keys[j] > k; --j) keys[j + 1] = keys[j]; keys[j + 1] = k }
    for (i = 2; i <= m; ++i) { k = archs[i]; for (j = i - 1; j > 0 && archs[j] > k; --j) archs[j + 1] = archs[j]; archs[j + 1] = k }
    print "# Resources of the CUDA kernels"
    print ""
    print "Written by `tools/kernel_resources.sh` from the objects of CUDA " toolkit "; not to be edited. Registers are those of a thread,"
    print "bytes of shared memory those of a block (without what a launch adds; from sm_90 on 1024 of them are the"
    print "system\x27s), stack and spills the bytes of a thread, the larger of the architectures."
    print ""
    print n " kernels, " (spilling + 0) " of them spill registers."
    if (arrays) {
      print ""
      print "A stack without spills holds an array: that of the long reduction of the arguments of sin and cos, which is compiled in"
      print "and which angles of [0, 2 pi) never need."
    }
    head = "| file | kernel |"; rule = "|---|---|"
    for (a = 1; a <= m; ++a) { head = head " " archs[a] " registers | " archs[a] " shared |"; rule = rule "---:|---:|" }
    print ""
    print head " stack | spills |"
    print rule "---:|---:|"
    for (i = 1; i <= n; ++i) {
      split(keys[i], w, "\t")
      line = "| " w[1] " | `" w[2] "` |"
      for (a = 1; a <= m; ++a) line = line " " registers[keys[i], archs[a]] " | " shared[keys[i], archs[a]] " |"
      print line " " stack[keys[i]] + 0 " | " spills[keys[i]] + 0 " |"
    }
    if (spilling) exit 1
  }' "$work/table" >"$work/report" || failed=1
cp "$work/report" "${2:-$root/docs/kernels-resources.md}"
grep ' kernels, ' "$work/report"
[ -z "${failed:-}" ] || {
  echo "tools/kernel_resources.sh: these spill:" >&2
  awk -F '|' 'NF > 4 && $(NF - 1) + 0 > 0' "$work/report" >&2
  exit 1
}
