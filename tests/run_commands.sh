#!/usr/bin/env bash
# `run`, `plan` and `completions` as a user calls them.
# usage: run_commands.sh STRATA MODEL
set -uo pipefail
strata=$1 model=$2 failures=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_STATE_HOME=$work/state HF_HUB_CACHE=$work/hub

fail() {
  echo "$1"
  failures=$((failures + 1))
}

# expect EXIT_CODE TEXT STDIN ARGUMENTS...: TEXT must occur in stdout or stderr.
expect() {
  local code=$1 text=$2 input=$3 output got
  shift 3
  output=$(printf '%s' "$input" | "$strata" "$@" 2>&1)
  got=$?
  if [ "$got" != "$code" ] || [[ "$output" != *"$text"* ]]; then
    fail "strata $*: expected exit $code and \"$text\", found $got and \"$output\""
  fi
}

# answers TEXT STDIN ARGUMENTS...: stdout must be TEXT and nothing else.
answers() {
  local text=$1 input=$2 output
  shift 2
  output=$(printf '%s' "$input" | "$strata" "$@" 2>"$work/stderr")
  if [ $? != 0 ] || [ "$output" != "$text" ]; then
    fail "strata $*: expected \"$text\", found \"$output\" and $(cat "$work/stderr")"
  fi
}

question='What is the capital of France?' paris='The capital of France is Paris.'
answers "$paris" '' run "$model" "$question"
grep -q 'temperature 0' "$work/stderr" || fail 'the sampling was not printed'
grep -q 'Its capital is Paris' "$work/stderr" || fail 'the thinking was not printed'
grep -Eq '^22 prompt tokens in .* tok/s\), .* tokens in .* tok/s\), first token after .* ms, loaded in .* ms$' "$work/stderr" ||
  fail 'the speed was not printed'
answers "$paris" '' run -m "$model" -p "$question"
answers "$paris" "$question
" run "$model"
answers "$paris" '' run "$model" "$question" --backend reference
answers "$paris" '' run "$model" "$question" --chunk 3 --threads 1 --isa portable --ctx 128
answers "$paris" '' run "$model" "$question" --pin --threads 3
answers "$paris" '' run "$model" "$question" --thinking off
grep -q '<think>' "$work/stderr" && fail '--thinking off: there was thinking'
answers 'The capital of France' '' run "$model" "$question" --stop ' is' --stop nothing
answers 'The capital' '' run "$model" "$question" --thinking off -n 2
grep -q 'cut off' "$work/stderr" || fail '-n 2: not said to be cut off'

# Sampling: one seed, one answer; seeds differ.
sample() { "$strata" run "$model" "$question" --thinking off --temp 3 -n 12 "$@" 2>/dev/null; }
[ "$(sample --seed 7)" = "$(sample --seed 7)" ] || fail 'the same seed gave two answers'
[ "$(sample --seed 7)" != "$(sample --seed 8)" ] || fail 'two seeds gave the same answer'

# A folder without a chat template: the text is continued, and generation_config.json is followed.
mkdir "$work/plain"
ln -s "$(realpath "$model")"/{config.json,hf_quant_config.json,model.safetensors,tokenizer.json} "$work/plain"
printf '{"do_sample": true, "temperature": 0.25, "top_k": 1}' >"$work/plain/generation_config.json"
prompt=$'<|im_start|>system\n<|im_end|>\n<|im_start|>user\n'$question$'<|im_end|>\n<|im_start|>assistant\n<think></think>'
answers "$paris" '' run "$work/plain" "$prompt"
grep -q 'temperature 0.25, top-p 1, top-k 1' "$work/stderr" || fail 'generation_config.json was not followed'

# The Hugging Face cache.
mkdir -p "$work/hub/models--some--demo"/{snapshots,refs}
ln -s "$(realpath "$model")" "$work/hub/models--some--demo/snapshots/abc"
printf abc >"$work/hub/models--some--demo/refs/main"
answers "$paris" '' run some/demo "$question"
expect 3 'fetch it with: hf download some/other' '' run some/other "$question"
expect 3 'there is no folder ./none' '' run ./none "$question"
expect 3 'is a file' '' run "$model/config.json" hello

expect 2 'the prompt is empty' '' run "$model"
expect 2 'top_p is' '' run "$model" hello --top-p 2
expect 2 'one argument too many' '' run -m "$model" -p hello there
expect 2 'longest context is 4096' '' run "$model" "$question" --ctx 1000000000
expect 2 'the context has room for' '' run "$model" "$question" --ctx 10
expect 0 '"largest_context": 4096' '' plan "$model" --json
expect 4 '"fits": false' '' plan "$model" --json --sequences 1000000
cp -r "$model" "$work/long"
sed -i 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 1000000000000/' "$work/long/config.json"
expect 4 'the largest context that fits is --ctx' '' run "$work/long" --ctx 1000000000000 hello
expect 0 'keys and values' '' plan "$model" --ctx 1000 --kv-cache fp8
expect 0 'exact numerics (auto: ' '' plan "$model"
if [[ $("$strata" plan "$model" 2>&1) != *'(auto: there is a usable GPU)'* ]]; then
  # No GPU, or a build without CUDA: auto computes on the CPU, and who asks for CUDA hears why not.
  expect 0 ' threads, exact numerics (auto: ' '' plan "$model"
  answers "$paris" '' run "$model" "$question" --backend auto
  for command in run plan validate bench; do
    output=$("$strata" $command "$model" --backend cuda 2>&1 >/dev/null <<<hello)
    [ $? = 5 ] && [ "$(wc -l <<<"$output")" = 1 ] && [[ "$output" == 'strata: '* ]] ||
      fail "$command --backend cuda: expected exit 5 and one sentence, found \"$output\""
  done
fi
expect 0 'threads, exact numerics' '' plan "$model" --backend cpu --numerics exact
expect 2 'the cpu backend is exact only; leave out --numerics fast' '' plan "$model" --backend cpu --numerics fast
expect 2 'the reference backend is exact only' '' run "$model" --backend reference --numerics fast hello
expect 2 'bash' '' completions ksh

"$strata" completions bash | bash -n || fail 'the bash completion is no bash'
for shell in zsh fish; do
  [[ $("$strata" completions $shell) == *kv-cache* ]] || fail "the $shell completion lacks --kv-cache"
  if command -v $shell >/dev/null; then
    "$strata" completions $shell >"$work/script" && $shell -n "$work/script" || fail "the $shell completion is no $shell"
  fi
done
words=$(bash -c "source <($(printf %q "$strata") completions bash)
  COMP_WORDS=(strata run --kv-cache '') COMP_CWORD=3; _strata; echo \${COMPREPLY[*]}
  COMP_WORDS=(strata pl) COMP_CWORD=1; _strata; echo \${COMPREPLY[*]}")
[ "$words" = $'auto bf16 fp8\nplan' ] || fail "bash completes \"$words\""

python3 "$(dirname "$0")/run_chat.py" "$strata" "$model" "$work" || fail 'the chat is not as expected'

[ "$failures" = 0 ] && echo "run_commands: all as expected"
exit "$failures"
