// The results of serve_bench.mjs for two servers as a Markdown table. usage: node serve_table.mjs FOLDER
// FOLDER has strata-PART.json and peer-PART.json.
import fs from 'node:fs';
import path from 'node:path';

const folder = process.argv[2];
const of = (server, part) => {
  const file = path.join(folder, `${server}-${part}.json`);
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {};
};
const laterTurns = turns => {
  const times = turns.slice(1).map(turn => turn.ttft_ms).toSorted((a, b) => a - b);
  return times[times.length >> 1];
};
const gap = gaps => gaps ? gaps.gap_p99_ms : 'no answer';
const higher = (a, b) => `${(a / b).toFixed(1)} ×`, lower = (a, b) => `${(a / b).toFixed(2)} ×`;

// What is measured, its part, how to read it, and how the two compare, if they do.
const rows = [
  ['one stream of 200 tokens, tok/s', 'single', r => r.tok_s, higher],
  ['its first token, ms', 'single', r => r.ttft_ms, lower],
  ['of that, beyond the prompt\'s own time, ms', 'single', r => r.added_ms],
  ...[8, 32, 64].map(n => [`${n} streams at once, tok/s in all`, 'streams', r => r[n].tok_s, higher]),
  ['96 questions alone, then all at once: texts that differ', 'same', r => r.texts],
  ['the same: log probabilities that differ', 'same', r => r.logprobs],
  ['170 questions, 32 at a time: answers that are not the reference\'s', 'answers', r => r.differ],
  ['4 streams, p99 gap between tokens, ms', 'beside', r => r.without.gap_p99_ms, lower],
  ['the same with 2,500-token prompts beside them, ms', 'beside', r => r.beside.gap_p99_ms, lower],
  ['the longest gap then, ms', 'beside', r => r.beside.gap_max_ms, lower],
  ['the long prompt\'s first token against the same alone', 'beside', r => `${(r.long_beside_ms / r.long_alone_ms).toFixed(2)} ×`],
  ['2,500-token chat, first token of later turns, ms', 'turns', r => laterTurns(r.turns), lower],
  ['64 streams cut off by their clients, then one request, ms', 'cancel', r => r.next_answer_ms, lower],
  ['10,000 idle connections: open', 'idle', r => r.open],
  ['their memory, MB', 'idle', r => r.mb],
  ['a stream\'s p99 gap without / beside them, ms', 'idle', r => `${gap(r.without)} / ${gap(r.beside)}`],
];

const read = (row, result) => result.error ? 'error' : result.part ? row(result) : undefined;
console.log('| what | Strata | llama-server | ratio |\n|---|--:|--:|--:|');
for (const [what, part, row, compare] of rows) {
  const [ours, theirs] = ['strata', 'peer'].map(server => read(row, of(server, part)));
  const ratio = compare && Number.isFinite(ours) && Number.isFinite(theirs) ? compare(ours, theirs) : '';
  const show = value => typeof value === 'number' ? value.toLocaleString('en-US') : value ?? '–';
  console.log(`| ${what} | ${show(ours)} | ${show(theirs)} | ${ratio} |`);
}
