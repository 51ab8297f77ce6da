#!/usr/bin/env bash
# The chat page: its committed build is what its source gives, and its unit and browser tests. usage: web_test.sh [STRATA MODEL]
# The browser tests that need no scripted answers run against `strata serve`: STRATA's, or a running one at STRATA_URL.
# Exit 77: no npm, no registry, or no Chromium.
set -euo pipefail
[ $# = 0 ] || strata=$(realpath "$1") model=$(realpath "$2")
cd "$(dirname "$0")/../web"
export npm_config_update_notifier=false
skip() { echo "skipped: chat page ($1)"; exit 77; }
command -v npm >/dev/null || skip "npm missing"
../tools/npm_packages.sh . || skip "npm ci failed: no registry?"
npm run --silent build -- --outDir "$PWD/node_modules/.rebuilt" --logLevel warn
cmp node_modules/.rebuilt/index.html dist/index.html || {
  echo "web/dist/index.html is not what web/src gives: run 'npm run build' in web/ and commit it" >&2
  exit 1
}
npm run --silent test:unit
[ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || skip "chromium missing: its unit tests passed"
if [ $# != 0 ]; then
  log=$(mktemp)
  "$strata" serve "$model" --port 0 2>"$log" &
  server=$!
  trap 'kill $server 2>/dev/null; rm -f "$log"' EXIT
  until STRATA_URL=$(grep -o -m1 'ready *http://[^ ]*' "$log" | grep -o 'http.*'); do
    kill -0 $server || { cat "$log" >&2; exit 1; }
    sleep 0.1
  done
  export STRATA_URL
fi
npm run --silent test:browser
