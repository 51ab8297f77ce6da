// One answer on its way: asks, puts the stream into its message, waits for a server that is not ready, can be stopped.
import { Answer } from "../api/answer.ts";
import { ApiError } from "../api/api_error.ts";
import { isReady, streamChat } from "../api/client.ts";
import type { ChatRequest } from "../api/types.ts";
import type { Chat, Message } from "./tree.ts";

/** Why nothing comes at the moment, and when the next try is, on the clock of performance.now(). */
export interface Waiting {
  error: ApiError;
  until: number | undefined;
}

export class Run {
  readonly chat: Chat;
  readonly message: Message;
  answer = new Answer(performance.now());
  waiting: Waiting | undefined;
  /** Set where the run failed for good. */
  error: unknown;

  readonly #request: ChatRequest;
  readonly #onChange: () => void;
  readonly #stopping = new AbortController();

  /** @param onChange called at each change of the message or of what the run waits for */
  constructor(chat: Chat, message: Message, request: ChatRequest, onChange: () => void) {
    this.chat = chat;
    this.message = message;
    this.#request = request;
    this.#onChange = onChange;
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** Returns when the answer is complete, stopped or failed; never throws. */
  async finish(): Promise<void> {
    const { signal } = this.#stopping;
    for (let tries = 0; ; tries++) {
      try {
        this.answer = new Answer(performance.now());
        await streamChat(this.#request, signal, (chunk) => this.#take(chunk));
        this.message.finish = this.answer.finish ?? "stop";
        break;
      } catch (error) {
        if (signal.aborted) {
          this.message.finish = "stopped";
          break;
        }
        const again = error instanceof ApiError && error.passes && this.answer.pieces === 0;
        if (!again) {
          this.error = error;
          break;
        }
        await this.#wait(error, tries);
      }
    }
    this.#copyAnswer();
    this.#onChange();
  }

  #take(chunk: Parameters<Answer["add"]>[0]): void {
    this.answer.add(chunk, performance.now());
    this.#copyAnswer();
    this.#onChange();
  }

  #copyAnswer(): void {
    const { answer, message } = this;
    message.content = answer.content;
    if (answer.reasoning) message.reasoning = answer.reasoning;
    const calls = answer.toolCalls.filter(Boolean);
    if (calls.length > 0) message.toolCalls = calls;
    const thinkingMs = answer.thinkingMs(performance.now());
    if (thinkingMs !== undefined) message.thinkingMs = thinkingMs;
    if (answer.model) message.model = answer.model;
    if (answer.pieces > 0) message.figures = definedOnly(answer.figures());
  }

  /** Waits as long as a busy server asks for; a server that is away or loading, until it is ready. */
  async #wait(error: ApiError, tries: number): Promise<void> {
    const pause = Math.min(1000 * 2 ** Math.min(tries, 4), 10_000);
    const first = error.retryAfter === undefined ? pause : error.retryAfter * 1000;
    const busy = error.status === 429;
    this.waiting = { error, until: busy ? performance.now() + first : undefined };
    this.#onChange();
    await this.#sleep(busy ? first : Math.min(first, pause));
    while (!busy && !this.#stopping.signal.aborted && !(await isReady())) await this.#sleep(pause);
    this.waiting = undefined;
    this.#onChange();
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#stopping.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
}

function definedOnly<T extends object>(figures: T): T {
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined)) as T;
}
