// Speaks to the server that the page came from, and to no other.
import { ApiError, errorOf } from "./api_error.ts";
import { EventStream } from "./event_stream.ts";
import type { ChatRequest, Chunk, ServedModel } from "./types.ts";

const kKeyName = "strata.key";
let keyWithoutStorage = "";

/** The API key, kept until the tab closes; empty where none was given. */
export function apiKey(): string {
  try {
    return sessionStorage.getItem(kKeyName) ?? "";
  } catch {
    return keyWithoutStorage;
  }
}

export function setApiKey(key: string): void {
  keyWithoutStorage = key;
  try {
    if (key) sessionStorage.setItem(kKeyName, key);
    else sessionStorage.removeItem(kKeyName);
  } catch {
    // Storage is blocked: the key lasts as long as the page.
  }
}

/** A key is sent as a header, where a browser takes only Latin-1 and refuses the rest with an error about something else. */
function headers(): Record<string, string> {
  const key = apiKey();
  if (!key) return {};
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new ApiError("refused", "The API key has spaces or characters that no key has.", 401, { code: "invalid_api_key" });
  }
  return { authorization: `Bearer ${key}` };
}

async function request(path: string, init: RequestInit): Promise<Response> {
  const sent = { ...init, headers: { ...init.headers, ...headers() } };
  let response: Response;
  try {
    response = await fetch(path, sent);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("unreachable", "The server can't be reached.");
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

/**
 * Sends a chat and hands each chunk of the answer to `onChunk` as it comes. Returns after `[DONE]`.
 * @throws ApiError, or the signal's reason once it is aborted.
 */
export async function streamChat(body: ChatRequest, signal: AbortSignal, onChunk: (chunk: Chunk) => void): Promise<void> {
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("text/event-stream") || !response.body) {
    throw new ApiError("refused", `The server sent ${type || "no content type"} instead of a stream.`, response.status);
  }
  const events = new EventStream();
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (const event of events.push(value)) {
        if (event === "[DONE]") return;
        const chunk = parseChunk(event);
        if (chunk.error) {
          throw new ApiError("refused", chunk.error.message ?? "The server failed during the answer.", 0, chunk.error);
        }
        onChunk(chunk);
      }
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
  } finally {
    void reader.cancel().catch(() => {});
  }
  throw new ApiError("cut_off", "The connection broke before the answer was complete.");
}

function parseChunk(event: string): Chunk {
  try {
    const chunk: unknown = JSON.parse(event);
    if (chunk && typeof chunk === "object") return chunk as Chunk;
  } catch {
    // Told below.
  }
  throw new ApiError("refused", "The server sent an event that is not JSON.");
}

/** Whether the server takes requests at this moment. */
export async function isReady(): Promise<boolean> {
  try {
    return (await fetch("ready", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/** What the server tells about its model; missing facts stay missing. @throws ApiError where it wants a key. */
export async function servedModel(): Promise<ServedModel> {
  const [models, props, version] = await Promise.all([json("v1/models"), json("props"), json("version")]);
  const model = record(Array.isArray(models.data) ? models.data[0] : undefined);
  const settings = record(props.default_generation_settings);
  const sampling = { ...props, ...settings, ...record(settings.params) };
  return {
    id: text(model.id) ?? text(props.model_alias),
    contextTokens: number(model.max_model_len) ?? number(settings.n_ctx) ?? number(props.n_ctx),
    defaults: {
      temperature: number(sampling.temperature),
      top_p: number(sampling.top_p),
      max_tokens: number(sampling.max_tokens),
    },
    version: text(version.version) ?? text(props.build_info),
  };
}

/** A JSON object, empty where the server has none there. */
async function json(path: string): Promise<Record<string, unknown>> {
  try {
    return record(await (await request(path, {})).json());
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.passes)) throw error;
    return {};
  }
}

const record = (value: unknown) => (value && typeof value === "object" ? (value as Record<string, unknown>) : {});
const text = (value: unknown) => (typeof value === "string" && value ? value : undefined);
const number = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : undefined);
