// Answers put together from chunks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Answer } from "./answer.ts";
import type { Chunk } from "./types.ts";

const delta = (fields: object, finish: string | null = null): Chunk => ({ choices: [{ delta: fields, finish_reason: finish }] });

test("reasoning that comes under both names is taken once", () => {
  const answer = new Answer(0);
  answer.add(delta({ reasoning: "hm", reasoning_content: "hm" }), 10);
  answer.add(delta({ reasoning: ", so" }), 20);
  assert.equal(answer.reasoning, "hm, so");
});

test("phases follow the stream", () => {
  const answer = new Answer(0);
  assert.equal(answer.phase, "waiting");
  answer.add({ prompt_progress: { total: 10, processed: 5 } }, 1);
  assert.equal(answer.phase, "reading");
  answer.add(delta({ reasoning: "a" }), 2);
  assert.equal(answer.phase, "thinking");
  answer.add(delta({ content: "b" }), 3);
  assert.equal(answer.phase, "answering");
});

test("arguments of interleaved tool calls join by index", () => {
  const answer = new Answer(0);
  answer.add(delta({ tool_calls: [{ index: 0, id: "x", function: { name: "f", arguments: "" } }] }), 1);
  answer.add(delta({ tool_calls: [{ index: 1, id: "y", function: { name: "g", arguments: "[" } }] }), 2);
  answer.add(delta({ tool_calls: [{ index: 0, function: { arguments: "{}" } }] }), 3);
  answer.add(delta({ tool_calls: [{ index: 1, function: { arguments: "]" } }] }), 4);
  assert.deepEqual(answer.toolCalls, [
    { id: "x", name: "f", arguments: "{}" },
    { id: "y", name: "g", arguments: "[]" },
  ]);
});

test("the server's figures win over the counted ones", () => {
  const answer = new Answer(100);
  answer.add(delta({ reasoning: "a" }), 150);
  answer.add(delta({ content: "b" }), 250);
  answer.add(delta({ content: "c" }), 350);
  assert.deepEqual({ ...answer.figures() }, { promptTokens: undefined, cachedTokens: undefined, answerTokens: 3, thinkingTokens: 1, firstTokenMs: 50, tokensPerSecond: 10 });
  answer.add({ choices: [], usage: { prompt_tokens: 9, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 8 } }, timings: { predicted_per_second: 40 } }, 360);
  assert.deepEqual(answer.figures(), { promptTokens: 9, cachedTokens: 8, answerTokens: 4, thinkingTokens: 1, firstTokenMs: 50, tokensPerSecond: 40 });
});

test("the time of thinking stops where the answer starts", () => {
  const answer = new Answer(0);
  assert.equal(answer.thinkingMs(5), undefined);
  answer.add(delta({ reasoning: "a" }), 10);
  assert.equal(answer.thinkingMs(500), 490);
  answer.add(delta({ reasoning: "a" }), 600);
  answer.add(delta({ content: "b" }), 700);
  assert.equal(answer.thinkingMs(9000), 590);
});

test("chunks with missing or empty fields are no error", () => {
  const answer = new Answer(0);
  for (const chunk of [{}, { choices: [] }, { choices: [{}] }, delta({ content: null, tool_calls: null }), { usage: null, timings: null }]) answer.add(chunk, 1);
  assert.equal(answer.pieces, 0);
  assert.equal(answer.phase, "waiting");
});
