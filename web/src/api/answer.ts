// Puts an answer together from the chunks of its stream, and measures it on the way.
import type { Chunk, PromptProgress, Timings, ToolCall, Usage } from "./types.ts";

export type Phase = "waiting" | "reading" | "thinking" | "answering";

/** What was measured of an answer. Times in milliseconds; what the server did not say stays missing. */
export interface Figures {
  promptTokens?: number;
  cachedTokens?: number;
  answerTokens?: number;
  thinkingTokens?: number;
  /** From sending the request to its first token, as the browser saw it. */
  firstTokenMs?: number;
  tokensPerSecond?: number;
}

export class Answer {
  content = "";
  reasoning = "";
  toolCalls: ToolCall[] = [];
  finish: string | undefined;
  model: string | undefined;
  progress: PromptProgress | undefined;
  /** Chunks that carried text: while the stream runs, about its tokens. */
  pieces = 0;

  #usage: Usage = {};
  #timings: Timings = {};
  readonly #sentAt: number;
  #firstAt: number | undefined;
  #lastAt: number | undefined;
  #thoughtUntil: number | undefined;
  #thinkingPieces = 0;

  /** @param sentAt the time of the request, on the clock of `add` */
  constructor(sentAt: number) {
    this.#sentAt = sentAt;
  }

  add(chunk: Chunk, now: number): void {
    this.model ??= chunk.model;
    if (chunk.prompt_progress) this.progress = chunk.prompt_progress;
    if (chunk.usage) this.#usage = chunk.usage;
    if (chunk.timings) this.#timings = chunk.timings;
    const choice = chunk.choices?.[0];
    if (choice?.finish_reason) this.finish = choice.finish_reason;
    const delta = choice?.delta ?? {};
    // Servers send the same text under both names.
    const reasoning = delta.reasoning_content ?? delta.reasoning ?? "";
    const calls = delta.tool_calls ?? [];
    if (!reasoning && !delta.content && calls.length === 0) return;

    this.pieces++;
    this.#firstAt ??= now;
    this.#lastAt = now;
    if (reasoning) {
      this.reasoning += reasoning;
      this.#thinkingPieces++;
      this.#thoughtUntil = now;
    }
    if (delta.content) this.content += delta.content;
    for (const call of calls) {
      const index = call.index ?? 0;
      const whole = (this.toolCalls[index] ??= { id: "", name: "", arguments: "" });
      if (call.id) whole.id = call.id;
      if (call.function?.name) whole.name = call.function.name;
      whole.arguments += call.function?.arguments ?? "";
    }
  }

  get phase(): Phase {
    if (this.content || this.toolCalls.length > 0) return "answering";
    if (this.reasoning) return "thinking";
    return this.progress ? "reading" : "waiting";
  }

  /** How long the model thought, until `now` while it still thinks; nothing where it did not. */
  thinkingMs(now: number): number | undefined {
    if (this.#firstAt === undefined || this.#thoughtUntil === undefined) return undefined;
    const still = this.phase === "thinking" && this.finish === undefined;
    return (still ? now : this.#thoughtUntil) - this.#firstAt;
  }

  /** The figures so far; exact once the usage has come. */
  figures(): Figures {
    const { prompt_tokens, completion_tokens, prompt_tokens_details, completion_tokens_details } = this.#usage;
    const seconds = this.#firstAt === undefined ? 0 : ((this.#lastAt ?? this.#firstAt) - this.#firstAt) / 1000;
    return {
      promptTokens: prompt_tokens ?? this.progress?.total,
      cachedTokens: prompt_tokens_details?.cached_tokens ?? this.progress?.cache,
      answerTokens: completion_tokens ?? this.pieces,
      thinkingTokens: completion_tokens_details?.reasoning_tokens ?? this.#thinkingPieces,
      firstTokenMs: this.#firstAt === undefined ? undefined : this.#firstAt - this.#sentAt,
      tokensPerSecond:
        this.#timings.predicted_per_second ?? (seconds > 0 && this.pieces > 1 ? (this.pieces - 1) / seconds : undefined),
    };
  }
}
