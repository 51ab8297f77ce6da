// OpenAI's published response schemas (openapi.yaml of 2026-08: CreateChatCompletionResponse and its kin), strict: a key
// that is neither in them nor among our extensions, or a required one that is missing, is an error.
import assert from "node:assert/strict";
import { z } from "zod";

const count = z.int().min(0);
const usage = z.strictObject({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.strictObject({ cached_tokens: count }),
  completion_tokens_details: z.strictObject({ reasoning_tokens: count }),
}).refine((u) => u.total_tokens === u.prompt_tokens + u.completion_tokens, "total_tokens is the sum")
  .refine((u) => u.prompt_tokens_details.cached_tokens <= u.prompt_tokens, "cached_tokens are prompt tokens");

const tokenLogprob = z.strictObject({ token: z.string(), logprob: z.number().max(0), bytes: z.array(z.int().min(0).max(255)) });
const chatLogprobs = z.strictObject({
  content: z.array(tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob).max(20) })),
  refusal: z.null(),
}).nullable();
const finish = z.enum(["stop", "length", "tool_calls", "content_filter", "timeout", "abort"]);

// Extensions of ours, by where they stand; docs/server.md tells what they are.
const reasoning = { reasoning: z.string().optional(), reasoning_content: z.string().optional() };
const ending = { stop_reason: z.string().nullable(), reasoning_truncated: z.literal(true).optional() };
const closing = { timings: z.looseObject({ prompt_n: count, predicted_n: count }), warnings: z.array(z.string()).optional() };

const head = { id: z.string().min(1), created: z.int().min(1_700_000_000), model: z.string().min(1), system_fingerprint: z.string() };
const toolCall = z.strictObject({
  id: z.string().min(1),
  type: z.literal("function"),
  function: z.strictObject({ name: z.string().min(1), arguments: z.string() }),
});

export const chatCompletion = z.strictObject({
  ...head,
  ...closing,
  id: z.string().startsWith("chatcmpl-"),
  object: z.literal("chat.completion"),
  choices: z.array(z.strictObject({
    index: count,
    message: z.strictObject({
      role: z.literal("assistant"),
      content: z.string().nullable(),
      refusal: z.null(),
      tool_calls: z.array(toolCall).min(1).optional(),
      ...reasoning,
    }),
    logprobs: chatLogprobs,
    finish_reason: finish,
    ...ending,
  })).min(1),
  usage,
});

const toolCallDelta = z.union([
  toolCall.extend({ index: count }),
  z.strictObject({ index: count, function: z.strictObject({ arguments: z.string() }) }),
]);
const chatChunkChoice = z.strictObject({
  index: count,
  delta: z.strictObject({
    role: z.literal("assistant").optional(),
    content: z.string().nullable().optional(),
    tool_calls: z.array(toolCallDelta).min(1).optional(),
    ...reasoning,
  }),
  logprobs: chatLogprobs,
  finish_reason: finish.nullable(),
  stop_reason: ending.stop_reason.optional(),
  reasoning_truncated: ending.reasoning_truncated,
});
const chunk = (object, choice) => z.strictObject({
  ...head,
  object: z.literal(object),
  choices: z.array(choice).max(1),
  usage: usage.nullable().optional(),
  timings: closing.timings.optional(),
  warnings: closing.warnings,
  prompt_progress: z.strictObject({ total: count, cache: count, processed: count, time_ms: z.number().min(0) }).optional(),
});
export const chatChunk = chunk("chat.completion.chunk", chatChunkChoice);

const legacyLogprobs = z.strictObject({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().max(0).nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(count),
}).nullable();
const completionChoice = z.strictObject({
  index: count,
  text: z.string(),
  logprobs: legacyLogprobs,
  finish_reason: finish,
  prompt_logprobs: z.array(z.unknown()).optional(),
  ...ending,
});
export const completion = z.strictObject({
  ...head,
  ...closing,
  id: z.string().startsWith("cmpl-"),
  object: z.literal("text_completion"),
  choices: z.array(completionChoice).min(1),
  usage,
});
export const completionChunk = chunk("text_completion", completionChoice.extend({
  finish_reason: finish.nullable(),
  stop_reason: ending.stop_reason.optional(),
}));

const model = z.strictObject({
  id: z.string().min(1),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  max_model_len: count,
  meta: z.looseObject({ n_ctx: count, n_vocab: count }),
  capabilities: z.record(z.string(), z.boolean()),
});
const modelList = z.strictObject({ object: z.literal("list"), data: z.array(model).min(1) });

export const error = z.strictObject({
  error: z.looseObject({
    message: z.string().min(1),
    type: z.string().min(1),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});

const routes = [
  [/\/chat\/completions$/, chatCompletion, chatChunk],
  [/\/completions$/, completion, completionChunk],
  [/\/models$/, modelList],
  [/\/models\/[^/]+$/, model],
];

function matches(shape, value, what) {
  const { success, error: fault } = shape.safeParse(value);
  assert.ok(success, `${what}: ${success || z.prettifyError(fault)} in ${JSON.stringify(value)}`);
}

/** Holds a response against the schema of its route; a stream event by event, and as a whole. */
export function checkResponse(path, status, headers, text) {
  if (status !== 200) return matches(error, JSON.parse(text), `${status} of ${path}`);
  const [, whole, part] = routes.find(([route]) => route.test(path));
  if (!headers.get("content-type").startsWith("text/event-stream")) return matches(whole, JSON.parse(text), path);
  checkStream(part, text, path);
}

function checkStream(part, text, path) {
  const events = text.split("\n\n").filter((event) => event && !event.startsWith(":"));
  assert.ok(events.every((event) => event.startsWith("data: ")), path);
  assert.equal(events.pop(), "data: [DONE]", path);
  const chunks = events.map((event) => JSON.parse(event.slice(6)));
  for (const each of chunks) matches(part, each, `chunk of ${path}`);
  // All of one answer; the role first and once; the reason last and once for each choice; usage, if at all, at the end.
  assert.equal(new Set(chunks.map(({ id, created, model: name }) => `${id} ${created} ${name}`)).size, 1);
  const choices = new Map();
  chunks.forEach((each, at) => {
    if (each.choices.length === 0) return assert.ok(at === chunks.length - 1 && each.usage, "only the last chunk has no choice");
    const [{ index, delta, finish_reason: reason }] = each.choices;
    const seen = choices.get(index) ?? { ended: false };
    assert.ok(!seen.ended, `choice ${index} goes on after its finish_reason`);
    if (delta) assert.equal(delta.role, choices.has(index) ? undefined : "assistant");
    choices.set(index, { ended: reason !== null });
  });
  assert.ok([...choices.values()].every(({ ended }) => ended), "each choice has a finish_reason");
}
