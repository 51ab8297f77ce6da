#!/usr/bin/env bash
# The text commands as a user calls them: answers, exit codes, and one sentence for what is wrong.
# usage: text_commands.sh STRATA MODEL
set -uo pipefail
strata=$1 model=$2 failures=0

# expect EXIT_CODE TEXT STDIN ARGUMENTS...: TEXT must occur in stdout or stderr.
expect() {
  local code=$1 text=$2 input=$3 output got
  shift 3
  output=$(printf '%s' "$input" | "$strata" "$@" 2>&1)
  got=$?
  if [ "$got" != "$code" ] || [[ "$output" != *"$text"* ]]; then
    echo "strata $*: expected exit $code and \"$text\", found $got and \"$output\""
    failures=$((failures + 1))
  fi
}

expect 0 '416 332 304 405 303 2076 62' 'What is the capital of France?' tokenize "$model"
expect 0 '{"ids":[416,' 'What is the capital of France?' tokenize "$model" --json
expect 0 'What is the capital of France?' '{"ids": [416, 332, 304, 405, 303, 2076, 62]}' detokenize "$model"
expect 0 '<|im_start|>assistant' '{"messages": [{"role": "user", "content": "Hi"}]}' template "$model"
expect 2 'stdin: expected valid JSON' '{' template "$model"
expect 2 'stdin: expected valid JSON' '[1' detokenize "$model"
expect 2 'expected token ids' '{"a": 1}' detokenize "$model"
expect 2 'expected token ids, found "x' '1 x' detokenize "$model"
expect 2 'Unknown role: x' '{"messages": [{"role": "x", "content": "Hi"}]}' template "$model"
expect 2 'not expected' '' tokenize --bogus "$model"
expect 3 "can't be opened" '' tokenize "$model/none"

[ "$failures" = 0 ] && echo "text_commands: all as expected"
exit "$failures"
