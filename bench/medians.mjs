// Reads the JSON of `strata bench --json` or `llama-bench -o json` from stdin; prints "PREFILL DECODE" in tokens per second.
import fs from 'node:fs';

const report = JSON.parse(fs.readFileSync(0, 'utf8'));
const tests = report.tests ?? report;
const median = values => values.toSorted((a, b) => a - b)[values.length >> 1];
const speed = test => median(test.samples_ts).toFixed(1);
console.log(speed(tests.find(test => test.n_gen === 0)), speed(tests.find(test => test.n_prompt === 0)));
