// A server that speaks the API of `strata serve` with scripted answers: the first word of the last question chooses one.
// `node test/mock_server.ts` serves it by hand; the tests start their own.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import * as answers from "./scripted_answers.ts";

const page = readFileSync(new URL("../dist/index.html", import.meta.url), "utf8");

/** The policy of design page server.md 4.2, with the hashes of the inline blocks. */
function contentSecurityPolicy(): string {
  const hash = (pattern: RegExp) => {
    const blocks = [...page.matchAll(pattern)];
    if (blocks.length !== 1) throw new Error(`the page has ${blocks.length} blocks of ${pattern}, not one`);
    return `'sha256-${createHash("sha256").update(blocks[0]?.[1] ?? "").digest("base64")}'`;
  };
  const script = hash(/<script type="module">([\s\S]*?)<\/script>/g);
  const style = hash(/<style>([\s\S]*?)<\/style>/g);
  return `default-src 'none'; script-src ${script}; style-src ${style}; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
}

interface ChatBody {
  messages: { role: string; content: string }[];
  chat_template_kwargs?: { enable_thinking?: boolean };
  [field: string]: unknown;
}

export class MockServer {
  /** The chat requests that came, in order. */
  readonly requests: ChatBody[] = [];
  /** Requests whose client went away before their end. */
  cancelled = 0;
  key = "";
  ready = true;
  /** Refuses so many chat requests with 429 before it takes one. */
  busyFor = 0;
  /** A chat with more messages than this does not fit. */
  mostMessages = Number.POSITIVE_INFINITY;

  private readonly server: Server = createServer((request, response) => {
    this.handle(request, response).catch(() => response.destroy());
  });

  async start(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? "/", "http://mock").pathname;
    if (path === "/") {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-security-policy": contentSecurityPolicy(), "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" });
      response.end(page);
      return;
    }
    if (path === "/ready") return send(response, this.ready ? 200 : 503, {});
    if (this.key && request.headers.authorization !== `Bearer ${this.key}`) {
      return fail(response, 401, "authentication_error", "invalid_api_key", "This server needs an API key.");
    }
    if (path === "/v1/models") return send(response, 200, { object: "list", data: [{ id: "demo", object: "model", max_model_len: 4096 }] });
    if (path === "/props") return send(response, 200, { n_ctx: 4096, default_generation_settings: { temperature: 1, top_p: 0.95 } });
    if (path === "/version") return send(response, 200, { version: "0.0.0" });
    if (path === "/v1/chat/completions") return this.chat(JSON.parse(await body(request)) as ChatBody, response);
    fail(response, 404, "not_found_error", "not_found", `There is no ${path}.`);
  }

  private async chat(request: ChatBody, response: ServerResponse): Promise<void> {
    this.requests.push(request);
    if (!this.ready) return fail(response, 503, "unavailable_error", "loading", "The model is loading.", { "retry-after": "1" });
    if (this.busyFor > 0) {
      this.busyFor--;
      return fail(response, 429, "rate_limit_error", "queue_full", "256 requests wait already.", { "retry-after": "1" });
    }
    if (request.messages.length > this.mostMessages) {
      return fail(response, 400, "invalid_request_error", "context_length_exceeded", "The prompt is too long.", {}, { n_prompt_tokens: 131_200, n_ctx: 131_072 });
    }
    const question = request.messages.at(-1)?.content ?? "";
    const [word = ""] = question.split(/\s/, 1);
    if (word === "refused") return fail(response, 400, "invalid_request_error", "unsupported_schema", "The schema's keyword 'pattern' at /properties/a is not supported.");
    if (word === "broken") return fail(response, 500, "server_error", "engine_fault", "The engine failed; request req-1.");
    await this.stream(request, word, question, response);
  }

  private async stream(request: ChatBody, word: string, question: string, response: ServerResponse): Promise<void> {
    let open = true;
    response.on("close", () => {
      open = false;
      if (!response.writableEnded) this.cancelled++;
    });
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    const event = (data: unknown) => response.write(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
    const frame = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "demo", usage: null };
    const delta = (fields: object, finish: string | null = null) => event({ ...frame, choices: [{ index: 0, delta: fields, finish_reason: finish }] });
    delta({ role: "assistant", content: null });
    response.write(": ping\n\n");
    const prompt = 40 * request.messages.length;
    const cached = request.messages.length > 1 ? prompt - 40 : 0;
    for (const processed of [cached, prompt]) {
      event({ ...frame, choices: [{ index: 0, delta: {}, finish_reason: null }], prompt_progress: { total: prompt, cache: cached, processed, time_ms: 20 } });
      await sleep(word === "slow" ? 300 : 10);
    }
    const script = answers.forQuestion(word, question, this.requests.length, request);
    const pieces = request.chat_template_kwargs?.enable_thinking === false ? script.pieces.filter((piece) => !("reasoning" in piece)) : script.pieces;
    let thought = 0;
    for (const piece of pieces) {
      if (!open) return;
      if ("reasoning" in piece) {
        thought++;
        // Both names, as the server sends them.
        delta({ reasoning_content: piece.reasoning, reasoning: piece.reasoning });
      } else {
        delta(piece);
      }
      if (script.pause) await sleep(script.pause);
    }
    if (script.end === "error") {
      event({ error: { message: "The engine failed during the answer.", type: "server_error", param: null, code: null } });
      event("[DONE]");
      response.end();
      return;
    }
    if (script.end === "cut") {
      await sleep(20);
      response.destroy();
      return;
    }
    const timings = { prompt_n: prompt - cached, prompt_ms: 20, predicted_n: pieces.length, predicted_ms: 100, predicted_per_second: 41.25 };
    event({ ...frame, choices: [{ index: 0, delta: {}, finish_reason: script.end }], timings });
    const usage = { prompt_tokens: prompt, completion_tokens: pieces.length, total_tokens: prompt + pieces.length, prompt_tokens_details: { cached_tokens: cached }, completion_tokens_details: { reasoning_tokens: thought } };
    event({ ...frame, choices: [], usage });
    event("[DONE]");
    response.end();
  }
}

function send(response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

function fail(response: ServerResponse, status: number, type: string, code: string, message: string, headers = {}, more = {}): void {
  send(response, status, { error: { message, type, param: null, code, ...more } }, headers);
}

async function body(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

if (process.argv[1] === import.meta.filename) {
  console.log(await new MockServer().start(Number(process.env.PORT ?? 8080)));
}
