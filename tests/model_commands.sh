#!/usr/bin/env bash
# The commands that check, describe, make and measure models: answers, exit codes, and what is said of damaged files.
# usage: model_commands.sh STRATA CHECKPOINTS (the fixtures)
set -uo pipefail
strata=$1 checkpoints=$2 failures=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

fail() {
  echo "$*"
  failures=$((failures + 1))
}

# expect EXIT_CODE TEXT ARGUMENTS...: TEXT must occur in stdout or stderr.
expect() {
  local code=$1 text=$2 output got
  shift 2
  output=$("$strata" "$@" 2>&1)
  got=$?
  if [ "$got" != "$code" ] || [[ "$output" != *"$text"* ]]; then
    fail "strata $*: expected exit $code and \"$text\", found $got and \"$output\""
  fi
}

# copy NAME: a fixture to damage, without its reference, as $copy.
copy() {
  copy=$work/damaged
  rm -rf "$copy"
  mkdir "$copy"
  cp "$checkpoints/$1"/*.json "$checkpoints/$1/model.safetensors" "$copy"
}

# offset TENSOR: of its first byte in $copy/model.safetensors.
offset() {
  local length begin
  length=$(od -An -tu8 -N8 "$copy/model.safetensors" | tr -d ' ')
  begin=$(tail -c +9 "$copy/model.safetensors" | head -c "$length" | grep -o "\"$1\": *{[^}]*}" |
    sed 's/.*"data_offsets": *\[\([0-9]*\).*/\1/')
  echo $((8 + length + begin))
}

for name in tiny-dense-bf16 tiny-nano-bf16 tiny-nano-fp8 tiny-nano-nvfp4 tiny-super-mixed; do
  expect 0 'reference  ok' validate "$checkpoints/$name" --reference "$checkpoints/$name/reference.safetensors"
done
expect 7 'first whose output differs' validate "$checkpoints/tiny-dense-bf16" --tolerance 1e-9 \
  --reference "$checkpoints/tiny-dense-bf16/reference.safetensors"
json=$("$strata" validate "$checkpoints/tiny-dense-bf16" --json --threads 1 \
  --reference "$checkpoints/tiny-dense-bf16/reference.safetensors" 2>/dev/null)
for key in '"ok": true' '"problems": []' '"failures": []' '"rel_l2": 0.' '"median_rel_l2": 0.' '"max_abs": 0.' \
  '"top1_agreement": ' '"mean_kl": ' '"greedy_matched": ' '"greedy_total": 24' '"first_diverging_layer": null'; do
  [[ "$json" == *"$key"* ]] || fail "validate --json: expected $key in $json"
done

scale=backbone.layers.0.mixer.in_proj.weight_scale
copy tiny-nano-nvfp4
truncate -s -5 "$copy/model.safetensors"
expect 3 'MetadataIncompleteBuffer' validate "$copy"
copy tiny-nano-nvfp4
printf '\x7f' | dd of="$copy/model.safetensors" bs=1 conv=notrunc seek="$(offset $scale)" 2>/dev/null
expect 3 "$scale has 1 of" validate "$copy"
copy tiny-nano-nvfp4
sed -i 's/"backbone.norm_f.weight"/"backbone.norm_x.weight"/' "$copy/model.safetensors"
expect 3 'backbone.norm_f.weight is missing' validate "$copy"
expect 3 'backbone.norm_x.weight (BF16' validate "$copy"
expect 0 'backbone.norm_x.weight (BF16' inspect "$copy"
copy tiny-nano-nvfp4
sed -i 's/"vocab_size": /"vocab_size": 1/' "$copy/config.json"
expect 3 'lm_head.weight should be [' validate "$copy"
copy tiny-nano-nvfp4
sed -i 's/"lm_head"/"lm_hEad"/' "$copy/hf_quant_config.json"
expect 3 'lm_head is declared NVFP4, but its tensor is bf16' validate "$copy"
expect 0 'lm_head is declared NVFP4, but its tensor is bf16' inspect "$copy"
expect 3 'no folder' validate "$work/none"
expect 2 '--kv-cache' validate "$checkpoints/tiny-nano-nvfp4" --kv-cache int4

json=$("$strata" inspect "$checkpoints/tiny-super-mixed" --json --tensors)
for key in architecture layers files quantisation memory template tokenizer contradictions kv_bytes_per_token \
  ssm_bytes_per_sequence conv_bytes_per_sequence weight_bytes tensors; do
  [[ "$json" == *"\"$key\":"* ]] || fail "inspect --json: expected the key $key"
done
expect 0 'backbone.layers.1.mixer.experts.*.up_proj' inspect "$checkpoints/tiny-super-mixed" --tensors

for name in tiny-dense-bf16 tiny-nano-fp8 tiny-nano-nvfp4 tiny-super-mixed; do
  expect 0 'tensors' synth "$checkpoints/$name" "$work/$name" --seed 3 --threads 1
  expect 0 'tensors' synth "$checkpoints/$name" "$work/$name-again" --seed 3 --threads 2
  cmp "$work/$name/model.safetensors" "$work/$name-again/model.safetensors" || fail "synth $name: other bytes"
  expect 0 'shards' synth "$checkpoints/$name" "$work/$name-shards" --seed 3 --shard-size 100K
  expect 0 'law        ok' validate "$work/$name-shards"
done
expect 2 'already holds a checkpoint' synth "$checkpoints/tiny-dense-bf16" "$work/tiny-dense-bf16"
expect 0 'tensors' synth "$checkpoints/tiny-dense-bf16" "$work/tiny-dense-bf16" --force
expect 2 '--shard-size' synth "$checkpoints/tiny-dense-bf16" "$work/other" --shard-size 4X
expect 3 'config.json' synth "$work" "$work/other"

json=$("$strata" bench "$work/tiny-nano-nvfp4" -p 16,32 -n 8 -r 2 --json 2>/dev/null) || fail "bench --json: exit $?"
for key in '"n_prompt": 16' '"n_prompt": 32' '"n_gen": 8' '"avg_ts": ' '"stddev_ts": ' '"cpu": ' '"backend": "cpu"' '"resident_bytes": '; do
  [[ "$json" == *"$key"* ]] || fail "bench --json: expected $key in $json"
done
expect 0 '| pp16 @ d8 |' bench "$work/tiny-nano-nvfp4" -p 16 -n 0 -d 8 -r 1
expect 2 'nothing is left to measure' bench "$work/tiny-nano-nvfp4" -p 0 -n 0

[ "$failures" = 0 ] && echo "model_commands: all as expected"
exit "$failures"
