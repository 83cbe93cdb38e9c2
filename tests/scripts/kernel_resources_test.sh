#!/bin/sh
# tools/kernel_resources.sh on objects that stand-ins of cuobjdump and nvcc describe: names, order, spills, exit status.
#   kernel_resources_test.sh SOURCE
set -eu
script=$1/tools/kernel_resources.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed() {
  echo "FAILED: $1" >&2
  cat report.md said >&2 2>/dev/null || true
  exit 1
}
objects=build/kernels/cuda/CMakeFiles/panvae_kernels_cuda.dir/__
mkdir -p bin "$objects"
touch "$objects/b.cu.o" "$objects/a.cu.o"
# Two kernels of b.cu, which use no stack, and one of a.cu, which does.
cat >bin/cuobjdump <<'FAKE'
#!/bin/sh
for arch in sm_80 sm_90; do
  echo "arch = $arch"
  case $2 in
    */b.cu.o)
      echo " Function _ZN6panvae4cuda5zebraIfEEvPT_:"
      echo "  REG:20 STACK:0 SHARED:128 LOCAL:0 CONSTANT[0]:8 TEXTURE:0"
      echo " Function _ZN6panvae4cuda3antIdEEvPT_:"
      echo "  REG:10 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:8 TEXTURE:0"
      ;;
    *)
      echo " Function _ZN6panvae4cuda3batEPf:"
      echo "  REG:255 STACK:40 SHARED:0 LOCAL:0 CONSTANT[0]:8 TEXTURE:0"
      ;;
  esac
done
FAKE
cat >bin/nvcc <<'FAKE'
#!/bin/sh
[ "$1" = --version ] && echo "Cuda compilation tools, release 99.1, V99.1.0" && exit
echo "$*" | grep -q -- '-Xptxas=-v' || exit 1
echo "ptxas info    : Compiling entry function '_ZN6panvae4cuda3batEPf' for 'sm_90'" >&2
echo "    40 bytes stack frame, ${SPILLS:-0} bytes spill stores, ${SPILLS:-0} bytes spill loads" >&2
FAKE
chmod +x bin/*
PATH=$work/bin:$PATH
cat >build/compile_commands.json <<'FAKE'
[
{
  "directory": "/",
  "command": "c++ -c /source/kernels/a.cu -o a.o",
  "file": "/source/kernels/a.cu"
},
{
  "directory": "/",
  "command": "ccache nvcc -DX=\"y\" -c /source/kernels/a.cu -o a.cu.o",
  "file": "/source/kernels/a.cu"
}
]
FAKE

"$script" build report.md >said 2>&1 || failed "no kernel spills, but exit status $?"
grep -q '^3 kernels, 0 of them spill' report.md || failed "the count"
grep -q 'A stack without spills' report.md || failed "the note on stacks"
grep '^| [ab].cu' report.md >rows
cat >expected <<'ROWS'
| a.cu | `bat` | 255 | 0 | 255 | 0 | 40 | 0 |
| b.cu | `ant<double>` | 10 | 0 | 10 | 0 | 0 | 0 |
| b.cu | `zebra<float>` | 20 | 128 | 20 | 128 | 0 | 0 |
ROWS
cmp rows expected || failed "the rows"

status=0
SPILLS=12 "$script" build report.md >said 2>&1 || status=$?
[ $status = 1 ] || failed "a kernel spills, but exit status $status"
grep -q '| a.cu | `bat` | 255 | 0 | 255 | 0 | 40 | 12 |' report.md || failed "the row that spills"
grep -q 'bat' said || failed "the kernel that spills is not named"

status=0
"$script" nowhere report.md >said 2>&1 || status=$?
[ $status = 4 ] || failed "no build folder, but exit status $status"
status=0
CUOBJDUMP=false "$script" build report.md >said 2>&1 || status=$?
[ $status = 4 ] || failed "cuobjdump fails, but exit status $status"
