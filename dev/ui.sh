#!/usr/bin/env bash
# Builds the screens into ui/dist, from where the program embeds them. Does nothing when neither the sources
# nor the packages have changed since the last build.
#   dev/ui.sh packages   npm ci only, when the lock file changed
#   dev/ui.sh            packages and build
set -euo pipefail
cd "$(dirname "$0")/.."
. dev/env.sh
. dev/say.sh

# packages FOLDER: install what FOLDER/package-lock.json says. The sum of the lock file is kept in node_modules,
# so that removing that folder is enough to start afresh.
packages() {
  local folder=$1 sum stamp=$1/node_modules/.vigie-lock
  sum=$(sha256sum <"$folder/package-lock.json")
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ] && return
  say "installing the packages of $folder/"
  (cd "$folder" && npm ci --no-audit --no-fund --prefer-offline --loglevel=error --fetch-retries=5) 2>&1 | without_hosts >&2 ||
    die "npm ci failed in $folder/: is the network there? The lines above say what npm tried"
  printf '%s\n' "$sum" >"$stamp"
}

sources_sum() {
  find ui \( -path ui/node_modules -o -path ui/dist \) -prune -o -type f -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
}

case "${1:-build}" in
  packages)
    packages "${2:-ui}"
    ;;
  build)
    packages ui
    stamp=ui/node_modules/.vigie-built
    sum=$(sources_sum)
    if [ ! -f ui/dist/index.html ] || [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$sum" ]; then
      say "building the screens"
      (cd ui && npm run build) >&2 || die "the screens do not build; the lines above say why"
      printf '%s\n' "$sum" >"$stamp"
    fi
    ;;
  *) die "dev/ui.sh knows 'packages' and 'build', not '$1'" ;;
esac
