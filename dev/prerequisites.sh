#!/usr/bin/env bash
# Checks what must be on the machine before anything is built, and names what is missing with the way to get it.
#   dev/prerequisites.sh build    Rust, Node.js with npm, a C compiler
#   dev/prerequisites.sh test     the same, rustfmt and clippy; with CI=true also JDK, Maven and Go
# It installs nothing. All that is missing is listed at once, so that nobody mends one thing at a time.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. dev/say.sh

missing=0
lack() {
  missing=$((missing + 1))
  say "missing: $1"
  say "   get it: $2"
}

# at_least HAVE WANT: is version HAVE at least WANT?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# number TEXT: the first dotted number in it.
number() { printf '%s\n' "$1" | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1; }

check_rust() {
  local want have
  want=$(sed -nE 's/^rust-version = "(.*)"/\1/p' Cargo.toml)
  if ! command -v cargo >/dev/null 2>&1 || ! have=$(number "$(rustc --version 2>/dev/null)") || [ -z "$have" ]; then
    lack "Rust $want or newer (cargo, rustc)" "install rustup as described on rust-lang.org, then: rustup toolchain install stable"
  elif ! at_least "$have" "$want"; then
    lack "Rust $want or newer (found $have)" "rustup update stable"
  fi
}

check_rust_tools() {
  command -v cargo >/dev/null 2>&1 || return
  cargo fmt --version >/dev/null 2>&1 || lack "rustfmt" "rustup component add rustfmt"
  cargo clippy --version >/dev/null 2>&1 || lack "clippy" "rustup component add clippy"
}

# Vite's own range: 20.19 or newer in the 20 series, then 22.12 or newer.
check_node() {
  local have
  local how="install Node.js 22 LTS from nodejs.org, with a version manager, or with the system's package manager"
  have=$(number "$(node --version 2>/dev/null)")
  if [ -z "$have" ]; then
    lack "Node.js 20.19, 22.12 or newer" "$how"
  elif ! at_least "$have" 20.19 || { at_least "$have" 21 && ! at_least "$have" 22.12; }; then
    lack "Node.js 20.19, 22.12 or newer (found $have)" "$how"
  fi
  command -v npm >/dev/null 2>&1 || lack "npm" "it comes with Node.js; on Debian: apt-get install npm"
}

check_c() {
  local how="Debian and Ubuntu: apt-get install build-essential; Fedora: dnf install gcc; macOS: xcode-select --install"
  local cc="${CC:-cc}"
  if ! command -v "$cc" >/dev/null 2>&1; then
    lack "a C compiler ($cc), which builds SQLite" "$how"
  elif ! "$cc" -x c - -o /dev/null <<<$'#include <stdio.h>\nint main(void) { return 0; }' >/dev/null 2>&1; then
    lack "a C compiler that works: $cc cannot compile an empty program (are the C library's headers there?)" "$how"
  elif ! "$cc" -E -x c - -o /dev/null <<<$'#include <openssl/ssl.h>\n#include <zlib.h>' >/dev/null 2>&1; then
    lack "the headers of OpenSSL and zlib, which the Kafka client is built with" "Debian and Ubuntu: apt-get install libssl-dev zlib1g-dev; Fedora: dnf install openssl-devel zlib-devel"
  fi
  command -v make >/dev/null 2>&1 || lack "make, which builds the Kafka client" "$how"
}

check_java() {
  local have
  have=$(javac -version 2>&1 | grep -oE '[0-9]+' | head -n 1)
  if [ -z "$have" ] || [ "$have" -lt 17 ]; then
    lack "a JDK, version 17 or newer (javac)" "Debian and Ubuntu: apt-get install openjdk-17-jdk-headless"
  fi
  command -v mvn >/dev/null 2>&1 || lack "Maven (mvn)" "Debian and Ubuntu: apt-get install maven"
}

check_go() {
  command -v go >/dev/null 2>&1 || lack "Go (go)" "install it from go.dev, or Debian and Ubuntu: apt-get install golang-go"
}

case "${1:-build}" in
  build)
    check_rust
    check_node
    check_c
    ;;
  test)
    check_rust
    check_rust_tools
    check_node
    check_c
    # The peers that results are compared with (Kafka Streams, FerretDB) need them. Nobody's laptop has to
    # have them, but continuous integration must not pass without.
    if [ "${CI:-}" = true ]; then
      check_java
      check_go
    fi
    ;;
  *) die "dev/prerequisites.sh knows 'build' and 'test', not '$1'" ;;
esac

if [ "$missing" -gt 0 ]; then
  die "$missing prerequisite(s) missing, see above; install and run the command again"
fi
