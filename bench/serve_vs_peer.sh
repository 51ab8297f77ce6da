#!/usr/bin/env bash
# Times `strata serve` against llama-server with the demo model, the same weights for both, part by part in turn, and
# writes bench/results/. usage: serve_vs_peer.sh [NAME]      the result goes to bench/results/NAME.md (default: serve_vs_peer)
# Environment: STRATA (the program; default build/strata), WORK (scratch folder; default /tmp/strata_cpu_vs_peer),
# THREADS (2), PARTS (those of serve_bench.mjs: with some, the others keep the figures that they have in WORK).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=${1:-serve_vs_peer}
strata=$(realpath "${STRATA:-$here/../build/strata}")
work=${WORK:-/tmp/strata_cpu_vs_peer}
threads=${THREADS:-2}
read -ra parts <<<"${PARTS:-single streams same answers beside turns cancel idle}"
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -ge 10300 ] || { echo "10,000 connections need ulimit -n 10300 or more, found $(ulimit -n)" >&2; exit 1; }
mkdir -p "$work/serve" "$here/results"
"$here/build_peer.sh" "$work/peer" server
model=$work/demo-server.gguf
[ -f "$model" ] || node "$here/checkpoint_to_gguf.mjs" "$here/../models/demo" "$model" --vocab >&2

# 64 sequences of the model's 4,096 tokens for both.
start_strata() {
  exec "$strata" serve "$here/../models/demo" --threads "$threads" --parallel 64 --port "$1" 2>"$work/serve/strata.log"
}
start_peer() {
  exec "$work/peer/server/bin/llama-server" -m "$model" -t "$threads" -np 64 -c $((64 * 4096)) --host 127.0.0.1 --port "$1" \
    >"$work/serve/peer.log" 2>&1
}

# measure strata|peer PART: a line into WORK/serve/.
measure() {
  local port=$((20000 + RANDOM % 10000)) server
  start_"$1" "$port" &
  server=$!
  trap 'kill $server' EXIT
  until curl -fs -m 2 -o /dev/null "http://127.0.0.1:$port/health"; do
    kill -0 "$server" || { echo "$1 doesn't start: $work/serve/$1.log" >&2; exit 1; }
    sleep 0.1
  done
  node "$here/serve_bench.mjs" "http://127.0.0.1:$port" "$server" "$2" >"$work/serve/$1-$2.json"
  echo "$1 $(cat "$work/serve/$1-$2.json")"
  trap - EXIT
  kill "$server"
  wait "$server" || true
}

for part in "${parts[@]}"; do
  measure strata "$part"
  measure peer "$part"
done

result=$here/results/$name.md
{
  echo "# The server against llama-server, with the demo model"
  echo
  echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $threads threads, the clients on the same cores, $(date -u +%F)."
  echo "llama-server v0.5.0, built from node-llama-cpp 3.22.1 for this CPU, with the same weights; each part on Strata, then on"
  echo "llama-server, each freshly started. Command: \`bench/serve_vs_peer.sh $name\`."
  echo
  node "$here/serve_table.mjs" "$work/serve"
} >"$result"
echo "written to $result"
