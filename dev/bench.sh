#!/usr/bin/env bash
# make bench: build the benchmarks as users would run the program, then run them. Each figure is one line of
# JSON on standard output; everything else goes to standard error. The arguments go to `vigie-bench`.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

dev/prerequisites.sh build
dev/ui.sh build
say "building vigie and vigie-bench (the first build takes some minutes)"
cargo build --release -p vigie -p vigie-bench >&2
VIGIE_BIN="$CARGO_TARGET_DIR/release/vigie" exec "$CARGO_TARGET_DIR/release/vigie-bench" "$@"
