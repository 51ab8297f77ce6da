#!/usr/bin/env bash
# The chat page: its committed build is what its source gives, and its unit and browser tests. STRATA_URL: a running
# `strata serve` for the tests that need no script. Exit 77: no npm, or no Chromium.
set -euo pipefail
cd "$(dirname "$0")/../web"
export npm_config_update_notifier=false
skip() { echo "skipped: chat page ($1)"; exit 77; }
command -v npm >/dev/null || skip "npm missing"
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ci --silent --no-progress || skip "npm ci failed: no registry?"
fi
npm run --silent build -- --outDir "$PWD/node_modules/.rebuilt" --logLevel warn
cmp node_modules/.rebuilt/index.html dist/index.html || {
  echo "web/dist/index.html is not what web/src gives: run 'npm run build' in web/ and commit it" >&2
  exit 1
}
npm run --silent test:unit
[ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || skip "chromium missing: its unit tests passed"
npm run --silent test:browser
