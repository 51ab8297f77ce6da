#!/usr/bin/env bash
# Checks the CUDA backend on a machine with a GPU: run.sh PROGRAM [part ...], from the repository's root. PROGRAM is the
# target gpu_check, built elsewhere; the machine needs nothing of ours, and for `sanitize` compute-sanitizer.
#
# Parts, what says most in the least time first; without a name, all of them in this order:
#   ops       every op, format and odd shape against the reference; every NVFP4 code with every scale
#   models    tiny checkpoints, the demo and its 170 questions; each block against the reference
#   launch    graphs, overlap, fusion, kernels of prompts: the same bits; 32 repeats of replayed graphs
#   law       chunks, batches, forks, single tokens, the borders of a chunk: the same bits
#   soak      10,000 tokens beside requests that come and go: memory is flat
#   validate  `strata validate --backend cuda` on the tiny checkpoints and the demo
#   sanitize  memcheck, racecheck and initcheck, each a part too, on small cases
#   load      a full-size checkpoint of random weights, 19 GB in $SCRATCH (else /dev/shm or /tmp, where there is room),
#             from page cache to the first token
#   full      the law on a full-size model: prompts around a chunk up to 128k tokens
#   bench     speed beside the floor
# A part's log goes to $OUT, or to the current folder; a line a part says how it went and how long it took.
set -uo pipefail
program=$1
shift
parts=${*:-ops models launch law soak validate sanitize load full bench}
out=${OUT:-.}
failed=0

run() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2 start=$SECONDS state=ok
  shift 2
  timeout "$limit" "$@" >"$out/$name.log" 2>&1 || { state="FAILED ($?)"; failed=1; }
  grep -E "^\[  (FAILED|PASSED)|^  |SUMMARY|^decode|^prefill|^cuda|^law|^backend|: (PASSED|FAILED)$" "$out/$name.log" | head -80
  echo "== $name: $state, $((SECONDS - start)) s"
}
tests() { run "$1" "$2" "$program" --gtest_filter="$3"; }

validate() {
  local folder name failures=0
  for folder in tests/fixtures/checkpoints/tiny-* models/demo; do
    name=$(basename "$folder")
    reference=()
    [ -e "$folder/reference.safetensors" ] && reference=(--reference "$folder/reference.safetensors")
    echo "$folder"
    "$program" strata validate "$folder" --backend cuda "${reference[@]}" || failures=1
  done
  "$program" strata run models/demo --backend cuda "What is the capital of France?" | tee /dev/stderr |
    grep -q "Paris" || failures=1
  return $failures
}

load() {
  local place=${SCRATCH:-} needed=$((21 << 20)) status
  for candidate in /dev/shm /tmp; do
    [ -n "$place" ] || [ "$(df --output=avail -k "$candidate" | tail -1)" -lt $needed ] || place=$candidate
  done
  [ -n "$place" ] || { echo "no place for 20 GB: name one in SCRATCH"; return 1; }
  place=$place/strata_nano
  "$program" strata synth bench/configs/nano-nvfp4 "$place" --force || return 1
  for round in 1 2; do
    "$program" load "$place" 15
    status=$?
  done
  rm -r "$place"
  return $status
}

small='*Experts*OddShapes*cuda*:*Route*cuda*:*Norm*GatedNormIs*cuda*:*Attention*ManyHeads*cuda*:*Scan*IsThe*State*cuda*:*Sample*ASlot*cuda*:*Conv*LargeSums*cuda*'
sanitize() { run "$1" 150 compute-sanitizer --tool "$1" --error-exitcode 9 "$program" --gtest_filter="$small"; }

for part in $parts; do
  case $part in
    ops) tests ops 120 '*Conformance*cuda*:*PromptAttention*' ;;
    models) tests models 150 '*CudaModel.IsClose*:*CudaModel.EachBlock*:CudaDemo*' ;;
    launch) tests launch 120 '*ChangeNoBit*' ;;
    law) tests law 120 '*CudaModel.TheSameTokens*:*SingleTokens.HaveTheBits*:MidModel.Prompts*' ;;
    soak) tests soak 120 'Soak*' ;;
    validate) export program; run validate 120 bash -c "$(declare -f validate); validate" ;;
    sanitize) for tool in memcheck racecheck initcheck; do sanitize $tool; done ;;
    memcheck | racecheck | initcheck) sanitize "$part" ;;
    load) export program; run load 240 bash -c "$(declare -f load); load" ;;
    full) run full 240 "$program" law ;;
    bench) run bench 300 "$program" bench ;;
    *) echo "no part $part; $(sed -n 's/^#   \([a-z][a-z]*\) .*/\1/p' "$0" | tr '\n' ' ')" >&2; exit 2 ;;
  esac
done
exit $failed
