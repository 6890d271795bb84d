#!/usr/bin/env bash
# make bench-instructions: counts the instructions that the engine's hot paths take for one record (valgrind), and compares them with
# crates/bench/instructions.tsv. More than 5 % above the baseline is an error. Instructions do not depend on the neighbours, nor on the
# processor: a regression shows where times would only waver. ARGS=--update writes the baseline anew.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

baseline=crates/bench/instructions.tsv
tolerance=5
few=20000
many=60000
update=no
[ "${1:-}" = "--update" ] && update=yes

command -v valgrind > /dev/null || die "valgrind is not here: apt-get install valgrind"
say "building vigie-bench"
cargo build --release -p vigie-bench --no-default-features >&2
bench="$CARGO_TARGET_DIR/release/vigie-bench"

# collected WORKLOAD RECORDS: all instructions of one run.
collected() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" instructions --of "$1" --records "$2" 2>&1 >/dev/null |
    sed -n 's/.*Collected : *//p'
}

# What a record costs between a small and a large run: start and end are the same in both. Making the input is taken off.
input=$((($(collected nothing $many) - $(collected nothing $few)) / (many - few)))
failed=no
result="$(mktemp)"
trap 'rm -f "$result"' EXIT
for workload in stateless page-count user-total; do
  each=$((($(collected "$workload" $many) - $(collected "$workload" $few)) / (many - few) - input))
  printf '%s\t%s\n' "$workload" "$each" >> "$result"
  before="$(awk -F'\t' -v w="$workload" '$1 == w { print $2 }' "$baseline" 2> /dev/null || true)"
  printf '{"workload":"%s","instructions_per_rec":%s,"baseline":%s}\n' "$workload" "$each" "${before:-null}"
  if [ -n "$before" ] && [ $((each * 100)) -gt $((before * (100 + tolerance))) ]; then
    say "$workload: $each instructions a record, $before before: more than $tolerance % above"
    failed=yes
  fi
done
if [ "$update" = yes ]; then
  cp "$result" "$baseline"
elif [ "$failed" = yes ]; then
  die "if this is meant, write the baseline anew: make bench-instructions ARGS=--update"
fi
