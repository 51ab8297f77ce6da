#!/usr/bin/env bash
# fuzz.sh build FOLDER SECONDS: builds the fuzzers. fuzz.sh run FOLDER SECONDS: builds and runs each for so long.
set -euo pipefail
action=$1 build=$2 seconds=$3
cd "$(dirname "$0")/.."
command -v clang++ >/dev/null || { echo "fuzz.sh: the fuzzers need clang++, found none" >&2; exit 1; }
CC=clang CXX=clang++ cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSTRATA_FUZZ=ON \
  -DSTRATA_UNITY=ON -DSTRATA_CUDA=OFF -DSTRATA_FUZZ_SECONDS="$seconds" --log-level=WARNING
cmake --build "$build" --target fuzzers
[ "$action" = build ] || ctest --test-dir "$build" --output-on-failure -j "$(nproc)"
