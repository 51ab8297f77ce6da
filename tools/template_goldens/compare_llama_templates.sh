#!/usr/bin/env bash
# Renders llama.cpp's 70 chat templates with Strata and with jinja2 and counts differences; none are expected.
# The templates come from the npm package node-llama-cpp into CACHE. Needs npm, git and Debian's python3-jinja2.
# usage: compare_llama_templates.sh STRATA [CACHE]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
strata=$(realpath "$1")
cache=${2:-/tmp/strata-llama-templates}
mkdir -p "$cache" && cd "$cache"
[ -d src/models/templates ] || {
  npm pack --silent node-llama-cpp@3.22.1 >/dev/null
  tar xzf node-llama-cpp-3.22.1.tgz package/llama/gitRelease.bundle
  git clone -q package/llama/gitRelease.bundle src
}
exec /usr/bin/python3 "$here/compare_templates.py" "$strata" src/models/templates
