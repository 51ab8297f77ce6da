// The npm client `openai` against the demo model: what its users call, and what it makes of refusals.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterEach, test } from "node:test";
import { promisify } from "node:util";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { checkedFetch, idle, startServer } from "./server.js";

const MODEL = "demo";
const ask = (content) => [{ role: "user", content }];
const france = { model: MODEL, messages: ask("What is the capital of France?"), temperature: 0 };
const briefly = { chat_template_kwargs: { enable_thinking: false } };
const getWeather = zodFunction({
  name: "get_weather",
  description: "The weather in a city",
  parameters: z.object({ city: z.string().max(20).describe("The city") }),
});
/** What the tool says, with the blanks that the demo model has learnt. */
const result = (sky) => `{"weather": "${sky}", "temperature": 11}`;
const weather = { model: MODEL, messages: ask("What is the weather in Paris?"), tools: [getWeather], temperature: 0 };

const checked = checkedFetch();
const address = await startServer();
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "none", maxRetries: 0, fetch: checked.fetch });
afterEach(() => checked.settled());

test("models are listed and told of", async () => {
  const ids = [];
  for await (const { id } of client.models.list()) ids.push(id);
  assert.deepEqual(ids, [MODEL]);
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
});

test("a chat is answered, its thinking beside it", async () => {
  const { choices: [choice], usage } = await client.chat.completions.create(france);
  assert.equal(choice.message.content, "The capital of France is Paris.");
  assert.match(choice.message.reasoning_content, /capital/);
  assert.equal(choice.finish_reason, "stop");
  assert.ok(usage.completion_tokens_details.reasoning_tokens > 0);
});

test("a stream of chunks adds up to the whole answer, with usage", async () => {
  const fields = { ...france, seed: 3, temperature: 0.8, logprobs: true, top_logprobs: 2 };
  const whole = await client.chat.completions.create(fields);
  const stream = await client.chat.completions.create({ ...fields, stream: true, stream_options: { include_usage: true } });
  const sum = { content: "", reasoning: "", logprobs: [] };
  let usage;
  for await (const chunk of stream) {
    const choice = chunk.choices[0];
    sum.content += choice?.delta.content ?? "";
    sum.reasoning += choice?.delta.reasoning ?? "";
    sum.logprobs.push(...(choice?.logprobs?.content ?? []));
    usage = chunk.usage ?? usage;
  }
  const [{ message, logprobs }] = whole.choices;
  assert.deepEqual(sum, { content: message.content, reasoning: message.reasoning, logprobs: logprobs.content });
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("the streaming helper makes the same message of it", async () => {
  const whole = await client.chat.completions.create(france);
  const stream = client.chat.completions.stream({ ...france, stream_options: { include_usage: true } });
  const deltas = [];
  stream.on("content", (delta) => deltas.push(delta));
  const final = await stream.finalChatCompletion();
  assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
  assert.equal(deltas.join(""), whole.choices[0].message.content);
  assert.deepEqual((await stream.totalUsage()).total_tokens, whole.usage.total_tokens);
});

test("n answers come whole and as a stream", async () => {
  const fields = { ...france, ...briefly, n: 3, temperature: 1, seed: 5, max_tokens: 12 };
  const whole = await client.chat.completions.create(fields);
  const final = await client.chat.completions.stream(fields).finalChatCompletion();
  const texts = ({ choices }) => choices.map(({ message }) => message.content);
  assert.equal(whole.choices.length, 3);
  assert.deepEqual(texts(final), texts(whole));
});

test("a tool is called and its result used, from the state that the call left", async () => {
  const first = await client.chat.completions.create({ ...weather, ...briefly });
  const { message, finish_reason: reason } = first.choices[0];
  assert.equal(reason, "tool_calls");
  assert.equal(message.tool_calls[0].function.name, "get_weather");
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: "Paris" });
  const told = { role: "tool", tool_call_id: message.tool_calls[0].id, content: result("rainy") };
  const second = await client.chat.completions.create({ ...weather, ...briefly, messages: [...weather.messages, message, told] });
  assert.match(second.choices[0].message.content, /rainy in Paris/);
  assert.ok(second.usage.prompt_tokens_details.cached_tokens >= first.usage.total_tokens - 1, JSON.stringify(second.usage));
});

test("a streamed tool call has the same arguments", async () => {
  const whole = await client.chat.completions.create(weather);
  const stream = client.chat.completions.stream(weather);
  const final = await stream.finalChatCompletion();
  const call = ({ choices: [{ message }] }) => message.tool_calls.map(({ function: f }) => [f.name, f.arguments]);
  assert.deepEqual(call(final), call(whole));
});

test("tool_choice holds: required, named and none", async () => {
  const chosen = async (tool_choice) => (await client.chat.completions.create({ ...weather, messages: ask("Hello!"), tool_choice, max_tokens: 200 })).choices[0].message.tool_calls?.[0].function.name;
  assert.equal(await chosen("required"), "get_weather");
  assert.equal(await chosen({ type: "function", function: { name: "get_weather" } }), "get_weather");
  assert.equal(await chosen("none"), undefined);
});

test("the tool runner loops until there is an answer", async () => {
  const asked = [];
  const tool = {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      parse: JSON.parse,
      function: ({ city }) => {
        asked.push(city);
        return result("sunny");
      },
    },
  };
  const runner = client.chat.completions.runTools({ ...weather, tools: [tool] });
  assert.match(await runner.finalContent(), /sunny in Paris/);
  assert.deepEqual(asked, ["Paris"]);
});

test("a zod schema is obeyed and parsed, whole and as a stream", async () => {
  const City = z.object({
    name: z.string().max(16),
    inhabitants: z.int().min(0).max(99_999_999),
    coast: z.boolean(),
    kind: z.enum(["town", "capital"]),
    rivers: z.array(z.string().max(8)).max(2),
    mayor: z.string().max(8).nullable(),
  });
  const fields = { ...france, ...briefly, response_format: zodResponseFormat(City, "city") };
  const whole = await client.chat.completions.parse(fields);
  const parsed = City.parse(whole.choices[0].message.parsed);
  const final = await client.chat.completions.stream(fields).finalChatCompletion();
  assert.deepEqual(final.choices[0].message.parsed, parsed);
});

test("json_object gives an object", async () => {
  const { choices: [{ message }] } = await client.chat.completions.create({ ...france, ...briefly, response_format: { type: "json_object" } });
  assert.equal(typeof JSON.parse(message.content), "object");
});

test("stop ends the answer before its text, length at max_tokens", async () => {
  const stopped = await client.chat.completions.create({ ...france, ...briefly, stop: ["Paris"] });
  assert.equal(stopped.choices[0].message.content, "The capital of France is ");
  assert.equal(stopped.choices[0].finish_reason, "stop");
  const cut = await client.chat.completions.create({ ...france, max_completion_tokens: 3 });
  assert.equal(cut.choices[0].finish_reason, "length");
  assert.equal(cut.usage.completion_tokens, 3);
});

test("completions echo their prompt, with log probabilities, whole and as a stream", async () => {
  const fields = { model: MODEL, prompt: "The capital of France", max_tokens: 5, echo: true, logprobs: 2, temperature: 0 };
  const { choices: [whole] } = await client.completions.create(fields);
  assert.match(whole.text, /^The capital of France/);
  assert.equal(whole.logprobs.token_logprobs[0], null);
  let text = "";
  const tokens = [];
  for await (const { choices: [choice] } of await client.completions.create({ ...fields, stream: true })) {
    text += choice.text;
    tokens.push(...(choice.logprobs?.tokens ?? []));
  }
  assert.equal(text, whole.text);
  assert.deepEqual(tokens, whole.logprobs.tokens);
});

test("refusals arrive as the client's own errors, with the field's name", async () => {
  const refused = (fields, kind, param, word) => assert.rejects(client.chat.completions.create({ ...france, ...fields }), (error) => {
    assert.ok(error instanceof kind, `${error.constructor.name} where ${kind.name} is expected: ${error.message}`);
    assert.equal(error.param, param);
    assert.match(error.message, word);
    return true;
  });
  await refused({ temperature: -1 }, OpenAI.BadRequestError, "temperature", /0 and 2|0.*2/);
  await refused({ messages: [] }, OpenAI.BadRequestError, "messages", /messages/);
  await refused({ tools: [{ type: "function" }] }, OpenAI.BadRequestError, "tools[0].function", /function/);
  await refused({ model: "gpt-5" }, OpenAI.NotFoundError, "model", /gpt-5/);
  await refused({ messages: ask("word ".repeat(6000)) }, OpenAI.BadRequestError, "messages", /4,?096/);
  await refused({ messages: ask([{ type: "image_url", image_url: { url: "data:," } }]) }, OpenAI.BadRequestError, "messages[0].content[0].type", /image_url/);
  await assert.rejects(client.embeddings.create({ model: MODEL, input: "x" }), (error) => error.status === 501);
});

test("an aborted stream frees its place, and the next request is answered", async () => {
  const stream = await client.chat.completions.create({ ...france, ignore_eos: true, max_tokens: 3000, stream: true });
  let chunks = 0;
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    if (++chunks === 5) break; // the client aborts the request
  }
  await idle(address);
  assert.match((await client.chat.completions.create(france)).choices[0].message.content, /Paris/);
});

test("an aborted request that doesn't stream frees its place too, and the next is answered", async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 100);
  const request = client.chat.completions.create({ ...france, ignore_eos: true, max_tokens: 3900 }, { signal: controller.signal });
  await assert.rejects(request, OpenAI.APIUserAbortError);
  await idle(address);
  assert.match((await client.chat.completions.create(france)).choices[0].message.content, /Paris/);
});

test("the README's JavaScript runs as it is printed", async () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, code] = /^```js\n(.*?)^```/ms.exec(readme);
  const run = promisify(execFile)(process.execPath, ["--input-type=module", "-e", code.replace("http://127.0.0.1:8737", address)], { cwd: import.meta.dirname });
  assert.match((await run).stdout, /^\{ city: '[^']*', capital: (true|false) \}\n$/);
});
