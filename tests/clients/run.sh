#!/usr/bin/env bash
# Real OpenAI clients from npm against the server. usage: run.sh STRATA MODEL      exit 77: no npm, or no registry
set -euo pipefail
STRATA=$(realpath "$1") MODEL=$(realpath "$2")
export STRATA MODEL npm_config_update_notifier=false
cd "$(dirname "$0")"
skip() { echo "skipped: real OpenAI clients ($1)"; exit 77; }
command -v npm >/dev/null || skip "npm missing"
../../tools/npm_packages.sh . || skip "npm ci failed: no registry?"
npm run --silent test
