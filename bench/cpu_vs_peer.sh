#!/usr/bin/env bash
# Times Strata against llama.cpp on this CPU, both on the same weights, in turn (A B B A), and writes bench/results/.
# usage: cpu_vs_peer.sh [NAME]      the result goes to bench/results/NAME.md (default: cpu_vs_peer)
# Environment: STRATA (the program; default build/strata), WORK (scratch folder of 8 GB; default
# /tmp/strata_cpu_vs_peer), MODELS ("demo mid-nvfp4 mid-fp8 mid-bf16"), CONFIG (the folder of mid-nvfp4's config.json), THREADS (2), REPEATS (5).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=${1:-cpu_vs_peer}
strata=$(realpath "${STRATA:-$here/../build/strata}")
work=${WORK:-/tmp/strata_cpu_vs_peer}
config=${CONFIG:-$here/configs/mid-nvfp4}
threads=${THREADS:-2}
repeats=${REPEATS:-5}
read -ra models <<<"${MODELS:-demo mid-nvfp4 mid-fp8 mid-bf16}"
mkdir -p "$work" "$here/results"

# The checkpoint of a model, made if it isn't there.
checkpoint_of() {
  local folder=$work/$1
  case $1 in
    demo) folder=$here/../models/demo ;;
    *)
      if [ ! -f "$folder/model.safetensors" ]; then
        rm -rf "$folder" "$folder.config"
        mkdir -p "$folder.config"
        cp "$config/config.json" "$folder.config/"
        case $1 in
          mid-nvfp4) cp "$config/hf_quant_config.json" "$folder.config/" ;;
          mid-fp8) sed 's/"NVFP4"/"FP8"/; /group_size/d' "$config/hf_quant_config.json" >"$folder.config/hf_quant_config.json" ;;
        esac
        "$strata" synth "$folder.config" "$folder" --shard-size 8G --force >/dev/null
      fi
      ;;
  esac
  echo "$folder"
}

# The same weights for the peer. It has no FP8: those become BF16.
gguf_of() {
  local file=$work/$1.gguf
  [ -f "$file" ] || node "$here/checkpoint_to_gguf.mjs" "$2" "$file" >&2
  echo "$file"
}

# "PREFILL DECODE" in tokens per second.
time_strata() {
  "$strata" bench "$1" --threads "$threads" -p 512 -n 64 -r "$repeats" --json | node "$here/medians.mjs"
}
time_peer() {
  (cd "$work/peer/bin" && ./llama-bench -m "$1" -t "$threads" -p 512 -n 64 -r "$repeats" -o json 2>/dev/null) |
    node "$here/medians.mjs"
}

"$here/build_peer.sh" "$work/peer"
result=$here/results/$name.md
{
  echo "# Strata against llama.cpp on a CPU"
  echo
  echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(grep -qw avx512_bf16 /proc/cpuinfo &&
    echo 'AVX-512 with bf16' || echo 'no AVX-512 bf16'), $threads threads, $(date -u +%F)."
  echo "llama.cpp v0.5.0 from node-llama-cpp 3.22.1. Medians of $repeats runs, in the order Strata, llama.cpp, llama.cpp,"
  echo "Strata; tokens per second of a prompt of 512 tokens / of 64 decoded tokens. Command: \`bench/cpu_vs_peer.sh $name\`."
  echo
  echo "| model | Strata | llama.cpp | llama.cpp | Strata | ratio, prefill / decode | load average |"
  echo "|---|--:|--:|--:|--:|--:|--:|"
} >"$result"
for model in "${models[@]}"; do
  folder=$(checkpoint_of "$model")
  file=$(gguf_of "$model" "$folder")
  read -r a1 a2 < <(time_strata "$folder")
  read -r b1 b2 < <(time_peer "$file")
  read -r c1 c2 < <(time_peer "$file")
  read -r d1 d2 < <(time_strata "$folder")
  awk -v m="$model" -v l="$(cut -d' ' -f1 /proc/loadavg)" -v a1="$a1" -v a2="$a2" -v b1="$b1" -v b2="$b2" -v c1="$c1" \
    -v c2="$c2" -v d1="$d1" -v d2="$d2" 'BEGIN {
      printf "| %s | %.0f / %.0f | %.0f / %.0f | %.0f / %.0f | %.0f / %.0f | %.2f / %.2f | %s |\n", m, a1, a2, b1, b2,
        c1, c2, d1, d2, (a1 + d1) / (b1 + c1), (a2 + d2) / (b2 + c2), l }' | tee -a "$result"
done
echo "written to $result"
