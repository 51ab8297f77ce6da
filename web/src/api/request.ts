// Makes the request for the next answer from the chat and the settings.
import type { Message } from "../chat/tree.ts";
import type { Settings } from "../chat/settings.ts";
import type { ChatRequest, RequestMessage } from "./types.ts";

/**
 * The request that asks for the message after `path`. Messages marked as left out are not sent, and neither is the
 * thinking of earlier answers, which the family's chat template drops.
 */
export function chatRequest(path: Message[], settings: Settings, model: string | undefined): ChatRequest {
  const messages: RequestMessage[] = path.filter((message) => !message.leftOut).map(requestMessage);
  if (settings.system.trim()) messages.unshift({ role: "system", content: settings.system });
  const request: ChatRequest = {
    messages,
    stream: true,
    stream_options: { include_usage: true },
    return_progress: true,
    chat_template_kwargs: { enable_thinking: settings.thinking },
  };
  if (model) request.model = model;
  if (settings.thinking && settings.thinkingBudget !== null) request.thinking_token_budget = settings.thinkingBudget;
  if (settings.temperature !== null) request.temperature = settings.temperature;
  if (settings.topP !== null) request.top_p = settings.topP;
  if (settings.maxTokens !== null) request.max_tokens = settings.maxTokens;
  if (settings.seed !== null) request.seed = settings.seed;
  if (settings.schemaOn) {
    const schema: unknown = JSON.parse(settings.schema);
    request.response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
  }
  if (settings.toolsOn) request.tools = JSON.parse(settings.tools) as unknown[];
  return request;
}

function requestMessage(message: Message): RequestMessage {
  const calls = message.toolCalls ?? [];
  if (calls.length === 0) return { role: message.role, content: message.content };
  return {
    role: message.role,
    content: message.content || null,
    tool_calls: calls.map(({ id, name, arguments: text }) => ({ id, type: "function", function: { name, arguments: text } })),
  };
}
