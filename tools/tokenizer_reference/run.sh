#!/bin/sh
# Compares STRATA_BINARY's tokenizer with Hugging Face's on well-known vocabularies; needs node, npm and the network.
# usage: run.sh STRATA_BINARY [FOLDER]
set -eu
binary=$1
here=$(cd "$(dirname "$0")" && pwd)
folder=${2:-$here/../../build/tokenizer_reference}
mkdir -p "$folder"
node "$here/fetch.mjs" "$folder"
[ -e "$folder/models/tekken/tokenizer.json" ] || node "$here/tekken.mjs" "$folder"
node "$here/compare.mjs" "$binary" "$folder" "$here/../.."
