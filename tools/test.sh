#!/usr/bin/env bash
# The whole suite: tests and lint, the tests under the sanitizers, the fuzzers; the last lines name what was skipped.
set -uo pipefail
build=$1
cd "$(dirname "$0")/.."
failed=()
step() { # NAME COMMAND...: runs it, notes its time and whether it failed
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  "$@" || failed+=("$name")
  echo "== $name: $((SECONDS - start)) s"
}
test_tree() { # FOLDER ARGUMENTS...
  ctest --test-dir "$1" --output-on-failure --no-tests=error --test-output-size-passed 10000000 \
    --output-junit results.xml "${@:2}"
}
rm -f "$build"/results.xml "$build"/{sanitize,fuzz}/results.xml

configure=(cmake -S . -G Ninja -DCMAKE_BUILD_TYPE=Release --log-level=WARNING)
step "build" sh -c '"$@" && cmake --build "$0"' "$build" "${configure[@]}" -B "$build" -DSTRATA_TESTS=ON
step "tests" test_tree "$build"
step "sanitizer build" sh -c '"$@" && cmake --build "$0" --target test_programs' "$build/sanitize" \
  "${configure[@]}" -B "$build/sanitize" -DSTRATA_SANITIZE=ON -DSTRATA_UNITY=ON -DSTRATA_CUDA=OFF
step "tests under the sanitizers" test_tree "$build/sanitize" -j "$(nproc)"
if command -v clang++ >/dev/null; then
  step "fuzzer build" tools/fuzz.sh build "$build/fuzz" 5
  step "fuzzers" test_tree "$build/fuzz" -j "$(nproc)"
fi
tools/test_summary.py "$build" || failed+=("summary")
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
