#!/usr/bin/env bash
# make run: build what changed, then start the demo. The arguments go to `vigie demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

dev/prerequisites.sh build
dev/ui.sh build
say "building vigie (the first build takes some minutes)"
cargo build --release -p vigie --bin vigie
exec "$CARGO_TARGET_DIR/release/vigie" demo "$@"
