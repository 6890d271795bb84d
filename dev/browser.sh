#!/usr/bin/env bash
# Makes sure that the browser of the end-to-end tests is there: Debian's chromium, at /usr/bin/chromium.
# Another one can be named in CHROMIUM. Where it is absent and the machine has apt, it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/say.sh

chromium="${CHROMIUM:-/usr/bin/chromium}"
[ -x "$chromium" ] && exit 0
[ -z "${CHROMIUM:-}" ] || die "CHROMIUM names $chromium, which is not there or cannot be run"

way="install Chromium so that /usr/bin/chromium exists, or name another one: CHROMIUM=/path/to/chromium make test"
command -v apt-get >/dev/null 2>&1 || die "the end-to-end tests need Chromium, and this machine has no apt-get: $way"

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  sudo -n true 2>/dev/null || die "the end-to-end tests need Chromium; installing it needs root or sudo without a password: $way (as root: apt-get install --no-install-recommends chromium fonts-dejavu-core)"
  as_root=sudo
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
say "installing chromium"
# Fonts are asked for by name: without the recommended packages there are none, and pages come out blank.
if ! {
  $as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
} >"$log" 2>&1; then
  without_hosts <"$log" | tail -n 20 >&2
  die "apt-get could not install chromium (its last lines are above): $way"
fi
[ -x "$chromium" ] || die "apt-get installed chromium, but $chromium is not there: $way"
