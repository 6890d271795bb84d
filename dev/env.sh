# Sourced by every script: where builds and fetched tools live. Outside the checkout, so that a clean clone
# is cheap and `git clean` does not cost an hour.
VIGIE_CACHE="${VIGIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vigie}"
export VIGIE_CACHE
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$VIGIE_CACHE/target}"
export npm_config_cache="${npm_config_cache:-$VIGIE_CACHE/npm}"
