#!/usr/bin/env bash
# Installs a folder's npm packages as its lock file says, if that isn't done. usage: npm_packages.sh FOLDER
set -euo pipefail
cd "$1"
[ node_modules/.package-lock.json -nt package-lock.json ] && exit 0
export npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false
export npm_config_fetch_retries=0 npm_config_fetch_timeout=20000
install=(npm ci --silent --no-progress)
# An older node would leave out native packages that need a newer one (Debian's is 18): then npm runs on the one we install.
if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 22 ]; then
  node=$(node -p 'require("./package.json").devDependencies.node')
  install=(npm exec --silent --yes --package="node@$node" -- "${install[@]}")
fi
"${install[@]}" || "${install[@]}"  # the second time with what the first has fetched; npm's own retries wait for a minute
