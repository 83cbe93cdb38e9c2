#!/bin/sh
# tools/install_packages.sh on stand-ins of apt and dpkg: what it installs, what it leaves, exit status.
#   install_packages_test.sh SOURCE
set -eu
script=$1/tools/install_packages.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed() {
  echo "FAILED: $1" >&2
  cat asked said >&2 2>/dev/null || true
  exit 1
}
mkdir bin
# INSTALLED, UNKNOWN: names of packages with spaces around. apt-cache speaks German unless asked not to.
cat >bin/dpkg-query <<'FAKE'
#!/bin/sh
case "$INSTALLED" in *" $4 "*) printf installed ;; esac
FAKE
cat >bin/apt-cache <<'FAKE'
#!/bin/sh
[ "${LC_ALL-}" = C ] && word=Candidate || word=Installationskandidat
case "$UNKNOWN" in *" $2 "*) echo "  $word: (none)" ;; *) echo "  $word: 2:1.0-1" ;; esac
FAKE
cat >bin/apt-get <<'FAKE'
#!/bin/sh
for word; do
  case $word in -* | DPkg*) ;; *) echo "$word" >>asked ;; esac
done
FAKE
printf '#!/bin/sh\nexec "$@"\n' >bin/sudo
chmod +x bin/*
PATH=$work/bin:$PATH
required=$(INSTALLED='' UNKNOWN='' "$script" --list)
required=" ${required% chromium ccache mold} "

# install EXPECTED_STATUS ARGUMENTS...: `asked` has the words that apt-get was called with, a line each.
install() {
  expected=$1
  shift
  rm -f asked
  touch asked
  status=0
  "$script" "$@" >said 2>&1 || status=$?
  [ "$status" = "$expected" ] || failed "exit status $status, not $expected"
}
export INSTALLED UNKNOWN
INSTALLED='' UNKNOWN=' '
install 0 --tests
for package in $required chromium ccache mold; do
  grep -qx "$package" asked || failed "$package is not installed on a fresh system"
done
install 0
grep -qx chromium asked && failed "chromium is installed where no test is to run"

# Ubuntu: the name chromium is known only through what stands in for it.
UNKNOWN=' chromium '
install 0 --tests
grep -qx chromium asked && failed "apt is asked for chromium, which it does not have"
grep -q 'going on without chromium' said || failed "it is not said that chromium is left out"
INSTALLED="$required ccache mold "
install 0 --tests
[ -s asked ] && failed "apt is called where nothing can be installed"

INSTALLED='' UNKNOWN=' libxgboost-dev '
install 4
grep -q 'knows no package libxgboost-dev' said || failed "the package that apt does not know is not named"
INSTALLED="$required chromium ccache mold " UNKNOWN=' '
install 0 --tests
[ -s asked ] && failed "apt is called where everything is there"
exit 0
