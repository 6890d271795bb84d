#!/usr/bin/env bash
# make deny: licences, sources and advisories of every dependency, by the rules of deny.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

cargo deny --version >/dev/null 2>&1 || die "cargo-deny is not installed: cargo install --locked cargo-deny"
exec cargo deny check
