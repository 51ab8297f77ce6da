#!/usr/bin/env bash
# lint.sh format: clang-format over our C++. lint.sh tidy BUILD: clang-tidy over the folders that compute, as BUILD
# compiled them; a source is looked at again only when it, a header of ours that it includes, or .clang-tidy differs.
# Exit 77: no tool.
set -euo pipefail
cd "$(dirname "$0")/.."
need() { command -v "$1" >/dev/null || { echo "skipped: lint ($1 missing)"; exit 77; }; }

format() {
  need clang-format
  find src apps tests fuzz tools -name node_modules -prune -o \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
    xargs -0 clang-format --dry-run -Werror
}

tidy_one() { # BUILD CACHE SOURCE HEADERS...
  local build=$1 cache=$2 key log
  shift 2
  key=$cache/$(cat "$@" .clang-tidy <(clang-tidy --version) | sha256sum | cut -d' ' -f1)
  if [ ! -e "$key" ]; then
    log=$(clang-tidy -p "$build" --quiet "$1" 2>&1) || { grep -E 'warning:|error:' <<<"$log" | sort -u; return 1; }
    touch "$key"
  fi
}

tidy() {
  need clang-tidy
  local build=$1 cache=$1/tidy
  mkdir -p "$cache"
  export -f tidy_one
  # The build knows which headers a source includes: one line a source, itself first.
  ninja -C "$build" -t deps | awk -v root="$PWD/" '
    /^[^ ]/ { if (line) print line; line = "" }
    /^ / && index($1, root) == 1 { line = line ? line " " $1 : $1 }
    END { if (line) print line }' |
    grep -E "^$PWD/src/(base|tensor|checkpoint|backend|state|model|engine|validation)/" | grep -vE '^[^ ]*(_test\.cpp|\.cu)( |$)' | sort -u |
    xargs -P "$(nproc)" -d '\n' -I {} bash -c "tidy_one $(printf '%q %q' "$build" "$cache") {}"
}

"$@"
