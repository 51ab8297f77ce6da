// What the page says in words, shown and read out.
import assert from "node:assert/strict";
import { test } from "node:test";
import { age, duration, figuresInWords, progressInWords, thoughtInWords, words } from "./format.ts";
import { Sentences } from "./sentences.ts";

test("sentences are read once each, when they are whole", () => {
  const sentences = new Sentences();
  assert.deepEqual(sentences.next("One sentence. And the be", false), ["One sentence."]);
  assert.deepEqual(sentences.next("One sentence. And the beginning", false), []);
  assert.deepEqual(sentences.next("One sentence. And the beginning ends! It", false), ["And the beginning ends!"]);
  assert.deepEqual(sentences.next("One sentence. And the beginning ends! It **is** 3.5 m\n- [a](b)", true), ["It is 3.5 m", "a"]);
});

test("code is named, not read", () => {
  const sentences = new Sentences();
  assert.deepEqual(sentences.next("Look.\n```py\nx = 1. Or 2.\n```\nDone.\n", true), ["Look.", "Code block.", "Done."]);
});

test("a text read in any pieces gives the same sentences", () => {
  const text = "# Title\n\nA first. A second? `code` here.\n\n```\nx. y\n```\n\n- item one\n- item two. More\n";
  const whole = new Sentences().next(text, true).join(" ");
  for (let at = 0; at <= text.length; at++) {
    const sentences = new Sentences();
    const said = [...sentences.next(text.slice(0, at), false), ...sentences.next(text, true)];
    assert.equal(said.join(" "), whole, `split at ${at}`);
  }
});

test("figures say what is known and no more", () => {
  assert.equal(figuresInWords({}), "");
  assert.equal(figuresInWords({ answerTokens: 1, tokensPerSecond: 41.25, firstTokenMs: 210, promptTokens: 1200, cachedTokens: 1100 }), "1 token · 41.3 tokens/s · first token after 0.21 s · 1,100 of 1,200 prompt tokens from cache");
  assert.equal(thoughtInWords(12_000, 640), "Thought for 12 s · 640 tokens");
  assert.equal(duration(125_000), "2 min 5 s");
  assert.equal(words("Two words, – 3!"), 3);
});

test("progress says the time that is left", () => {
  assert.equal(progressInWords({}), "Reading the prompt");
  assert.equal(progressInWords({ total: 3000, cache: 1000, processed: 2000, time_ms: 4000 }), "Reading the prompt: 2,000 of 3,000 tokens, about 4.0 s left");
  assert.equal(progressInWords({ total: 10, processed: 10 }), "Reading the prompt: 10 of 10 tokens");
});

test("chats are grouped by the days since", () => {
  const noon = new Date(2026, 5, 15, 12).getTime();
  const hours = (count: number) => noon - count * 3600 * 1000;
  assert.deepEqual([hours(1), hours(13), hours(40), hours(24 * 9)].map((then) => age(then, noon)), ["Today", "Yesterday", "Last seven days", "Older"]);
});
