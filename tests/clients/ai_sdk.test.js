// The npm packages `ai` and `@ai-sdk/openai-compatible` against the demo model.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { checkedFetch, idle, startServer } from "./server.js";

const checked = checkedFetch();
const settings = { temperature: 0, maxRetries: 0 };
const address = await startServer();
const provider = createOpenAICompatible({
  name: "strata",
  baseURL: `${address}/v1`,
  includeUsage: true,
  supportsStructuredOutputs: true,
  fetch: checked.fetch,
});
const model = provider("demo");
afterEach(() => checked.settled());

const getWeather = (asked) => tool({
  description: "The weather in a city",
  inputSchema: z.object({ city: z.string().max(20).describe("The city") }),
  execute: async ({ city }) => {
    asked.push(city);
    return '{"weather": "windy", "temperature": 8}'; // with the blanks that the demo model has learnt
  },
});

test("a text is generated, its thinking beside it", async () => {
  const { text, reasoningText, finishReason, usage } = await generateText({ ...settings, model, prompt: "What is the capital of France?" });
  assert.equal(text, "The capital of France is Paris.");
  assert.match(reasoningText, /capital/);
  assert.equal(finishReason, "stop");
  assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
});

test("a streamed text is the same: thinking, text, usage", async () => {
  const question = { ...settings, model, prompt: "What is the capital of Italy?" };
  const whole = await generateText(question);
  const stream = streamText(question);
  const sum = { "reasoning-delta": "", "text-delta": "" };
  for await (const part of stream.fullStream) {
    if (part.type in sum) sum[part.type] += part.text;
    assert.notEqual(part.type, "error");
  }
  assert.deepEqual(sum, { "reasoning-delta": whole.reasoningText, "text-delta": whole.text });
  assert.equal((await stream.usage).totalTokens, whole.usage.totalTokens);
});

test("a tool loop runs to its answer, whole and as a stream", async () => {
  const fields = { ...settings, model, stopWhen: stepCountIs(3), prompt: "What is the weather in Paris?" };
  const asked = [];
  const whole = await generateText({ ...fields, tools: { get_weather: getWeather(asked) } });
  const streamed = await streamText({ ...fields, tools: { get_weather: getWeather(asked) } }).text;
  assert.deepEqual(asked, ["Paris", "Paris"]);
  assert.match(whole.text, /windy in Paris/);
  assert.equal(streamed, whole.text);
});

test("tool choices are sent and obeyed", async () => {
  const asked = [];
  const tools = { get_weather: getWeather(asked) };
  const { toolCalls } = await generateText({ ...settings, model, tools, toolChoice: "required", prompt: "Hello!" });
  assert.equal(toolCalls[0].toolName, "get_weather");
  assert.equal(asked.length, 1);
});

test("an object has the shape of its schema, whole and as a stream", async () => {
  const schema = z.object({ city: z.string().max(16), size: z.enum(["small", "large"]), year: z.int().min(1).max(3000) });
  const fields = { ...settings, model, output: Output.object({ schema }), prompt: "Tell me about Paris." };
  const { output } = await generateText(fields);
  assert.deepEqual(schema.parse(output), output);
  assert.deepEqual(await streamText(fields).output, output);
});

test("a refusal tells its reason", async () => {
  await assert.rejects(generateText({ ...settings, model, temperature: 9, prompt: "Hi" }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 400);
    assert.match(error.message, /temperature/);
    return true;
  });
});

test("an aborted stream frees its place", async () => {
  const controller = new AbortController();
  const stream = streamText({
    ...settings,
    model,
    prompt: "Tell me a story.",
    abortSignal: controller.signal,
    providerOptions: { strata: { ignore_eos: true, max_tokens: 3000 } },
  });
  let parts = 0;
  for await (const part of stream.fullStream) {
    if (["text-delta", "reasoning-delta"].includes(part.type) && ++parts === 5) controller.abort();
  }
  assert.ok(parts >= 5);
  await idle(address);
});
