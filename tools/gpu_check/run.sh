#!/usr/bin/env bash
# Checks the CUDA backend on a machine with a GPU: run.sh PROGRAM [part ...], from the repository's root. PROGRAM is the
# target gpu_check, built elsewhere. Parts, in the order of what they say most: ops models law sanitize full bench; all if none
# is named. Logs go to $OUT, or to the current folder.
set -uo pipefail
program=$1
shift
parts=${*:-ops models law sanitize full bench}
out=${OUT:-.}
failed=0
run() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2
  shift 2
  timeout "$limit" "$@" >"$out/$name.log" 2>&1 || { failed=1; echo "$name: FAILED"; }
  grep -E "^\[  (FAILED|PASSED)|^  |SUMMARY|^decode|^prefill|^cuda" "$out/$name.log" | head -60
}
for part in $parts; do
  case $part in
    ops) run ops 120 "$program" --gtest_filter='*Conformance*cuda*' ;;
    models) run models 120 "$program" --gtest_filter='*CudaModel.IsClose*:*CudaModel.Graphs*:*CudaModel.Fast*:CudaDemo*' ;;
    law) run law 120 "$program" --gtest_filter='*CudaModel.TheSameTokens*' ;;
    sanitize)
      small='*Experts*OddShapes*cuda*:*Route*cuda*:*Norm*GatedNormIs*cuda*:*Attention*ManyHeads*cuda*:*Scan*IsThe*cuda*:*Sample*ASlot*cuda*'
      for tool in memcheck racecheck initcheck; do
        run "$tool" 150 compute-sanitizer --tool $tool --error-exitcode 9 "$program" --gtest_filter="$small"
      done
      ;;
    full) run full 240 "$program" law ;;
    bench) run bench 300 "$program" bench ;;
    *) echo "no part $part; there are ops, models, law, sanitize, full, bench" >&2; exit 2 ;;
  esac
done
exit $failed
