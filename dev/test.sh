#!/usr/bin/env bash
# make test: everything that must pass, cheap before dear, and at the end the time of each step and one line
# "N passed, N failed" that sums what the runners themselves counted. A step that fails outside of a test (a lint,
# a build) counts as one failure, so that the line never says 0 failed when something did.
#   dev/test.sh                 all steps
#   dev/test.sh STEP...         some of them: ui fmt clippy unit rust rustdoc e2e
# `unit` is a part of `rust` and therefore no step of the whole.
#
# The order is fixed: the program embeds ui/dist, so the screens are built before Rust; the end-to-end tests run
# the same development build of `vigie` that `rust` made.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
exec </dev/null
. dev/env.sh
. dev/say.sh

export NO_COLOR=1 FORCE_COLOR=0 CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
# Incremental builds cost time and space where every build is the first one.
[ "${CI:-}" != true ] || export CARGO_INCREMENTAL=0

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0
failed=0
report=""

# step NAME RUNNER COMMAND...: run it, time it, count what its runner counted (RUNNER `none` counts nothing).
step() {
  local name=$1 runner=$2 log status=0 start took p=0 f=0 verdict=ok
  shift 2
  log="$logs/step"
  say "== $name"
  start=$(date +%s)
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  took=$(($(date +%s) - start))
  [ "$runner" = none ] || read -r p f < <(awk -v runner="$runner" -f dev/count.awk "$log")
  if [ "$runner" != none ] && [ "$status" -eq 0 ] && [ "$p" -eq 0 ]; then
    say "error: $name ran no test, or dev/count.awk does not understand what its runner prints"
    status=1
  fi
  if [ "$status" -ne 0 ]; then
    verdict=FAILED
    [ "$f" -gt 0 ] || f=1
  fi
  passed=$((passed + p))
  failed=$((failed + f))
  report+=$(printf '%6s s  %-7s %-26s %s' "$took" "$verdict" "$name" "$([ "$runner" = none ] || echo "$p passed, $f failed")")$'\n'
  return "$status"
}

finish() {
  printf '\n%s\n' "$report"
  printf '%s passed, %s failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
  exit
}

# For this machine only: without --target, cargo would fetch the crates of every other system too.
fetch_crates() { cargo fetch --locked --target "$(rustc -vV | sed -n 's/^host: //p')" 2>&1 | without_hosts; }
rustdoc() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked; }
ui() { (cd ui && npm run --silent "$@"); }
has_script() { node -e 'process.exit(require("./ui/package.json").scripts?.[process.argv[1]] ? 0 : 1)' "$1"; }
end_to_end() {
  (cd e2e && VIGIE_BIN="$CARGO_TARGET_DIR/debug/vigie" npm test --silent)
}
# What the main job shows, once more with the log on Apache Kafka: the live values, the form, the shop counted over its messages.
end_to_end_on_kafka() {
  (cd e2e && VIGIE_BIN="$CARGO_TARGET_DIR/debug/vigie" npm run test:kafka --silent)
}
has_java() { "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version >/dev/null 2>&1; }

# Without what these bring nothing else can run, so the first failure ends the run.
step prerequisites none dev/prerequisites.sh test || finish

steps="${*:-ui fmt clippy rust rustdoc e2e}"
wants() { [[ " $steps " == *" $1 "* ]]; }
for name in $steps; do
  [[ " ui fmt clippy unit rust rustdoc e2e " == *" $name "* ]] || die "no step is called '$name': ui fmt clippy unit rust rustdoc e2e"
done

if [ "$steps" != fmt ]; then
  step "packages of the screens" none dev/ui.sh packages ui || finish
  step "crates" none fetch_crates || finish
fi
if wants e2e; then
  step "packages of the e2e tests" none dev/ui.sh packages e2e || finish
  step "browser" none dev/browser.sh || finish
fi

if wants ui; then
  ! has_script lint || step "screens: lint" none ui lint
  step "screens: types" none ui check
  step "screens: unit tests" vitest ui test
fi
if [ "$steps" != fmt ]; then
  step "screens: build" none dev/ui.sh build || finish
fi

! wants fmt || step "rust: formatting" none cargo fmt --all --check -- --color never
! wants clippy || step "rust: lints" none cargo clippy --workspace --all-targets --locked -- -D warnings
! wants unit || step "rust: unit tests" cargo cargo test --workspace --lib --bins --locked --no-fail-fast
built=yes
if wants rust || wants e2e; then
  step "rust: build" none cargo build --workspace --bins --tests --locked || built=no
fi
if [ "$built" = yes ]; then
  ! wants rust || step "rust: tests" cargo cargo test --workspace --locked --no-fail-fast
  ! wants e2e || step "end to end, real browser" node end_to_end
  if wants e2e && [ "${CI:-}" != true ] && ! has_java; then
    say "skipped: there is no java, so the browser tests run on the embedded log only"
  elif wants e2e; then
    step "end to end, on Kafka" node end_to_end_on_kafka
  fi
fi
! wants rustdoc || step "rust: documentation" none rustdoc

finish
