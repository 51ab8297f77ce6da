// Requests made from chats and settings; failures in words.
import assert from "node:assert/strict";
import { test } from "node:test";
import { kDefaults } from "../chat/settings.ts";
import type { Message } from "../chat/tree.ts";
import { ApiError, errorOf } from "./api_error.ts";
import { describe } from "./problem.ts";
import { chatRequest } from "./request.ts";

const message = (role: Message["role"], content: string, more: Partial<Message> = {}): Message => ({ id: content, parent: null, role, content, created: 0, ...more });

test("default settings send no sampling field", () => {
  const request = chatRequest([message("user", "hi")], kDefaults, "m");
  assert.deepEqual(Object.keys(request).sort(), ["chat_template_kwargs", "messages", "model", "return_progress", "stream", "stream_options"]);
  assert.deepEqual(request.messages, [{ role: "user", content: "hi" }]);
});

test("zero is a value, not a missing one", () => {
  const request = chatRequest([], { ...kDefaults, temperature: 0, topP: 0, seed: 0, thinkingBudget: 0 }, "m");
  assert.deepEqual([request.temperature, request.top_p, request.seed, request.thinking_token_budget], [0, 0, 0, 0]);
});

test("thinking of earlier answers and messages left out are not sent", () => {
  const path = [message("user", "a", { leftOut: true }), message("user", "b"), message("assistant", "c", { reasoning: "secret" })];
  const request = chatRequest(path, { ...kDefaults, system: "be brief" }, undefined);
  assert.deepEqual(request.messages, [
    { role: "system", content: "be brief" },
    { role: "user", content: "b" },
    { role: "assistant", content: "c" },
  ]);
});

test("tool calls go back as the API has them", () => {
  const request = chatRequest([message("assistant", "", { toolCalls: [{ id: "1", name: "f", arguments: "{}" }] })], kDefaults, "m");
  assert.deepEqual(request.messages, [{ role: "assistant", content: null, tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{}" } }] }]);
});

test("a schema goes out as response_format", () => {
  const request = chatRequest([], { ...kDefaults, schemaOn: true, schema: '{"type":"object"}' }, "m");
  assert.deepEqual(request.response_format, { type: "json_schema", json_schema: { name: "answer", strict: true, schema: { type: "object" } } });
});

test("an error's body is read; a body that is none still gives words", async () => {
  const full = await errorOf(new Response('{"error":{"message":"m","type":"t","param":null,"code":"queue_full"}}', { status: 429, headers: { "retry-after": "7" } }));
  assert.deepEqual([full.message, full.code, full.retryAfter, full.passes], ["m", "queue_full", 7, true]);
  for (const body of ["<html>", "", "null", '{"error":null}', "[1]"]) {
    const error = await errorOf(new Response(body, { status: 500 }));
    assert.deepEqual([error.message, error.passes], ["The server answered with status 500.", false]);
  }
});

test("a chat that is too long is told with its numbers", () => {
  const error = new ApiError("refused", "no", 400, { code: "context_length_exceeded", n_prompt_tokens: 131_200, n_ctx: 131_072 });
  assert.deepEqual(describe(error), {
    title: "This chat is too long",
    text: "This chat is 131,200 tokens; the limit is 131,072.",
    remedies: ["leave_out_oldest", "new_chat"],
  });
});
