// Writes tests/fixtures/tokenizer/demo_ids.json, what Hugging Face's tokenizer makes of texts with the demo model's
// tokenizer.json: `node demo_ids.mjs FOLDER REPOSITORY`, after fetch.mjs.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { corpus } from './corpus.mjs';

const [folder, repository] = process.argv.slice(2).map((path) => resolve(path));
const { Tokenizer } = createRequire(join(folder, 'package.json'))('tokenizers');
const tokenizer = Tokenizer.fromFile(join(repository, 'models/demo/tokenizer.json'));
const specials = ['<|im_start|>', '<|im_end|>', '<think>', '</think>', '<s>', '</s>', '<SPECIAL_999>'];

// What was written by hand, and a sample of the generated mixtures and characters; short ones only.
const texts = corpus(specials, []).filter((text, i) => text.length <= 512 && (i < 330 || i % 40 === 0));
const lines = [];
for (const text of texts) {
  const ids = (await tokenizer.encode(text, null, { addSpecialTokens: true })).getIds();
  lines.push(`{"text": ${JSON.stringify(text)}, "ids": [${ids}]}`);
}
const target = join(repository, 'tests/fixtures/tokenizer/demo_ids.json');
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, `[\n${lines.join(',\n')}\n]\n`);
