// Variants of the demo tokenizer for what no known family uses.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const split = (Regex, behavior, invert) => ({ type: 'Split', pattern: { Regex }, behavior, invert });
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
const sequence = (...pretokenizers) => ({ type: 'Sequence', pretokenizers: [...pretokenizers, byteLevel] });
const behaviors = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'];

// Adds a token under the id that it has in the vocabulary, or under the next one.
function addToken(json, content, flags) {
  const id = json.model.vocab[content.replaceAll('\n', '\u010a')] ?? Math.max(4095, ...json.added_tokens.map((token) => token.id)) + 1;
  json.added_tokens.push(
    { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...flags });
}

export const variants = {
  flags: (json) => {
    json.normalizer = { type: 'Sequence', normalizers: [{ type: 'NFKD' }, { type: 'NFC' }] };
    addToken(json, ' \n', {});
    addToken(json, 'x_l', { lstrip: true });
    addToken(json, '!!', { rstrip: true });
    addToken(json, '|>', { single_word: true });
    addToken(json, 'aab', { single_word: true });
    addToken(json, '\u00e9\u00e9', { normalized: true });
    addToken(json, '<s', { normalized: true });
    addToken(json, '字字', { lstrip: true, rstrip: true, single_word: true, normalized: true, special: true });
  },
  prefix_space: (json) => (json.pre_tokenizer = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true }),
  digits: (json) => (json.pre_tokenizer = sequence({ type: 'Digits', individual_digits: false }, { type: 'Punctuation', behavior: 'Contiguous' })),
  classes: (json) => (json.pre_tokenizer = sequence(split('\\w+', 'Isolated', false), split('[^\\S\\n]+|\\W', 'MergedWithNext', false))),
  ...Object.fromEntries(behaviors.flatMap((behavior) => [false, true].map((invert) => [
    `${behavior}${invert ? '_inverted' : ''}`,
    (json) => (json.pre_tokenizer = sequence(split('\\p{L}+|(?=\\n)|\\s', behavior, invert)))]))),
};

/** Writes them beside the families' files in `folder`. */
export function writeVariants(folder, repository) {
  for (const [name, change] of Object.entries(variants)) {
    const json = JSON.parse(readFileSync(join(repository, 'models/demo/tokenizer.json')));
    change(json);
    mkdirSync(join(folder, 'models', name), { recursive: true });
    writeFileSync(join(folder, 'models', name, 'tokenizer.json'), JSON.stringify(json));
  }
}
