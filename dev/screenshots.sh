#!/usr/bin/env bash
# make screenshots: the pictures of README and the book, from the program as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh

dev/prerequisites.sh build
dev/ui.sh packages e2e
dev/browser.sh
dev/ui.sh build
cargo build --release -p vigie --bin vigie
VIGIE_BIN="$CARGO_TARGET_DIR/release/vigie" exec node dev/screenshot.mjs "$@"
