#!/usr/bin/env bash
# Fuzzes the decoders of bytes from outside, each for a while, on the stable compiler: libFuzzer and coverage, no sanitizer.
#   dev/fuzz.sh                      each target for 60 s
#   dev/fuzz.sh SECONDS TARGET...    some of them, for as long as wanted
# What crashed a target stays in fuzz/artifacts/TARGET/; `dev/fuzz.sh 1 TARGET` runs it again first. The corpus stays in the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

seconds=${1:-60}
[[ "$seconds" =~ ^[0-9]+$ ]] || die "dev/fuzz.sh SECONDS TARGET...: '$seconds' is no number of seconds"
shift || true
mapfile -t all < <(cd fuzz/fuzz_targets && ls -- *.rs | sed 's/\.rs$//')
targets=("${@:-${all[@]}}")
[ $# -gt 0 ] || targets=("${all[@]}")
for target in "${targets[@]}"; do
  [ -f "fuzz/fuzz_targets/$target.rs" ] || die "no fuzz target is called '$target': ${all[*]}"
done

# What cargo-fuzz passes for `--sanitizer none`: counters at the edges, which libFuzzer reads.
export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/fuzz"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1"
# With --target the flags are not for build scripts and macros, which have no counters to report to.
# The versions that the program is built with.
cp Cargo.lock fuzz/Cargo.lock
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --manifest-path fuzz/Cargo.toml --release --bins --target "$host"

failed=0
for target in "${targets[@]}"; do
  corpus="$VIGIE_CACHE/fuzz/$target"
  crashes="fuzz/artifacts/$target"
  mkdir -p "$corpus" "$crashes"
  # Real files to begin with.
  case $target in
    model_file) find crates -name '*.vigie' -size -200k -exec cp -n {} "$corpus" \; ;;
    contract_yaml) find crates/contracts -name '*.yaml' -exec cp -n {} "$corpus" \; ;;
    csv) find crates -name '*.csv' -size -100k -exec cp -n {} "$corpus" \; ;;
  esac
  say "== $target, $seconds s"
  again=("$crashes"/*)
  if [ -e "${again[0]}" ] && ! "$CARGO_TARGET_DIR/$host/release/$target" "${again[@]}" 2>&1 | tail -n 3; then
    failed=1
    continue
  fi
  "$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$crashes/" "$corpus" 2>&1 | grep -E "^==|ERROR|panicked|stat::number_of|stat::peak|Test unit written|DONE|crash-" || true
  [ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
done
exit "$failed"
